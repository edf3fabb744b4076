//! One proposal for several sequences: each decides, the draft model catches up on all of them
//! together, and then all draft together, one token each per round.

#![expect(clippy::disallowed_methods, reason = "what drafting costs is measured")]

use std::time::{Duration, Instant};

use speckv::{
    controller::{MAX_GAMMA, Situation},
    cost::{self, SharedPass},
    draft::{Ask, Drafter as Drafts, Proposal, READ_ALONG, Reading},
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

/// Tokens of a text that the model has missed, and how many of them it reads before all draft.
struct Missed {
    tokens: usize,
    read_now: usize,
}

/// What one source gave in a round.
#[derive(Default)]
struct Asked {
    elapsed: Duration,
    tokens: usize,
    passes: usize, // of the model
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
        let mut missed = Vec::with_capacity(texts.len());
        let mut read_limit = round.read_limit;
        for index in 0..texts.len() {
            let pass = shared_pass(members.iter().copied(), index);
            // What the target's engine says of its pass counts more than what is proposed here.
            let pass = SharedPass {
                sequences: round.waiting.unwrap_or(pass.sequences).max(1),
                rows: round.rows.unwrap_or(pass.rows).max(1),
                ..pass
            };
            let of_text = self.decide(&mut *texts[index], index, round, (pass, read_limit))?;
            read_limit -= of_text.read_now;
            missed.push(of_text);
            members[index] = Some(Member { rows: 1, expected: expected(texts[index]) });
        }
        self.catch_up(texts, &missed)?;
        let mut drafting: Vec<bool> =
            texts.iter().map(|text| lock(&text.stepper).wants_more()).collect();
        let committed: Vec<usize> = texts.iter().map(|text| text.tokens.len()).collect();
        let outcome = self.rounds(texts, &mut drafting, &committed);
        for (text, committed) in texts.iter_mut().zip(committed) {
            text.tokens.truncate(committed);
        }
        outcome
    }

    /// Plans the step of one text, in such a pass; the model is to read at most `limit` tokens of
    /// it before all draft.
    fn decide(
        &mut self,
        text: &mut Text,
        index: usize,
        round: &Round<'_>,
        (pass, limit): (SharedPass, usize),
    ) -> Outcome<Missed> {
        let slot = text.slot()?;
        let context = text.tokens.len();
        let gamma_limit = if context == 0 { 0 } else { round.limits[index].min(MAX_GAMMA) };
        let draft_behind = self.drafter.behind(slot, context);
        let lookup = if gamma_limit > 0 { self.drafter.lookup(slot, &text.tokens) } else { None };
        let has_model = self.drafter.has_model_for(slot);
        let parallel = if has_model { self.drafter.parallel() } else { 0 };
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
            parallel,
            lookup,
            pass,
        };
        stepper.plan(&situation)?;
        self.work.controllers += start.elapsed();
        text.times = Times::default();
        // A few tokens are read along with the first one that is drafted, whatever the limit.
        let reads = Some(stepper.read_ahead(limit)).filter(|&reads| reads > READ_ALONG);
        Ok(Missed { tokens: draft_behind, read_now: reads.unwrap_or(0) })
    }

    /// Has the model read what it has missed of the texts, several of them in one pass.
    fn catch_up(&mut self, texts: &mut [&mut Text], missed: &[Missed]) -> Outcome<()> {
        let mut readings = Vec::new();
        for (text, Missed { tokens, read_now }) in texts.iter().zip(missed) {
            if *read_now > 0 {
                let end = text.tokens.len() - (tokens - read_now);
                readings.push(Reading { slot: text.slot()?, tokens: &text.tokens[..end] });
            }
        }
        if readings.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        self.drafter.catch_up_all(&mut readings)?;
        let elapsed = start.elapsed();
        drop(readings);
        for (text, Missed { tokens, read_now }) in texts.iter_mut().zip(missed) {
            // None where the model failed.
            let read = tokens - self.drafter.behind(text.slot()?, text.tokens.len());
            if *read_now > 0 && read > 0 {
                (text.times.catch_up, self.work.catch_up) = (elapsed, elapsed);
                self.work.catch_up_tokens += read;
            }
        }
        Ok(())
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
            let block = self.ask(Source::PARALLEL, texts, drafting, committed, &mut proposals)?;
            let elapsed = start.elapsed();
            self.work.lookup += lookup.elapsed;
            self.work.lookup_tokens += lookup.tokens;
            for Asked { elapsed, tokens, passes } in [model, block] {
                self.work.model += elapsed;
                self.work.model_tokens += tokens;
                self.work.model_passes += passes;
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

    /// Asks one source for a token for each text that drafts by it.
    fn ask(
        &mut self,
        source: Source,
        texts: &[&mut Text],
        drafting: &[bool],
        committed: &[usize],
        proposals: &mut [Option<Proposal>], // [texts]
    ) -> Outcome<Asked> {
        let asked: Vec<usize> = (0..texts.len())
            .filter(|&index| drafting[index] && lock(&texts[index].stepper).source() == source)
            .collect();
        if asked.is_empty() {
            return Ok(Asked::default());
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
            let stepper = lock(&text.stepper);
            let (more, ahead) = (stepper.room(), stepper.ahead());
            drop(stepper);
            asks.push(Ask {
                slot,
                source,
                tokens,
                drafted,
                more,
                ahead,
                chain,
                uniform: 0.0,
                distribution,
                proposal: None,
            });
        }
        // A pass may answer the asks of later rounds too.
        let passes = asks.iter().map(|ask| match source {
            Source::MODEL => self.drafter.makes(ask.slot, ask.tokens, ask.ahead),
            _ => usize::from(source.is_of_model() && ask.drafted == 0),
        });
        let passes = passes.max().unwrap_or(0);
        let start = Instant::now();
        self.drafter.propose(&mut asks)?;
        let elapsed = start.elapsed();
        for (ask, &index) in asks.iter().zip(&asked) {
            proposals[index] = ask.proposal;
        }
        let tokens = asks.iter().filter(|ask| ask.proposal.is_some()).count();
        Ok(Asked { elapsed, tokens, passes: if tokens > 0 { passes } else { 0 } })
    }
}
