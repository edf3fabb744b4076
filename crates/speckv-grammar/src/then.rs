//! A constraint after a grammar.

use speckv::{
    sampling::{Constraint, ConstraintError, TokenSet},
    token::Token,
};

use crate::{Grammar, constraint::GrammarConstraint};

/// A grammar, such as the header of a message, and from its end on another constraint.
///
/// The grammar must end by itself: after its last token nothing else of it may follow.
pub struct Then {
    first: GrammarConstraint,
    rest: Box<dyn Constraint>,
    read: usize, // tokens that `rest` has read
}

impl Then {
    /// The grammar, then `rest`.
    #[must_use]
    pub fn new(first: &Grammar, rest: Box<dyn Constraint>) -> Self {
        Then { first: first.start(), rest, read: 0 }
    }

    fn current(&mut self) -> &mut dyn Constraint {
        match self.first.has_ended() {
            true => &mut *self.rest,
            false => &mut self.first,
        }
    }
}

impl Constraint for Then {
    fn advance(&mut self, token: Token) -> Result<(), ConstraintError> {
        let ended = self.first.has_ended();
        self.current().advance(token)?;
        self.read += usize::from(ended);
        Ok(())
    }

    fn rollback(&mut self, count: usize) -> Result<(), ConstraintError> {
        let of_rest = count.min(self.read);
        self.rest.rollback(of_rest)?;
        self.read -= of_rest;
        match count - of_rest {
            0 => Ok(()),
            of_first => self.first.rollback(of_first),
        }
    }

    fn is_allowed(&mut self, token: Token) -> Result<bool, ConstraintError> {
        self.current().is_allowed(token)
    }

    fn allowed(&mut self, set: &mut TokenSet) -> Result<bool, ConstraintError> {
        self.current().allowed(set)
    }

    fn forced(&mut self) -> Result<Option<Token>, ConstraintError> {
        self.current().forced()
    }
}
