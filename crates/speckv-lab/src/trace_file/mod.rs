//! One recording as one Parquet file.
//!
//! One row per token: the target's own (source `target`), the draft model's
//! chain (`model`) and look-up's (`ngram`). The facts of the run and of the prompt stand in the
//! file's metadata, so that a file explains itself wherever it goes.

mod read;
mod schema;
mod write;

use std::path::PathBuf;

pub use read::read;
pub use schema::{FORMAT, PROMPT_KEY, RUN_KEY, SCHEMA, SECOND};
use speckv::token::Token;
pub use write::to_bytes;

use crate::{recorder::Recording, run::Run, workload::Split};

/// The prompt, as the metadata has it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PromptFacts {
    /// The prompt's id.
    pub id: String,
    /// Its task.
    pub task: String,
    /// Its split.
    pub split: Split,
    /// Its tokens as the target read them, the chat template included.
    pub tokens: Vec<Token>,
    /// Tokens that the output was allowed to have.
    pub max_tokens: usize,
    /// Tokens that end an output.
    pub end_tokens: Vec<Token>,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceFile {
    /// The run that it belongs to.
    pub run: Run,
    /// The prompt.
    pub prompt: PromptFacts,
    /// What was recorded.
    pub recording: Recording,
}

/// Why a trace file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TraceFileError {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Not Parquet, or damaged.
    #[error("{}: not a Parquet file, or a damaged one: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Parquet, but not a trace.
    #[error("{}: expected {expected}, got {got}", path.display())]
    NotATrace {
        /// The file.
        path: PathBuf,
        /// What a trace has.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// The recording does not go into the format.
    #[error("cannot write the trace of {prompt_id}: {reason}")]
    Unwritable {
        /// The prompt.
        prompt_id: String,
        /// The reason.
        reason: String,
    },
}
