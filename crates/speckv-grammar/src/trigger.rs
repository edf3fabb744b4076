//! Grammars that begin in the middle of an answer.

use std::sync::Arc;

use speckv::{
    sampling::{Constraint, ConstraintError, TokenSet},
    token::Token,
};

use crate::{Grammar, Words, constraint::GrammarConstraint};

/// A text after which a grammar begins.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// The text. It counts where it ends at the end of a token.
    pub text: String,
    /// What follows it.
    pub grammar: Arc<Grammar>,
}

/// Free text in which triggers begin grammars, such as calls of tools. After the end of a grammar
/// the text is free again.
pub struct Triggered {
    triggers: Vec<Trigger>,
    words: Arc<Words>,
    tokens: Vec<Token>, // all that was read
    runs: Vec<Run>,
    once: bool,
}

/// A grammar in the text.
struct Run {
    start: usize,       // tokens before it
    end: Option<usize>, // tokens before the free text after it
    constraint: GrammarConstraint,
}

impl Triggered {
    /// Free text with these triggers.
    #[must_use]
    pub fn new(triggers: Vec<Trigger>, words: Arc<Words>) -> Self {
        Triggered { triggers, words, tokens: Vec::new(), runs: Vec::new(), once: false }
    }

    /// The end of the first grammar ends the answer.
    #[must_use]
    pub fn ending_after_one(self, once: bool) -> Self {
        Triggered { once, ..self }
    }

    /// The grammar that the text is in.
    fn current(&mut self) -> Option<&mut GrammarConstraint> {
        self.runs.last_mut().filter(|run| run.end.is_none()).map(|run| &mut run.constraint)
    }

    /// The trigger that the free text ends with.
    fn seen(&self) -> Option<&Trigger> {
        let free = self.runs.last().map_or(0, |run| run.end.unwrap_or(run.start));
        let longest = self.triggers.iter().map(|trigger| trigger.text.len()).max()?;
        let mut tail: Vec<u8> = Vec::with_capacity(2 * longest);
        for &token in self.tokens[free..].iter().rev() {
            let word = self.words.text(token);
            tail.splice(..0, word.iter().copied());
            if tail.len() >= longest {
                break;
            }
        }
        self.triggers.iter().find(|trigger| tail.ends_with(trigger.text.as_bytes()))
    }
}

impl Constraint for Triggered {
    fn advance(&mut self, token: Token) -> Result<(), ConstraintError> {
        let len = self.tokens.len() + 1;
        if let Some(constraint) = self.current() {
            constraint.advance(token)?;
            let ended = constraint.has_ended();
            if ended
                && !self.once
                && let Some(run) = self.runs.last_mut()
            {
                run.end = Some(len);
            }
            self.tokens.push(token);
            return Ok(());
        }
        self.tokens.push(token);
        if let Some(constraint) = self.seen().map(|trigger| trigger.grammar.start()) {
            self.runs.push(Run { start: len, end: None, constraint });
        }
        Ok(())
    }

    fn rollback(&mut self, count: usize) -> Result<(), ConstraintError> {
        let (old, len) = (self.tokens.len(), self.tokens.len().saturating_sub(count));
        self.tokens.truncate(len);
        while self.runs.last().is_some_and(|run| run.start > len) {
            self.runs.pop();
        }
        if let Some(run) = self.runs.last_mut() {
            let read = run.end.unwrap_or(old).min(old);
            run.constraint.rollback(read.saturating_sub(len))?;
            run.end = run.end.filter(|&end| end <= len);
        }
        Ok(())
    }

    fn is_allowed(&mut self, token: Token) -> Result<bool, ConstraintError> {
        self.current().map_or(Ok(true), |constraint| constraint.is_allowed(token))
    }

    fn allowed(&mut self, set: &mut TokenSet) -> Result<bool, ConstraintError> {
        self.current().map_or(Ok(false), |constraint| constraint.allowed(set))
    }

    fn forced(&mut self) -> Result<Option<Token>, ConstraintError> {
        self.current().map_or(Ok(None), GrammarConstraint::forced)
    }
}
