//! Byte-pair encoding of SentencePiece (Kudo and Richardson 2018, arXiv 1808.06226), with byte
//! fallback.

use std::collections::HashMap;

use speckv::token::Token;

use super::{
    TokenType, TokenizerError,
    merge::{Symbol, merge},
    table::Texts,
};

/// How SentencePiece spells a space.
pub(super) const SPACE: &str = "\u{2581}";

/// The byte that `<0xNN>` spells.
pub(super) fn spelled_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    // `from_str_radix` alone would also take a sign.
    (digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// A number that is smaller for a higher score, and equal for equal ones.
fn priority(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits(); // adding zero turns -0 into 0, which is the same score
    // The order of floats as unsigned numbers, reversed; -inf becomes 0xff80_0000.
    if bits >> 31 == 1 { bits } else { !bits & 0x7fff_ffff }
}

pub(super) struct SentencePiece {
    scores: Vec<f32>,
    bytes: [Option<Token>; 256],
    add_space_prefix: bool,
    unknown: Option<Token>,
}

impl SentencePiece {
    pub(super) fn new(
        texts: &Texts,
        types: &[TokenType],
        scores: Vec<f32>,
        add_space_prefix: bool,
        unknown: Option<Token>,
    ) -> Result<Self, TokenizerError> {
        if scores.len() != types.len() {
            return Err(TokenizerError::Length {
                what: "scores",
                expected: types.len(),
                got: scores.len(),
            });
        }
        if let Some(token) = scores.iter().position(|score| score.is_nan()) {
            return Err(TokenizerError::Score { token, score: scores[token] });
        }
        let mut bytes = [None; 256];
        for (token, _) in types.iter().enumerate().filter(|(_, kind)| **kind == TokenType::Byte) {
            let token = token as Token;
            if let Some(byte) = texts.text(token).and_then(spelled_byte) {
                bytes[usize::from(byte)].get_or_insert(token);
            }
        }
        Ok(Self { scores, bytes, add_space_prefix, unknown })
    }

    pub(super) fn encode(
        &self,
        text: &str,
        after_special: bool,
        texts: &Texts,
        types: &[TokenType],
        out: &mut Vec<Token>,
    ) -> Result<(), TokenizerError> {
        let mut spelled = String::with_capacity(text.len() + SPACE.len());
        if self.add_space_prefix && after_special {
            spelled.push_str(SPACE);
        }
        for character in text.chars() {
            if character == ' ' { spelled.push_str(SPACE) } else { spelled.push(character) }
        }
        let token = |start: usize, end: usize| {
            texts.token(&spelled[start..end]).filter(|&token| {
                matches!(
                    types[token as usize],
                    TokenType::Normal | TokenType::UserDefined | TokenType::Unused
                )
            })
        };
        // Unused tokens take part in merging and are taken apart afterwards, where they were last
        // joined.
        let mut unused: HashMap<Token, usize> = HashMap::new();
        let characters = spelled.char_indices().map(|(at, character)| {
            let end = at + character.len_utf8();
            (at, end, token(at, end))
        });
        let offered = |left: Symbol, right: Symbol| {
            let joined = token(left.start, right.end)?;
            if types[joined as usize] == TokenType::Unused {
                unused.insert(joined, left.end - left.start);
            }
            Some(priority(self.scores[joined as usize]))
        };
        let joined = |left: Symbol, right: Symbol| token(left.start, right.end);
        let merged = merge(spelled.len(), characters, offered, joined)?;
        let mut after_unknown = false;
        let mut stack: Vec<(usize, usize)> = Vec::new();
        for symbol in merged.symbols() {
            stack.push((symbol.start, symbol.end));
            while let Some((start, end)) = stack.pop() {
                match token(start, end) {
                    Some(token) => match unused.get(&token) {
                        Some(left) if types[token as usize] == TokenType::Unused => {
                            stack.push((start + left, end));
                            stack.push((start, start + left));
                        }
                        _ => {
                            out.push(token);
                            after_unknown = false;
                        }
                    },
                    None => after_unknown = self.spell(&spelled[start..end], after_unknown, out)?,
                }
            }
        }
        Ok(())
    }

    /// Spells a character that is no token: byte by byte if every byte has a token, else as the
    /// unknown token, once for a run of such characters. Says whether it was the latter.
    fn spell(
        &self,
        text: &str,
        after_unknown: bool,
        out: &mut Vec<Token>,
    ) -> Result<bool, TokenizerError> {
        if let Some(tokens) =
            text.bytes().map(|byte| self.bytes[usize::from(byte)]).collect::<Option<Vec<_>>>()
        {
            out.extend(tokens);
            return Ok(false);
        }
        let unknown =
            self.unknown.ok_or_else(|| TokenizerError::NoToken { text: text.to_owned() })?;
        if !after_unknown {
            out.push(unknown);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_come_first() {
        let scores = [f32::INFINITY, 3.5, 1e-40, 0.0, -1e-40, -0.25, -1e30, f32::NEG_INFINITY];
        assert!(scores.map(priority).is_sorted_by(|a, b| a < b));
        assert_eq!(priority(0.0), priority(-0.0));
        assert!(scores.map(priority).into_iter().all(|priority| priority < u32::MAX));
    }
}
