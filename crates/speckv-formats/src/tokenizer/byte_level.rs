//! Byte-pair encoding over bytes. A byte is spelled as one printable character, so that every text
//! is a string of such characters.

use std::collections::HashMap;

use speckv::token::Token;

use super::{
    TokenType, TokenizerError,
    merge::{Symbol, merge},
    pre::PreTokenizer,
    table::Texts,
};

/// The character that spells a byte: itself if it is printable in Latin-1 (`!`..=`~`,
/// U+00A1..=U+00AC, U+00AE..=U+00FF), else U+0100 plus its rank among the bytes that are not.
pub(super) fn spelling(byte: u8) -> char {
    match byte {
        0..=0x20 => char::from_u32(0x100 + u32::from(byte)).unwrap_or('\0'),
        0x7f..=0xa0 => char::from_u32(0x100 + 0x21 + u32::from(byte - 0x7f)).unwrap_or('\0'),
        0xad => '\u{143}',
        _ => char::from(byte),
    }
}

/// The byte that a character spells; the inverse of [`spelling`].
pub(super) fn spelled(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121) as u8 + 0x7f),
        0x143 => Some(0xad),
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        _ => None,
    }
}

/// The bytes that a text spells; a text with characters that spell no byte stands for itself.
pub(super) fn spelled_bytes(text: &str) -> Vec<u8> {
    text.chars().map(spelled).collect::<Option<_>>().unwrap_or_else(|| text.as_bytes().to_vec())
}

pub(super) struct ByteLevel {
    pre: PreTokenizer,
    bytes: [Option<Token>; 256],
    merges: HashMap<(Token, Token), (u32, Token)>, // pair -> rank, merged token
    unknown: Option<Token>,
}

impl ByteLevel {
    pub(super) fn new(
        texts: &Texts,
        types: &[TokenType],
        merges: &[String],
        pre: PreTokenizer,
        unknown: Option<Token>,
    ) -> Result<Self, TokenizerError> {
        let bytes = std::array::from_fn(|byte| {
            let mut buffer = [0; 4];
            texts
                .token(spelling(byte as u8).encode_utf8(&mut buffer))
                .filter(|&token| types[token as usize] == TokenType::Normal)
        });
        let mut table = HashMap::with_capacity(merges.len());
        let mut joined = String::new();
        for (index, merge) in merges.iter().enumerate() {
            let fail = |reason| TokenizerError::Merge { index, merge: merge.clone(), reason };
            let rank = u32::try_from(index).map_err(|_| TokenizerError::TooLarge)?;
            let (left, right) = merge
                .split_once(' ')
                .ok_or_else(|| fail("expected two texts with a space between"))?;
            if left.is_empty() || right.is_empty() {
                return Err(fail("expected two texts, got an empty one"));
            }
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let token = |text: &str, reason| texts.token(text).ok_or_else(|| fail(reason));
            let pair = (
                token(left, "the first text is not in the vocabulary")?,
                token(right, "the second text is not in the vocabulary")?,
            );
            let whole = token(&joined, "the joined text is not in the vocabulary")?;
            // A pair named twice keeps its better rank.
            table.entry(pair).or_insert((rank, whole));
        }
        Ok(Self { pre, bytes, merges: table, unknown })
    }

    pub(super) fn encode(
        &self,
        text: &str,
        texts: &Texts,
        types: &[TokenType],
        out: &mut Vec<Token>,
    ) -> Result<(), TokenizerError> {
        let mut spelled = String::new();
        for part in self.pre.split(text) {
            if self.pre.whole_words() {
                spelled.clear();
                spelled.extend(part.bytes().map(spelling));
                let known = texts
                    .token(&spelled)
                    .filter(|&token| types[token as usize] == TokenType::Normal);
                if let Some(token) = known {
                    out.push(token);
                    continue;
                }
            }
            self.encode_part(part, out)?;
        }
        Ok(())
    }

    fn encode_part(&self, part: &str, out: &mut Vec<Token>) -> Result<(), TokenizerError> {
        let bytes =
            part.bytes().enumerate().map(|(at, byte)| (at, at + 1, self.bytes[usize::from(byte)]));
        let pair = |left: Symbol, right: Symbol| self.merges.get(&(left.token?, right.token?));
        let merged = merge(
            part.len(),
            bytes,
            |left, right| pair(left, right).map(|&(rank, _)| rank),
            |left, right| pair(left, right).map(|&(_, token)| token),
        )?;
        for symbol in merged.symbols() {
            let token = symbol.token.or(self.unknown).ok_or_else(|| {
                let bytes = &part.as_bytes()[symbol.start..symbol.end];
                TokenizerError::NoToken { text: bytes.escape_ascii().to_string() }
            })?;
            out.push(token);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_spelling() {
        for byte in 0..=255 {
            assert_eq!(spelled(spelling(byte)), Some(byte));
            assert!(!spelling(byte).is_whitespace() && !spelling(byte).is_control());
        }
        // GPT-2's encoder: space is U+0120, newline U+010A.
        assert_eq!((spelling(b' '), spelling(b'\n')), ('Ġ', 'Ċ'));
    }
}
