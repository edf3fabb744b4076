//! What is timed, on which tokens, in which order.

use speckv::token::Token;

/// Most rows of a timed pass: a step that verifies 16 drafted tokens.
pub const MOST_ROWS: usize = 17;

/// Reads of the buffer in a round, spread over it; the round's read rate is their median.
pub const READS: usize = 3;

/// What a measurement covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Tokens already read when passes are timed.
    pub contexts: Vec<usize>,
    /// Prompt lengths.
    pub prompts: Vec<usize>,
    /// Rounds.
    pub rounds: usize,
    /// Bytes that the read rate is measured on.
    pub buffer_bytes: usize,
}

/// One thing to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A read of the whole buffer.
    Read,
    /// A pass of `rows` tokens, logits of all, after `contexts[context]` tokens.
    Pass {
        /// Which context.
        context: usize,
        /// Tokens fed.
        rows: usize,
    },
    /// A prompt of `prompts[prompt]` tokens from an empty cache, logits of the last.
    Prompt {
        /// Which prompt length.
        prompt: usize,
    },
}

impl Plan {
    /// Positions that a cache needs.
    #[must_use]
    pub fn positions(&self) -> usize {
        let passes = self.contexts.iter().map(|context| context + MOST_ROWS);
        passes.chain(self.prompts.iter().copied()).max().unwrap_or(0)
    }

    /// Everything once, reads [`READS`] times, in an order that only `round` decides. A new order
    /// in every round keeps what one item leaves behind (caches, heat) from always hitting the same
    /// next one.
    #[must_use]
    pub fn round(&self, round: usize) -> Vec<Item> {
        let mut items = vec![Item::Read; READS];
        for context in 0..self.contexts.len() {
            items.extend((1..=MOST_ROWS).map(|rows| Item::Pass { context, rows }));
        }
        items.extend((0..self.prompts.len()).map(|prompt| Item::Prompt { prompt }));
        // Fisher and Yates, by Durstenfeld 1964.
        let mut random = Random(round as u64);
        for last in (1..items.len()).rev() {
            items.swap(last, random.below(last + 1));
        }
        items
    }
}

/// An endless text of tokens spread over the vocabulary. Every piece is new: nothing timed is ever
/// repeated.
#[derive(Debug, Clone)]
pub struct Text {
    random: Random,
    vocab_size: usize,
}

impl Text {
    /// A text over the tokens below `vocab_size`.
    #[must_use]
    pub fn new(vocab_size: usize) -> Self {
        Text { random: Random(0x5bec), vocab_size }
    }

    /// The next `count` tokens.
    pub fn next(&mut self, count: usize) -> Vec<Token> {
        (0..count).map(|_| self.random.below(self.vocab_size) as Token).collect()
    }
}

/// SplitMix64: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// A number below `bound`, by the high half of the product.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { contexts: vec![8, 64], prompts: vec![32], rounds: 3, buffer_bytes: 1 << 20 }
    }

    #[test]
    fn every_round_times_everything_once_in_another_order() {
        let plan = plan();
        let (first, second) = (plan.round(1), plan.round(2));
        assert_ne!(first, second);
        for round in [first, second] {
            assert_eq!(round.len(), READS + 2 * MOST_ROWS + 1);
            for context in 0..2 {
                for rows in 1..=MOST_ROWS {
                    assert_eq!(
                        round.iter().filter(|&&item| item == Item::Pass { context, rows }).count(),
                        1
                    );
                }
            }
            assert_eq!(round.iter().filter(|&&item| item == Item::Read).count(), READS);
            assert!(round.contains(&Item::Prompt { prompt: 0 }));
        }
    }

    #[test]
    fn caches_have_room_for_the_longest_pass_and_prompt() {
        assert_eq!(plan().positions(), 64 + MOST_ROWS);
        assert_eq!(Plan { prompts: vec![500], ..plan() }.positions(), 500);
    }

    #[test]
    fn the_text_covers_the_vocabulary_and_repeats_no_piece() {
        let mut text = Text::new(1000);
        let pieces: Vec<Vec<Token>> = (0..1000).map(|_| text.next(4)).collect();
        let distinct: std::collections::HashSet<&Vec<Token>> = pieces.iter().collect();
        assert_eq!(distinct.len(), pieces.len());
        let seen: std::collections::HashSet<Token> = pieces.iter().flatten().copied().collect();
        // 4000 uniform draws miss a given token with probability exp(-4): 18 of 1000 are expected
        // to be missing.
        assert!(seen.len() > 950 && seen.iter().all(|&token| token < 1000), "{} seen", seen.len());
    }
}
