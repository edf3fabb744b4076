//! The one door to the heavy world. Draft and target are the same trait.

use crate::{logits::Logits, token::Token};

/// A language model: weights, read-only and shared. What belongs to one sequence is in its
/// [`Cache`].
///
/// Verification is [`forward`](LanguageModel::forward) on several tokens; rejection is
/// [`Cache::truncate`]. Implementations must give a position the same logits, bit for bit, however
/// the tokens before it were split over calls and whatever else shared the pass: greedy
/// losslessness rests on it, and [`crate::conformance`] tests it.
pub trait LanguageModel: Send + Sync {
    /// State of one sequence.
    type Cache: Cache;

    /// Number of tokens that the logits cover.
    fn vocab_size(&self) -> usize;

    /// Most positions that a cache can hold.
    fn context_length(&self) -> usize;

    /// A cache that holds no position yet.
    ///
    /// # Errors
    /// [`ModelError::OutOfMemory`] if the state does not fit.
    fn new_cache(&self) -> Result<Self::Cache, ModelError>;

    /// One pass over the weights: appends each feed's tokens to its cache and writes the logits of
    /// each feed's last `rows` positions, in the order of the feeds, into `logits` (`[sum of rows,
    /// vocab]`).
    ///
    /// # Errors
    /// A feed without tokens, with more rows than tokens, with a token outside the vocabulary, or
    /// past the context. On an error no cache has changed its length.
    fn forward(
        &self,
        feeds: &mut [Feed<'_, Self::Cache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError>;
}

/// State of one sequence inside a model: what it has read so far. It owns its memory.
pub trait Cache: Send + 'static {
    /// Number of positions held.
    fn len(&self) -> usize;

    /// Whether nothing was read yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets every position from `len` on; does nothing if there are fewer.
    fn truncate(&mut self, len: usize);

    /// Becomes a copy of the first `len` positions of `other`, a cache of the same model: as if
    /// those tokens had been read here, without a pass.
    ///
    /// `false`, and nothing is changed, where the implementation has no such thing or `other` holds
    /// fewer positions.
    fn copy_from(&mut self, other: &Self, len: usize) -> bool {
        let _ = (other, len);
        false
    }

    /// Pretends to have read up to `len` positions, without a pass: what they hold is finite and
    /// means nothing, but a pass over them takes the time that it takes over real ones. For
    /// measuring passes at long contexts only.
    ///
    /// `false`, and nothing is changed, where the implementation has no such thing or `len` does
    /// not fit.
    fn pretend(&mut self, len: usize) -> bool {
        let _ = len;
        false
    }
}

/// One sequence's part in a pass.
#[derive(Debug)]
pub struct Feed<'a, C> {
    /// The sequence's state; grows by `tokens.len()`.
    pub cache: &'a mut C,
    /// Tokens to append, at least one.
    pub tokens: &'a [Token],
    /// How many of the last positions need logits, 0 to `tokens.len()`.
    pub rows: usize,
}

impl<C: Cache> Feed<'_, C> {
    /// Checks this feed against the limits of a model; implementations of
    /// [`LanguageModel::forward`] call it first.
    ///
    /// # Errors
    /// See [`LanguageModel::forward`].
    pub fn check(&self, vocab_size: usize, context_length: usize) -> Result<(), ModelError> {
        if self.tokens.is_empty() || self.rows > self.tokens.len() {
            return Err(ModelError::Rows { tokens: self.tokens.len(), rows: self.rows });
        }
        if self.cache.len() + self.tokens.len() > context_length {
            return Err(ModelError::ContextFull {
                held: self.cache.len(),
                fed: self.tokens.len(),
                context: context_length,
            });
        }
        match self.tokens.iter().find(|&&token| token as usize >= vocab_size) {
            Some(&token) => Err(ModelError::UnknownToken { token, vocab_size }),
            None => Ok(()),
        }
    }
}

/// Why a model could not do a pass.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A feed has no tokens, or asks for more rows than it feeds.
    #[error(
        "expected at least one token and at most as many rows as tokens, got {tokens} tokens and {rows} rows"
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
    /// The logits hold a NaN or no finite value: the weights are broken, and no token may be made
    /// of that.
    #[error("the model's logits are not numbers (row {row})")]
    NotFinite {
        /// Row of the logits.
        row: usize,
    },
    /// A failure inside the implementation.
    #[error(transparent)]
    Backend(Box<dyn std::error::Error + Send + Sync>),
}
