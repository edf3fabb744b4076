//! A set of tokens.

use crate::token::Token;

/// Tokens of a vocabulary, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenSet {
    words: Vec<u32>, // token t is bit t % 32 of word t / 32
}

impl TokenSet {
    /// No tokens, with room for a vocabulary of this size.
    #[must_use]
    pub fn empty(vocab_size: usize) -> Self {
        TokenSet { words: vec![0; vocab_size.div_ceil(32)] }
    }

    /// Becomes the set of these bits: token t is bit t % 32 of word t / 32.
    pub fn set_words(&mut self, words: &[u32]) {
        self.words.clear();
        self.words.extend_from_slice(words);
    }

    /// Takes all tokens out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Adds a token.
    pub fn insert(&mut self, token: Token) {
        let (word, bit) = (token as usize / 32, token % 32);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
    }

    /// Whether the token is in the set.
    #[must_use]
    pub fn contains(&self, token: Token) -> bool {
        self.words.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
    }

    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it has no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Makes every logit of a token outside the set minus infinity.
    pub fn mask(&self, logits: &mut [f32]) {
        for (index, chunk) in logits.chunks_mut(32).enumerate() {
            match self.words.get(index).copied().unwrap_or(0) {
                0 => chunk.fill(f32::NEG_INFINITY),
                u32::MAX => {}
                word => {
                    for (bit, logit) in chunk.iter_mut().enumerate() {
                        if word >> bit & 1 == 0 {
                            *logit = f32::NEG_INFINITY;
                        }
                    }
                }
            }
        }
    }
}

impl FromIterator<Token> for TokenSet {
    fn from_iter<I: IntoIterator<Item = Token>>(tokens: I) -> Self {
        let mut set = TokenSet::default();
        tokens.into_iter().for_each(|token| set.insert(token));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_the_tokens_of_the_set_and_no_other() {
        for size in [1, 31, 32, 33, 100] {
            let set: TokenSet = (0..size).filter(|token| token % 3 == 0).collect();
            let mut logits: Vec<f32> = (0..size).map(|token| token as f32).collect();
            set.mask(&mut logits);
            for (token, &logit) in (0..size).zip(&logits) {
                assert_eq!(logit == token as f32, set.contains(token), "{token} of {size}");
                assert_eq!(logit == f32::NEG_INFINITY, token % 3 != 0, "{token} of {size}");
            }
            assert_eq!(set.len(), (size as usize).div_ceil(3));
        }
    }

    #[test]
    fn a_token_beyond_the_set_is_not_in_it() {
        let mut set = TokenSet::empty(40);
        assert!(set.is_empty() && !set.contains(7) && !set.contains(9_999));
        set.insert(70);
        assert!(set.contains(70) && set.len() == 1);
        set.clear();
        assert!(set.is_empty());
        set.set_words(&[0b101]);
        assert!(set.contains(0) && !set.contains(1) && set.contains(2) && set.len() == 2);
    }
}
