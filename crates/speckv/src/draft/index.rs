//! Where each n-gram of a text stands.

use std::collections::HashMap;

use crate::token::Token;

/// Where each n-gram of a text stands.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) tokens: Vec<Token>,
    pub(super) latest: HashMap<u64, u32>, // hash of an n-gram -> position of its last token
    pub(super) earlier: Vec<u32>, // per position: the one before with the same hash; NONE at the first
}

pub(super) const NONE: u32 = u32::MAX;

/// Multiply and mix; collisions are found by comparing the tokens.
pub(super) fn hash(tokens: &[Token]) -> u64 {
    tokens.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &token| {
        let mixed = (hash ^ u64::from(token)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}

impl Index {
    /// Reads on to the end of `tokens`, of which it holds a prefix.
    pub(super) fn follow(&mut self, tokens: &[Token], min_match: usize) {
        self.truncate(tokens.len(), min_match);
        for &token in &tokens[self.tokens.len()..] {
            self.push(token, min_match);
        }
    }

    /// Reads one more token.
    pub(super) fn push(&mut self, token: Token, min_match: usize) {
        self.tokens.push(token);
        let last = self.tokens.len() - 1;
        let before = match self.tokens.len().checked_sub(min_match) {
            Some(start) => {
                self.latest.insert(hash(&self.tokens[start..]), last as u32).unwrap_or(NONE)
            }
            None => NONE,
        };
        self.earlier.push(before);
    }

    /// Unreads from the end, so that each n-gram's latest place is again the one before.
    pub(super) fn truncate(&mut self, len: usize, min_match: usize) {
        while self.tokens.len() > len {
            let before = self.earlier.pop().unwrap_or(NONE);
            if let Some(start) = self.tokens.len().checked_sub(min_match) {
                let key = hash(&self.tokens[start..]);
                if before == NONE {
                    self.latest.remove(&key);
                } else {
                    self.latest.insert(key, before);
                }
            }
            self.tokens.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_was_cut_equals_a_fresh_one() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let (mut index, mut text) = (Index::default(), Vec::new());
        for _ in 0..300 {
            if random(3) == 0 {
                text.truncate(text.len() - random(text.len() as u64 + 1) as usize);
                index.truncate(text.len(), 2);
            } else {
                (0..random(9)).for_each(|_| text.push(random(4) as Token));
            }
            index.follow(&text, 2);
            let mut fresh = Index::default();
            fresh.follow(&text, 2);
            assert_eq!(
                (&index.tokens, &index.latest, &index.earlier),
                (&fresh.tokens, &fresh.latest, &fresh.earlier)
            );
        }
    }
}
