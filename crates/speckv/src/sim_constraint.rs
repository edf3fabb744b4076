//! A constraint without a grammar.

use crate::{
    sampling::{Constraint, ConstraintError, TokenSet},
    token::Token,
};

/// A finite automaton over tokens, drawn from a seed: a third of its states force one token, the
/// others allow about half of the vocabulary.
///
/// ```
/// use speckv::{sampling::Constraint, sim::SimConstraint};
///
/// let mut constraint = SimConstraint::new(8, 5);
/// let first = constraint.choices();
/// constraint.advance(first[0])?;
/// constraint.rollback(1)?;
/// assert_eq!(constraint.choices(), first);
/// # Ok::<(), speckv::sampling::ConstraintError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SimConstraint {
    vocab_size: usize,
    seed: u64,
    end: Option<Token>,
    states: Vec<u64>, // after each token that was read, and before the first
}

const STATES: u64 = 12;

impl SimConstraint {
    /// An automaton over the tokens below `vocab_size`.
    #[must_use]
    pub fn new(vocab_size: usize, seed: u64) -> Self {
        let states = vec![mix(seed) % STATES];
        SimConstraint { vocab_size: vocab_size.max(1), seed, end: None, states }
    }

    /// The token `end` is allowed in a quarter of the states only, besides others.
    #[must_use]
    pub fn with_end(self, end: Token) -> Self {
        SimConstraint { end: Some(end), ..self }
    }

    /// The tokens that may come next, ascending; at least one.
    #[must_use]
    pub fn choices(&self) -> Vec<Token> {
        let state = self.states.last().copied().unwrap_or(0);
        let tokens = || (0..self.vocab_size as Token).filter(|token| Some(*token) != self.end);
        let at = |token: Token| mix(self.seed ^ mix(state * 1_000 + u64::from(token) + 1));
        let forced = tokens().min_by_key(|&token| at(token));
        if state.is_multiple_of(3) || forced.is_none() {
            return forced.or(self.end).into_iter().collect();
        }
        let ends = self.end.filter(|_| state % 4 == 1);
        let mut choices: Vec<Token> =
            tokens().filter(|&token| at(token) % 2 == 0 || Some(token) == forced).collect();
        choices.extend(ends);
        choices.sort_unstable();
        choices
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Constraint for SimConstraint {
    fn advance(&mut self, token: Token) -> Result<(), ConstraintError> {
        if !self.choices().contains(&token) {
            return Err(ConstraintError::new(format!("token {token} is not allowed")));
        }
        let state = self.states.last().copied().unwrap_or(0);
        self.states.push(mix(self.seed ^ (state * 77 + u64::from(token))) % STATES);
        Ok(())
    }

    fn rollback(&mut self, count: usize) -> Result<(), ConstraintError> {
        self.states.truncate((self.states.len() - count).max(1));
        Ok(())
    }

    fn is_allowed(&mut self, token: Token) -> Result<bool, ConstraintError> {
        Ok(self.choices().contains(&token))
    }

    fn allowed(&mut self, set: &mut TokenSet) -> Result<bool, ConstraintError> {
        set.clear();
        self.choices().into_iter().for_each(|token| set.insert(token));
        Ok(true)
    }

    fn forced(&mut self) -> Result<Option<Token>, ConstraintError> {
        let choices = self.choices();
        Ok(choices.first().copied().filter(|_| choices.len() == 1))
    }
}
