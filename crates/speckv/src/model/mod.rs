//! The interface to model backends. Draft and target implement the same trait.
//!
//! A backend has three types: the model (weights, read-only and shared), a [`Cache`] per sequence,
//! and a [`PassOutput`] that each pass fills. A pass takes one [`Feed`] per sequence.
//!
//! # Implementing a backend
//!
//! - **Threads.** [`forward`](LanguageModel::forward) takes `&self` and may be called from several
//!   threads at once, each with its own caches and its own output. A backend that can do one pass
//!   at a time takes a lock inside; callers do not.
//! - **Shapes.** The backend shapes the output: after a pass it has one row per position asked for,
//!   in the order of the feeds. Callers make an output once with
//!   [`new_output`](LanguageModel::new_output) and give the same one to every pass, so that a pass
//!   allocates nothing once the output has grown.
//! - **Errors.** Check every feed with [`Feed::check`] before anything is changed. After an error
//!   each cache has the length that it had before; the rows of the output are unspecified.
//! - **Bits.** A position has the same logits, bit for bit, however the tokens before it were split
//!   over passes and whatever else was in the pass. Sum in one fixed order per row. Greedy
//!   losslessness rests on it.
//! - **Optional parts.** [`hidden_size`](LanguageModel::hidden_size) and
//!   [`takes_branches`](LanguageModel::takes_branches) say what a backend has. Without them,
//!   [`Feed::check`] refuses feeds that ask for it. [`Cache::copy_from`] and [`Cache::pretend`] may
//!   return `false`.
//!   [`continue_greedily`](LanguageModel::continue_greedily) is for devices on which the way to the
//!   host and back takes a good part of a pass.
//! - **Test.** [`crate::conformance::check_model`] tests all of the above.

mod error;
mod feed;
mod output;

pub use error::ModelError;
pub use feed::{Feed, LastFeed};
pub use output::{Best, PassOutput};

/// A language model: weights, read-only and shared. What belongs to one sequence is in its
/// [`Cache`].
///
/// Verification is [`forward`](LanguageModel::forward) on several tokens; rejection is
/// [`Cache::truncate`]. See the [module](self) for what an implementation must hold.
pub trait LanguageModel: Send + Sync {
    /// State of one sequence.
    type Cache: Cache;

    /// What a pass leaves behind, in the memory where the backend has it.
    type Output: PassOutput;

    /// Number of tokens that the logits cover.
    fn vocab_size(&self) -> usize;

    /// Most positions that a cache can hold.
    fn context_length(&self) -> usize;

    /// Values of a position's final hidden state; `None` where the backend does not give hidden
    /// states.
    fn hidden_size(&self) -> Option<usize> {
        None
    }

    /// Whether a feed may have branches: see [`Feed::with_parents`].
    fn takes_branches(&self) -> bool {
        false
    }

    /// A cache that holds no position yet.
    ///
    /// # Errors
    /// [`ModelError::OutOfMemory`] if the state does not fit.
    fn new_cache(&self) -> Result<Self::Cache, ModelError>;

    /// An output without rows. It takes its memory in the first pass.
    fn new_output(&self) -> Self::Output;

    /// One pass over the weights: appends each feed's tokens to its cache, and leaves in `output`
    /// the logits of each feed's last [`rows`](Feed::rows) tokens and the hidden states of its last
    /// [`hidden`](Feed::hidden) tokens, in the order of the feeds.
    ///
    /// # Errors
    /// A feed that [`Feed::check`] refuses, a cache of another model, no memory, or a failure of the
    /// device. On an error no cache has changed its length.
    fn forward(
        &self,
        feeds: &mut [Feed<'_, Self::Cache>],
        output: &mut Self::Output,
    ) -> Result<(), ModelError>;

    /// Most tokens per sequence that [`continue_greedily`](LanguageModel::continue_greedily) makes
    /// for so many sequences; 1 where a token needs a pass of its own.
    fn continuation_limit(&self, sequences: usize) -> usize {
        let _ = sequences;
        1
    }

    /// A pass over feeds of one row each, continued without the host: the likeliest of the first
    /// `vocab` tokens after each feed is fed in turn, until up to `count` tokens per feed are
    /// known. Returns the number of tokens m that were made of each feed, 1 to `count`.
    ///
    /// The output has `[m, feeds]` rows: row `i * feeds + f` is the one after feed `f` and `i` of
    /// its continuation's tokens, and [`best`](PassOutput::best) of it over `vocab` tokens is the
    /// next token. Each cache has its feed and the first `m - 1` of these tokens. Rows and caches
    /// have the bits that single passes give. After a row that makes no token, the rows of its feed
    /// are unspecified.
    ///
    /// # Errors
    /// As [`forward`](LanguageModel::forward).
    fn continue_greedily(
        &self,
        feeds: &mut [Feed<'_, Self::Cache>],
        count: usize,
        vocab: usize,
        output: &mut Self::Output,
    ) -> Result<usize, ModelError> {
        let _ = (count, vocab);
        self.forward(feeds, output)?;
        Ok(1)
    }
}

/// State of one sequence inside a model: what it has read so far. It owns its memory.
pub trait Cache: Send + 'static {
    /// Number of positions held. Branches of the last feed do not count.
    fn len(&self) -> usize;

    /// Whether nothing was read yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets every position from `len` on, and all branches. Keeps the positions where there are
    /// fewer.
    fn truncate(&mut self, len: usize);

    /// Keeps one path of the last feed and forgets its other tokens: as if the tokens of the path
    /// alone had been fed. `path` holds indices into the feed's tokens, ascending; the first has no
    /// parent in the feed, and each of the others has the one before as its parent. An empty path
    /// forgets the whole feed.
    ///
    /// May be called once, directly after the pass.
    ///
    /// # Errors
    /// [`ModelError::Path`] for anything else; then nothing has changed.
    fn keep(&mut self, path: &[usize]) -> Result<(), ModelError>;

    /// Becomes a copy of the first `len` positions of `other`, a cache of the same model: as if
    /// those tokens had been read here, without a pass.
    ///
    /// `false`, and nothing is changed, where the implementation cannot copy or `other` holds fewer
    /// positions.
    fn copy_from(&mut self, other: &Self, len: usize) -> bool {
        let _ = (other, len);
        false
    }

    /// Pretends to have read up to `len` positions, without a pass: what they hold is finite and
    /// means nothing, but a pass over them takes the time that it takes over real ones. For
    /// measuring passes at long contexts only.
    ///
    /// `false`, and nothing is changed, where the implementation cannot do that or `len` does not
    /// fit.
    fn pretend(&mut self, len: usize) -> bool {
        let _ = len;
        false
    }
}
