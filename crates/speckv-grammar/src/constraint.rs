//! A grammar as a constraint.

use std::sync::Arc;

use llguidance::Matcher;
use speckv::{
    sampling::{Constraint, ConstraintError, TokenSet},
    token::Token,
};

use crate::{error::one_line, words::Vocabulary};

/// A grammar somewhere in an answer.
///
/// Where the grammar leaves one text, it is cut by the model's own tokenizer, and only its first
/// token is allowed: the model reads that text as in its training, and needs no decision for it.
pub(crate) struct GrammarConstraint {
    matcher: Matcher,
    vocabulary: Arc<Vocabulary>,
    beyond: usize,                 // tokens read after the grammar's end
    forced: Option<Option<Token>>, // of the state at hand, if it was asked for
}

impl GrammarConstraint {
    pub(crate) fn new(matcher: Matcher, vocabulary: Arc<Vocabulary>) -> Self {
        GrammarConstraint { matcher, vocabulary, beyond: 0, forced: None }
    }

    fn first_end(&self) -> Token {
        self.vocabulary.end_tokens[0] // `Grammars::new` refuses a vocabulary without
    }

    /// Whether the grammar has ended, so that nothing but an end token may follow.
    pub(crate) fn has_ended(&self) -> bool {
        self.matcher.is_stopped()
    }

    fn check(&self) -> Result<(), ConstraintError> {
        match self.matcher.get_error() {
            Some(error) => Err(ConstraintError::new(one_line(&error))),
            None => Ok(()),
        }
    }
}

impl Constraint for GrammarConstraint {
    fn advance(&mut self, token: Token) -> Result<(), ConstraintError> {
        self.forced = None;
        self.check()?;
        if self.has_ended() {
            if self.vocabulary.end_tokens.contains(&token) {
                self.beyond += 1;
                return Ok(());
            }
            return Err(ConstraintError::new(format!(
                "token {token} is not allowed after the end of the grammar"
            )));
        }
        self.matcher
            .consume_token(token)
            .map_err(|error| ConstraintError::new(one_line(&error.to_string())))
    }

    fn rollback(&mut self, count: usize) -> Result<(), ConstraintError> {
        self.forced = None;
        self.check()?;
        let beyond = count.min(self.beyond);
        self.beyond -= beyond;
        if count == beyond {
            return Ok(());
        }
        self.matcher
            .rollback(count - beyond)
            .map_err(|error| ConstraintError::new(one_line(&error.to_string())))
    }

    fn is_allowed(&mut self, token: Token) -> Result<bool, ConstraintError> {
        if let Some(forced) = self.forced()? {
            return Ok(token == forced);
        }
        if self.vocabulary.end_tokens.contains(&token) {
            return self
                .matcher
                .is_accepting()
                .map_err(|error| ConstraintError::new(one_line(&error.to_string())));
        }
        if !self.vocabulary.usable.contains(token) {
            return Ok(false);
        }
        self.matcher
            .validate_tokens(&[token])
            .map(|valid| valid == 1)
            .map_err(|error| ConstraintError::new(one_line(&error.to_string())))
    }

    fn allowed(&mut self, set: &mut TokenSet) -> Result<bool, ConstraintError> {
        if let Some(forced) = self.forced()? {
            set.clear();
            set.insert(forced);
            return Ok(true);
        }
        let mask = self
            .matcher
            .compute_mask()
            .map_err(|error| ConstraintError::new(one_line(&error.to_string())))?;
        set.set_words(mask.as_slice());
        Ok(true)
    }

    fn forced(&mut self) -> Result<Option<Token>, ConstraintError> {
        if let Some(known) = self.forced {
            return Ok(known);
        }
        self.check()?;
        let forced = match self.has_ended() {
            true => Some(self.first_end()),
            false => self.matcher.compute_ff_tokens().first().copied(),
        };
        self.check()?;
        self.forced = Some(forced);
        Ok(forced)
    }
}
