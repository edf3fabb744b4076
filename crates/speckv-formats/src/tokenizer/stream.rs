use std::borrow::Borrow;

use speckv::token::Token;

use super::{LeadingSpace, Tokenizer};

/// Joins the bytes of tokens, without the spaces that encoding has put before text.
pub(super) struct Assembler {
    pub bytes: Vec<u8>,
    skip_special: bool,
    strip_space: bool,
}

impl Assembler {
    pub(super) fn new(tokenizer: &Tokenizer, skip_special: bool) -> Self {
        Self {
            bytes: Vec::new(),
            skip_special,
            strip_space: tokenizer.leading_space != LeadingSpace::Kept,
        }
    }

    pub(super) fn push(&mut self, tokenizer: &Tokenizer, token: Token) {
        let Some(piece) = tokenizer.piece(token) else {
            // Not in the vocabulary: a byte that UTF-8 never has becomes U+FFFD.
            self.bytes.push(0xff);
            return;
        };
        if !(self.skip_special && tokenizer.is_special(token)) {
            let strip =
                self.strip_space && tokenizer.is_text(token) && piece.first() == Some(&b' ');
            self.bytes.extend_from_slice(&piece[usize::from(strip)..]);
        }
        if !tokenizer.is_text(token) {
            self.strip_space |= tokenizer.leading_space == LeadingSpace::AfterSpecial;
        } else if !piece.is_empty() {
            self.strip_space = false;
        }
    }
}

/// Turns tokens into text as they come. The texts, joined, are what [`Tokenizer::decode`] gives for
/// all tokens at once, special tokens skipped. A character whose bytes are spread over several
/// tokens comes with the last of them; only bytes that no further byte can complete are replaced by
/// U+FFFD.
pub struct StreamDecoder<T: Borrow<Tokenizer>> {
    tokenizer: T,
    assembler: Assembler,
}

impl<T: Borrow<Tokenizer>> StreamDecoder<T> {
    /// Begins a text. `tokenizer` is anything that lends one: a reference, an `Arc`.
    pub fn new(tokenizer: T) -> Self {
        let assembler = Assembler::new(tokenizer.borrow(), true);
        Self { tokenizer, assembler }
    }

    /// Goes on after a text: a leading space is part of what is said, and is kept. For completions;
    /// an answer in a chat begins anew.
    pub fn continuing(tokenizer: T) -> Self {
        let mut decoder = Self::new(tokenizer);
        decoder.assembler.strip_space = false;
        decoder
    }

    /// The text that this token completes; empty while a character is incomplete.
    pub fn push(&mut self, token: Token) -> String {
        self.assembler.push(self.tokenizer.borrow(), token);
        let bytes = &mut self.assembler.bytes;
        let mut text = String::new();
        let mut done = 0;
        while done < bytes.len() {
            match std::str::from_utf8(&bytes[done..]) {
                Ok(valid) => {
                    text.push_str(valid);
                    done = bytes.len();
                }
                Err(error) => {
                    let valid = &bytes[done..done + error.valid_up_to()];
                    text.push_str(&String::from_utf8_lossy(valid));
                    done += error.valid_up_to();
                    let Some(invalid) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    done += invalid;
                }
            }
        }
        bytes.drain(..done);
        text
    }

    /// Ends the text: what was held back, with U+FFFD for a character that never became complete.
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.assembler.bytes);
        String::from_utf8_lossy(&rest).into_owned()
    }
}
