use std::path::PathBuf;

use crate::{config::ConfigError, gguf::GgufError};

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A GGUF file that is wrong.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The blueprint of a folder.
    #[error("{}", folder.display())]
    Config {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// A file could not be read or mapped.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: open, map, read.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A folder without anything that makes it a model.
    #[error("{} has no {missing}: expected a Hugging Face folder with config.json, tokenizer.json \
        and model.safetensors, or shards with model.safetensors.index.json", folder.display())]
    NotAModel {
        /// The folder.
        folder: PathBuf,
        /// The file that is not there.
        missing: &'static str,
    },
    /// Weights in a format that is not read.
    #[error("{} has its weights in {found}; supported are model.safetensors, and shards with \
        model.safetensors.index.json", folder.display())]
    OtherFormat {
        /// The folder.
        folder: PathBuf,
        /// A file in another format.
        found: String,
    },
    /// Shards that the index names are not there.
    #[error("{} names {} that {} not there: \
        {}", index.display(), if missing.len() == 1 { "a shard" } else { "shards" }, if missing.len() == 1 { "is" } else { "are" }, missing.join(", "))]
    MissingShards {
        /// The index.
        index: PathBuf,
        /// Their names.
        missing: Vec<String>,
    },
    /// An index that cannot be used.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is.
        got: String,
    },
    /// A safetensors file whose header is wrong.
    #[error("{}: {problem}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A tensor that cannot be used.
    #[error("{}: the tensor {name}: expected {expected}, got {got}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name there.
        name: String,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
}

impl CheckpointError {
    /// What a user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Gguf(error) => return error.hint(),
            Self::Config { .. } => {
                "config.json says what the model is; `speckv models` lists models that are known \
                 to work"
            }
            Self::Io { .. } => "check that the file exists and may be read",
            Self::NotAModel { .. } => {
                "give the folder that holds config.json, or the path of a GGUF file"
            }
            Self::OtherFormat { .. } => "take a model with safetensors files, or a GGUF file of it",
            Self::MissingShards { .. } => "fetch the missing files into the same folder",
            Self::Index { .. } | Self::Header { .. } => {
                "the file may be damaged: fetch it again and compare its checksum"
            }
            Self::Tensor { .. } => {
                "take a float32, float16 or bfloat16 version of the model, or a GGUF file of it"
            }
        })
    }
}
