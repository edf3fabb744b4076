//! Token texts and bytes in one allocation each, and the way back from text to token.

use std::hash::{BuildHasher, RandomState};

use speckv::token::Token;

use super::{TokenType, TokenizerError};

/// Byte strings, indexed by token, end to end in one buffer.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    buffer: Vec<u8>,
    ends: Vec<u32>,
}

impl Bytes {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TokenizerError> {
        self.buffer.extend_from_slice(bytes);
        self.ends.push(u32::try_from(self.buffer.len()).map_err(|_| TokenizerError::TooLarge)?);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, token: Token) -> Option<&[u8]> {
        let index = token as usize;
        let end = *self.ends.get(index)? as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        Some(&self.buffer[start..end])
    }
}

/// Token texts and an index over them: an open-addressing hash table of tokens, which borrows the
/// texts instead of copying them.
pub(super) struct Texts {
    texts: Bytes,
    slots: Vec<Token>, // a power of two, at most half full
    hasher: RandomState,
}

const FREE: Token = Token::MAX;

impl Texts {
    /// Indexes the texts. Of equal texts, tokens that are not in use give way; two in use are an
    /// error.
    pub(super) fn new(tokens: &[String], types: &[TokenType]) -> Result<Self, TokenizerError> {
        if tokens.len() >= FREE as usize / 4 {
            return Err(TokenizerError::TooLarge);
        }
        let slots = vec![FREE; (tokens.len() * 2).next_power_of_two()];
        let mut table = Self { texts: Bytes::default(), slots, hasher: RandomState::new() };
        for (token, text) in tokens.iter().enumerate() {
            table.texts.push(text.as_bytes())?;
            let token = token as Token;
            let slot = table.slot(text);
            let first = table.slots[slot];
            let unused = |token: Token| types[token as usize] == TokenType::Unused;
            // Of several tokens with one text the last is meant, as in llama.cpp; one that is not
            // in use never is.
            if first == FREE || unused(first) || !unused(token) {
                table.slots[slot] = token;
            }
        }
        Ok(table)
    }

    /// The slot that holds this text, or the free one where it belongs.
    fn slot(&self, text: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        loop {
            let token = self.slots[slot];
            if token == FREE || self.texts.get(token) == Some(text.as_bytes()) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn text(&self, token: Token) -> Option<&str> {
        std::str::from_utf8(self.texts.get(token)?).ok()
    }

    pub(super) fn token(&self, text: &str) -> Option<Token> {
        Some(self.slots[self.slot(text)]).filter(|&token| token != FREE)
    }
}
