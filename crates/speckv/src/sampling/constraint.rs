//! Constraints on an answer: which tokens may come next.

use super::TokenSet;
use crate::token::Token;

/// Limits which tokens may follow, such as a grammar or a JSON schema.
///
/// Its state is a function of the tokens that it has read: every method must answer the same for
/// the same tokens, however it came there. A [`Chain`](super::Chain) has it follow the text of a
/// sequence, so that rejected draft tokens are [`rollback`](Constraint::rollback).
///
/// Decoding under a constraint draws from the target's distribution after the other settings of
/// sampling, renormalized over what [`allowed`](Constraint::allowed) gives. Draft and target are
/// constrained in the same way, so that speculation changes the output no more than without one.
pub trait Constraint: Send {
    /// Reads a token, which is allowed.
    ///
    /// # Errors
    /// The token is not allowed, or the constraint has become too complex; then it stays unusable.
    fn advance(&mut self, token: Token) -> Result<(), ConstraintError>;

    /// Forgets the last `count` tokens, which were read.
    ///
    /// # Errors
    /// The constraint has failed before.
    fn rollback(&mut self, count: usize) -> Result<(), ConstraintError>;

    /// Whether `token` may come next: the same as in [`allowed`](Constraint::allowed), in less
    /// time.
    ///
    /// # Errors
    /// The constraint has become too complex.
    fn is_allowed(&mut self, token: Token) -> Result<bool, ConstraintError>;

    /// Fills `set` with all tokens that may come next, at least one. Returns `false`, and leaves
    /// the set as it is, where every token may come.
    ///
    /// # Errors
    /// The constraint has become too complex, or no token is allowed.
    fn allowed(&mut self, set: &mut TokenSet) -> Result<bool, ConstraintError>;

    /// The one token that may come next, where that is known without looking at all of them.
    ///
    /// # Errors
    /// The constraint has become too complex.
    fn forced(&mut self) -> Result<Option<Token>, ConstraintError>;
}

/// Why a constraint cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConstraintError {
    /// What is wrong, in words.
    pub message: String,
}

impl ConstraintError {
    /// An error with these words.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        ConstraintError { message: message.into() }
    }
}

/// Most positions whose sets are kept: a step verifies the positions that it drafted.
const MOST_SETS: usize = 72;

/// A constraint that follows the text of a sequence from `start` on.
pub(super) struct Constrained {
    constraint: Box<dyn Constraint>,
    held: Vec<Token>,         // what the constraint has read
    sets: Vec<(usize, Kept)>, // of positions in `held`, ascending
    spare: Vec<TokenSet>,     // memory of sets that are not used
    failed: Option<ConstraintError>,
}

enum Kept {
    All,
    Some(TokenSet),
}

impl std::fmt::Debug for Constrained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constrained").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Constrained {
    pub(super) fn new(constraint: Box<dyn Constraint>) -> Self {
        let (held, sets, spare) = (Vec::new(), Vec::new(), Vec::new());
        Constrained { constraint, held, sets, spare, failed: None }
    }

    /// What failed. It stays failed.
    pub(super) fn failure(&self) -> Option<&ConstraintError> {
        self.failed.as_ref()
    }

    /// Gives back the memory of sets.
    pub(super) fn release(&mut self) {
        self.sets = Vec::new();
        self.spare = Vec::new();
    }

    /// The set of tokens that may follow `text`; `None` where all may.
    pub(super) fn set_after(
        &mut self,
        text: &[Token],
    ) -> Result<Option<&TokenSet>, ConstraintError> {
        self.check()?;
        let known = |(depth, _): &(usize, Kept)| *depth == text.len();
        let place = match self.sets.iter().position(known) {
            Some(place) if self.held.starts_with(text) => place,
            _ => {
                self.follow(text)?;
                let mut set = self.spare.pop().unwrap_or_default();
                let outcome = self.constraint.allowed(&mut set);
                let kept = match self.note(outcome)? {
                    true => Kept::Some(set),
                    false => Kept::All,
                };
                if self.sets.len() == MOST_SETS
                    && let (_, Kept::Some(set)) = self.sets.remove(0)
                {
                    self.spare.push(set);
                }
                self.sets.push((text.len(), kept));
                self.sets.len() - 1
            }
        };
        match &self.sets[place].1 {
            Kept::All => Ok(None),
            Kept::Some(set) => Ok(Some(set)),
        }
    }

    /// Whether `token` may follow `text`.
    pub(super) fn allows(&mut self, text: &[Token], token: Token) -> Result<bool, ConstraintError> {
        self.check()?;
        // What was read was allowed.
        if self.held.len() > text.len() && self.held.starts_with(text) {
            if self.held[text.len()] == token {
                return Ok(true);
            }
            let known = |(depth, _): &&(usize, Kept)| *depth == text.len();
            match self.sets.iter().find(known) {
                Some((_, Kept::All)) => return Ok(true),
                Some((_, Kept::Some(set))) => return Ok(set.contains(token)),
                None => {}
            }
        }
        self.follow(text)?;
        let outcome = self.constraint.is_allowed(token);
        self.note(outcome)
    }

    /// The token that must follow `text`, if there is only one.
    pub(super) fn forced(&mut self, text: &[Token]) -> Result<Option<Token>, ConstraintError> {
        self.check()?;
        self.follow(text)?;
        let outcome = self.constraint.forced();
        self.note(outcome)
    }

    /// Has the constraint read `text` and nothing else.
    fn follow(&mut self, text: &[Token]) -> Result<(), ConstraintError> {
        let common = self.held.iter().zip(text).take_while(|(old, new)| old == new).count();
        if common < self.held.len() {
            let outcome = self.constraint.rollback(self.held.len() - common);
            self.held.truncate(common);
            while self.sets.last().is_some_and(|(depth, _)| *depth > common) {
                if let Some((_, Kept::Some(set))) = self.sets.pop() {
                    self.spare.push(set);
                }
            }
            self.note(outcome)?;
        }
        for &token in &text[common..] {
            let outcome = self.constraint.advance(token);
            self.note(outcome)?;
            self.held.push(token);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConstraintError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn note<T>(&mut self, outcome: Result<T, ConstraintError>) -> Result<T, ConstraintError> {
        outcome.inspect_err(|error| self.failed = Some(error.clone()))
    }
}
