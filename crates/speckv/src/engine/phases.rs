//! One sequence's part in each phase of a step.

use std::time::Duration;

use super::{Clock, FinishReason, Sequence, sequence::StepState};
use crate::{
    controller::Verdict,
    draft::{Ask, Proposal},
    model::{Cache, LanguageModel, ModelError, PassOutput},
    record::{Drafted, Times},
    sampling::Distribution,
    step::{Ending, StepError},
    verify::{Verified, verify},
};

impl<M: LanguageModel> Sequence<M> {
    pub(super) fn begin(&mut self) {
        let (unread, limit) = (self.unread(), self.limits.target);
        let step = &mut self.step;
        step.active = self.finish.is_none() && unread <= limit;
        step.reading = if self.finish.is_none() && unread > limit { limit } else { 0 };
        if !step.active {
            return;
        }
        (step.start, step.generated_before) = (self.tokens.len(), self.generated);
        self.force_before();
        let step = &mut self.step;
        (step.unread, step.unread_forced) = (0, 0);
        step.committed = self.tokens.len();
        step.is_forced.clear();
        (step.accepted, step.accepted_drafts) = (0, 0);
        step.last_token = None;
        step.rest_was_empty = false;
        step.times = Times { controller: self.observing, ..Times::default() };
        self.likelihoods.begin();
    }

    pub(super) fn ask(&mut self) -> Ask<'_> {
        let drafted = self.stepper.record().drafted.len();
        if self.step.distributions.len() <= drafted {
            self.step.distributions.push(Distribution::new());
        }
        Ask {
            slot: self.place.slot(),
            source: self.stepper.source(),
            tokens: &self.tokens,
            drafted: self.tokens.len() - self.step.committed,
            uniform: if self.chain.is_greedy() { 0.0 } else { self.randomness.uniform() },
            chain: &mut self.chain,
            distribution: &mut self.step.distributions[drafted],
            proposal: None,
        }
    }

    /// Takes a proposal in, and asks the controller whether to keep it and whether to go on.
    ///
    /// # Errors
    /// The sequence does not draft.
    pub(super) fn take(
        &mut self,
        proposal: Option<Proposal>,
        clock: &Clock,
    ) -> Result<(), StepError> {
        let Some(Proposal { token, signals }) = proposal else {
            self.stepper.exhausted();
            return Ok(());
        };
        // The target would reject it: leaving it out changes the time only.
        if !self.chain.allows(&self.tokens, token).unwrap_or(false) {
            self.stepper.exhausted();
            return Ok(());
        }
        let ends = self.ends_with(token);
        let start = clock.now();
        let verdict = self.stepper.judge(Drafted { token, signals }, ends)?;
        self.step.times.controller += clock.now() - start;
        if verdict != Verdict::Drop {
            self.tokens.push(token);
            self.step.is_forced.push(false);
            if !ends {
                self.force_between();
            }
        }
        Ok(())
    }

    pub(super) fn accept_greedy(
        &mut self,
        output: &mut M::Output,
        first_row: usize,
    ) -> Result<(), ModelError> {
        let drafted = self.tokens.len() - self.step.committed;
        let vocab_size = output.vocab_size();
        for position in 0..=drafted {
            let (end, row) = (self.step.committed + position, first_row + position);
            if self.accept_forced(position) {
                if self.ends_with(self.tokens[end]) {
                    break;
                }
                continue;
            }
            let text = &self.tokens[..end];
            let failed = |source| ModelError::Logits { row, source };
            let likeliest = match self.chain.changes_logits() {
                true => None,
                false => Some(output.likeliest(row, vocab_size)?),
            };
            let token = match likeliest {
                Some(token) if self.chain.allows(text, token).map_err(failed)? => token,
                _ => self.chain.argmax(output.logits(row)?, text).map_err(failed)?,
            };
            self.likelihoods.decided(token, output, row)?;
            if position == drafted || token != self.tokens[end] {
                self.step.last_token = Some(token);
                return Ok(());
            }
            self.step.accepted += 1;
            self.step.accepted_drafts += 1;
            if self.ends_with(token) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn accept_sampled(
        &mut self,
        output: &mut M::Output,
        first_row: usize,
        p: &mut Distribution,
        rest: &mut Distribution,
    ) -> Result<(), ModelError> {
        let last = self.tokens.len() - self.step.committed;
        for position in 0..=last {
            let (end, row) = (self.step.committed + position, first_row + position);
            if self.accept_forced(position) {
                if self.ends_with(self.tokens[end]) {
                    break;
                }
                continue;
            }
            self.chain
                .fill(output.logits(row)?, &self.tokens[..end], p)
                .map_err(|source| ModelError::Logits { row, source })?;
            if position == last {
                let token = p.draw(self.randomness.uniform());
                self.likelihoods.decided(token, output, row)?;
                self.step.last_token = Some(token);
                return Ok(());
            }
            let drafted = self.tokens[end];
            let (u_accept, u_draw) = (self.randomness.uniform(), self.randomness.uniform());
            let q = &self.step.distributions[self.step.accepted_drafts];
            match verify(drafted, p, q, u_accept, u_draw, rest) {
                Verified::Accepted => {
                    self.likelihoods.decided(drafted, output, row)?;
                    self.step.accepted += 1;
                    self.step.accepted_drafts += 1;
                }
                Verified::Recovered { token, rest_was_empty } => {
                    self.likelihoods.decided(token, output, row)?;
                    self.step.rest_was_empty = rest_was_empty;
                    self.step.last_token = Some(token);
                    return Ok(());
                }
            }
            if self.ends_with(drafted) {
                break;
            }
        }
        Ok(())
    }

    /// Whether the token at this position after the committed ones was forced: then it stays.
    fn accept_forced(&mut self, position: usize) -> bool {
        let is_forced = self.step.is_forced.get(position).copied().unwrap_or(false);
        self.step.accepted += usize::from(is_forced);
        is_forced
    }

    /// Tells the stepper of the forced tokens before the step.
    pub(super) fn note_forced(&mut self) {
        let StepState { committed, forced_before, .. } = self.step;
        for &token in &self.tokens[committed - forced_before..committed] {
            self.stepper.force(token);
        }
    }

    /// How the target's pass ended the step.
    pub(super) fn ending(&self) -> Ending {
        let StepState { accepted_drafts: accepted, last_token, .. } = self.step;
        Ending { accepted, token: last_token, verified: None }
    }

    /// Makes the accepted draft and the token after it part of the text.
    pub(super) fn commit(&mut self) {
        let StepState { committed, accepted, last_token, rest_was_empty, .. } = self.step;
        self.tokens.truncate(committed + accepted);
        self.tokens.extend(last_token);
        self.cache.truncate(self.tokens.len() - 1);
        self.generated += self.tokens.len() - committed;
        self.totals.empty_rests += usize::from(rest_was_empty);
        self.force_after();
        if self.has_ended() {
            self.finish = Some(FinishReason::Stop);
        } else {
            self.check_room();
        }
    }

    /// Takes back what a failed step did.
    pub(super) fn roll_back(&mut self) {
        self.tokens.truncate(self.step.start);
        self.cache.truncate(self.tokens.len() - 1);
        self.forced_unread = self.forced_unread.saturating_sub(self.step.forced_before);
        self.generated = self.step.generated_before;
        self.finish = None;
        self.likelihoods.begin();
        self.stepper.abandon();
    }

    /// Closes the record and lets the controller learn from it.
    ///
    /// # Errors
    /// The step was not committed.
    pub(super) fn observe(&mut self, elapsed: Duration, clock: &Clock) -> Result<(), StepError> {
        self.step.times.total = elapsed + self.observing;
        let start = clock.now();
        let record = self.stepper.observe(self.step.times)?;
        self.observing = clock.now() - start;
        self.totals.add(record);
        Ok(())
    }
}
