//! Grammars that begin in the middle of an answer.

use std::sync::Arc;

use speckv::{
    sampling::{Constraint, ConstraintError, TokenSet},
    token::Token,
};

use crate::{Grammar, Words, constraint::GrammarConstraint};

/// A text at which a grammar begins.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// The text.
    pub text: String,
    /// Where the grammar begins.
    pub begins: Begins,
    /// What the text is from there on.
    pub grammar: Arc<Grammar>,
}

/// Where the grammar of a [`Trigger`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// After the text, which counts anywhere, and where it ends at the end of a token.
    After,
    /// With the text, which counts at the beginning of an answer only, and wherever it ends. Where
    /// the tokens so far do not fit the grammar, it does not begin.
    With,
}

/// Free text in which triggers begin grammars, such as calls of tools. After the end of a grammar
/// the text is free again.
pub struct Triggered {
    triggers: Arc<Vec<Trigger>>,
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
    pub fn new(triggers: impl Into<Arc<Vec<Trigger>>>, words: Arc<Words>) -> Self {
        Triggered {
            triggers: triggers.into(),
            words,
            tokens: Vec::new(),
            runs: Vec::new(),
            once: false,
        }
    }

    /// The end of the first grammar ends the answer.
    #[must_use]
    pub fn ending_after_one(self, once: bool) -> Self {
        Triggered { once, ..self }
    }

    /// The grammar that begins after the last token.
    fn starting(&self) -> Option<GrammarConstraint> {
        if let Some(trigger) = self.seen() {
            return Some(trigger.grammar.start());
        }
        let mut constraint = self.begun()?.grammar.start();
        let fits = self.tokens.iter().all(|&token| constraint.advance(token).is_ok());
        fits.then_some(constraint)
    }

    /// The grammar that the text is in.
    fn current(&mut self) -> Option<&mut GrammarConstraint> {
        self.runs.last_mut().filter(|run| run.end.is_none()).map(|run| &mut run.constraint)
    }

    /// The longest text of a trigger.
    fn longest(&self, begins: Begins) -> Option<usize> {
        let triggers = self.triggers.iter().filter(|trigger| trigger.begins == begins);
        triggers.map(|trigger| trigger.text.len()).max()
    }

    /// The trigger that the last token completes at the beginning of the answer.
    fn begun(&self) -> Option<&Trigger> {
        let longest = self.longest(Begins::With).filter(|_| self.runs.is_empty())?;
        let (mut text, mut before) = (Vec::new(), 0);
        for &token in &self.tokens {
            before = text.len();
            if before >= longest {
                return None;
            }
            text.extend_from_slice(self.words.text(token));
        }
        self.triggers.iter().find(|trigger| {
            let begin = trigger.text.as_bytes();
            trigger.begins == Begins::With && before < begin.len() && text.starts_with(begin)
        })
    }

    /// The trigger that the free text ends with.
    fn seen(&self) -> Option<&Trigger> {
        let free = self.runs.last().map_or(0, |run| run.end.unwrap_or(run.start));
        let longest = self.longest(Begins::After)?;
        let mut tail: Vec<u8> = Vec::with_capacity(2 * longest);
        for &token in self.tokens[free..].iter().rev() {
            let word = self.words.text(token);
            tail.splice(..0, word.iter().copied());
            if tail.len() >= longest {
                break;
            }
        }
        self.triggers.iter().find(|trigger| {
            trigger.begins == Begins::After && tail.ends_with(trigger.text.as_bytes())
        })
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
        if let Some(constraint) = self.starting() {
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
