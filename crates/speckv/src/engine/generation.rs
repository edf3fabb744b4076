//! Generation as an iterator.

use super::{Engine, EngineError, Sequence};
use crate::{model::LanguageModel, token::Token};

/// The tokens of one sequence, as an iterator that steps the engine when it has none left.
/// Stopping, timing and text are adapters around it.
///
/// A step makes several tokens; the sequence holds them all, even if the iterator is dropped before
/// it has returned them. [`pending`](Generation::pending) says how many, and [`Sequence::rewind`]
/// takes them back.
pub struct Generation<'a, M: LanguageModel> {
    engine: &'a mut Engine<M>,
    sequence: &'a mut Sequence<M>,
    returned: usize, // tokens of the text that were handed out, or were there before
    failed: bool,
}

impl<'a, M: LanguageModel> Generation<'a, M> {
    pub(super) fn new(engine: &'a mut Engine<M>, sequence: &'a mut Sequence<M>) -> Self {
        let returned = sequence.tokens().len();
        Generation { engine, sequence, returned, failed: false }
    }

    /// The sequence, with its last step's record and its totals.
    #[must_use]
    pub fn sequence(&self) -> &Sequence<M> {
        self.sequence
    }

    /// Tokens made but not yet returned. When it is 0 after a token was returned, a step has just
    /// been used up: the moment to look at its record.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.sequence.tokens().len() - self.returned
    }
}

impl<M: LanguageModel> Iterator for Generation<'_, M> {
    type Item = Result<Token, EngineError>;

    /// The next token, or `None` when the sequence is finished or after an error was returned.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.pending() == 0 {
            if self.sequence.finish_reason().is_some() {
                return None;
            }
            if let Err(error) = self.engine.step(&mut [&mut *self.sequence]) {
                self.failed = true;
                return Some(Err(error));
            }
        }
        let token = *self.sequence.tokens().get(self.returned)?;
        self.returned += 1;
        Some(Ok(token))
    }
}
