//! The best fixed gamma for each number of requests in a pass.
//!
//! Let `t(n)` be the seconds of a target pass over `n` rows, `d(n)` of a draft pass. When each of
//! `b` requests drafts up to `g` tokens, a step
//!
//! ```text
//! yields  b (1 + a(g)) tokens        a(g): accepted tokens per step
//! takes   g d(b) + t(b (1 + v(g)))   v(g): verified draft tokens per step, g unless the draft ends earlier
//! ```
//!
//! so the speed of all requests together is `S(b, g) = b (1 + a(g)) / (g d(b) + t(b (1 + v(g))))`,
//! and the table holds the `g` with the largest `S(b, g)` for each `b`; `g = 0` is plain decoding,
//! `S(b, 0) = b / t(b)`. Both `a` and `v` come from exact replay of recorded greedy texts, or `a`
//! from acceptance measured elsewhere.

use speckv::record::Source;

use crate::trace::{Trace, TraceError};

/// Seconds of passes by their rows: measured points with straight lines between.
#[derive(Debug, Clone, PartialEq)]
pub struct RowTimes {
    /// Ascending (rows, seconds); seconds never fall.
    points: Vec<(f64, f64)>,
}

/// Why numbers make no table.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A curve without plain decoding.
    #[error("expected the time of a pass of 1 row, got {0}")]
    NoSingleRow(&'static str),
    /// Not a time.
    #[error("pass of {rows} rows: expected a positive number of seconds, got {got}")]
    NotATime {
        /// Rows.
        rows: usize,
        /// Seconds as given.
        got: f64,
    },
    /// Two times for one number of rows.
    #[error("expected one time per number of rows, got two for {rows} rows")]
    Twice {
        /// Rows.
        rows: usize,
    },
    /// Not a probability, or more than at the position before.
    #[error(
        "position {position}: expected a share between 0 and that of the position before \
         ({limit}), got {got}"
    )]
    NotAShare {
        /// Position in the draft, from 1.
        position: usize,
        /// Largest possible value.
        limit: f64,
        /// As given.
        got: f64,
    },
    /// No measurement of acceptance.
    #[error("expected at least one proposal of this source in the traces, got none")]
    NoProposals,
    /// A trace does not fit together.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl RowTimes {
    /// Times from measured points (rows, seconds) in any order. A point below an earlier one is
    /// raised to it: more rows cannot cost less.
    ///
    /// # Errors
    /// [`TableError::NoSingleRow`] without a point for 1 row, [`TableError::NotATime`],
    /// [`TableError::Twice`].
    pub fn new(measured: impl IntoIterator<Item = (usize, f64)>) -> Result<Self, TableError> {
        let mut points: Vec<(usize, f64)> = measured.into_iter().collect();
        points.sort_by_key(|point| point.0);
        if let Some(&(rows, got)) =
            points.iter().find(|(_, seconds)| !(seconds.is_finite() && *seconds > 0.0))
        {
            return Err(TableError::NotATime { rows, got });
        }
        if let Some(pair) = points.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(TableError::Twice { rows: pair[0].0 });
        }
        match points.first() {
            Some((1, _)) => {}
            Some(_) => return Err(TableError::NoSingleRow("other row counts only")),
            None => return Err(TableError::NoSingleRow("nothing")),
        }
        let mut highest = 0.0;
        let raised = points.into_iter().map(|(rows, seconds)| {
            highest = f64::max(highest, seconds);
            (rows as f64, highest)
        });
        Ok(RowTimes { points: raised.collect() })
    }

    /// Seconds of a pass over `rows` rows (at least 1; a mean may be a fraction). Beyond the last
    /// point the mean slope of the upper half of the points goes on; with a single point, time is
    /// proportional to rows, which never promises a gain that was not measured.
    #[must_use]
    pub fn at(&self, rows: f64) -> f64 {
        let last = self.points.len() - 1;
        let (end_rows, end_seconds) = self.points[last];
        if last == 0 {
            return end_seconds * rows.max(1.0);
        }
        if rows >= end_rows {
            let (middle_rows, middle_seconds) = self.points[last / 2];
            return end_seconds
                + (end_seconds - middle_seconds) / (end_rows - middle_rows) * (rows - end_rows);
        }
        let after = self.points.iter().position(|point| point.0 > rows).unwrap_or(last).max(1);
        let ((low, from), (high, to)) = (self.points[after - 1], self.points[after]);
        from + (to - from) * ((rows - low) / (high - low)).max(0.0)
    }

    /// Most rows that were measured.
    #[must_use]
    pub fn measured_rows(&self) -> usize {
        self.points.last().map_or(0, |point| point.0 as usize)
    }
}

/// What a fixed gamma makes of a text, per step. Index 0 is plain decoding.
#[derive(Debug, Clone, PartialEq)]
pub struct Acceptance {
    /// `a(g)`: accepted tokens per step, `[gammas]`.
    accepted: Vec<f64>,
    /// `v(g)`: verified draft tokens per step, `[gammas]`.
    verified: Vec<f64>,
}

impl Acceptance {
    /// Replays every gamma from 0 to `gamma_max` over the traces: a step at each place that the
    /// step before it reached, drafting from `source` as far as the recording has a proposal.
    ///
    /// # Errors
    /// [`TableError::Trace`], or [`TableError::NoProposals`] if the source never proposed anything.
    pub fn of_traces(
        traces: &[Trace],
        source: Source,
        gamma_max: usize,
    ) -> Result<Self, TableError> {
        traces.iter().try_for_each(Trace::check)?;
        let mut acceptance = Acceptance { accepted: vec![0.0], verified: vec![0.0] };
        for gamma in 1..=gamma_max {
            let (mut steps, mut accepted, mut verified) = (0_usize, 0_usize, 0_usize);
            for trace in traces {
                let mut done = 0;
                while done < trace.tokens.len() {
                    let limit = gamma.min(trace.max_tokens - done - 1);
                    let (drafted, agreed) =
                        trace.positions[done].proposal(source).map_or((0, 0), |proposal| {
                            (proposal.drafted.len().min(limit), proposal.agreed.min(limit))
                        });
                    let kept = agreed.min(trace.tokens.len() - done);
                    (steps, accepted, verified) = (steps + 1, accepted + kept, verified + drafted);
                    done += kept + 1;
                }
            }
            if verified == 0 {
                return Err(TableError::NoProposals);
            }
            acceptance.accepted.push(accepted as f64 / steps as f64);
            acceptance.verified.push(verified as f64 / steps as f64);
        }
        Ok(acceptance)
    }

    /// From the share of steps in which each position of the draft was accepted, `[positions]`, as
    /// vLLM logs it: `a(g)` is their sum up to position `g`, and `v(g) = g`.
    ///
    /// # Errors
    /// [`TableError::NotAShare`] outside [0, 1] or above the position before;
    /// [`TableError::NoProposals`] for an empty list.
    pub fn of_positions(shares: &[f64]) -> Result<Self, TableError> {
        if shares.is_empty() {
            return Err(TableError::NoProposals);
        }
        let (mut sum, mut limit) = (0.0, 1.0);
        let mut acceptance = Acceptance { accepted: vec![0.0], verified: vec![0.0] };
        for (index, &got) in shares.iter().enumerate() {
            if !(0.0..=limit).contains(&got) {
                return Err(TableError::NotAShare { position: index + 1, limit, got });
            }
            limit = got;
            sum += got;
            acceptance.accepted.push(sum);
            acceptance.verified.push((index + 1) as f64);
        }
        Ok(acceptance)
    }

    /// Largest gamma that it knows.
    #[must_use]
    pub fn gamma_max(&self) -> usize {
        self.accepted.len() - 1
    }

    /// Tokens per step at a gamma of at most [`gamma_max`](Self::gamma_max): `1 + a(g)`.
    #[must_use]
    pub fn tokens_per_step(&self, gamma: usize) -> f64 {
        1.0 + self.accepted[gamma]
    }
}

/// What a batch size should do.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Choice {
    /// Requests in the pass: `b`.
    pub batch_size: usize,
    /// The best gamma.
    pub gamma: usize,
    /// `S(b, gamma)`.
    pub modelled_tokens_per_second: f64,
    /// `S(b, gamma) / S(b, 0)`.
    pub modelled_ratio_to_off: f64,
    /// Rows of its pass: `b (1 + v(gamma))`.
    pub rows: f64,
}

/// The best gamma of every batch size from 1 to `batch_max`; the smaller gamma where two are
/// equally good. `draft` is `d(n)`, or `None` where drafting takes no time beside the pass
/// (look-up).
#[must_use]
pub fn choices(
    acceptance: &Acceptance,
    target: &RowTimes,
    draft: Option<&RowTimes>,
    batch_max: usize,
) -> Vec<Choice> {
    let choice = |batch_size: usize, gamma: usize| {
        let requests = batch_size as f64;
        let rows = requests * (1.0 + acceptance.verified[gamma]);
        let drafting = draft.map_or(0.0, |times| gamma as f64 * times.at(requests));
        let speed = requests * acceptance.tokens_per_step(gamma) / (drafting + target.at(rows));
        let off = requests / target.at(requests);
        let modelled_ratio_to_off = speed / off;
        Choice { batch_size, gamma, modelled_tokens_per_second: speed, modelled_ratio_to_off, rows }
    };
    (1..=batch_max)
        .map(|batch_size| {
            (1..=acceptance.gamma_max()).map(|gamma| choice(batch_size, gamma)).fold(
                choice(batch_size, 0),
                |best, next| {
                    if next.modelled_tokens_per_second > best.modelled_tokens_per_second {
                        next
                    } else {
                        best
                    }
                },
            )
        })
        .collect()
}

/// Batch sizes with the same gamma: (first, last, gamma), ascending and without gaps.
#[must_use]
pub fn ranges(choices: &[Choice]) -> Vec<(usize, usize, usize)> {
    let equal = choices.chunk_by(|a, b| a.gamma == b.gamma);
    equal.map(|run| (run[0].batch_size, run[run.len() - 1].batch_size, run[0].gamma)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Regime, trace};

    /// t(n) = 40 ms up to 8 rows, then 5 ms per row.
    fn target() -> RowTimes {
        RowTimes::new([(1, 0.040), (8, 0.040), (16, 0.080), (24, 0.120)]).expect("good times")
    }

    #[test]
    fn times_are_lines_between_points_and_go_on_beyond_them() {
        let times = target();
        for (rows, seconds) in
            [(1.0, 0.040), (4.5, 0.040), (8.0, 0.040), (12.0, 0.060), (24.0, 0.120), (34.0, 0.170)]
        {
            assert!((times.at(rows) - seconds).abs() < 1e-12, "{rows} rows: {}", times.at(rows));
        }
        let dipping = RowTimes::new([(2, 0.030), (1, 0.040)]).expect("good times");
        assert_eq!(dipping.at(2.0), 0.040, "more rows cannot cost less");
        let single = RowTimes::new([(1, 0.040)]).expect("good times");
        assert_eq!(single.at(3.0), 0.120, "nothing measured, nothing promised");
    }

    #[test]
    fn bad_times_and_shares_are_refused() {
        assert_eq!(RowTimes::new([]).err(), Some(TableError::NoSingleRow("nothing")));
        assert!(matches!(RowTimes::new([(2, 0.1)]), Err(TableError::NoSingleRow(_))));
        assert!(matches!(RowTimes::new([(1, 0.0)]), Err(TableError::NotATime { rows: 1, .. })));
        assert!(matches!(RowTimes::new([(1, f64::NAN)]), Err(TableError::NotATime { .. })));
        assert_eq!(RowTimes::new([(1, 0.1), (1, 0.2)]).err(), Some(TableError::Twice { rows: 1 }));
        assert!(matches!(
            Acceptance::of_positions(&[0.5, 0.6]),
            Err(TableError::NotAShare { position: 2, .. })
        ));
        assert!(matches!(
            Acceptance::of_positions(&[f64::NAN]),
            Err(TableError::NotAShare { position: 1, .. })
        ));
        assert_eq!(Acceptance::of_positions(&[]).err(), Some(TableError::NoProposals));
    }

    #[test]
    fn choices_worked_by_hand() {
        let acceptance = Acceptance::of_positions(&[0.8, 0.6, 0.5]).expect("good shares");
        let draft = RowTimes::new([(1, 0.010), (2, 0.010), (8, 0.010)]).expect("good times");
        let best = choices(&acceptance, &target(), Some(&draft), 16);
        // b = 1: 1/40, 1.8/50, 2.4/60, 2.9/70 tokens per ms.
        assert_eq!((best[0].gamma, best[0].rows), (3, 4.0));
        assert!((best[0].modelled_tokens_per_second - 2.9 / 0.070).abs() < 1e-9);
        assert!((best[0].modelled_ratio_to_off - 2.9 / 0.070 * 0.040).abs() < 1e-9);
        // b = 4: 4/40, 7.2/50, 9.6/(20 + 60), 11.6/(30 + 80): one draft token.
        assert_eq!(best[3].gamma, 1);
        // b = 16: every row costs 5 ms, and a rejected one is lost.
        assert_eq!(best[15].gamma, 0);
        assert_eq!(best[15].modelled_ratio_to_off, 1.0);
        let ranges = ranges(&best);
        assert_eq!(
            (ranges[0].0, ranges[ranges.len() - 1].1, ranges[ranges.len() - 1].2),
            (1, 16, 0)
        );
        assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0 && pair[0].2 != pair[1].2));
    }

    #[test]
    fn what_is_never_accepted_is_never_drafted() {
        let never = Acceptance::of_positions(&[0.0; 4]).expect("good shares");
        assert!(choices(&never, &target(), None, 32).iter().all(|choice| choice.gamma == 0));
    }

    #[test]
    fn acceptance_of_a_trace_is_that_of_replaying_it() {
        use speckv::{controller::Fixed, cost::CostModel};
        let traces: Vec<_> =
            (0..4).map(|seed| trace(&[Regime::calibrated(300, 0.8)], seed)).collect();
        let acceptance =
            Acceptance::of_traces(&traces, Source::MODEL, 6).expect("traces that fit together");
        let cost = CostModel::uncalibrated();
        for gamma in [1, 2, 6] {
            let (mut steps, mut verified, mut tokens) = (0, 0, 0);
            for trace in &traces {
                let records =
                    crate::replay::replay(&mut Fixed::new(gamma), trace, &cost).expect("a replay");
                steps += records.len();
                verified += records.iter().map(|record| record.outcome.verified).sum::<usize>();
                tokens += trace.tokens.len();
            }
            assert!((acceptance.verified[gamma] - verified as f64 / steps as f64).abs() < 1e-9);
            let per_step = tokens as f64 / steps as f64;
            assert!(
                (acceptance.tokens_per_step(gamma) - per_step).abs() < 0.02,
                "{gamma}: {per_step}"
            );
        }
        assert_eq!(
            Acceptance::of_traces(&traces, Source::NGRAM, 2).err(),
            Some(TableError::NoProposals)
        );
    }
}
