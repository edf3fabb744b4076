//! The buffer that logits are written to.

/// Logits of some positions, `[rows, vocab]`, row-major. Kept by the caller and reused, so that a
/// step allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Logits {
    values: Vec<f32>, // [rows, vocab]
    rows: usize,
    vocab_size: usize,
}

impl Logits {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the buffer a new shape and returns its values for writing. Old values may remain in
    /// them: the writer overwrites all.
    pub fn reshape(&mut self, rows: usize, vocab_size: usize) -> &mut [f32] {
        self.rows = rows;
        self.vocab_size = vocab_size;
        self.values.resize(rows * vocab_size, 0.0);
        &mut self.values
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
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &mut self.values[row * self.vocab_size..(row + 1) * self.vocab_size]
    }

    /// Mutable logits of `count` neighbouring positions, [count, vocab].
    ///
    /// # Panics
    /// If there are not that many.
    pub fn rows_mut(&mut self, first: usize, count: usize) -> &mut [f32] {
        assert!(first + count <= self.rows, "rows {first}..{} of {}", first + count, self.rows);
        &mut self.values[first * self.vocab_size..(first + count) * self.vocab_size]
    }
}

/// Why no token can be made of a row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogitsError {
    /// There is no logit.
    #[error("expected at least one logit, got none")]
    Empty,
    /// A logit is NaN or plus infinity: the weights or the kernel are broken.
    #[error("expected numbers below infinity as logits, got a NaN or infinity")]
    NotANumber,
    /// Every logit is minus infinity: no token is possible.
    #[error("expected at least one possible token, got minus infinity for all")]
    AllImpossible,
}
