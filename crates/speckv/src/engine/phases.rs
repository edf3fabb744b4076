//! One sequence's part in each phase of a step.

use std::time::Duration;

use super::{Clock, FinishReason, Sequence, sequence::StepState};
use crate::{
    controller::Verdict,
    draft::{Ask, Proposal},
    model::{Cache, LanguageModel, ModelError, PassOutput},
    record::{Drafted, Last, Outcome, Times},
    sampling::Distribution,
    token::Token,
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
        step.drafts = self.record.expects_drafting();
        step.verified_before = self.record.outcome.verified;
        step.generated_before = self.generated;
        step.unread = 0;
        step.committed = self.tokens.len();
        step.drafting = false;
        step.kept = 0;
        step.signals.clear();
        step.accepted = 0;
        step.last = Last::Plain;
        step.last_token = None;
        step.rest_was_empty = false;
        self.likelihoods.begin();
        self.record.drafted.clear();
        self.record.tokens.clear();
        self.record.times = Times { controller: self.observing, ..Times::default() };
    }

    pub(super) fn ask(&mut self) -> Ask<'_> {
        let drafted = self.step.signals.len();
        if self.step.distributions.len() <= drafted {
            self.step.distributions.push(Distribution::new());
        }
        Ask {
            slot: self.slot,
            source: self.record.before.plan.source,
            tokens: &self.tokens,
            drafted,
            uniform: if self.chain.is_greedy() { 0.0 } else { self.randomness.uniform() },
            chain: &mut self.chain,
            distribution: &mut self.step.distributions[drafted],
            proposal: None,
        }
    }

    /// Takes a proposal in, and asks the controller whether to keep it and whether to go on.
    pub(super) fn take(&mut self, proposal: Option<Proposal>, clock: &Clock) {
        let Some(Proposal { token, signals }) = proposal else {
            self.step.drafting = false;
            return;
        };
        self.record.drafted.push(Drafted { token, signals });
        self.step.signals.push(signals);
        let start = clock.now();
        let verdict = self.controller.judge(&self.step.signals);
        self.record.times.controller += clock.now() - start;
        if verdict == Verdict::Drop {
            self.step.drafting = false;
            return;
        }
        self.tokens.push(token);
        self.step.kept += 1;
        // Nothing after an end token can be kept. This looks at the drawn token, but only at what
        // would not be seen anyway.
        self.step.drafting = verdict == Verdict::Continue
            && self.step.kept < self.step.budget
            && !self.ends_with(token);
    }

    pub(super) fn accept_greedy(
        &mut self,
        output: &mut M::Output,
        first_row: usize,
    ) -> Result<(), ModelError> {
        let vocab_size = output.vocab_size();
        for position in 0..=self.step.kept {
            let (end, row) = (self.step.committed + position, first_row + position);
            let token = if self.chain.has_penalty() {
                self.chain
                    .argmax(output.logits(row)?, &self.tokens[..end])
                    .map_err(|source| ModelError::Logits { row, source })?
            } else {
                output.likeliest(row, vocab_size)?
            };
            self.likelihoods.decided(token, output, row)?;
            if position == self.step.kept || token != self.tokens[end] {
                self.follow_with(token);
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
        for position in 0..=self.step.kept {
            let (end, row) = (self.step.committed + position, first_row + position);
            self.chain
                .fill(output.logits(row)?, &self.tokens[..end], p)
                .map_err(|source| ModelError::Logits { row, source })?;
            if position == self.step.kept {
                let token = p.draw(self.randomness.uniform());
                self.likelihoods.decided(token, output, row)?;
                self.follow_with(token);
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
                    self.follow_with(token);
                    return Ok(());
                }
            }
            if self.ends_with(drafted) {
                break;
            }
        }
        Ok(())
    }

    /// The token after the accepted ones.
    fn follow_with(&mut self, token: Token) {
        self.step.last_token = Some(token);
        self.step.last = match (self.step.kept, self.step.accepted) {
            (0, _) => Last::Plain,
            (kept, accepted) if accepted == kept => Last::Bonus,
            _ => Last::Recovered,
        };
    }

    /// Makes the accepted draft and the token after it part of the text.
    pub(super) fn commit(&mut self) {
        let StepState { committed, accepted, kept, last, last_token, rest_was_empty, .. } =
            self.step;
        self.tokens.truncate(committed + accepted);
        self.tokens.extend(last_token);
        self.cache.truncate(self.tokens.len() - 1);
        let produced = self.tokens.len() - committed;
        self.record.tokens.extend_from_slice(&self.tokens[committed..]);
        let ended = last_token.is_none();
        let last = if ended { Last::Accepted } else { last };
        self.record.outcome = Outcome { verified: kept, accepted, last, produced, ended };
        self.generated += produced;
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
        self.record.drafted.clear();
    }

    /// Closes the record and lets the controller learn from it.
    pub(super) fn observe(&mut self, elapsed: Duration, clock: &Clock) {
        self.record.times.total = elapsed + self.observing;
        self.totals.add(&self.record);
        self.steps += 1;
        let start = clock.now();
        self.controller.observe(&self.record);
        self.observing = clock.now() - start;
    }
}
