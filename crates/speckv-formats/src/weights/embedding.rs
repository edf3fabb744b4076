//! Token embeddings.

use crate::{
    checkpoint::{Checkpoint, Stored},
    quant::QuantError,
};

/// GGUF's name of the tensor.
pub const EMBEDDING: &str = "token_embd.weight";

/// Token embeddings, [vocab, hidden]. They stay in the file: a pass reads one row per token.
#[derive(Debug)]
pub struct Embedding {
    file: Checkpoint,
    /// Number of rows: tokens of the vocabulary.
    pub vocab_size: usize,
}

impl Embedding {
    /// The embedding of a file whose layout has been checked.
    pub(super) fn new(file: Checkpoint, vocab_size: usize) -> Self {
        Embedding { file, vocab_size }
    }

    /// The tensor, for a backend that copies it.
    ///
    /// # Panics
    /// Never: the layout has found the tensor in this file.
    #[must_use]
    pub fn tensor(&self) -> Stored<'_> {
        self.file.stored(EMBEDDING).expect("the layout has found the tensor")
    }

    /// Writes the embedding of `token` to `out`, [hidden].
    ///
    /// # Errors
    /// If `out` does not have the length of a row.
    ///
    /// # Panics
    /// If `token` is not below `vocab_size`.
    pub fn read(&self, token: u32, out: &mut [f32]) -> Result<(), QuantError> {
        self.tensor().read(token as usize, out)
    }
}
