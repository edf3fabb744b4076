//! Tokens at the ends of texts, as the files beside a `tokenizer.json` name them.

use std::path::Path;

use serde_json::Value;
use speckv::token::Token;

use super::{TokenizerError, table::Texts};

/// What the files say.
#[derive(Default)]
pub(super) struct Ends {
    pub bos: Option<Token>,
    pub eos: Option<Token>,
    /// Further tokens at which generation ends.
    pub others: Vec<Token>,
}

impl Ends {
    /// Reads the files beside a `tokenizer.json`, in the order of `transformers`: texts from
    /// `tokenizer_config.json`, else `special_tokens_map.json`; numbers from
    /// `generation_config.json`, else `config.json`.
    pub(super) fn read(tokenizer: &Path, texts: &Texts) -> Result<Self, TokenizerError> {
        let beside = |name: &str| {
            let path = tokenizer.with_file_name(name);
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(Value::Null);
                }
                Err(source) => return Err(TokenizerError::Io { path, source }),
            };
            serde_json::from_slice(&bytes)
                .map_err(|error| TokenizerError::Json { path, reason: error.to_string() })
        };
        let (config, map) = (beside("tokenizer_config.json")?, beside("special_tokens_map.json")?);
        // A token is a string, or an object with its text in `content`.
        let text =
            |value: &Value| texts.token(value.as_str().or_else(|| value["content"].as_str())?);
        let named = |key: &str| text(&config[key]).or_else(|| text(&map[key]));
        let (name, model) = ("config.json", beside("config.json")?);
        let generation = beside("generation_config.json")?;
        let number = |key: &str| {
            let given = |value: &Value| (!value.is_null()).then(|| value.clone());
            let of_generation = given(&generation[key]).map(|it| ("generation_config.json", it));
            let of_model = given(&model[key]).or_else(|| given(&model["text_config"][key]));
            of_generation.or_else(|| of_model.map(|it| (name, it)))
        };
        let others = match number("eos_token_id") {
            Some((file, ids)) => tokens(&ids, "eos_token_id", file, texts)?,
            None => Vec::new(),
        };
        let begin = match number("bos_token_id") {
            // A beginning that is not a token of the vocabulary is none.
            Some((file, id)) => tokens(&id, "bos_token_id", file, texts).unwrap_or_default(),
            None => Vec::new(),
        };
        let bos = named("bos_token").or_else(|| match config["bos_token"].is_null() {
            // `"bos_token": null` says that there is none, as in Qwen's.
            true if config.get("bos_token").is_some() => None,
            _ => begin.first().copied(),
        });
        let eos = named("eos_token").or_else(|| others.first().copied());
        Ok(Self { bos, eos, others })
    }
}

/// One number or a list of numbers.
fn tokens(ids: &Value, key: &str, file: &str, texts: &Texts) -> Result<Vec<Token>, TokenizerError> {
    let ids: Vec<u64> = match ids {
        Value::Array(ids) => ids.iter().filter_map(Value::as_u64).collect(),
        one => Vec::from_iter(one.as_u64()),
    };
    let known = |id: u64| match Token::try_from(id) {
        Ok(token) if (token as usize) < texts.len() => Ok(token),
        _ => Err(TokenizerError::OutOfRange {
            what: format!("{key} in {file}"),
            token: id,
            size: texts.len(),
        }),
    };
    ids.into_iter().map(known).collect()
}
