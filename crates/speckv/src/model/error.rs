//! Why a model could not do a pass.

use crate::{logits::LogitsError, token::Token};

/// Why a model could not do a pass, or say what came of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A feed has no tokens, or asks for more rows than it feeds.
    #[error(
        "expected at least one token and at most as many rows as tokens, \
         got {tokens} tokens and {rows} rows"
    )]
    Rows {
        /// Tokens fed.
        tokens: usize,
        /// Rows asked for.
        rows: usize,
    },
    /// The token is not in the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocab_size} tokens")]
    UnknownToken {
        /// The offending token.
        token: Token,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// The cache has no room for the tokens.
    #[error("the context holds {context} tokens: {held} are used and {fed} more do not fit")]
    ContextFull {
        /// Positions already held.
        held: usize,
        /// Tokens in this feed.
        fed: usize,
        /// Most positions.
        context: usize,
    },
    /// A tree does not say of every token what it follows.
    #[error("expected a parent for each of {tokens} tokens, got {parents} parents")]
    Parents {
        /// Tokens fed.
        tokens: usize,
        /// Parents given.
        parents: usize,
    },
    /// A token follows itself or a later one.
    #[error("expected a parent from 0 to {token} for token {token} of a feed, got {parent}")]
    Parent {
        /// Index of the token in its feed.
        token: usize,
        /// The parent given.
        parent: usize,
    },
    /// What was to be kept is no path of the last feed.
    #[error(
        "expected a path through the last feed, fed just before: \
         entry {entry} of the {len} given does not follow the one before"
    )]
    Path {
        /// Index of the first wrong entry.
        entry: usize,
        /// Entries given.
        len: usize,
    },
    /// The output has no such row.
    #[error("expected a row below {rows}, got {row}")]
    Row {
        /// Row asked for.
        row: usize,
        /// Rows that the last pass left.
        rows: usize,
    },
    /// The backend has no such thing.
    #[error("this model has no {what}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// The cache was made by another model.
    #[error("expected a cache of this model ({expected}), got one of another model ({got})")]
    ForeignCache {
        /// What this model's caches are like.
        expected: String,
        /// What the cache is like.
        got: String,
    },
    /// The state of a sequence does not fit in memory.
    #[error("a cache of {bytes} bytes does not fit in memory")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// The logits make no token.
    #[error("the logits of row {row} make no token")]
    Logits {
        /// Row of the output.
        row: usize,
        /// What is wrong with them.
        source: LogitsError,
    },
    /// A failure inside the implementation.
    #[error(transparent)]
    Backend(Box<dyn std::error::Error + Send + Sync>),
}
