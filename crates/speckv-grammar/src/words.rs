//! The bytes of a vocabulary's tokens.

use std::collections::HashMap;

use speckv::{sampling::TokenSet, token::Token};
use toktrie::TokTrie;

/// The bytes that each token of a vocabulary stands for.
#[derive(Debug, Clone)]
pub struct Words {
    pub(crate) bytes: Vec<Vec<u8>>, // empty where a token is never made under a grammar
    pub(crate) end_tokens: Vec<Token>,
}

impl Words {
    /// Tokens of text, by number. A token without bytes is never made under a grammar, and of
    /// several with the same bytes only the last one, so that a text has one meaning.
    #[must_use]
    pub fn new(bytes: Vec<Vec<u8>>, end_tokens: Vec<Token>) -> Self {
        let mut words = Words { bytes, end_tokens };
        for &end in &words.end_tokens {
            // What ends an answer is no text of it.
            words.bytes.get_mut(end as usize).map(Vec::clear);
        }
        let mut last = HashMap::new();
        for (token, word) in words.bytes.iter().enumerate() {
            last.insert(word.clone(), token);
        }
        for (token, word) in words.bytes.iter_mut().enumerate() {
            if last.get(word) != Some(&token) {
                word.clear();
            }
        }
        words
    }

    /// Makes a token a control token, which text never is: a grammar names it by its spelling in
    /// angle brackets.
    pub fn set_control(&mut self, token: Token, spelling: &str) {
        if let Some(word) = self.bytes.get_mut(token as usize) {
            word.clear();
            word.push(TokTrie::SPECIAL_TOKEN_MARKER);
            word.extend_from_slice(spelling.as_bytes());
        }
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The text of a token; of a control token, its spelling.
    pub(crate) fn text(&self, token: Token) -> &[u8] {
        let word = self.bytes.get(token as usize).map_or(&[][..], Vec::as_slice);
        word.strip_prefix(&[TokTrie::SPECIAL_TOKEN_MARKER]).unwrap_or(word)
    }

    /// The tokens that have bytes.
    pub(crate) fn usable(&self) -> TokenSet {
        let mut set = TokenSet::empty(self.bytes.len());
        for (token, word) in self.bytes.iter().enumerate() {
            if !word.is_empty() {
                set.insert(token as Token);
            }
        }
        set
    }
}

/// What constraints know of the vocabulary.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub usable: TokenSet,
    pub end_tokens: Vec<Token>,
}
