//! What the files beside a `tokenizer.json` change in it, as `transformers` reads them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use tokenizers::{AddedToken, processors::template::TemplateProcessing};

use super::TokenizerError;

const CONFIG: &str = "tokenizer_config.json";
const ADDED: &str = "added_tokens.json";

/// Classes of `transformers` that put tokens around a text as two fields of the configuration say.
/// Others ignore these fields.
const SURROUNDING: [&str; 6] = [
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "CodeLlamaTokenizer",
    "CodeLlamaTokenizerFast",
    "GemmaTokenizer",
    "GemmaTokenizerFast",
];

/// The files beside a `tokenizer.json`.
pub(super) struct SideFiles {
    folder: PathBuf,
    config: Value,
}

impl SideFiles {
    /// Reads `tokenizer_config.json`, if there is one.
    pub(super) fn read(tokenizer: &Path) -> Result<Self, TokenizerError> {
        let folder = tokenizer.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let config = json(&folder.join(CONFIG))?.unwrap_or(Value::Null);
        Ok(Self { folder, config })
    }

    /// Adds tokens that `tokenizer.json` does not have, and describes others as the files do: those
    /// of `added_tokens_decoder` in `tokenizer_config.json`, or where that is absent, those of
    /// `added_tokens.json`.
    ///
    /// # Errors
    /// A token whose number is not the next one: the embeddings are in the order of the numbers.
    pub(super) fn add_tokens(
        &self,
        library: &mut tokenizers::Tokenizer,
    ) -> Result<(), TokenizerError> {
        let (file, tokens) = match self.config["added_tokens_decoder"].as_object() {
            Some(by_number) => (CONFIG, described(by_number)),
            None => match json(&self.folder.join(ADDED))? {
                Some(Value::Object(by_text)) => (ADDED, named(&by_text)),
                _ => return Ok(()),
            },
        };
        let present = library.get_added_tokens_decoder();
        for (number, token) in tokens {
            let is_known = library.token_to_id(&token.content).is_some();
            let is_same = present.values().any(|other| same(other, &token));
            // A list of texts says nothing about tokens that are there already.
            if token.content.is_empty() || is_same || is_known && file == ADDED {
                continue;
            }
            let text = token.content.clone();
            library.add_tokens(&[token]);
            let expected = library.token_to_id(&text).map_or(u64::MAX, u64::from);
            if expected != number {
                let path = self.folder.join(file);
                return Err(TokenizerError::AddedToken { path, text, expected, got: number });
            }
        }
        Ok(())
    }

    /// Puts the beginning and the end around texts as `add_bos_token` and `add_eos_token` say,
    /// where the tokenizer's class reads them.
    pub(super) fn surround(&self, library: &mut tokenizers::Tokenizer) -> Result<(), String> {
        let class = self.config["tokenizer_class"].as_str().unwrap_or_default();
        let begins = self.config["add_bos_token"].as_bool();
        let ends = self.config["add_eos_token"].as_bool();
        if !SURROUNDING.contains(&class) || begins.is_none() && ends.is_none() {
            return Ok(());
        }
        let token = |key: &str| {
            let value = &self.config[key];
            let text = value.as_str().or_else(|| value["content"].as_str())?;
            Some((text.to_owned(), library.token_to_id(text)?))
        };
        let first = begins.unwrap_or(true).then(|| token("bos_token")).flatten();
        let last = ends.unwrap_or(false).then(|| token("eos_token")).flatten();
        let text = |token: &Option<(String, u32)>| token.clone().map(|(text, _)| text);
        let single: Vec<String> =
            text(&first).into_iter().chain(["$A".to_owned()]).chain(text(&last)).collect();
        let template = TemplateProcessing::builder()
            .try_single(single)?
            .special_tokens(first.into_iter().chain(last).collect::<Vec<_>>())
            .build()
            .map_err(|error| error.to_string())?;
        library.with_post_processor(Some(template));
        Ok(())
    }
}

fn json(path: &Path) -> Result<Option<Value>, TokenizerError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TokenizerError::Io { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| TokenizerError::Json { path: path.to_owned(), reason: error.to_string() })
}

/// Tokens by number, in full. What is no number or has no text is passed over.
fn described(by_number: &Map<String, Value>) -> BTreeMap<u64, AddedToken> {
    let entries = by_number.iter().filter_map(|(number, value)| {
        let flag = |key: &str| value[key].as_bool().unwrap_or(false);
        let special = flag("special");
        let token = AddedToken {
            content: value["content"].as_str()?.to_owned(),
            single_word: flag("single_word"),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
            normalized: value["normalized"].as_bool().unwrap_or(!special),
            special,
        };
        Some((number.parse().ok()?, token))
    });
    entries.collect()
}

/// Numbers by text.
fn named(by_text: &Map<String, Value>) -> BTreeMap<u64, AddedToken> {
    let entries = by_text.iter();
    entries.filter_map(|(text, id)| Some((id.as_u64()?, AddedToken::from(text, false)))).collect()
}

fn same(a: &AddedToken, b: &AddedToken) -> bool {
    let flags = |it: &AddedToken| (it.single_word, it.lstrip, it.rstrip, it.normalized, it.special);
    a.content == b.content && flags(a) == flags(b)
}
