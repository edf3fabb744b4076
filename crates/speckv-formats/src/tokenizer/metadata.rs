//! A vocabulary from the metadata of a GGUF file.

use speckv::token::Token;

use super::{Model, TokenType, Tokenizer, TokenizerError, Vocabulary, pre::PreTokenizer};
use crate::gguf::{GgufError, Metadata, Value};

/// Tokenizer models that work, as in `tokenizer.ggml.model`: byte-level and SentencePiece byte-pair
/// encoding.
pub const MODELS: &[&str] = &["gpt2", "llama"];

/// What an entry that is not read may say, so that texts become the same tokens without it.
#[derive(Clone, Copy)]
enum Rule {
    /// Read, or changes nothing.
    Any,
    /// Changes nothing while it says this.
    Only(bool),
    /// Changes nothing while it has no elements.
    Empty,
}

/// Entries behind `tokenizer.ggml.`; those that name a token by its number are known by their end.
const ENTRIES: [(&str, Rule); 18] = [
    ("model", Rule::Any),
    ("pre", Rule::Any),
    ("tokens", Rule::Any),
    ("token_type", Rule::Any),
    ("scores", Rule::Any),
    ("merges", Rule::Any),
    ("normalizer", Rule::Any),
    ("add_bos_token", Rule::Any),
    ("add_eos_token", Rule::Any),
    ("add_space_prefix", Rule::Any),
    // How many kinds of input an encoder tells apart.
    ("token_type_count", Rule::Any),
    // A list for the converter; the tokens are among the others, too.
    ("added_tokens", Rule::Any),
    ("add_sep_token", Rule::Only(false)),
    ("remove_extra_whitespaces", Rule::Only(false)),
    ("escape_whitespaces", Rule::Only(true)),
    ("normalizer.lowercase", Rule::Only(false)),
    ("precompiled_charsmap", Rule::Empty),
    ("suppress_tokens", Rule::Empty),
];

/// Refuses entries that are not known and values that would change the tokens.
fn check_entries(metadata: &Metadata) -> Result<(), TokenizerError> {
    for (name, value) in metadata.iter() {
        let Some(entry) = name.strip_prefix(PREFIX) else { continue };
        if entry.ends_with("_token_id") || entry.ends_with("_token_ids") {
            continue;
        }
        let expected = match ENTRIES.iter().find(|(known, _)| *known == entry).map(|&(_, it)| it) {
            Some(Rule::Any) => continue,
            Some(Rule::Only(only)) if *value == Value::Bool(only) => continue,
            Some(Rule::Empty) if matches!(value, Value::Array(list) if list.is_empty()) => continue,
            Some(Rule::Only(only)) => format!("{only}"),
            Some(Rule::Empty) => "an empty list".to_owned(),
            None => "no such entry".to_owned(),
        };
        return Err(TokenizerError::Entry { name: name.to_owned(), expected });
    }
    Ok(())
}

const PREFIX: &str = "tokenizer.ggml.";

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

impl Tokenizer {
    /// Builds a tokenizer from the `tokenizer.ggml.*` entries of a model file.
    ///
    /// `tokenizer.ggml.normalizer` is an entry of this project's own files: text is normalized as
    /// in the folder that the file was made from. What the file does not say is as in llama.cpp,
    /// the format's reference: SentencePiece models begin with BOS and put a space before text,
    /// byte-level models do neither, except that the `llama-bpe` and `tekken` pre-tokenizers begin
    /// with BOS.
    ///
    /// # Errors
    /// An entry that is missing, of another type or not known, a model that is not one of
    /// [`MODELS`], and those of [`Self::from_vocabulary`].
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        Self::from_vocabulary(Vocabulary::from_gguf(metadata)?)
    }
}

impl Vocabulary {
    /// Reads the `tokenizer.ggml.*` entries of a model file; see [`Tokenizer::from_gguf`].
    ///
    /// # Errors
    /// An entry that is missing, of another type or not known, or a model that is not one of
    /// [`MODELS`].
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        check_entries(metadata)?;
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
