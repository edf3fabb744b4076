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
        step.generated_before = self.generated;
        step.unread = 0;
        step.committed = self.tokens.len();
        step.accepted = 0;
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
            drafted,
            more: self.stepper.room(),
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
        let ends = self.ends_with(token);
        let start = clock.now();
        let verdict = self.stepper.judge(Drafted { token, signals }, ends)?;
        self.step.times.controller += clock.now() - start;
        if verdict != Verdict::Drop {
            self.tokens.push(token);
        }
        Ok(())
    }

    pub(super) fn accept_greedy(
        &mut self,
        output: &mut M::Output,
        first_row: usize,
    ) -> Result<(), ModelError> {
        let kept = self.stepper.kept().len();
        let vocab_size = output.vocab_size();
        for position in 0..=kept {
            let (end, row) = (self.step.committed + position, first_row + position);
            let token = if self.chain.has_penalty() {
                self.chain
                    .argmax(output.logits(row)?, &self.tokens[..end])
                    .map_err(|source| ModelError::Logits { row, source })?
            } else {
                output.likeliest(row, vocab_size)?
            };
            self.likelihoods.decided(token, output, row)?;
            if position == kept || token != self.tokens[end] {
                self.step.last_token = Some(token);
                return Ok(());
            }
            self.step.accepted += 1;
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
        let kept = self.stepper.kept().len();
        for position in 0..=kept {
            let (end, row) = (self.step.committed + position, first_row + position);
            self.chain
                .fill(output.logits(row)?, &self.tokens[..end], p)
                .map_err(|source| ModelError::Logits { row, source })?;
            if position == kept {
                let token = p.draw(self.randomness.uniform());
                self.likelihoods.decided(token, output, row)?;
                self.step.last_token = Some(token);
                return Ok(());
            }
            let drafted = self.tokens[end];
            let (u_accept, u_draw) = (self.randomness.uniform(), self.randomness.uniform());
            match verify(drafted, p, &self.step.distributions[position], u_accept, u_draw, rest) {
                Verified::Accepted => {
                    self.likelihoods.decided(drafted, output, row)?;
                    self.step.accepted += 1;
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

    /// How the target's pass ended the step.
    pub(super) fn ending(&self) -> Ending {
        let StepState { accepted, last_token, .. } = self.step;
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
        if self.ends_with(self.tokens[self.tokens.len() - 1]) {
            self.finish = Some(FinishReason::Stop);
        } else {
            self.check_room();
        }
    }

    /// Takes back what a failed step did.
    pub(super) fn roll_back(&mut self) {
        self.tokens.truncate(self.step.committed);
        self.cache.truncate(self.tokens.len() - 1);
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
