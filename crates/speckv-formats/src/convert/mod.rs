//! What a model says of itself, put the way GGUF says it: keys, vocabulary and tensors of a Hugging
//! Face folder.
//!
//! GGUF keeps some things otherwise, and so do its readers: rotary pairs of the llama family are
//! neighbours, not halves, so the rows of its queries and keys change their order; Gemma's norms
//! are stored with the 1 that its code adds; Llama 3's rotary factors are a tensor, not a formula;
//! vectors are float32.

mod blueprint;
mod probe;
mod tensors;
mod vocabulary;

use std::path::PathBuf;

pub(crate) use tensors::{Export, Planned};

use crate::{
    chat_template::TemplateError, checkpoint::Checkpoint, config::ConfigError, gguf::Value,
    mask_tokens::MASK_TOKENS_KEY, tokenizer::TokenizerError,
};

/// Why a folder cannot become a GGUF file that says the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Something of the blueprint has no key.
    #[error("{}: GGUF has no metadata key of the {architecture} family for \
        {what}", folder.display())]
    Blueprint {
        /// The folder.
        folder: PathBuf,
        /// Its family.
        architecture: String,
        /// What has no key.
        what: String,
    },
    /// The tokenizer cuts or merges in a way that has no name.
    #[error("{}: the tokenizer has no equivalent in GGUF: {why}", folder.display())]
    Tokenizer {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        why: String,
    },
    /// The mask tokens cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer cannot be read.
    #[error(transparent)]
    ReadTokenizer(#[from] TokenizerError),
    /// The chat template cannot be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// The metadata of a GGUF file with this model: of one, its own; of a folder, made from its
/// blueprint, tokenizer and template.
///
/// # Errors
/// See [`ConvertError`].
pub(crate) fn metadata(source: &Checkpoint) -> Result<Vec<(String, Value)>, ConvertError> {
    let folder = match source {
        Checkpoint::Gguf(file) => {
            return Ok(file
                .metadata()
                .iter()
                // What comes out is one file, whatever came in.
                .filter(|(key, _)| !key.starts_with("split."))
                .map(|(key, value)| (key.to_owned(), value.clone()))
                .collect());
        }
        Checkpoint::Folder(folder) => folder,
    };
    let mut metadata = blueprint::keys(folder)?;
    let masks = source.mask_tokens()?;
    if !masks.is_empty() {
        metadata.push((MASK_TOKENS_KEY.into(), masks.into()));
    }
    metadata.extend(vocabulary::keys(folder)?);
    metadata.extend(crate::chat_template::Sources::in_folder(folder.path())?.keys());
    Ok(metadata)
}
