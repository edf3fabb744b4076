//! What a pass leaves behind.

use super::ModelError;
pub use crate::signals::Best;

use crate::token::Token;

/// Logits and hidden states of the last pass, in the memory where the backend has them.
///
/// Rows are those of the pass: `[sum of Feed::rows]` logits and `[sum of Feed::hidden]` hidden
/// states, in the order of the feeds. Greedy decoding needs [`likeliest`](PassOutput::likeliest) of
/// the target and [`best`](PassOutput::best) of the draft only, so that rows can stay on a device.
/// Rows are asked for one by one; a backend for which each question is a transfer answers the first
/// one for all rows of the pass and keeps the answers.
///
/// The methods take `&mut self` so that they can copy rows to memory of the output. They change no
/// logits: every question may be asked again.
pub trait PassOutput: Send {
    /// Rows of logits in the last pass.
    fn rows(&self) -> usize;

    /// Logits per row.
    fn vocab_size(&self) -> usize;

    /// The likeliest tokens and the signals of `row`, over the first `vocab` tokens (at most
    /// [`vocab_size`](PassOutput::vocab_size)). A backend may leave out the second token.
    ///
    /// # Errors
    /// [`ModelError::Logits`] for logits that make no token, [`ModelError::Row`] for a row that the
    /// pass does not have, or a failure of the device.
    fn best(&mut self, row: usize, vocab: usize) -> Result<Best, ModelError>;

    /// The token of [`best`](PassOutput::best), without the signals where that takes less time.
    ///
    /// # Errors
    /// As [`best`](PassOutput::best).
    fn likeliest(&mut self, row: usize, vocab: usize) -> Result<Token, ModelError> {
        Ok(self.best(row, vocab)?.token)
    }

    /// The logits of one row in host memory, `[vocab_size]`, for sampling, penalties, probabilities
    /// of tokens and perplexity.
    ///
    /// # Errors
    /// [`ModelError::Row`] for a row that the pass does not have, or a failure of the device.
    fn logits(&mut self, row: usize) -> Result<&[f32], ModelError>;

    /// Hidden states in the last pass.
    fn hidden_rows(&self) -> usize {
        0
    }

    /// One final hidden state in host memory, [`hidden_size`](super::LanguageModel::hidden_size)
    /// values: after the last layer and the output norm, as the output head reads it.
    ///
    /// # Errors
    /// [`ModelError::Row`] for a row that the pass does not have, or a failure of the device.
    fn hidden(&mut self, row: usize) -> Result<&[f32], ModelError> {
        Err(ModelError::Row { row, rows: 0 })
    }
}
