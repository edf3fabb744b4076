//! The cost model: measured seconds with the corrections learned since.

use std::collections::BTreeMap;

use super::{
    Affine, CostError, MEASURED_ROWS, Online, Samples, SharedPass, calibration, growth::Growth,
    passes::PassClasses,
};
use crate::{record::StepRecord, source::Source};

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
    /// Passes beyond the measured row counts, relative to the longest measured one.
    large: Growth,
    /// Drafting rounds of several sequences, relative to one of a single sequence.
    rounds: Growth,
}

/// What a cost model keeps on disk.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Parts {
    pub draft: Affine,
    pub verify: [Affine; MEASURED_ROWS],
    /// Seconds per token that the draft reads to catch up.
    pub catch_up_per_token: f64,
    /// Seconds per token proposed by look-up.
    pub ngram_per_token: f64,
    #[serde(default)]
    pub online: Online,
    /// Passes beyond the measured row counts, as (rows, seconds at an empty context), both
    /// ascending; empty where the curve goes on as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<(usize, f64)>,
    /// Seconds per token of sources other than the draft model and n-gram look-up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<Source, f64>,
    /// Draft passes over several rows, as (rows, factor on a pass over one), both ascending; empty
    /// where none were measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draft_rows: Vec<(usize, f64)>,
    /// Passes observed beyond the measured row counts, as factors on the longest measured one.
    #[serde(default, skip_serializing_if = "PassClasses::is_empty")]
    pub large: PassClasses,
    /// Drafting rounds of several sequences, as factors on one of a single sequence.
    #[serde(default, skip_serializing_if = "PassClasses::is_empty")]
    pub rounds: PassClasses,
}

impl TryFrom<Parts> for CostModel {
    type Error = CostError;

    fn try_from(parts: Parts) -> Result<Self, CostError> {
        let times = parts.verify.iter().chain([&parts.draft]);
        let numbers = times
            .flat_map(|time| [time.seconds, time.per_context_token])
            .chain([parts.catch_up_per_token, parts.ngram_per_token])
            .chain(parts.sources.values().copied());
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
        let mut before = (1, 1.0);
        for &(rows, factor) in &parts.draft_rows {
            if rows <= before.0 || !(factor.is_finite() && factor >= before.1) {
                return Err(CostError::NotATime { got: factor });
            }
            before = (rows, factor);
        }
        Ok(CostModel::of(parts))
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
            sources: BTreeMap::new(),
            draft_rows: fitted.draft_rows,
            large: PassClasses::default(),
            rounds: PassClasses::default(),
        };
        CostModel::try_from(parts)
    }

    /// The same model with measured seconds per token proposed by look-up, which
    /// [`from_samples`](Self::from_samples) takes to be 2 microseconds.
    ///
    /// # Errors
    /// [`CostError::NotATime`] if that is negative or no number.
    pub fn with_lookup(self, seconds: f64) -> Result<Self, CostError> {
        self.with_source(Source::NGRAM, seconds)
    }

    /// The same model with seconds per token proposed by `source`.
    ///
    /// # Errors
    /// [`CostError::NotATime`] if that is negative or no number, or not positive for the draft
    /// model.
    pub fn with_source(mut self, source: Source, seconds: f64) -> Result<Self, CostError> {
        let is_model = source == Source::MODEL;
        if !(seconds.is_finite() && seconds >= 0.0) || (is_model && seconds == 0.0) {
            return Err(CostError::NotATime { got: seconds });
        }
        match source {
            Source::MODEL => self.parts.draft = Affine { seconds, per_context_token: 0.0 },
            Source::NGRAM => self.parts.ngram_per_token = seconds,
            source => _ = self.parts.sources.insert(source, seconds),
        }
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
            sources: BTreeMap::new(),
            draft_rows: Vec::new(),
            large: PassClasses::default(),
            rounds: PassClasses::default(),
        };
        CostModel::of(parts)
    }

    /// The model of checked parts.
    fn of(parts: Parts) -> Self {
        let mut model = CostModel {
            corrected: parts.verify,
            draft_factor: 1.0,
            catch_up_factor: 1.0,
            large: Growth::default(),
            rounds: Growth::default(),
            parts,
        };
        model.apply_corrections();
        model.large = Growth::of(&model.parts.large, MEASURED_ROWS, |rows| model.large_prior(rows));
        model.rounds = Growth::of(&model.parts.rounds, 1, |rows| model.rounds_prior(rows));
        model
    }

    /// What it was made of, for a model with other times.
    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Seconds of one draft token of the model, signals included.
    #[must_use]
    pub fn draft_seconds(&self, context: usize) -> f64 {
        self.parts.draft.at(context) * self.draft_factor
    }

    /// Seconds of one token proposed by `source`. A source whose seconds are not known is taken to
    /// cost what the draft model costs.
    #[must_use]
    pub fn source_seconds(&self, source: Source, context: usize) -> f64 {
        match source {
            Source::NGRAM => self.ngram_seconds(),
            source => {
                let known = self.parts.sources.get(&source).copied();
                known.unwrap_or_else(|| self.draft_seconds(context))
            }
        }
    }

    /// Seconds of drafting `tokens` tokens from `source` for a sequence alone: see
    /// [`shared_drafting_seconds`](Self::shared_drafting_seconds).
    #[must_use]
    pub fn drafting_seconds(
        &self,
        source: Source,
        tokens: usize,
        behind: usize,
        context: usize,
    ) -> f64 {
        self.shared_drafting_seconds(source, tokens, behind, context, SharedPass::ALONE)
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
        if rows <= MEASURED_ROWS {
            return self.corrected[rows.max(1) - 1].at(context);
        }
        let longest = self.corrected[MEASURED_ROWS - 1].at(context);
        if self.large.is_empty() {
            return self.unlearned_seconds(rows, context);
        }
        longest * self.large.at(rows, |rows| self.large_prior(rows)).max(1.0)
    }

    /// [`verify_seconds`](Self::verify_seconds) of more rows than were measured one by one, without
    /// what was learned of such passes.
    fn unlearned_seconds(&self, rows: usize, context: usize) -> f64 {
        let last = MEASURED_ROWS - 1;
        if !self.parts.tail.is_empty() {
            return self.corrected[last].at(context) + self.tail_seconds(rows);
        }
        // The mean slope of the upper half: a single step of a kernel's tiling must not set the
        // slope for ever.
        let (middle, end) =
            (self.corrected[last / 2].at(context), self.corrected[last].at(context));
        end + (end - middle) / (last - last / 2) as f64 * (rows - MEASURED_ROWS) as f64
    }

    /// What a pass over `rows` rows takes, relative to the longest measured one, before any such
    /// pass was observed.
    fn large_prior(&self, rows: f64) -> f64 {
        let longest = self.corrected[MEASURED_ROWS - 1].seconds;
        self.unlearned_seconds((rows.round() as usize).max(MEASURED_ROWS), 0) / longest
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

    /// Learns from a target pass over `rows` rows of several sequences, of a mean context length.
    /// Passes of more rows than were measured one by one are kept in classes of similar size, as in
    /// [`PassCurve`](super::PassCurve), relative to the longest measured one.
    pub fn observe_pass(&mut self, rows: usize, context: usize, seconds: f64) {
        if rows == 0 {
            return;
        }
        let ratio = seconds / self.verify_seconds(rows, context);
        if rows <= MEASURED_ROWS {
            if self.parts.online.observe_verify(rows, ratio) {
                self.apply_corrections();
            }
            return;
        }
        // Only a size that is known can tell a drift of the machine from a wrong shape.
        if self.parts.large.is_sure(rows) && self.parts.online.observe_machine(ratio) {
            self.apply_corrections();
        }
        let longest = self.corrected[MEASURED_ROWS - 1].at(context);
        if self.parts.large.observe(rows, seconds / longest) {
            self.large =
                Growth::of(&self.parts.large, MEASURED_ROWS, |rows| self.large_prior(rows));
        }
    }

    /// Learns from a drafting round in which the draft read `rows` rows of several sequences, at
    /// least two, of a mean context length. A round of one sequence is in
    /// [`observe`](Self::observe).
    pub fn observe_round(&mut self, rows: usize, context: usize, seconds: f64) {
        let factor = seconds / self.draft_seconds(context);
        if rows >= 2 && self.parts.rounds.observe(rows, factor) {
            self.rounds = Growth::of(&self.parts.rounds, 1, |rows| self.rounds_prior(rows));
        }
    }

    /// Seconds of a drafting round in which the draft reads `rows` rows, one for each sequence:
    /// `d(rows)`. From rounds observed; before them from passes measured at calibration; before
    /// those `d(1) t(rows) / t(1)` with the target's `t`, because both run the same kernels.
    #[must_use]
    pub fn draft_round_seconds(&self, rows: usize, context: usize) -> f64 {
        let one = self.draft_seconds(context);
        if rows <= 1 {
            return one;
        }
        let measured = !(self.rounds.is_empty() && self.parts.draft_rows.is_empty());
        let factor = if measured {
            self.rounds.at(rows, |rows| self.rounds_prior(rows)).max(1.0)
        } else {
            self.verify_seconds(rows, context) / self.verify_seconds(1, context)
        };
        one * factor
    }

    /// What a round of `rows` rows takes, relative to one of a single row, before any such round
    /// was observed.
    fn rounds_prior(&self, rows: f64) -> f64 {
        let points = || std::iter::once((1, 1.0)).chain(self.parts.draft_rows.iter().copied());
        let Some(&last) = self.parts.draft_rows.last() else {
            let rows = rows.round() as usize;
            return self.verify_seconds(rows, 0) / self.verify_seconds(1, 0);
        };
        // Beyond the end goes on what the upper half rose by.
        let (from, to) =
            points().zip(points().skip(1)).find(|(_, to)| rows <= to.0 as f64).unwrap_or_else(
                || (points().rfind(|point| 2 * point.0 <= last.0).unwrap_or((1, 1.0)), last),
            );
        let slope = (to.1 - from.1) / (to.0 - from.0) as f64;
        let (rows, start) = if rows > last.0 as f64 { (rows, to) } else { (rows, from) };
        start.1 + slope * (rows - start.0 as f64)
    }

    fn observe_times(&mut self, record: &StepRecord) -> bool {
        let (context, times) = (record.before.context, &record.times);
        let rows = record.rows();
        let mut learned = false;
        let source = record.before.plan.source;
        if source == Source::PARALLEL && !record.drafted.is_empty() {
            let expected = self.draft_round_seconds(record.before.block_rows(), context);
            learned |= self.parts.online.observe_draft(times.draft.as_secs_f64() / expected);
        }
        if source == Source::MODEL && !record.drafted.is_empty() {
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

/// Look-up compares some ten places: microseconds, until [`CostModel::with_lookup`] sets them.
const NGRAM_SECONDS: f64 = 2e-6;

#[cfg(test)]
pub(super) mod tests;
