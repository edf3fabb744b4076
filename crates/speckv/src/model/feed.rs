//! One sequence's part in a pass, and what a cache remembers of it.

use super::{Cache, LanguageModel, ModelError};
use crate::token::Token;

/// One sequence's part in a pass: tokens to append, and what is wanted of them.
///
/// The tokens are a chain, each following the one before, unless [`with_parents`] makes them a
/// tree.
///
/// [`with_parents`]: Feed::with_parents
#[derive(Debug)]
#[non_exhaustive]
pub struct Feed<'a, C> {
    /// The sequence's state; grows by [`trunk`](Feed::trunk) positions.
    pub cache: &'a mut C,
    /// Tokens to append, at least one.
    pub tokens: &'a [Token],
    /// Of how many of the last tokens the logits are wanted, 0 to `tokens.len()`.
    pub rows: usize,
    /// Of how many of the last tokens the final hidden states are wanted, 0 to `tokens.len()`.
    pub hidden: usize,
    /// What each token follows: see [`with_parents`](Feed::with_parents). Empty for a chain.
    pub parents: &'a [usize],
}

impl<'a, C: Cache> Feed<'a, C> {
    /// A chain of tokens, of the last `rows` of which the logits are wanted.
    #[must_use]
    pub fn new(cache: &'a mut C, tokens: &'a [Token], rows: usize) -> Self {
        Feed { cache, tokens, rows, hidden: 0, parents: &[] }
    }

    /// The same feed, with the hidden states of its last `hidden` tokens.
    #[must_use]
    pub fn with_hidden(self, hidden: usize) -> Self {
        Feed { hidden, ..self }
    }

    /// The same tokens as a tree: `parents[i]` is `j + 1` where token `i` follows token `j` of the
    /// feed, and 0 where it follows what the cache held. `[0, 1, 2, 3]` is a chain of four; in
    /// `[0, 1, 2, 2]` the last two are alternatives to each other.
    ///
    /// A token sees what the cache held and its ancestors in the feed, and has their number as its
    /// position. Its logits have the same bits as if it and its ancestors had been fed alone. The
    /// leading tokens that form a chain are the [`trunk`](Feed::trunk): they stay in the cache. The
    /// others are branches: they are forgotten by whatever happens to the cache next, unless that
    /// is [`Cache::keep`].
    #[must_use]
    pub fn with_parents(self, parents: &'a [usize]) -> Self {
        Feed { parents, ..self }
    }

    /// Number of leading tokens that form a chain; all of them if the feed is no tree.
    #[must_use]
    pub fn trunk(&self) -> usize {
        let chain = self.parents.iter().enumerate().take_while(|&(i, &parent)| parent == i);
        if self.parents.is_empty() { self.tokens.len() } else { chain.count() }
    }

    /// What token `index` follows: `j + 1` for token `j` of the feed, 0 for what the cache held.
    ///
    /// # Panics
    /// If the feed is a tree and has no such token.
    #[must_use]
    pub fn parent(&self, index: usize) -> usize {
        if self.parents.is_empty() { index } else { self.parents[index] }
    }

    /// Checks this feed against a model; implementations of [`LanguageModel::forward`] call it
    /// first. Every token needs room in the context, those of branches included.
    ///
    /// # Errors
    /// A feed without tokens, with more rows or hidden states than tokens, with a token outside the
    /// vocabulary or past the context; parents that are not as many as tokens, or not before their
    /// tokens; branches or hidden states that the model does not have.
    pub fn check(&self, model: &impl LanguageModel) -> Result<(), ModelError> {
        let (tokens, rows) = (self.tokens.len(), self.rows.max(self.hidden));
        let (vocab_size, context) = (model.vocab_size(), model.context_length());
        if tokens == 0 || rows > tokens {
            return Err(ModelError::Rows { tokens, rows });
        }
        let held = self.cache.len();
        if held + tokens > context {
            return Err(ModelError::ContextFull { held, fed: tokens, context });
        }
        if let Some(&token) = self.tokens.iter().find(|&&token| token as usize >= vocab_size) {
            return Err(ModelError::UnknownToken { token, vocab_size });
        }
        if self.hidden > 0 && model.hidden_size().is_none() {
            return Err(ModelError::Unsupported { what: "hidden states" });
        }
        if self.parents.is_empty() {
            return Ok(());
        }
        if self.parents.len() != tokens {
            return Err(ModelError::Parents { tokens, parents: self.parents.len() });
        }
        if let Some(token) = (0..tokens).find(|&i| self.parents[i] > i) {
            return Err(ModelError::Parent { token, parent: self.parents[token] });
        }
        if self.trunk() < tokens && !model.takes_branches() {
            return Err(ModelError::Unsupported { what: "branches in a feed" });
        }
        Ok(())
    }
}

/// What a cache remembers of its last feed, for [`Cache::keep`]: a helper for implementations.
#[derive(Debug, Clone, Default)]
pub struct LastFeed {
    start: usize,        // positions held before it
    len: usize,          // tokens fed; 0 where the cache has changed since
    parents: Vec<usize>, // empty for a chain
}

impl LastFeed {
    /// Notes a feed that a pass has just appended after `start` positions. Branches are noted, a
    /// chain takes no memory.
    pub fn note(&mut self, start: usize, len: usize, parents: &[usize]) {
        (self.start, self.len) = (start, len);
        self.parents.clear();
        self.parents.extend_from_slice(parents);
    }

    /// The cache has changed: nothing of the feed can be kept any more.
    pub fn forget(&mut self) {
        self.len = 0;
    }

    /// Positions that the cache held before the feed.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// What token `index` of the feed follows: see [`Feed::parent`].
    #[must_use]
    pub fn parent(&self, index: usize) -> usize {
        self.parents.get(index).copied().unwrap_or(index)
    }

    /// Checks that `path` is one of the feed: see [`Cache::keep`].
    ///
    /// # Errors
    /// [`ModelError::Path`].
    pub fn check(&self, path: &[usize]) -> Result<(), ModelError> {
        let mut before = 0; // parent that the next entry must have
        if self.len == 0 {
            return Err(ModelError::Path { entry: 0, len: path.len() });
        }
        for (entry, &token) in path.iter().enumerate() {
            if token >= self.len || self.parent(token) != before {
                return Err(ModelError::Path { entry, len: path.len() });
            }
            before = token + 1;
        }
        Ok(())
    }
}
