//! Logits in host memory.

use crate::{
    model::{Best, ModelError, PassOutput},
    signals,
    token::Token,
};

/// Output of passes in host memory: logits `[rows, vocab]` and hidden states `[hidden rows, hidden
/// size]`, row-major. Reused from pass to pass, so that a step allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Logits {
    values: Vec<f32>, // [rows, vocab]
    rows: usize,
    vocab_size: usize,
    hidden: Vec<f32>, // [hidden_rows, hidden_size]
    hidden_rows: usize,
    hidden_size: usize,
}

impl Logits {
    /// An output without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the logits a new shape, takes all hidden states out, and returns the logits for
    /// writing. Old values may remain in them: the writer overwrites all.
    pub fn reshape(&mut self, rows: usize, vocab_size: usize) -> &mut [f32] {
        self.rows = rows;
        self.vocab_size = vocab_size;
        self.hidden_rows = 0;
        self.values.resize(rows * vocab_size, 0.0);
        &mut self.values
    }

    /// Gives the hidden states a new shape. Old values may remain in them: the writer overwrites
    /// all.
    pub fn reshape_hidden(&mut self, rows: usize, hidden_size: usize) {
        self.hidden_rows = rows;
        self.hidden_size = hidden_size;
        self.hidden.resize(rows * hidden_size, 0.0);
    }

    /// Number of positions.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of tokens that a row covers.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Logits of one position, `[vocab]`.
    ///
    /// # Panics
    /// If `row` is not below [`rows`](Self::rows).
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &self.values[row * self.vocab_size..(row + 1) * self.vocab_size]
    }

    /// Mutable logits of one position, `[vocab]`.
    ///
    /// # Panics
    /// If `row` is not below [`rows`](Self::rows).
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        self.rows_mut(row, 1)
    }

    /// Mutable logits of `count` neighbouring positions, `[count, vocab]`.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn rows_mut(&mut self, first: usize, count: usize) -> &mut [f32] {
        assert!(first + count <= self.rows, "rows {first}..{} of {}", first + count, self.rows);
        &mut self.values[first * self.vocab_size..(first + count) * self.vocab_size]
    }

    /// One mutable hidden state, `[hidden_size]`.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn hidden_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.hidden_rows, "hidden state {row} of {}", self.hidden_rows);
        &mut self.hidden[row * self.hidden_size..(row + 1) * self.hidden_size]
    }

    /// The first `vocab` logits of a row, for reading by `read`.
    fn read<T>(
        &self,
        row: usize,
        vocab: usize,
        read: impl FnOnce(&[f32]) -> Result<T, LogitsError>,
    ) -> Result<T, ModelError> {
        if row >= self.rows {
            return Err(ModelError::Row { row, rows: self.rows });
        }
        let logits = self.row(row);
        read(&logits[..vocab.min(logits.len())])
            .map_err(|source| ModelError::Logits { row, source })
    }
}

impl PassOutput for Logits {
    fn rows(&self) -> usize {
        self.rows
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn best(&mut self, row: usize, vocab: usize) -> Result<Best, ModelError> {
        self.read(row, vocab, signals::read)
    }

    fn likeliest(&mut self, row: usize, vocab: usize) -> Result<Token, ModelError> {
        self.read(row, vocab, signals::argmax)
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], ModelError> {
        if row < self.rows {
            Ok(self.row(row))
        } else {
            Err(ModelError::Row { row, rows: self.rows })
        }
    }

    fn hidden_rows(&self) -> usize {
        self.hidden_rows
    }

    fn hidden(&mut self, row: usize) -> Result<&[f32], ModelError> {
        if row < self.hidden_rows {
            Ok(&self.hidden[row * self.hidden_size..(row + 1) * self.hidden_size])
        } else {
            Err(ModelError::Row { row, rows: self.hidden_rows })
        }
    }
}

/// Why no token can be made of a row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogitsError {
    /// There is no logit.
    #[error("expected at least one logit, got none")]
    Empty,
    /// A logit is NaN or plus infinity: the weights or the kernel are wrong.
    #[error("expected numbers below infinity as logits, got a NaN or infinity")]
    NotANumber,
    /// Every logit is minus infinity: no token is possible.
    #[error("expected at least one possible token, got minus infinity for all")]
    AllImpossible,
    /// The constraint of the sequence failed; see [`Chain::failure`](crate::sampling::Chain).
    #[error("expected a constraint that allows a token, got one that failed")]
    Constraint,
}
