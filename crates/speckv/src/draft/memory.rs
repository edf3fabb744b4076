//! Earlier texts that look-up searches beside the text itself.

use std::collections::HashMap;

use super::automaton::{Automaton, GAP};
use crate::token::Token;

/// Texts that were finished earlier, apart by scope: what one scope has said is never found by
/// another.
///
/// The oldest texts of a scope are forgotten when its share is full, and the scope that was unused
/// for the longest is forgotten when all is full.
#[derive(Debug, Default)]
pub struct TextMemory {
    limit: usize, // tokens of all scopes
    scopes: HashMap<u64, Scope>,
    uses: u64, // counts additions
}

/// The texts of one scope, each with a gap after it.
#[derive(Debug, Default)]
struct Scope {
    texts: Automaton,
    last_use: u64,
}

/// What a memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Scopes with texts.
    pub scopes: usize,
    /// Tokens of their texts.
    pub tokens: usize,
    /// Bytes that tokens and index take.
    pub bytes: usize,
}

/// Share of the limit that one scope may have.
const SCOPE_SHARE: usize = 2;
/// Fewest tokens of a text that is remembered: one that something follows.
const SHORTEST: usize = 2;

impl TextMemory {
    /// A memory of at most `limit` tokens. A limit of 0 remembers nothing.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        TextMemory { limit, ..TextMemory::default() }
    }

    /// Forgets all texts, and remembers at most `limit` tokens from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.scopes.clear();
    }

    /// Remembers a finished text of a scope. Of one that is longer than a scope's share, the end.
    pub fn remember(&mut self, scope: u64, text: &[Token]) {
        let share = (self.limit / SCOPE_SHARE).min(u32::MAX as usize / 4);
        let text = &text[text.len().saturating_sub(share.saturating_sub(1))..];
        if text.len() < SHORTEST || share == 0 {
            return;
        }
        self.uses += 1;
        let place = self.scopes.entry(scope).or_default();
        place.last_use = self.uses;
        place.make_room(share - text.len() - 1);
        text.iter().chain([&GAP]).for_each(|&token| place.texts.push(token));
        while self.usage().tokens > self.limit {
            let oldest = self.scopes.iter().min_by_key(|(_, scope)| scope.last_use);
            let Some(oldest) = oldest.map(|(&number, _)| number) else { break };
            self.scopes.remove(&oldest);
        }
    }

    /// What it holds.
    #[must_use]
    pub fn usage(&self) -> MemoryUse {
        let tokens = self.scopes.values().map(|scope| scope.texts.tokens().len()).sum();
        let bytes = self.scopes.values().map(|scope| scope.texts.bytes()).sum();
        MemoryUse { scopes: self.scopes.len(), tokens, bytes }
    }

    /// Hands every text to `visit`, with its scope: the scope that was unused for the longest
    /// first, and of each scope the oldest text first. Remembered in this order, they make the same
    /// memory.
    pub fn visit(&self, visit: &mut dyn FnMut(u64, &[Token])) {
        let mut scopes: Vec<_> = self.scopes.iter().collect();
        scopes.sort_unstable_by_key(|(_, scope)| scope.last_use);
        for (&number, scope) in scopes {
            let texts = scope.texts.tokens().split(|&token| token == GAP);
            texts.filter(|text| !text.is_empty()).for_each(|text| visit(number, text));
        }
    }

    /// The texts of a scope, and a number that changes with them.
    pub(super) fn scope(&self, scope: u64) -> Option<(&Automaton, u64)> {
        self.scopes.get(&scope).map(|scope| (&scope.texts, scope.last_use))
    }
}

impl Scope {
    /// Forgets the oldest texts until at most half of `most` tokens are left, where there are more
    /// than `most`: so the index is built anew once per half.
    fn make_room(&mut self, most: usize) {
        let tokens = self.texts.tokens();
        if tokens.len() <= most {
            return;
        }
        let least = tokens.len() - most / 2;
        let gap = tokens[least - 1..].iter().position(|&token| token == GAP);
        let kept = gap.map_or(Vec::new(), |gap| tokens[least + gap..].to_vec());
        self.texts.clear();
        kept.iter().for_each(|&token| self.texts.push(token));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::automaton::Run, *};

    /// What followed the places where a scope's texts have `run`, and how often.
    fn found(memory: &TextMemory, scope: u64, run: &[Token]) -> Vec<(Token, u32)> {
        let Some((texts, _)) = memory.scope(scope) else { return Vec::new() };
        let end = run.iter().fold(Run::default(), |end, &token| texts.extend(end, token));
        let mut counts = Vec::new();
        if end.len() == run.len() {
            texts.count_next(end, &mut counts);
        }
        counts.sort_unstable();
        counts
    }

    #[test]
    fn a_scope_finds_its_own_texts_and_no_others() {
        let mut memory = TextMemory::new(1000);
        memory.remember(1, &[5, 6, 7, 8]);
        memory.remember(2, &[5, 6, 9]);
        memory.remember(1, &[5, 6, 4]);
        assert_eq!(found(&memory, 1, &[5, 6]), [(4, 1), (7, 1)]);
        assert_eq!(found(&memory, 2, &[5, 6]), [(9, 1)]);
        assert!(found(&memory, 3, &[5, 6]).is_empty());
        assert!(found(&memory, 1, &[7, 8]).is_empty(), "nothing follows the end of a text");
        assert_eq!((memory.usage().scopes, memory.usage().tokens), (2, 5 + 4 + 4));
    }

    #[test]
    fn the_oldest_texts_and_scopes_are_forgotten_first() {
        let mut memory = TextMemory::new(100);
        for number in 0..40 {
            memory.remember(7, &[1000 + number, 1, 2, 3]);
            assert!(memory.usage().tokens <= 50, "a scope has half: {:?}", memory.usage());
        }
        assert_eq!(found(&memory, 7, &[1039, 1]), [(2, 1)]);
        assert!(found(&memory, 7, &[1000, 1]).is_empty());
        for scope in 0..30 {
            memory.remember(scope, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
            assert!(memory.usage().tokens <= 100, "{:?}", memory.usage());
        }
        assert_eq!(found(&memory, 29, &[1, 2]), [(3, 1)]);
        assert!(found(&memory, 0, &[1, 2]).is_empty(), "unused for the longest");
    }

    #[test]
    fn of_a_long_text_the_end_is_remembered_and_a_limit_of_nothing_remembers_nothing() {
        let mut memory = TextMemory::new(100);
        memory.remember(1, &(0..500).collect::<Vec<_>>());
        assert_eq!(found(&memory, 1, &[470, 471]), [(472, 1)]);
        assert!(found(&memory, 1, &[100, 101]).is_empty());
        assert!(memory.usage().tokens <= 50);
        let mut nothing = TextMemory::new(0);
        nothing.remember(1, &[1, 2, 3, 4]);
        assert_eq!(nothing.usage(), MemoryUse::default());
    }

    #[test]
    fn texts_that_are_remembered_again_in_the_order_of_a_visit_make_the_same_memory() {
        let mut memory = TextMemory::new(60);
        for number in 0..30 {
            memory.remember(u64::from(number % 3), &[number, 1, 2, 3, number]);
        }
        let texts = |memory: &TextMemory| {
            let mut texts = Vec::new();
            memory.visit(&mut |scope, text| texts.push((scope, text.to_vec())));
            texts
        };
        let before = texts(&memory);
        let mut again = TextMemory::new(60);
        before.iter().for_each(|(scope, text)| again.remember(*scope, text));
        assert_eq!(texts(&again), before);
        assert!(before.len() > 3 && again.usage().tokens == memory.usage().tokens);
    }
}
