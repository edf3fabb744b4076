//! Token embeddings.

use std::{cell::RefCell, io};

use crate::{
    checkpoint::{Checkpoint, Stored},
    quant::{self, QuantError},
};

/// GGUF's name of the tensor.
pub const EMBEDDING: &str = "token_embd.weight";

thread_local! {
    /// The bytes of a row, kept between reads.
    static ROW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why an embedding could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// The file cannot be read any more.
    #[error("cannot read the token embeddings: the model file was truncated or is not readable")]
    Io(#[from] io::Error),
    /// The output does not have the length of a row.
    #[error(transparent)]
    Decode(#[from] QuantError),
}

/// Token embeddings, [vocab, hidden]. They stay in the file: a pass reads one row per token, by a
/// read of the file and not of its memory map, so that a file that is truncated while a server
/// runs is an error of the requests and not a signal that ends the process.
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

    /// Writes the embedding of `token` to `out`, `[hidden]`.
    ///
    /// # Errors
    /// A file that cannot be read any more, or `out` without the length of a row.
    ///
    /// # Panics
    /// If `token` is not below `vocab_size`.
    pub fn read(&self, token: u32, out: &mut [f32]) -> Result<(), EmbeddingError> {
        let tensor = self.tensor();
        let Stored::Plain(plain) = tensor else {
            return Ok(tensor.read(token as usize, out)?);
        };
        assert!((token as usize) < self.vocab_size, "expected a token of the vocabulary");
        ROW.with_borrow_mut(|bytes| {
            bytes.resize(plain.info.row_bytes(), 0);
            self.file.read_row(plain.info, token as usize, bytes)?;
            Ok(quant::dequantize(plain.info.tensor_type, bytes, out)?)
        })
    }
}
