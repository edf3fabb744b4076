//! Earlier texts that look-up searches beside the text itself.

use std::collections::HashMap;

use super::index::{Index, NONE, hash};
use crate::token::Token;

/// Texts that were finished earlier, apart by scope: what one scope has said is never found by
/// another.
///
/// The oldest texts of a scope are forgotten when its share is full, and the scope that was unused
/// for the longest is forgotten when all is full.
#[derive(Debug, Default)]
pub struct TextMemory {
    limit: usize, // tokens of all scopes
    min_match: usize,
    scopes: HashMap<u64, Scope>,
    uses: u64, // counts additions and look-ups that found something
}

/// The texts of one scope, one after the other, with a gap between them.
#[derive(Debug, Default)]
struct Scope {
    index: Index,
    last_use: u64,
}

/// Between two texts: no token of any vocabulary.
pub(super) const GAP: Token = Token::MAX;

/// What a memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Scopes with texts.
    pub scopes: usize,
    /// Tokens of their texts.
    pub tokens: usize,
    /// Bytes that tokens and index take, about.
    pub bytes: usize,
}

/// Bytes per token: the token, its place before, and an entry of the index of 16 bytes that is half
/// empty.
const BYTES_PER_TOKEN: usize = 4 + 4 + 32;

/// Share of the limit that one scope may have.
const SCOPE_SHARE: usize = 2;

impl TextMemory {
    /// A memory of at most `limit` tokens, for look-up with at least `min_match` matching tokens. A
    /// limit of 0 remembers nothing.
    #[must_use]
    pub fn new(limit: usize, min_match: usize) -> Self {
        TextMemory { limit, min_match: min_match.max(1), scopes: HashMap::new(), uses: 0 }
    }

    /// Remembers a finished text of a scope. Of one that is longer than a scope's share, the end.
    pub fn remember(&mut self, scope: u64, text: &[Token]) {
        let share = (self.limit / SCOPE_SHARE).min(u32::MAX as usize / 2);
        let text = &text[text.len().saturating_sub(share.saturating_sub(1))..];
        if text.len() <= self.min_match || share == 0 {
            return;
        }
        self.uses += 1;
        let place = self.scopes.entry(scope).or_default();
        place.last_use = self.uses;
        place.make_room(share - text.len(), self.min_match);
        for &token in text.iter().chain([&GAP]) {
            place.index.push(token, self.min_match);
        }
        while self.usage().tokens > self.limit {
            let oldest = self.scopes.iter().min_by_key(|(_, scope)| scope.last_use);
            let Some(oldest) = oldest.map(|(&number, _)| number) else { break };
            self.scopes.remove(&oldest);
        }
    }

    /// What it holds.
    #[must_use]
    pub fn usage(&self) -> MemoryUse {
        let tokens = self.scopes.values().map(|scope| scope.index.tokens.len()).sum();
        MemoryUse { scopes: self.scopes.len(), tokens, bytes: tokens * BYTES_PER_TOKEN }
    }

    /// The texts of a scope.
    pub(super) fn scope(&self, scope: u64) -> Option<&Index> {
        self.scopes.get(&scope).map(|scope| &scope.index)
    }
}

impl Scope {
    /// Forgets the oldest texts until at most half of `most` tokens are left, where there are more
    /// than `most`: so the index is built anew once per half.
    fn make_room(&mut self, most: usize, min_match: usize) {
        if self.index.tokens.len() <= most {
            return;
        }
        let least = self.index.tokens.len() - most / 2;
        let gap = self.index.tokens[least - 1..].iter().position(|&token| token == GAP);
        let kept = match gap {
            Some(gap) => self.index.tokens.split_off(least + gap),
            None => Vec::new(),
        };
        self.index = Index::default();
        for token in kept {
            self.index.push(token, min_match);
        }
    }
}

/// Places of an index that the end of `suffix` leads to, the latest first.
pub(super) fn places<'a>(index: &'a Index, suffix: &[Token]) -> impl Iterator<Item = usize> + 'a {
    let mut at = index.latest.get(&hash(suffix)).copied().unwrap_or(NONE);
    std::iter::from_fn(move || {
        let found = (at != NONE).then_some(at as usize)?;
        at = index.earlier[found];
        Some(found + 1) // the position after the match
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(memory: &TextMemory, scope: u64, suffix: &[Token]) -> Vec<Token> {
        let Some(index) = memory.scope(scope) else { return Vec::new() };
        places(index, suffix).map(|place| index.tokens[place]).collect()
    }

    #[test]
    fn a_scope_finds_its_own_texts_and_no_others() {
        let mut memory = TextMemory::new(1000, 2);
        memory.remember(1, &[5, 6, 7, 8]);
        memory.remember(2, &[5, 6, 9]);
        memory.remember(1, &[5, 6, 4]);
        assert_eq!(found(&memory, 1, &[5, 6]), [4, 7], "the latest first");
        assert_eq!(found(&memory, 2, &[5, 6]), [9]);
        assert!(found(&memory, 3, &[5, 6]).is_empty());
        assert_eq!(found(&memory, 1, &[7, 8]), [GAP], "nothing follows the end of a text");
        assert_eq!((memory.usage().scopes, memory.usage().tokens), (2, 5 + 4 + 4));
    }

    #[test]
    fn the_oldest_texts_and_scopes_are_forgotten_first() {
        let mut memory = TextMemory::new(100, 2);
        for number in 0..40 {
            memory.remember(7, &[1000 + number, 1, 2, 3]);
            assert!(memory.usage().tokens <= 50, "a scope has half: {:?}", memory.usage());
        }
        assert_eq!(found(&memory, 7, &[1039, 1]), [2]);
        assert!(found(&memory, 7, &[1000, 1]).is_empty());
        for scope in 0..30 {
            memory.remember(scope, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
            assert!(memory.usage().tokens <= 100, "{:?}", memory.usage());
        }
        assert_eq!(found(&memory, 29, &[1, 2]), [3]);
        assert!(found(&memory, 0, &[1, 2]).is_empty(), "unused for the longest");
    }

    #[test]
    fn of_a_long_text_the_end_is_remembered_and_a_limit_of_nothing_remembers_nothing() {
        let mut memory = TextMemory::new(100, 2);
        memory.remember(1, &(0..500).collect::<Vec<_>>());
        assert_eq!(found(&memory, 1, &[470, 471]), [472]);
        assert!(found(&memory, 1, &[100, 101]).is_empty());
        let mut nothing = TextMemory::new(0, 2);
        nothing.remember(1, &[1, 2, 3, 4]);
        assert_eq!(nothing.usage(), MemoryUse::default());
    }
}
