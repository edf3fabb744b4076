//! Tokenizers from a Hugging Face `tokenizer.json`, run by the `tokenizers` library.

use std::path::Path;

use serde_json::Value;

use super::{
    Engine, LeadingSpace, Library, TokenType, Tokenizer, TokenizerError, added, byte_level,
    ends::Ends,
    sentencepiece, special,
    table::{Bytes, Texts},
};

/// How a decoder turns a token's text into bytes.
#[derive(Clone, Copy, PartialEq)]
enum Spelling {
    Bytes,
    Spaces,
}

impl Tokenizer {
    /// Builds a tokenizer from a `tokenizer.json`. Beginnings, ends and further tokens are read
    /// from the files beside it, where they exist: `tokenizer_config.json`, `added_tokens.json`,
    /// `special_tokens_map.json`, `generation_config.json` and `config.json`. Its truncation,
    /// padding and dropout are settings of training and are not applied.
    ///
    /// # Errors
    /// A file that cannot be read, is not JSON or not a tokenizer, or whose decoder is neither
    /// byte-level nor SentencePiece's.
    pub fn from_json_file(path: &Path) -> Result<Self, TokenizerError> {
        let fail = |reason: String| TokenizerError::Json { path: path.to_owned(), reason };
        let bytes = std::fs::read(path)
            .map_err(|source| TokenizerError::Io { path: path.to_owned(), source })?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))?;
        let decoder = &value["decoder"];
        let (spelling, leading_space) = if mentions(decoder, "ByteLevel") {
            (Spelling::Bytes, LeadingSpace::Kept)
        } else if mentions(decoder, "Metaspace") || mentions(decoder, sentencepiece::SPACE) {
            let strips = mentions(decoder, "Strip")
                || mentions(decoder, "Metaspace") && !mentions(decoder, "never");
            (Spelling::Spaces, if strips { LeadingSpace::AtStart } else { LeadingSpace::Kept })
        } else {
            let got = decoder["type"].as_str().unwrap_or("none");
            return Err(fail(format!(
                "expected a ByteLevel, Metaspace or Replace decoder, got {got}"
            )));
        };
        let byte_fallback = value["model"]["byte_fallback"] == true;
        let unknown = value["model"]["unk_token"].as_str().map(str::to_owned);
        drop(value);
        let mut library =
            tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| fail(error.to_string()))?;
        drop(bytes);
        let side = added::SideFiles::read(path)?;
        side.add_tokens(&mut library)?;
        side.surround(&mut library).map_err(fail)?;

        let vocabulary = library.get_vocab(true);
        let size = vocabulary.values().max().map_or(0, |&last| last as usize + 1);
        // Identifiers may have gaps, but a few tokens may not ask for memory for billions.
        if size > 2 * vocabulary.len() + 65536 {
            return Err(fail(format!(
                "expected identifiers near the number of tokens {}, got {size}",
                vocabulary.len()
            )));
        }
        let mut tokens = vec![String::new(); size];
        let mut types = vec![TokenType::Unused; size];
        for (text, token) in vocabulary {
            let byte = byte_fallback && sentencepiece::spelled_byte(&text).is_some();
            types[token as usize] = match &unknown {
                Some(unknown) if *unknown == text => TokenType::Unknown,
                _ if byte => TokenType::Byte,
                _ => TokenType::Normal,
            };
            tokens[token as usize] = text;
        }
        for (token, added) in library.get_added_tokens_decoder() {
            if let Some(kind) = types.get_mut(token as usize) {
                *kind = if added.special { TokenType::Control } else { TokenType::UserDefined };
            }
        }
        if tokens.is_empty() {
            return Err(TokenizerError::Empty);
        }
        let texts = Texts::new(&tokens, &types)?;
        let mut pieces = Bytes::default();
        for (text, kind) in tokens.iter().zip(&types) {
            match (kind, spelling, sentencepiece::spelled_byte(text)) {
                (TokenType::Unused, ..) => pieces.push(b"")?,
                (TokenType::Byte, Spelling::Spaces, Some(byte)) => pieces.push(&[byte])?,
                (TokenType::Normal, Spelling::Spaces, _) => {
                    pieces.push(text.replace(sentencepiece::SPACE, " ").as_bytes())?;
                }
                (TokenType::Normal | TokenType::Byte, Spelling::Bytes, _) => {
                    pieces.push(&byte_level::spelled_bytes(text))?;
                }
                _ => pieces.push(text.as_bytes())?,
            }
        }
        let ends = Ends::read(path, &texts)?;
        let end_tokens =
            special::end_tokens(ends.eos.into_iter().chain(ends.others), &texts, &types);
        let engine = Engine::Library(Box::new(Library::new(library, &texts, &types)?));
        Ok(Self {
            texts,
            pieces,
            types,
            engine,
            leading_space,
            bos: ends.bos,
            eos: ends.eos,
            end_tokens,
        })
    }
}

/// Whether a value contains this string anywhere.
fn mentions(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(string) => string == wanted,
        Value::Array(values) => values.iter().any(|value| mentions(value, wanted)),
        Value::Object(entries) => entries.values().any(|value| mentions(value, wanted)),
        _ => false,
    }
}
