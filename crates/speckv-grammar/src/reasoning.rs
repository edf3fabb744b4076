//! Answers that begin with reasoning.

use speckv::{
    sampling::{Constraint, ConstraintError, TokenSet},
    token::Token,
};

/// How a model marks its reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningMarks {
    /// The token that begins it.
    pub open: Token,
    /// The token that ends it.
    pub close: Token,
    /// The prompt has begun it already.
    pub is_open: bool,
}

/// Reasoning, free and of limited length, and then an answer under another constraint.
///
/// Reasoning is what stands between the two tokens of [`ReasoningMarks`] at the beginning of an
/// answer. After `limit` tokens of it nothing but the closing token is allowed.
pub struct Reasoning {
    marks: ReasoningMarks,
    limit: Option<usize>,
    answer: Option<Box<dyn Constraint>>,
    states: Vec<State>, // before the first token, and after each
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was said.
    Before,
    /// So many tokens of reasoning.
    Within(usize),
    /// The answer.
    After,
}

impl Reasoning {
    /// Reasoning of at most `limit` tokens, then an answer.
    #[must_use]
    pub fn new(
        marks: ReasoningMarks,
        limit: Option<usize>,
        answer: Option<Box<dyn Constraint>>,
    ) -> Self {
        let first = if marks.is_open { State::Within(0) } else { State::Before };
        Reasoning { marks, limit, answer, states: vec![first] }
    }

    fn state(&self) -> State {
        self.states.last().copied().unwrap_or(State::Before)
    }

    fn must_close(&self, thought: usize) -> bool {
        self.limit.is_some_and(|limit| thought >= limit)
    }
}

impl Constraint for Reasoning {
    fn advance(&mut self, token: Token) -> Result<(), ConstraintError> {
        let next = match self.state() {
            State::Before if token == self.marks.open => State::Within(0),
            State::Within(_) if token == self.marks.close => State::After,
            State::Within(thought) if self.must_close(thought) => {
                return Err(ConstraintError::new(format!(
                    "token {token} is not allowed after the last token of reasoning"
                )));
            }
            State::Within(thought) => State::Within(thought + 1),
            State::Before | State::After => {
                if let Some(answer) = &mut self.answer {
                    answer.advance(token)?;
                }
                State::After
            }
        };
        self.states.push(next);
        Ok(())
    }

    fn rollback(&mut self, count: usize) -> Result<(), ConstraintError> {
        let len = self.states.len().saturating_sub(count).max(1);
        // The answer has read every token that led from its start or from another of its states.
        let read = (len..self.states.len())
            .filter(|&at| {
                self.states[at] == State::After && !matches!(self.states[at - 1], State::Within(_))
            })
            .count();
        self.states.truncate(len);
        match &mut self.answer {
            Some(answer) => answer.rollback(read),
            None => Ok(()),
        }
    }

    fn is_allowed(&mut self, token: Token) -> Result<bool, ConstraintError> {
        match (self.state(), &mut self.answer) {
            (State::Within(thought), _) => {
                Ok(!self.must_close(thought) || token == self.marks.close)
            }
            (State::Before, Some(_)) if token == self.marks.open => Ok(true),
            (_, Some(answer)) => answer.is_allowed(token),
            (_, None) => Ok(true),
        }
    }

    fn allowed(&mut self, set: &mut TokenSet) -> Result<bool, ConstraintError> {
        match (self.state(), &mut self.answer) {
            (State::Within(thought), _) => {
                let must_close = self.must_close(thought);
                if must_close {
                    set.clear();
                    set.insert(self.marks.close);
                }
                Ok(must_close)
            }
            (State::Before, Some(answer)) => {
                let limited = answer.allowed(set)?;
                if limited {
                    set.insert(self.marks.open);
                }
                Ok(limited)
            }
            (State::After, Some(answer)) => answer.allowed(set),
            (_, None) => Ok(false),
        }
    }

    fn forced(&mut self) -> Result<Option<Token>, ConstraintError> {
        match (self.state(), &mut self.answer) {
            (State::Within(thought), _) => Ok(self.must_close(thought).then_some(self.marks.close)),
            (State::After, Some(answer)) => answer.forced(),
            _ => Ok(None),
        }
    }
}
