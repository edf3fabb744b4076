//! The mask tokens of a parallel draft: what stands for tokens that are not known yet.
//!
//! A model that was trained for it (PARD, An et al. 2025, arXiv 2504.18583) proposes several tokens
//! in one pass: after the text come mask tokens, and the row of each gives the token at its place.

use serde_json::Value;

use crate::{
    checkpoint::Checkpoint,
    config::ConfigError,
    gguf::{self, Metadata},
    quant::Rows,
};

/// The key of a GGUF file: one token for all positions, or one for each position after the first.
pub const MASK_TOKENS_KEY: &str = "speckv.mask_token_ids";

/// Fields of a folder's `config.json`: those of the PARD checkpoints and of their successors. Each
/// is a token, or a list with one for each position after the first.
const FIELDS: [&str; 2] = ["pard_token", "ptd_token_id"];

/// Most mask tokens that a file may have; no draft proposes as many tokens.
const MOST: usize = 64;

impl Checkpoint {
    /// The mask tokens of a parallel draft; none where the model is no such draft.
    ///
    /// # Errors
    /// A value that is no token or no list of tokens, more than 64 of them, or tokens that the
    /// embedding does not have.
    pub fn mask_tokens(&self) -> Result<Vec<u32>, ConfigError> {
        let (key, tokens) = match self {
            Checkpoint::Gguf(file) => (MASK_TOKENS_KEY, in_metadata(file.metadata())?),
            Checkpoint::Folder(folder) => in_folder(&folder.path().join("config.json"))?,
        };
        let wrong = |expected: String, got: String| {
            Err(ConfigError::Value { key: key.to_owned(), expected, got })
        };
        if tokens.len() > MOST {
            return wrong(format!("at most {MOST} tokens"), format!("{} tokens", tokens.len()));
        }
        let embedding = self.stored("token_embd.weight");
        let vocab_size = embedding.and_then(|tensor| tensor.shape().get(1).copied());
        match (tokens.iter().max(), vocab_size) {
            (Some(&token), Some(size)) if token as usize >= size => {
                wrong(format!("tokens below {size}, the rows of the embedding"), token.to_string())
            }
            _ => Ok(tokens),
        }
    }
}

fn in_metadata(metadata: &Metadata) -> Result<Vec<u32>, ConfigError> {
    match metadata.get(MASK_TOKENS_KEY) {
        Some(gguf::Value::Array(_)) => Ok(metadata.u32s(MASK_TOKENS_KEY)?.into_owned()),
        Some(_) => Ok(vec![metadata.u32(MASK_TOKENS_KEY)?]),
        None => Ok(Vec::new()),
    }
}

fn in_folder(path: &std::path::Path) -> Result<(&'static str, Vec<u32>), ConfigError> {
    let text =
        std::fs::read(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
    let value: Value = serde_json::from_slice(&text)
        .map_err(|source| ConfigError::Json { path: path.to_owned(), source })?;
    let found = FIELDS
        .iter()
        .find_map(|field| Some((*field, value.get(field).filter(|value| !value.is_null())?)));
    let Some((field, found)) = found else { return Ok((FIELDS[0], Vec::new())) };
    let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
    let tokens = match found {
        Value::Array(tokens) => tokens.iter().map(token).collect(),
        single => token(single).map(|token| vec![token]),
    };
    let got = || found.to_string().chars().take(100).collect();
    let expected = "a token or a list of tokens".to_owned();
    let tokens =
        tokens.ok_or_else(|| ConfigError::Value { key: field.to_owned(), expected, got: got() })?;
    Ok((field, tokens))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{gguf::Gguf, quant::TensorType, requantize::requantize, tiny::Tiny};

    fn tiny() -> Tiny {
        Tiny { tensor_type: TensorType::F32, ..Tiny::default() }
    }

    fn of_file(value: Option<gguf::Value>) -> Result<Vec<u32>, ConfigError> {
        let tiny = tiny();
        let mut writer = tiny.writer().expect("a tiny model");
        if let Some(value) = value {
            writer.set(MASK_TOKENS_KEY, value);
        }
        let file = Gguf::from_bytes(writer.to_bytes().expect("a file")).expect("a GGUF file");
        Checkpoint::from(Arc::new(file)).mask_tokens()
    }

    #[test]
    fn a_file_has_one_mask_several_or_none() {
        assert!(of_file(None).expect("no draft").is_empty());
        assert_eq!(of_file(Some(7_u32.into())).expect("one"), [7]);
        assert_eq!(of_file(Some(vec![7_u32, 5, 9].into())).expect("several"), [7, 5, 9]);
        for (value, expected) in [
            (gguf::Value::from("mask"), "unsigned integer"),
            (vec![1_u32 << 30].into(), "rows of the embedding"),
            (vec![0_u32; 65].into(), "at most 64"),
        ] {
            let error = of_file(Some(value)).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_folder_names_them_as_published_drafts_do_and_its_file_keeps_them() {
        for (field, value, expected) in [
            ("pard_token", serde_json::json!(9), vec![9]),
            ("ptd_token_id", serde_json::json!(8), vec![8]),
            ("pard_token", serde_json::json!([3, 4]), vec![3, 4]),
            ("pard_token", Value::Null, vec![]),
        ] {
            let place = tempfile::tempdir().expect("a folder");
            tiny().write_folder(place.path(), 1).expect("written");
            let path = place.path().join("config.json");
            let mut config: Value =
                serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
            config[field] = value;
            std::fs::write(&path, config.to_string()).expect("written");
            let folder = Checkpoint::open(place.path()).expect("a model");
            assert_eq!(folder.mask_tokens().expect("tokens"), expected);
            let output = place.path().join("made.gguf");
            requantize(&folder, Default::default(), 1, &output, &mut |_, _| true).expect("made");
            let made = Checkpoint::open(&output).expect("a model");
            assert_eq!(made.mask_tokens().expect("tokens"), expected);
        }
    }
}
