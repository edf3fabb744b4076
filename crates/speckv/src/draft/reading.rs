//! What a drafter reads, and what it is told of the target's passes.

use super::Slot;
use crate::{
    model::{ModelError, PassOutput},
    token::Token,
};

/// A text that a drafter is to catch up on: see [`Drafter::catch_up_all`](super::Drafter).
#[derive(Debug)]
pub struct Reading<'a> {
    /// The sequence.
    pub slot: Slot,
    /// Its tokens, the last of which is not read.
    pub tokens: &'a [Token],
}

/// What the target has read of a sequence in one pass and keeps.
pub struct TargetRead<'a> {
    tokens: &'a [Token],
    from: usize,
    output: &'a mut dyn PassOutput,
    first_hidden: Option<usize>,
}

impl<'a> TargetRead<'a> {
    /// The text `tokens` up to what was read last, of which the pass read the positions from `from`
    /// on. Their hidden states are in `output` from row `first_hidden` on, if they were wanted.
    #[must_use]
    pub fn new(
        tokens: &'a [Token],
        from: usize,
        output: &'a mut dyn PassOutput,
        first_hidden: Option<usize>,
    ) -> Self {
        TargetRead { tokens, from, output, first_hidden }
    }

    /// The sequence's text up to the last token that was read.
    #[must_use]
    pub fn tokens(&self) -> &'a [Token] {
        self.tokens
    }

    /// The first position that this pass read. It read all from there to the end of
    /// [`tokens`](TargetRead::tokens).
    #[must_use]
    pub fn from(&self) -> usize {
        self.from
    }

    /// The target's final hidden state at a position that this pass read.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if the drafter does not say that it
    /// [wants](super::Drafter::wants_hidden) them, [`ModelError::Row`] for another position, or a
    /// failure of the device.
    pub fn hidden(&mut self, position: usize) -> Result<&[f32], ModelError> {
        let first = self
            .first_hidden
            .ok_or(ModelError::Unsupported { what: "hidden states that were not wanted" })?;
        if !(self.from..self.tokens.len()).contains(&position) {
            return Err(ModelError::Row { row: position, rows: self.tokens.len() });
        }
        self.output.hidden(first + position - self.from)
    }
}
