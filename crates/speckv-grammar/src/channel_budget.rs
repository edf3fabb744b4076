//! Reasoning of limited length in a channel of its own.

use std::sync::Arc;

use speckv::{
    sampling::{Constraint, ConstraintError, TokenSet},
    token::Token,
};

use crate::Words;

/// How a model marks a channel of reasoning: `channel`, the name, `message`, the text, `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMarks {
    /// The token before a channel's name.
    pub channel: Token,
    /// The token between the header of a message and its text.
    pub message: Token,
    /// The token that ends a message.
    pub end: Token,
    /// The name of the channel of reasoning, with which the header goes on.
    pub name: &'static str,
    /// The prompt has begun a message of reasoning already.
    pub is_open: bool,
}

/// An answer in channels, of whose reasoning there are at most `limit` tokens.
///
/// After `limit` tokens nothing but the end of the message is allowed, and no other message of
/// reasoning begins.
pub struct ChannelBudget {
    marks: ChannelMarks,
    limit: usize,
    words: Arc<Words>,
    answer: Option<Box<dyn Constraint>>,
    tokens: Vec<Token>,
    states: Vec<State>, // before the first token, and after each
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    place: Place,
    thought: usize, // tokens of reasoning so far
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a header after a channel's beginning, which is the token before this one.
    Header(usize),
    Reasoning,
    Elsewhere,
}

impl ChannelBudget {
    /// An answer, perhaps under a constraint, with so many tokens of reasoning.
    #[must_use]
    pub fn new(
        marks: ChannelMarks,
        limit: usize,
        words: Arc<Words>,
        answer: Option<Box<dyn Constraint>>,
    ) -> Self {
        let place = if marks.is_open { Place::Reasoning } else { Place::Elsewhere };
        let states = vec![State { place, thought: 0 }];
        ChannelBudget { marks, limit, words, answer, tokens: Vec::new(), states }
    }

    fn state(&self) -> State {
        self.states.last().copied().unwrap_or(State { place: Place::Elsewhere, thought: 0 })
    }

    fn must_close(&self) -> bool {
        let State { place, thought } = self.state();
        place == Place::Reasoning && thought >= self.limit
    }

    /// Whether a token here begins a message of reasoning that is one too many.
    fn is_too_much(&self, token: Token) -> bool {
        let State { place, thought } = self.state();
        if thought < self.limit || place != Place::Header(self.tokens.len()) {
            return false;
        }
        let (word, name) = (self.words.text(token), self.marks.name.as_bytes());
        !word.is_empty() && (name.starts_with(word) || word.starts_with(name))
    }

    /// Whether the header that begins there is one of reasoning.
    fn is_reasoning(&self, start: usize) -> bool {
        let header = self.tokens[start..].iter().flat_map(|&token| self.words.text(token));
        header.copied().take(self.marks.name.len()).eq(self.marks.name.bytes())
    }
}

impl Constraint for ChannelBudget {
    fn advance(&mut self, token: Token) -> Result<(), ConstraintError> {
        if self.must_close() && token != self.marks.end || self.is_too_much(token) {
            return Err(ConstraintError::new(format!(
                "token {token} is not allowed after the last token of reasoning"
            )));
        }
        if let Some(answer) = &mut self.answer {
            answer.advance(token)?;
        }
        let State { place, thought } = self.state();
        let next = match place {
            Place::Reasoning if token == self.marks.end => (Place::Elsewhere, thought),
            Place::Reasoning => (Place::Reasoning, thought + 1),
            _ if token == self.marks.channel => (Place::Header(self.tokens.len() + 1), thought),
            Place::Header(start) if token == self.marks.message => {
                let is_reasoning = self.is_reasoning(start);
                (if is_reasoning { Place::Reasoning } else { Place::Elsewhere }, thought)
            }
            other => (other, thought),
        };
        self.tokens.push(token);
        self.states.push(State { place: next.0, thought: next.1 });
        Ok(())
    }

    fn rollback(&mut self, count: usize) -> Result<(), ConstraintError> {
        let len = self.tokens.len().saturating_sub(count);
        let read = self.tokens.len() - len;
        self.tokens.truncate(len);
        self.states.truncate(len + 1);
        match &mut self.answer {
            Some(answer) => answer.rollback(read),
            None => Ok(()),
        }
    }

    fn is_allowed(&mut self, token: Token) -> Result<bool, ConstraintError> {
        if self.must_close() {
            return Ok(token == self.marks.end);
        }
        if self.is_too_much(token) {
            return Ok(false);
        }
        self.answer.as_mut().map_or(Ok(true), |answer| answer.is_allowed(token))
    }

    fn allowed(&mut self, set: &mut TokenSet) -> Result<bool, ConstraintError> {
        if self.must_close() {
            set.clear();
            set.insert(self.marks.end);
            return Ok(true);
        }
        let limited = match &mut self.answer {
            Some(answer) => answer.allowed(set)?,
            None => false,
        };
        let State { place, thought } = self.state();
        if thought < self.limit || place != Place::Header(self.tokens.len()) {
            return Ok(limited);
        }
        let mut rest = TokenSet::empty(self.words.len());
        let tokens = 0..self.words.len() as Token;
        let may = |token: &Token| (!limited || set.contains(*token)) && !self.is_too_much(*token);
        tokens.filter(may).for_each(|token| rest.insert(token));
        *set = rest;
        Ok(true)
    }

    fn forced(&mut self) -> Result<Option<Token>, ConstraintError> {
        if self.must_close() {
            return Ok(Some(self.marks.end));
        }
        self.answer.as_mut().map_or(Ok(None), |answer| answer.forced())
    }
}
