//! A vocabulary from the metadata of a GGUF file.

use speckv::token::Token;

use super::{Model, TokenType, Tokenizer, TokenizerError, Vocabulary, pre::PreTokenizer};
use crate::gguf::{GgufError, Metadata};

/// Tokenizer models that work, as in `tokenizer.ggml.model`: byte-level and SentencePiece byte-pair
/// encoding.
pub const MODELS: &[&str] = &["gpt2", "llama"];

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

impl Tokenizer {
    /// Builds a tokenizer from the `tokenizer.ggml.*` entries of a model file.
    ///
    /// `tokenizer.ggml.normalizer` is an entry of this project's own files: text is normalized as
    /// in the folder that the file was made from. What the file does not say is as in llama.cpp, the format's reference: SentencePiece models
    /// begin with BOS and put a space before text, byte-level models do neither, except that the
    /// `llama-bpe` and `tekken` pre-tokenizers begin with BOS.
    ///
    /// # Errors
    /// An entry that is missing or of another type, a model that is not one of [`MODELS`], and
    /// those of [`Self::from_vocabulary`].
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        Self::from_vocabulary(Vocabulary::from_gguf(metadata)?)
    }
}

impl Vocabulary {
    /// Reads the `tokenizer.ggml.*` entries of a model file; see [`Tokenizer::from_gguf`].
    ///
    /// # Errors
    /// An entry that is missing or of another type, or a model that is not one of [`MODELS`].
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let tokens = metadata.strings(&key("tokens"))?.to_vec();
        let size = tokens.len();
        if size == 0 {
            return Err(TokenizerError::Empty);
        }
        let flag = |name: &str, default| {
            Ok::<_, GgufError>(metadata.opt_bool(&key(name))?.unwrap_or(default))
        };
        let (model, begins) = match metadata.string(&key("model"))? {
            "gpt2" => {
                let pre = metadata
                    .opt_string(&key("pre"))?
                    .ok_or(TokenizerError::MissingPreTokenizer)?
                    .to_owned();
                let begins = PreTokenizer::adds_bos(&pre);
                (
                    Model::ByteLevel { merges: metadata.strings(&key("merges"))?.to_vec(), pre },
                    begins,
                )
            }
            "llama" => {
                let scores = metadata.f32s(&key("scores"))?.to_vec();
                (
                    Model::SentencePiece {
                        scores,
                        add_space_prefix: flag("add_space_prefix", true)?,
                    },
                    true,
                )
            }
            other => return Err(TokenizerError::UnknownModel { got: other.to_owned() }),
        };
        let nfc = match metadata.opt_string(&key("normalizer"))? {
            None => false,
            Some("NFC") => true,
            Some(other) => {
                return Err(TokenizerError::UnknownNormalizer { got: other.to_owned() });
            }
        };
        let types = match metadata.opt_i32s(&key("token_type"))? {
            None => vec![TokenType::Normal; size],
            Some(numbers) => numbers
                .iter()
                .enumerate()
                .map(|(token, &got)| {
                    TokenType::from_number(got)
                        .ok_or(TokenizerError::UnknownType { token, got: got.into() })
                })
                .collect::<Result<_, _>>()?,
        };
        let inside = |what: String, token: Token| match token as usize {
            index if index < size => Ok(token),
            _ => Err(TokenizerError::OutOfRange { what, token: token.into(), size }),
        };
        // Converters write an all-ones number for "none".
        let token =
            |name: &str| match metadata.opt_u32(&key(name))?.filter(|&token| token != Token::MAX) {
                None => Ok(None),
                Some(token) => inside(key(name), token).map(Some),
            };
        let mut end_tokens = Vec::new();
        for name in ["eot_token_id", "eom_token_id"] {
            end_tokens.extend(token(name)?);
        }
        for &token in metadata.opt_u32s(&key("eos_token_ids"))?.unwrap_or_default().iter() {
            end_tokens.push(inside(key("eos_token_ids"), token)?);
        }
        Ok(Self {
            tokens,
            types,
            model,
            nfc,
            bos: token("bos_token_id")?,
            eos: token("eos_token_id")?,
            unknown: token("unknown_token_id")?,
            end_tokens,
            add_bos: flag("add_bos_token", begins)?,
            add_eos: flag("add_eos_token", false)?,
        })
    }
}
