//! From measured samples to a cost curve.

use super::{Affine, MEASURED_ROWS};

/// Seconds of drafting or reading some tokens in one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeSample {
    /// Tokens that the time covers.
    pub tokens: usize,
    /// Context length before it.
    pub context: usize,
    /// Seconds for all tokens together.
    pub seconds: f64,
}

/// Seconds of one target pass. Of more rows than have an entry of their own ([`MEASURED_ROWS`]), a
/// few points are enough: between them the curve is straight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VerifySample {
    /// Positions whose logits were asked for.
    pub rows: usize,
    /// Context length before it.
    pub context: usize,
    /// Seconds of the pass.
    pub seconds: f64,
}

/// Measurements of one pair of models on one machine.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    /// Drafting, token by token.
    pub draft: Vec<TimeSample>,
    /// Draft passes over several rows, the reading of their signals included: what a round takes in
    /// which as many sequences draft.
    pub draft_passes: Vec<VerifySample>,
    /// Target passes; at least one of a single row.
    pub verify: Vec<VerifySample>,
    /// The draft reading many tokens at once.
    pub catch_up: Vec<TimeSample>,
}

/// Why measurements make no cost model.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CostError {
    /// No pass of a single row was measured.
    #[error("expected at least one measured pass of a single row, got none")]
    NoPlainDecoding,
    /// A time is zero, negative or not a number.
    #[error("expected a positive number of seconds, got {got}")]
    NotATime {
        /// The number.
        got: f64,
    },
    /// A kept pass has a number that comes after the last pass.
    #[error("expected one of {passes} passes, got pass number {got}, counted from 0")]
    NotAPass {
        /// The number.
        got: u64,
        /// Passes in all.
        passes: u64,
    },
}

pub(super) struct Fitted {
    pub draft: Affine,
    pub verify: [Affine; MEASURED_ROWS],
    /// Passes of more rows, (rows, seconds at an empty context), both ascending.
    pub tail: Vec<(usize, f64)>,
    /// Draft passes of several rows, (rows, factor on one row), both ascending.
    pub draft_rows: Vec<(usize, f64)>,
    pub catch_up_per_token: f64,
}

pub(super) fn fit(samples: &Samples) -> Result<Fitted, CostError> {
    let per_token = |sample: &TimeSample| sample.seconds / sample.tokens.max(1) as f64;
    let passes = samples.verify.iter().chain(&samples.draft_passes);
    let seconds = passes.map(|sample| sample.seconds);
    let mut all =
        seconds.chain(samples.draft.iter().chain(&samples.catch_up).map(|sample| sample.seconds));
    if let Some(got) = all.find(|seconds| !(seconds.is_finite() && *seconds > 0.0)) {
        return Err(CostError::NotATime { got });
    }
    let verify = fit_verify(&samples.verify)?;
    let tail = fit_tail(&samples.verify, verify[MEASURED_ROWS - 1]);
    let plain = verify[0].seconds;
    let points: Vec<(f64, f64)> =
        samples.draft.iter().map(|sample| (sample.context as f64, per_token(sample))).collect();
    let draft =
        fit_affine(&points).unwrap_or(Affine { seconds: 0.35 * plain, per_context_token: 0.0 });
    let mut reading: Vec<f64> = samples.catch_up.iter().map(per_token).collect();
    // Reading in one pass cannot cost more per token than drafting one by one; a typical ratio
    // where nothing was measured.
    let catch_up_per_token = if reading.is_empty() {
        0.3 * draft.seconds
    } else {
        typical(&mut reading).min(draft.seconds)
    };
    let draft_rows = fit_draft_rows(&samples.draft_passes, draft);
    Ok(Fitted { draft, verify, tail, draft_rows, catch_up_per_token })
}

/// How draft passes grow with their rows, relative to one row: medians, none below the one before.
fn fit_draft_rows(samples: &[VerifySample], one: Affine) -> Vec<(usize, f64)> {
    let mut before = 1.0_f64;
    let mut point = |rows: usize| {
        let of = samples.iter().filter(|sample| sample.rows == rows);
        let mut factors: Vec<f64> =
            of.map(|sample| sample.seconds / one.at(sample.context)).collect();
        before = before.max(typical(&mut factors));
        (rows, before)
    };
    row_counts(samples, 1).into_iter().map(&mut point).collect()
}

/// The different row counts above `most`, ascending.
fn row_counts(samples: &[VerifySample], most: usize) -> Vec<usize> {
    let mut rows: Vec<usize> =
        samples.iter().map(|sample| sample.rows).filter(|&rows| rows > most).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn fit_verify(samples: &[VerifySample]) -> Result<[Affine; MEASURED_ROWS], CostError> {
    let mut known: Vec<(usize, Affine)> = Vec::new();
    let mut only_context = [None; MEASURED_ROWS]; // where a row count was seen at a single length of context
    for rows in 1..=MEASURED_ROWS {
        let points: Vec<(f64, f64)> = samples
            .iter()
            .filter(|sample| sample.rows == rows)
            .map(|sample| (sample.context as f64, sample.seconds))
            .collect();
        known.extend(fit_affine(&points).map(|time| (rows, time)));
        let first = points.first().map(|point| point.0);
        only_context[rows - 1] = first.filter(|&first| points.iter().all(|point| point.0 == first));
    }
    borrow_slopes(&mut known, &only_context);
    if known.first().is_none_or(|&(rows, _)| rows != 1) {
        return Err(CostError::NoPlainDecoding);
    }
    let mut verify = std::array::from_fn(|index| interpolate(&known, index + 1));
    make_monotone(&mut verify);
    Ok(verify)
}

/// What passes of more than [`MEASURED_ROWS`] rows take longer than those of so many, `longest`:
/// medians, none below the one before. Context weighs on them as on `longest`.
fn fit_tail(samples: &[VerifySample], longest: Affine) -> Vec<(usize, f64)> {
    let mut before = longest.seconds;
    let mut point = |rows: usize| {
        let of = samples.iter().filter(|sample| sample.rows == rows);
        let mut more: Vec<f64> =
            of.map(|sample| sample.seconds - longest.at(sample.context)).collect();
        before = before.max(longest.seconds + typical(&mut more));
        (rows, before)
    };
    row_counts(samples, MEASURED_ROWS).into_iter().map(&mut point).collect()
}

/// Row counts measured at one context length take their slope from those measured at several.
fn borrow_slopes(known: &mut [(usize, Affine)], only_context: &[Option<f64>; MEASURED_ROWS]) {
    let sloped: Vec<(usize, Affine)> =
        known.iter().filter(|(rows, _)| only_context[rows - 1].is_none()).copied().collect();
    let (Some(first), Some(last)) = (sloped.first().copied(), sloped.last().copied()) else {
        return;
    };
    for (rows, time) in known {
        let Some(context) = only_context[*rows - 1] else { continue };
        let slope = interpolate(&sloped, (*rows).clamp(first.0, last.0)).per_context_token;
        let slope = slope.min(if context > 0.0 { 0.9 * time.seconds / context } else { slope });
        *time = Affine { seconds: time.seconds - slope * context, per_context_token: slope };
    }
}

/// Value at `rows` on the broken line through `known` (ascending, not empty); beyond it the last
/// slope goes on, or 0.12 of the first value per row where there is a single point.
fn interpolate(known: &[(usize, Affine)], rows: usize) -> Affine {
    let after = known.iter().position(|&(measured, _)| measured >= rows);
    let (from, to) = match after {
        Some(index) if known[index].0 == rows => return known[index].1,
        Some(index) => (known[index - 1], known[index]), // the first is 1 row, so index > 0
        None if known.len() > 1 => (known[known.len() - 2], known[known.len() - 1]),
        None => {
            let (first, time) = known[0];
            return time.scaled(1.0 + 0.12 * (rows - first) as f64);
        }
    };
    let share = (rows - from.0) as f64 / (to.0 - from.0) as f64;
    let line = |a: f64, b: f64| (a + (b - a) * share).max(0.0);
    Affine {
        seconds: line(from.1.seconds, to.1.seconds),
        per_context_token: line(from.1.per_context_token, to.1.per_context_token),
    }
}

/// `seconds + slope * context` through points (context, seconds): least squares over the medians
/// per context, the slope not below 0.
fn fit_affine(points: &[(f64, f64)]) -> Option<Affine> {
    let mut contexts: Vec<f64> = points.iter().map(|point| point.0).collect();
    contexts.sort_by(f64::total_cmp);
    contexts.dedup();
    let medians: Vec<(f64, f64)> = contexts
        .iter()
        .map(|&context| {
            let mut seconds: Vec<f64> =
                points.iter().filter(|point| point.0 == context).map(|point| point.1).collect();
            (context, typical(&mut seconds))
        })
        .collect();
    let count = medians.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| medians.iter().map(pick).sum::<f64>() / count;
    let (mean_context, mean_seconds) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 =
        medians.iter().map(|point| (point.0 - mean_context) * (point.1 - mean_seconds)).sum();
    let variance: f64 = medians.iter().map(|point| (point.0 - mean_context).powi(2)).sum();
    let slope = if variance > 0.0 { (covariance / variance).max(0.0) } else { 0.0 };
    // A steep slope from noisy far points must not push the empty context to nothing.
    let slope =
        slope.min(if mean_context > 0.0 { 0.9 * mean_seconds / mean_context } else { slope });
    (!medians.is_empty()).then_some(Affine {
        seconds: mean_seconds - slope * mean_context,
        per_context_token: slope,
    })
}

/// The median, of an even number the smaller of the two in the middle: whatever disturbs a
/// measurement makes it longer, and of two samples one may be a stall.
fn typical(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The nearest curve (least squares) that never falls, for both coefficients: pool adjacent
/// violators.
pub(super) fn make_monotone(curve: &mut [Affine; MEASURED_ROWS]) {
    let mut seconds = curve.map(|time| time.seconds);
    let mut slopes = curve.map(|time| time.per_context_token);
    pool_adjacent_violators(&mut seconds);
    pool_adjacent_violators(&mut slopes);
    for ((time, seconds), slope) in curve.iter_mut().zip(seconds).zip(slopes) {
        *time = Affine { seconds, per_context_token: slope };
    }
}

fn pool_adjacent_violators(values: &mut [f64; MEASURED_ROWS]) {
    let mut blocks = [(0.0, 0usize); MEASURED_ROWS]; // (mean, length)
    let mut count = 0;
    for &value in values.iter() {
        blocks[count] = (value, 1);
        count += 1;
        while count > 1 && blocks[count - 2].0 > blocks[count - 1].0 {
            let ((left, a), (right, b)) = (blocks[count - 2], blocks[count - 1]);
            blocks[count - 2] = ((left * a as f64 + right * b as f64) / (a + b) as f64, a + b);
            count -= 1;
        }
    }
    let mut index = 0;
    for &(mean, length) in &blocks[..count] {
        values[index..index + length].fill(mean);
        index += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(rows: usize, context: usize, seconds: f64) -> VerifySample {
        VerifySample { rows, context, seconds }
    }

    #[test]
    fn rows_between_measured_ones_are_interpolated_and_beyond_them_the_slope_goes_on() {
        let samples = Samples {
            verify: vec![pass(1, 0, 0.040), pass(5, 0, 0.060), pass(9, 0, 0.100)],
            ..Samples::default()
        };
        let verify = fit(&samples).expect("good samples").verify;
        assert!((verify[2].seconds - 0.050).abs() < 1e-12); // 3 rows: half way from 1 to 5
        assert!((verify[10].seconds - 0.120).abs() < 1e-12); // 11 rows: 0.1 + 2 * 0.01
    }

    #[test]
    fn context_enters_as_a_slope_and_a_stalled_sample_does_not() {
        let mut verify = Vec::new();
        for _ in 0..3 {
            verify.push(pass(1, 0, 0.040));
            verify.push(pass(1, 1000, 0.050));
        }
        verify.push(pass(1, 0, 4.0));
        let fitted = fit(&Samples { verify, ..Samples::default() }).expect("good samples");
        assert!((fitted.verify[0].seconds - 0.040).abs() < 1e-9, "{:?}", fitted.verify[0]);
        assert!((fitted.verify[0].per_context_token - 1e-5).abs() < 1e-12);
    }

    #[test]
    fn a_row_count_seen_at_one_context_takes_its_slope_from_its_neighbours() {
        let time = |rows: usize, context: usize| {
            0.03 + 0.01 * rows as f64 + 1e-6 * (rows * context) as f64
        };
        let mut verify: Vec<VerifySample> =
            (1..=9).map(|rows| pass(rows, 100, time(rows, 100))).collect();
        verify.extend([1, 5, 9].map(|rows| pass(rows, 1000, time(rows, 1000))));
        let fitted = fit(&Samples { verify, ..Samples::default() }).expect("good samples");
        for rows in 1..=9 {
            for context in [0, 100, 1000, 3000] {
                let (got, expected) = (fitted.verify[rows - 1].at(context), time(rows, context));
                assert!(
                    (got / expected - 1.0).abs() < 1e-9,
                    "{rows} rows at {context}: {got} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn of_two_samples_a_stalled_one_does_no_harm() {
        for stalled in [[pass(1, 0, 0.5), pass(1, 0, 0.040)], [pass(1, 0, 0.040), pass(1, 0, 0.5)]]
        {
            let fitted = fit(&Samples { verify: stalled.to_vec(), ..Samples::default() })
                .expect("good samples");
            assert_eq!(fitted.verify[0].seconds, 0.040);
        }
    }

    #[test]
    fn passes_of_more_rows_are_points_that_never_fall() {
        let mut verify: Vec<VerifySample> =
            (1..=17).map(|rows| pass(rows, 0, 0.030 + 0.001 * rows as f64)).collect();
        verify.extend([
            pass(32, 0, 0.090),
            pass(24, 0, 0.060),
            pass(24, 0, 0.9),
            pass(24, 0, 0.061),
            pass(48, 0, 0.080),
        ]);
        let tail = fit(&Samples { verify, ..Samples::default() }).expect("good samples").tail;
        assert_eq!(tail.iter().map(|point| point.0).collect::<Vec<_>>(), [24, 32, 48]);
        for ((_, got), expected) in tail.iter().zip([0.061, 0.090, 0.090]) {
            assert!((got - expected).abs() < 1e-12, "{tail:?}");
        }
    }

    #[test]
    fn a_dip_is_averaged_away() {
        let mut values = [1.0; MEASURED_ROWS];
        values[..4].copy_from_slice(&[41.0, 36.0, 44.0, 56.0]);
        values[4..].fill(61.0);
        pool_adjacent_violators(&mut values);
        assert_eq!(values[..5], [38.5, 38.5, 44.0, 56.0, 61.0]);
    }

    #[test]
    fn without_a_single_row_there_is_no_model() {
        let samples = Samples { verify: vec![pass(2, 0, 0.1)], ..Samples::default() };
        assert_eq!(fit(&samples).err(), Some(CostError::NoPlainDecoding));
        let samples = Samples { verify: vec![pass(1, 0, 0.0)], ..Samples::default() };
        assert_eq!(fit(&samples).err(), Some(CostError::NotATime { got: 0.0 }));
    }
}
