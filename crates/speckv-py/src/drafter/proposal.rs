//! One proposal for several sequences: each decides, the draft model catches up, and then all draft
//! together, one token each per round.

#![expect(clippy::disallowed_methods, reason = "what drafting costs is measured")]

use std::time::{Duration, Instant};

use speckv::{
    controller::{MAX_GAMMA, Situation},
    cost::{self, SharedPass},
    draft::{Ask, Drafter as Drafts, Proposal},
    record::{Source, Times},
    sampling::{Chain, Distribution, SamplingSettings},
    step::{Member, shared_pass},
};

use super::{Inner, Text, Work};
use crate::{
    error::{Fault, Outcome},
    lock,
};

/// What is the same for all sequences of a proposal.
pub(super) struct Round<'a> {
    pub(super) limits: &'a [usize],
    pub(super) costs: Option<&'a cost::CostModel>,
    pub(super) rows: Option<usize>,
    pub(super) waiting: Option<usize>,
    pub(super) read_limit: usize,
}

impl Inner {
    pub(super) fn propose(&mut self, texts: &mut [&mut Text], round: &Round<'_>) -> Outcome<()> {
        self.work = Work::default();
        for text in texts.iter() {
            text.abandon(&mut self.drafter);
        }
        let outcome = self.draft(texts, round);
        if outcome.is_err() {
            for text in texts.iter_mut() {
                text.abandon(&mut self.drafter);
            }
        }
        outcome
    }

    fn draft(&mut self, texts: &mut [&mut Text], round: &Round<'_>) -> Outcome<()> {
        let expected = |text: &Text| lock(&text.stepper).expected();
        let mut members: Vec<Option<Member>> =
            texts.iter().map(|text| Some(Member { rows: 1, expected: expected(text) })).collect();
        let mut drafting = Vec::with_capacity(texts.len());
        for index in 0..texts.len() {
            let pass = shared_pass(members.iter().copied(), index);
            // What the target's engine says of its pass counts more than what is proposed here.
            let pass = SharedPass {
                sequences: round.waiting.unwrap_or(pass.sequences).max(1),
                rows: round.rows.unwrap_or(pass.rows).max(1),
                ..pass
            };
            drafting.push(self.decide(&mut *texts[index], index, round, pass)?);
            members[index] = Some(Member { rows: 1, expected: expected(texts[index]) });
        }
        let committed: Vec<usize> = texts.iter().map(|text| text.tokens.len()).collect();
        let outcome = self.rounds(texts, &mut drafting, &committed);
        for (text, committed) in texts.iter_mut().zip(committed) {
            text.tokens.truncate(committed);
        }
        outcome
    }

    /// Plans the step of one text and lets the model catch up, as far as the limit on reading goes;
    /// whether it drafts.
    fn decide(
        &mut self,
        text: &mut Text,
        index: usize,
        round: &Round<'_>,
        pass: SharedPass,
    ) -> Outcome<bool> {
        let slot = text.slot()?;
        let context = text.tokens.len();
        let gamma_limit = if context == 0 { 0 } else { round.limits[index].min(MAX_GAMMA) };
        let draft_behind = self.drafter.behind(slot, context);
        let lookup = if gamma_limit > 0 { self.drafter.lookup(slot, &text.tokens) } else { None };
        let has_model = self.drafter.has_model_for(slot);
        let mut stepper = lock(&text.stepper);
        if let Some(costs) = round.costs {
            stepper.set_cost(costs);
        }
        let start = Instant::now();
        // An engine from outside says how far a step may go, not when the answer ends.
        let remaining = usize::MAX;
        let situation = Situation {
            context,
            gamma_limit,
            remaining,
            draft_behind,
            has_model,
            parallel: 0,
            lookup,
            pass,
        };
        stepper.plan(&situation)?;
        self.work.controllers += start.elapsed();
        text.times = Times::default();
        let read = stepper.read_ahead(round.read_limit.saturating_sub(self.work.catch_up_tokens));
        if read > 0 {
            let start = Instant::now();
            self.drafter.catch_up(slot, &text.tokens[..context - (draft_behind - read)])?;
            // Fewer where the drafter leaves the last ones to its first token.
            let read = draft_behind - self.drafter.behind(slot, context);
            if read > 0 {
                text.times.catch_up = start.elapsed();
                self.work.catch_up += text.times.catch_up;
                self.work.catch_up_tokens += read;
            }
        }
        Ok(stepper.wants_more())
    }

    /// A token for each text that still drafts, until none does.
    fn rounds(
        &mut self,
        texts: &mut [&mut Text],
        drafting: &mut [bool],
        committed: &[usize],
    ) -> Outcome<()> {
        while drafting.contains(&true) {
            let start = Instant::now();
            // Apart, so that each has its own time: a token of the model takes a thousand times as
            // long as one that was looked up.
            let mut proposals = vec![None; texts.len()];
            let lookup = self.ask(Source::NGRAM, texts, drafting, committed, &mut proposals)?;
            let model = self.ask(Source::MODEL, texts, drafting, committed, &mut proposals)?;
            let elapsed = start.elapsed();
            self.work.lookup += lookup.0;
            self.work.lookup_tokens += lookup.1;
            if model.1 > 0 {
                self.work.model += model.0;
                self.work.model_tokens += model.1;
                self.work.model_passes += 1;
            }
            let asked = texts
                .iter_mut()
                .zip(drafting.iter_mut())
                .zip(proposals)
                .filter(|((_, drafts), _)| **drafts);
            for ((text, drafts), proposal) in asked {
                text.times.draft += elapsed;
                let mut stepper = lock(&text.stepper);
                let Some(proposal) = proposal else {
                    stepper.exhausted();
                    *drafts = false;
                    continue;
                };
                let kept = stepper.kept().len();
                let ends = text.end_tokens.contains(&proposal.token);
                let start = Instant::now();
                stepper.judge(proposal.into(), ends)?;
                self.work.controllers += start.elapsed();
                if stepper.kept().len() > kept {
                    text.tokens.push(proposal.token);
                }
                *drafts = stepper.wants_more();
            }
        }
        Ok(())
    }

    /// Asks one source for a token for each text that drafts by it; the time that took, and how
    /// many came.
    fn ask(
        &mut self,
        source: Source,
        texts: &[&mut Text],
        drafting: &[bool],
        committed: &[usize],
        proposals: &mut [Option<Proposal>], // [texts]
    ) -> Outcome<(Duration, usize)> {
        let asked: Vec<usize> = (0..texts.len())
            .filter(|&index| drafting[index] && lock(&texts[index].stepper).source() == source)
            .collect();
        if asked.is_empty() {
            return Ok((Duration::ZERO, 0));
        }
        while self.chains.len() < asked.len() {
            let chain = Chain::new(SamplingSettings::default());
            self.chains.push(chain.map_err(|error| {
                Fault::argument(error, "this is a bug in speckv; please report it")
            })?);
            self.distributions.push(Distribution::new());
        }
        let mut asks = Vec::with_capacity(asked.len());
        for ((&index, chain), distribution) in
            asked.iter().zip(&mut self.chains).zip(&mut self.distributions)
        {
            let text = &*texts[index];
            let drafted = text.tokens.len() - committed[index];
            let (slot, tokens) = (text.slot()?, text.tokens.as_slice());
            asks.push(Ask {
                slot,
                source,
                tokens,
                drafted,
                more: 1,
                ahead: 1,
                chain,
                uniform: 0.0,
                distribution,
                proposal: None,
            });
        }
        let start = Instant::now();
        self.drafter.propose(&mut asks)?;
        let elapsed = start.elapsed();
        for (ask, &index) in asks.iter().zip(&asked) {
            proposals[index] = ask.proposal;
        }
        Ok((elapsed, asks.iter().filter(|ask| ask.proposal.is_some()).count()))
    }
}
