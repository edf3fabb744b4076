//! Sums over the steps of a sequence.

use std::time::Duration;

use crate::record::{StepRecord, Times};

/// What the steps of a sequence did and cost, summed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Tokens of prompt and context that the target read ahead of generation.
    pub prompt_tokens: usize,
    /// Time for that.
    pub prefill: Duration,
    /// Steps done.
    pub steps: usize,
    /// Tokens generated.
    pub produced: usize,
    /// Tokens drafted.
    pub drafted: usize,
    /// Draft tokens verified.
    pub verified: usize,
    /// Draft tokens accepted.
    pub accepted: usize,
    /// Second choices of the draft that were verified beside it; they are among the drafted tokens.
    pub siblings: usize,
    /// Those of them that were accepted.
    pub siblings_accepted: usize,
    /// Tokens that a constraint forced, without a draft.
    pub forced: usize,
    /// Recovered tokens drawn from p because (p - q)+ was empty in floating point: see
    /// [`crate::verify::verify`].
    pub empty_rests: usize,
    /// Time of the steps.
    pub times: Times,
    /// Steps by the number of tokens drafted: `[0]` are plain ones.
    pub gamma_histogram: Vec<usize>,
}

impl Totals {
    /// Adds a step.
    pub fn add(&mut self, record: &StepRecord) {
        let drafted = record.drafted.len();
        self.steps += 1;
        self.produced += record.outcome.produced;
        let branch = &record.branch;
        self.drafted += drafted + branch.tokens.len();
        self.verified += record.outcome.verified + branch.tokens.len();
        self.accepted += record.outcome.accepted + branch.accepted;
        self.siblings += usize::from(branch.sibling);
        self.siblings_accepted += if branch.sibling { branch.accepted } else { 0 };
        self.forced += record.forced.places.len();
        if self.gamma_histogram.len() <= drafted {
            self.gamma_histogram.resize(drafted + 1, 0);
        }
        self.gamma_histogram[drafted] += 1;
        self.times.catch_up += record.times.catch_up;
        self.times.draft += record.times.draft;
        self.times.verify += record.times.verify;
        self.times.controller += record.times.controller;
        self.times.total += record.times.total;
    }

    /// Accepted / drafted; `None` if nothing was drafted.
    #[must_use]
    pub fn acceptance_rate(&self) -> Option<f64> {
        (self.drafted > 0).then(|| self.accepted as f64 / self.drafted as f64)
    }

    /// Tokens per step, forced ones apart; `None` before the first step.
    #[must_use]
    pub fn acceptance_length(&self) -> Option<f64> {
        (self.steps > 0).then(|| (self.produced - self.forced) as f64 / self.steps as f64)
    }

    /// Tokens generated per second of the steps, prefill apart; `None` if no time has passed.
    #[must_use]
    pub fn tokens_per_second(&self) -> Option<f64> {
        rate(self.produced, self.times.total)
    }

    /// Tokens read ahead per second; `None` if no time has passed.
    #[must_use]
    pub fn prompt_tokens_per_second(&self) -> Option<f64> {
        rate(self.prompt_tokens, self.prefill)
    }
}

fn rate(count: usize, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| count as f64 / time.as_secs_f64())
}
