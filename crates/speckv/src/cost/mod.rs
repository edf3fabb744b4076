//! What time costs: measured seconds of draft and verification.
//!
//! A step that drafts `n` tokens and verifies `k` of them at context length `c` takes `catch_up +
//! n * draft(c) + verify(k + 1, c) + overhead` seconds. Every part is measured per pair of models,
//! compression and machine; [`CostModel::observe`] keeps it true while the machine drifts. Pure:
//! times come in as arguments, no clock is read.

mod calibration;
mod online;
mod passes;
mod shared;

pub use calibration::{CostError, Samples, TimeSample, VerifySample};
use online::Online;
pub use passes::{PassCurve, PassPoint};
pub use shared::SharedPass;

use crate::record::StepRecord;

/// Verification passes that have an entry of their own, from 1 to this many rows. Longer ones lie
/// on a broken line through those that were measured, or on the straight continuation of the
/// entries where none were.
pub const MEASURED_ROWS: usize = 17;

/// Seconds that are affine in the context length: `seconds + per_context_token * context`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Affine {
    /// Seconds at an empty context.
    pub seconds: f64,
    /// Seconds more for every token of context.
    pub per_context_token: f64,
}

impl Affine {
    /// Value at a context length, in seconds.
    #[must_use]
    pub fn at(self, context: usize) -> f64 {
        self.seconds + self.per_context_token * context as f64
    }

    fn scaled(self, factor: f64) -> Self {
        Affine {
            seconds: self.seconds * factor,
            per_context_token: self.per_context_token * factor,
        }
    }
}

/// Seconds of everything that a step may do.
///
/// `verify(n)` is piecewise linear in `n`, never falls with `n`, and both draft and verification
/// are affine in the context length.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct CostModel {
    parts: Parts,
    /// `verify` with the online corrections applied, never falling with the row count, `[rows]`.
    corrected: [Affine; MEASURED_ROWS],
    /// `exp` of the draft's correction.
    draft_factor: f64,
    /// `exp` of the catch-up's correction.
    catch_up_factor: f64,
}

/// What a cost model keeps on disk.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Parts {
    draft: Affine,
    verify: [Affine; MEASURED_ROWS],
    /// Seconds per token that the draft reads to catch up.
    catch_up_per_token: f64,
    /// Seconds per token proposed by look-up.
    ngram_per_token: f64,
    #[serde(default)]
    online: Online,
    /// Passes beyond the measured row counts, as (rows, seconds at an empty context), both
    /// ascending; empty where the curve goes on as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tail: Vec<(usize, f64)>,
}

impl TryFrom<Parts> for CostModel {
    type Error = CostError;

    fn try_from(parts: Parts) -> Result<Self, CostError> {
        let times = parts.verify.iter().chain([&parts.draft]);
        let numbers = times
            .flat_map(|time| [time.seconds, time.per_context_token])
            .chain([parts.catch_up_per_token, parts.ngram_per_token]);
        for got in numbers {
            if !(got.is_finite() && got >= 0.0) {
                return Err(CostError::NotATime { got });
            }
        }
        if parts.verify[0].seconds <= 0.0 || parts.draft.seconds <= 0.0 {
            return Err(CostError::NotATime {
                got: parts.verify[0].seconds.min(parts.draft.seconds),
            });
        }
        if !parts.online.is_sane() {
            return Err(CostError::NotATime { got: f64::NAN });
        }
        let mut before = (MEASURED_ROWS, parts.verify[MEASURED_ROWS - 1].seconds);
        for &(rows, seconds) in &parts.tail {
            if rows <= before.0 || !(seconds.is_finite() && seconds >= before.1) {
                return Err(CostError::NotATime { got: seconds });
            }
            before = (rows, seconds);
        }
        let mut model =
            CostModel { corrected: parts.verify, parts, draft_factor: 1.0, catch_up_factor: 1.0 };
        model.apply_corrections();
        Ok(model)
    }
}

impl From<CostModel> for Parts {
    fn from(model: CostModel) -> Parts {
        model.parts
    }
}

impl Default for CostModel {
    fn default() -> Self {
        Self::uncalibrated()
    }
}

impl CostModel {
    /// A model fitted to measurements; medians, so that a stalled sample is harmless. Row counts
    /// between measured ones are interpolated. Without draft samples (look-up only) a draft token
    /// is taken to cost 0.35 of a plain one.
    ///
    /// # Errors
    /// [`CostError::NoPlainDecoding`] without a sample of one row; [`CostError::NotATime`] for a
    /// sample that is not a positive number of seconds.
    pub fn from_samples(samples: &Samples) -> Result<Self, CostError> {
        let fitted = calibration::fit(samples)?;
        let parts = Parts {
            draft: fitted.draft,
            verify: fitted.verify,
            catch_up_per_token: fitted.catch_up_per_token,
            ngram_per_token: NGRAM_SECONDS,
            online: Online::calibrated(),
            tail: fitted.tail,
        };
        CostModel::try_from(parts)
    }

    /// The same model with measured seconds per token proposed by look-up, which
    /// [`from_samples`](Self::from_samples) takes to be 2 microseconds.
    ///
    /// # Errors
    /// [`CostError::NotATime`] if that is negative or no number.
    pub fn with_lookup(mut self, seconds: f64) -> Result<Self, CostError> {
        if !(seconds.is_finite() && seconds >= 0.0) {
            return Err(CostError::NotATime { got: seconds });
        }
        self.parts.ngram_per_token = seconds;
        Ok(self)
    }

    /// A sane default before anything was measured: plain decoding 50 ms, a draft token 0.35 of it,
    /// each further verified row 0.12 of it, catching up 0.1 of it per token. Only the ratios
    /// matter, and the first observations replace them quickly.
    #[must_use]
    pub fn uncalibrated() -> Self {
        let plain = 0.05;
        let time = |factor: f64| Affine { seconds: plain * factor, per_context_token: 0.0 };
        let verify = std::array::from_fn(|index| time(1.0 + 0.12 * index as f64));
        let draft = time(0.35);
        let parts = Parts {
            draft,
            verify,
            catch_up_per_token: 0.1 * plain,
            ngram_per_token: NGRAM_SECONDS,
            online: Online::uncalibrated(),
            tail: Vec::new(),
        };
        CostModel { corrected: verify, parts, draft_factor: 1.0, catch_up_factor: 1.0 }
    }

    /// Seconds of one draft token of the model, signals included.
    #[must_use]
    pub fn draft_seconds(&self, context: usize) -> f64 {
        self.parts.draft.at(context) * self.draft_factor
    }

    /// Seconds of one token proposed by look-up.
    #[must_use]
    pub fn ngram_seconds(&self) -> f64 {
        self.parts.ngram_per_token
    }

    /// Seconds of a target pass that returns logits of `rows` positions (`rows - 1` draft tokens
    /// and one more); 0 rows count as 1.
    #[must_use]
    pub fn verify_seconds(&self, rows: usize, context: usize) -> f64 {
        let last = MEASURED_ROWS - 1;
        if rows <= MEASURED_ROWS {
            return self.corrected[rows.max(1) - 1].at(context);
        }
        if !self.parts.tail.is_empty() {
            return self.corrected[last].at(context) + self.tail_seconds(rows);
        }
        // The mean slope of the upper half: a single step of a kernel's tiling must not set the
        // slope for ever.
        let (middle, end) =
            (self.corrected[last / 2].at(context), self.corrected[last].at(context));
        end + (end - middle) / (last - last / 2) as f64 * (rows - MEASURED_ROWS) as f64
    }

    /// Seconds that `rows` rows, more than were measured one by one, take longer than the most that
    /// were.
    fn tail_seconds(&self, rows: usize) -> f64 {
        let last = MEASURED_ROWS - 1;
        let start = (MEASURED_ROWS, self.parts.verify[last].seconds);
        let points = || std::iter::once(start).chain(self.parts.tail.iter().copied());
        let end = points().last().unwrap_or(start);
        // Beyond the end goes on what the upper half rose by: a single step of a kernel's tiling
        // must not set the slope for ever.
        let (from, to) = if rows >= end.0 {
            (points().rfind(|point| 2 * point.0 <= end.0).unwrap_or(start), end)
        } else {
            points().zip(points().skip(1)).find(|(_, to)| rows <= to.0).unwrap_or((start, end))
        };
        let slope = (to.1 - from.1) / (to.0 - from.0) as f64;
        let seconds = if rows >= end.0 {
            end.1 + slope * (rows - end.0) as f64
        } else {
            from.1 + slope * (rows - from.0) as f64
        };
        (seconds - start.1) * self.parts.online.verify_factor(MEASURED_ROWS)
    }

    /// Seconds of plain decoding: one row.
    #[must_use]
    pub fn plain_seconds(&self, context: usize) -> f64 {
        self.verify_seconds(1, context)
    }

    /// Seconds that the draft needs to read `tokens` tokens that it missed.
    #[must_use]
    pub fn catch_up_seconds(&self, tokens: usize) -> f64 {
        self.parts.catch_up_per_token * self.catch_up_factor * tokens as f64
    }

    /// Seconds of a step outside draft and target.
    #[must_use]
    pub fn overhead_seconds(&self) -> f64 {
        self.parts.online.overhead()
    }

    /// Learns from a finished step of a single sequence: each time is clamped to [0.5, 2] of what
    /// was expected before it moves anything, so that no stall can spoil the model. A common factor
    /// (the machine's drift) is kept apart from the ratio of draft to target and from the shape of
    /// the verification curve.
    pub fn observe(&mut self, record: &StepRecord) {
        if self.observe_times(record) {
            self.apply_corrections();
        }
    }

    fn observe_times(&mut self, record: &StepRecord) -> bool {
        let (context, times) = (record.before.context, &record.times);
        let rows = record.outcome.verified + 1;
        let mut learned = false;
        if record.before.plan.source == crate::record::Source::Model && !record.drafted.is_empty() {
            let measured = times.draft.as_secs_f64() / record.drafted.len() as f64;
            learned |= self.parts.online.observe_draft(measured / self.draft_seconds(context));
            if record.before.draft_behind > 0 {
                let measured = times.catch_up.as_secs_f64();
                learned |= self
                    .parts
                    .online
                    .observe_catch_up(measured / self.catch_up_seconds(record.before.draft_behind));
            }
        }
        learned |= self
            .parts
            .online
            .observe_verify(rows, times.verify.as_secs_f64() / self.verify_seconds(rows, context));
        let known = times.catch_up + times.draft + times.verify;
        if let Some(rest) = times.total.checked_sub(known) {
            self.parts.online.observe_overhead(rest.as_secs_f64(), self.plain_seconds(context));
        }
        learned
    }

    fn apply_corrections(&mut self) {
        let online = &self.parts.online;
        self.draft_factor = online.draft_factor();
        self.catch_up_factor = online.catch_up_factor();
        for (index, (corrected, base)) in
            self.corrected.iter_mut().zip(self.parts.verify).enumerate()
        {
            *corrected = base.scaled(online.verify_factor(index + 1));
        }
        calibration::make_monotone(&mut self.corrected);
    }
}

/// Look-up compares some ten places: microseconds, until [`CostModel::with_lookup`] says how many.
const NGRAM_SECONDS: f64 = 2e-6;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        controller::Plan,
        record::{Before, Drafted, Last, Outcome, Times},
    };

    pub(crate) fn record(gamma: usize, draft: f64, verify: f64) -> StepRecord {
        let seconds = Duration::from_secs_f64;
        StepRecord {
            before: Before {
                step: 0,
                context: 0,
                draft_behind: 0,
                gamma_limit: 16,
                plan: Plan::model(gamma),
            },
            drafted: vec![Drafted { token: 0, signals: Default::default() }; gamma],
            outcome: Outcome {
                verified: gamma,
                accepted: 0,
                last: Last::Recovered,
                produced: 1,
                ended: false,
            },
            times: Times {
                draft: seconds(draft * gamma as f64),
                verify: seconds(verify),
                total: seconds(draft * gamma as f64 + verify),
                ..Times::default()
            },
            tokens: vec![0],
        }
    }

    fn measured() -> CostModel {
        let verify = (1..=17).map(|rows| VerifySample {
            rows,
            context: 0,
            seconds: 0.040 + 0.005 * (rows - 1) as f64,
        });
        let samples = Samples {
            draft: vec![TimeSample { tokens: 1, context: 0, seconds: 0.012 }],
            verify: verify.collect(),
            catch_up: vec![TimeSample { tokens: 100, context: 0, seconds: 0.4 }],
        };
        CostModel::from_samples(&samples).expect("good samples")
    }

    #[test]
    fn measured_times_come_back() {
        let cost = measured();
        assert!((cost.draft_seconds(0) - 0.012).abs() < 1e-12);
        assert!((cost.verify_seconds(4, 0) - 0.055).abs() < 1e-12);
        assert!((cost.catch_up_seconds(10) - 0.04).abs() < 1e-12);
        assert_eq!(cost.plain_seconds(0), cost.verify_seconds(1, 0));
        assert!(
            (cost.verify_seconds(20, 0) - (0.040 + 0.005 * 19.0)).abs() < 1e-12,
            "beyond the table the slope goes on"
        );
    }

    #[test]
    fn measured_passes_of_a_crowd_take_the_place_of_the_straight_line() {
        let pass =
            |rows: usize, context: usize, seconds: f64| VerifySample { rows, context, seconds };
        let entry =
            |rows: usize, context: usize| 0.038 + 0.002 * rows as f64 + 1e-5 * context as f64;
        let contexts = [64, 1024];
        let mut verify: Vec<VerifySample> = (1..=17)
            .flat_map(|rows| contexts.map(|context| pass(rows, context, entry(rows, context))))
            .collect();
        verify.extend([pass(24, 64, entry(17, 64) + 0.035), pass(48, 64, entry(17, 64) + 0.155)]);
        let cost = CostModel::from_samples(&Samples { verify, ..Samples::default() })
            .expect("good samples");
        for (rows, more) in [(17, 0.0), (24, 0.035), (36, 0.095), (48, 0.155), (96, 0.395)] {
            let (got, expected) = (cost.verify_seconds(rows, 500), entry(17, 500) + more);
            assert!((got - expected).abs() < 1e-9, "{rows} rows: {got} instead of {expected}");
        }
        let text = serde_json::to_string(&cost).expect("serialises");
        let read: CostModel = serde_json::from_str(&text).expect("reads");
        assert!((read.verify_seconds(36, 500) / cost.verify_seconds(36, 500) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn one_stall_moves_nothing_by_more_than_an_eighth() {
        let mut cost = measured();
        let before = cost.clone();
        cost.observe(&record(4, 1.2, 6.0)); // a hundred times too slow
        for rows in 1..=17 {
            let ratio = cost.verify_seconds(rows, 0) / before.verify_seconds(rows, 0);
            assert!((0.875..1.125).contains(&ratio), "{rows} rows: {ratio}");
        }
        let ratio = cost.draft_seconds(0) / before.draft_seconds(0);
        assert!((0.875..1.125).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_machine_that_slows_down_keeps_its_ratios_even_when_only_one_side_is_seen() {
        let mut cost = measured();
        let ratio = cost.draft_seconds(0) / cost.plain_seconds(0);
        for _ in 0..200 {
            cost.observe(&record(0, 0.0, 0.060)); // plain decoding only, 1.5 times slower
        }
        assert!((cost.plain_seconds(0) - 0.060).abs() < 0.002, "{}", cost.plain_seconds(0));
        let drifted = cost.draft_seconds(0) / cost.plain_seconds(0);
        assert!((drifted / ratio - 1.0).abs() < 0.35, "{ratio} became {drifted}");
    }

    #[test]
    fn a_wrong_ratio_is_corrected_on_both_sides() {
        let mut cost = measured();
        for _ in 0..300 {
            cost.observe(&record(3, 0.024, 0.055)); // the draft is twice as slow as calibrated, the target as calibrated
        }
        assert!((cost.draft_seconds(0) / 0.024 - 1.0).abs() < 0.05, "{}", cost.draft_seconds(0));
        assert!(
            (cost.verify_seconds(4, 0) / 0.055 - 1.0).abs() < 0.05,
            "{}",
            cost.verify_seconds(4, 0)
        );
    }

    #[test]
    fn without_calibration_the_first_steps_set_the_scale() {
        let mut cost = CostModel::uncalibrated();
        for step in 0..30 {
            let gamma = step % 4;
            cost.observe(&record(gamma, 0.001, 0.004 + 0.001 * gamma as f64));
        }
        assert!((cost.plain_seconds(0) / 0.004 - 1.0).abs() < 0.15, "{}", cost.plain_seconds(0));
        assert!((cost.draft_seconds(0) / 0.001 - 1.0).abs() < 0.2, "{}", cost.draft_seconds(0));
        assert!(
            (cost.verify_seconds(4, 0) / 0.007 - 1.0).abs() < 0.2,
            "{}",
            cost.verify_seconds(4, 0)
        );
    }

    #[test]
    fn verification_never_gets_cheaper_with_more_rows() {
        let mut cost = measured();
        for step in 0..400 {
            let gamma = step * 7 % 9;
            let noise = if step % 3 == 0 { 2.0 } else { 0.7 };
            cost.observe(&record(gamma, 0.012, noise * 0.04));
            for context in [0, 1000] {
                for rows in 1..30 {
                    assert!(
                        cost.verify_seconds(rows, context)
                            <= cost.verify_seconds(rows + 1, context) + 1e-15
                    );
                }
            }
        }
    }

    #[test]
    fn a_stored_model_comes_back_and_a_broken_one_is_refused() {
        let mut cost = measured();
        cost.observe(&record(3, 0.02, 0.05));
        let text = serde_json::to_string(&cost).expect("serialises");
        let read: CostModel = serde_json::from_str(&text).expect("reads");
        for rows in 1..=17 {
            assert!(
                (read.verify_seconds(rows, 100) / cost.verify_seconds(rows, 100) - 1.0).abs()
                    < 1e-9
            );
        }
        let broken = text.replacen("\"seconds\":", "\"seconds\":-", 1);
        let error =
            serde_json::from_str::<CostModel>(&broken).expect_err("negative seconds").to_string();
        assert!(error.contains("expected a positive number of seconds"), "{error}");
    }
}
