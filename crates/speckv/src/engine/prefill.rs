//! Reading ahead: the target before a step decides, the draft before it drafts.

use std::ops::ControlFlow;

use super::{Engine, EngineError, Sequence};
use crate::{
    draft::{Drafter, Reading, TargetRead},
    model::{Cache, Feed, LanguageModel},
    recycle::recycle,
};

/// Tokens per pass when a step has to read ahead, those of all sequences together.
const PREFILL_CHUNK: usize = 256;

/// How far reading ahead has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefill {
    /// Tokens read in this call.
    pub done: usize,
    /// Tokens to read in this call.
    pub total: usize,
}

impl<M: LanguageModel> Engine<M> {
    /// Has the target read all of the text but its last token, at most `chunk` tokens per pass, and
    /// calls `progress` after each pass.
    ///
    /// A step does this by itself where it is needed; calling it first shows progress and can be
    /// stopped by returning [`ControlFlow::Break`], which loses nothing: the next call goes on from
    /// there.
    ///
    /// # Errors
    /// The target's, or a sequence of another engine; what was read stays read.
    pub fn prefill(
        &mut self,
        sequence: &mut Sequence<M>,
        chunk: usize,
        mut progress: impl FnMut(Prefill) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EngineError> {
        self.check(&[&mut *sequence])?;
        let total = sequence.unread_text();
        let mut done = 0;
        while done < total {
            done += self.read_pass(&mut [&mut *sequence], |_| true, chunk.max(1))?;
            if progress(Prefill { done, total }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Has the target read all that the sequences of a step have not read, several in one pass,
    /// except for those that read along with verification.
    pub(super) fn read_ahead(
        &mut self,
        sequences: &mut [&mut Sequence<M>],
    ) -> Result<(), EngineError> {
        let ahead = |sequence: &Sequence<M>| {
            sequence.step.active
                && sequence.limits.target == usize::MAX
                && sequence.unread_text() > 0
        };
        while sequences.iter().any(|sequence| ahead(sequence)) {
            let _ = self.read_pass(sequences, ahead, PREFILL_CHUNK)?;
        }
        Ok(())
    }

    /// One pass over what the chosen sequences have not read, `most` tokens in all, the first ones
    /// first. Returns the number of tokens. Each sequence's total has the time of the whole pass.
    fn read_pass(
        &mut self,
        sequences: &mut [&mut Sequence<M>],
        chosen: impl Fn(&Sequence<M>) -> bool,
        most: usize,
    ) -> Result<usize, EngineError> {
        let wants_hidden = self.drafter.wants_hidden();
        let mut feeds = recycle(std::mem::take(&mut self.feeds));
        let mut read = 0;
        for sequence in sequences.iter_mut() {
            sequence.step.ahead = 0;
            if !chosen(sequence) {
                continue;
            }
            let count = sequence.unread_text().min(most - read);
            let Sequence { cache, tokens, step, .. } = &mut **sequence;
            step.ahead = count;
            step.held = cache.len();
            step.first_hidden = wants_hidden.then_some(read);
            read += count;
            if count > 0 {
                let fed = &tokens[step.held..step.held + count];
                let hidden = if wants_hidden { count } else { 0 };
                feeds.push(Feed::new(cache, fed, 0).with_hidden(hidden));
            }
        }
        let start = self.clock.now();
        let outcome = self.target.forward(&mut feeds, &mut self.output);
        let elapsed = self.clock.now() - start;
        self.feeds = recycle(feeds);
        outcome?;
        for sequence in sequences.iter_mut().filter(|sequence| sequence.step.ahead > 0) {
            sequence.totals.prefill += elapsed;
            sequence.totals.prompt_tokens += sequence.step.ahead;
            self.tell_drafter(sequence, sequence.cache.len())?;
        }
        Ok(read)
    }

    /// Tells the drafter what the target has read of a sequence in its last pass: the text up to
    /// position `end`.
    pub(super) fn tell_drafter(
        &mut self,
        sequence: &Sequence<M>,
        end: usize,
    ) -> Result<(), EngineError> {
        let Sequence { tokens, step, .. } = sequence;
        let (tokens, output) = (&tokens[..end], &mut self.output);
        let mut read = TargetRead::new(tokens, step.held, output, step.first_hidden);
        Ok(self.drafter.target_read(sequence.slot(), &mut read)?)
    }

    /// Has the draft read what it has missed of the sequences that are to draft with it, several in
    /// one pass.
    pub(super) fn catch_up(
        &mut self,
        sequences: &mut [&mut Sequence<M>],
    ) -> Result<(), EngineError> {
        let mut readings = recycle(std::mem::take(&mut self.readings));
        for sequence in sequences.iter().filter(|sequence| sequence.step.active) {
            let reading = |end: usize| {
                let tokens = &sequence.tokens[..end];
                Reading { slot: sequence.slot(), tokens }
            };
            readings.extend(sequence.step.catches_up_to.map(reading));
        }
        if readings.is_empty() {
            self.readings = recycle(readings);
            return Ok(());
        }
        let start = self.clock.now();
        let outcome = self.drafter.catch_up_all(&mut readings);
        let elapsed = self.clock.now() - start;
        self.readings = recycle(readings);
        outcome?;
        let catching_up = |sequence: &&mut &mut Sequence<M>| {
            sequence.step.active && sequence.step.catches_up_to.is_some()
        };
        for sequence in sequences.iter_mut().filter(catching_up) {
            sequence.step.times.catch_up = elapsed;
        }
        Ok(())
    }

    /// Has the draft model, if there is one, read all of the text but its last token, which it does
    /// by itself when it first drafts. For measurements in which the reading of prompts is not to
    /// count as decoding: its time is in no total.
    ///
    /// # Errors
    /// The drafter's, or a sequence of another engine; what was read stays read.
    pub fn prefill_draft(&mut self, sequence: &mut Sequence<M>) -> Result<(), EngineError> {
        self.check(&[&mut *sequence])?;
        if let Some(len) = sequence.draft_keeps.take() {
            self.drafter.truncate(sequence.slot(), len);
        }
        Ok(self.drafter.catch_up(sequence.slot(), &sequence.tokens)?)
    }
}
