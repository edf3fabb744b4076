//! The target reads ahead.

use std::ops::ControlFlow;

use super::{Engine, EngineError, Sequence};
use crate::model::{Cache, Feed, LanguageModel};

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
    /// The target's; what was read stays read.
    pub fn prefill(
        &mut self,
        sequence: &mut Sequence<M>,
        chunk: usize,
        mut progress: impl FnMut(Prefill) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EngineError> {
        let held = sequence.cache.len();
        let ahead = &sequence.tokens[held..sequence.tokens.len() - 1];
        let mut done = 0;
        for tokens in ahead.chunks(chunk.max(1)) {
            let start = self.clock.now();
            let mut feeds = [Feed::new(&mut sequence.cache, tokens, 0)];
            self.target.forward(&mut feeds, &mut self.output)?;
            sequence.totals.prefill += self.clock.now() - start;
            sequence.totals.prompt_tokens += tokens.len();
            done += tokens.len();
            if progress(Prefill { done, total: ahead.len() }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Has the draft model, if there is one, read all of the text but its last token, which it does
    /// by itself when it first drafts. For measurements in which the reading of prompts is not to
    /// count as decoding: its time is in no total.
    ///
    /// # Errors
    /// The drafter's; what was read stays read.
    pub fn prefill_draft(&mut self, sequence: &mut Sequence<M>) -> Result<(), EngineError> {
        if let Some(len) = sequence.draft_keeps.take() {
            self.drafter.truncate(sequence.slot, len);
        }
        Ok(self.drafter.catch_up(sequence.slot, &sequence.tokens)?)
    }
}
