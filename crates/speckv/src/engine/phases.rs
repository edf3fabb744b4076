//! One sequence's part in each phase of a step.

use std::time::Duration;

use super::{Clock, FinishReason, Sequence, sequence::StepState};
use crate::{
    controller::Verdict,
    draft::{Ask, DraftError, Drafter, Proposal},
    model::{Cache, LanguageModel},
    record::{Source, Times},
    sampling::Distribution,
    step::{Ending, StepError},
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
        (step.accepted, step.accepted_drafts, step.branch_accepted) = (0, 0, 0);
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
            more: self.stepper.room(),
            ahead: self.stepper.ahead(),
            uniform: if self.chain.is_greedy() { 0.0 } else { self.randomness.uniform() },
            chain: &mut self.chain,
            distribution: &mut self.step.distributions[drafted],
            proposal: None,
        }
    }

    /// Asks look-up what it says from the text on, up to `most` tokens, in place of the draft.
    ///
    /// # Errors
    /// The drafter's.
    pub(super) fn say_beside(
        &mut self,
        drafter: &mut dyn Drafter,
        most: usize,
        distribution: &mut Distribution,
    ) -> Result<(), DraftError> {
        self.step.said.clear();
        self.tokens.truncate(self.step.committed);
        while self.step.said.len() < most {
            let ask = Ask {
                slot: self.place.slot(),
                source: Source::NGRAM,
                tokens: &self.tokens,
                drafted: self.step.said.len(),
                more: 1,
                ahead: 1,
                uniform: 0.0, // nothing is drawn
                chain: &mut self.chain,
                distribution,
                proposal: None,
            };
            let mut asks = [ask];
            drafter.propose(&mut asks)?;
            let [Ask { proposal, .. }] = asks;
            let Some(proposal) = proposal else { break };
            let token = proposal.token;
            self.step.said.push(proposal.into());
            self.tokens.push(token);
            if self.ends_with(token) {
                break;
            }
        }
        self.tokens.truncate(self.step.committed);
        self.tokens.extend(self.stepper.kept().iter().map(|drafted| drafted.token));
        Ok(())
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
        let Some(proposal) = proposal else {
            self.stepper.exhausted();
            return Ok(());
        };
        let token = proposal.token;
        // The target would reject it: leaving it out changes the time only.
        if !self.chain.allows(&self.tokens, token).unwrap_or(false) {
            self.stepper.exhausted();
            return Ok(());
        }
        let ends = self.ends_with(token);
        let start = clock.now();
        let verdict = self.stepper.judge(proposal.into(), ends)?;
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

    /// Tells the stepper of the forced tokens before the step.
    pub(super) fn note_forced(&mut self) {
        let StepState { committed, forced_before, .. } = self.step;
        for &token in &self.tokens[committed - forced_before..committed] {
            self.stepper.force(token);
        }
    }

    /// How the target's pass ended the step.
    pub(super) fn ending(&self) -> Ending {
        let StepState { accepted_drafts: accepted, branch_accepted: branch, last_token, .. } =
            self.step;
        Ending { accepted, token: last_token, verified: None, branch }
    }

    /// Makes the accepted draft and the token after it part of the text.
    pub(super) fn commit(&mut self) {
        let StepState { committed, accepted, branch_accepted, last_token, rest_was_empty, .. } =
            self.step;
        self.tokens.truncate(committed + accepted + branch_accepted);
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
