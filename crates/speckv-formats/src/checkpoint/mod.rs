//! Where a model comes from: one GGUF file, or a folder in the layout of the Hugging Face
//! libraries.
//!
//! [`Checkpoint`] covers both, so that a loader is written once. Tensors have their GGUF names and
//! shapes, `blk.0.attn_q.weight` and `[in, out]`; [`Folder`] translates.

mod adapter;
mod error;
mod folder;
mod four_bit;
mod names;
mod packed;
mod shard;
mod stored;

use std::{path::Path, sync::Arc};

pub use adapter::{Adapter, AdapterError};
pub use error::CheckpointError;
pub use folder::Folder;
pub use four_bit::FourBitInfo;
pub use packed::{Packed, PackedInfo};
pub use stored::{Part, Stored};

use crate::{
    chat_template::{ChatTemplate, TemplateError},
    config::{Config, ConfigError},
    gguf::{Gguf, GgufError, Tensor, TensorInfo},
    tokenizer::{Tokenizer, TokenizerError},
};

/// A model on disk, opened and checked; cheap to clone.
#[derive(Debug, Clone)]
pub enum Checkpoint {
    /// A GGUF file.
    Gguf(Arc<Gguf>),
    /// A Hugging Face folder with safetensors files.
    Folder(Arc<Folder>),
}

impl From<Arc<Gguf>> for Checkpoint {
    fn from(file: Arc<Gguf>) -> Self {
        Checkpoint::Gguf(file)
    }
}

impl From<&Arc<Gguf>> for Checkpoint {
    fn from(file: &Arc<Gguf>) -> Self {
        Checkpoint::Gguf(Arc::clone(file))
    }
}

impl From<Folder> for Checkpoint {
    fn from(folder: Folder) -> Self {
        Checkpoint::Folder(Arc::new(folder))
    }
}

impl From<&Checkpoint> for Checkpoint {
    fn from(checkpoint: &Checkpoint) -> Self {
        checkpoint.clone()
    }
}

impl Checkpoint {
    /// Opens a GGUF file, or a folder with a `config.json`.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        if path.is_dir() {
            return Ok(Folder::open(path)?.into());
        }
        Ok(Arc::new(Gguf::open(path)?).into())
    }

    /// The blueprint.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        match self {
            Checkpoint::Gguf(file) => Config::from_metadata(file.metadata()),
            Checkpoint::Folder(folder) => Ok(folder.config().clone()),
        }
    }

    /// The tokenizer: of a folder, that of its `tokenizer.json`.
    ///
    /// # Errors
    /// See [`TokenizerError`].
    pub fn tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        match self {
            Checkpoint::Gguf(file) => Tokenizer::from_gguf(file.metadata()),
            Checkpoint::Folder(folder) => {
                Tokenizer::from_json_file(&folder.path().join("tokenizer.json"))
            }
        }
    }

    /// The chat template: of a folder, that of its `chat_template.jinja`, `tokenizer_config.json`
    /// or `chat_template.json`.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn chat_template(&self, tokenizer: &Tokenizer) -> Result<ChatTemplate, TemplateError> {
        match self {
            Checkpoint::Gguf(file) => ChatTemplate::from_gguf(file.metadata(), tokenizer),
            Checkpoint::Folder(folder) => ChatTemplate::from_folder(folder.path(), tokenizer),
        }
    }

    /// All tensors.
    pub fn contents(&self) -> impl Iterator<Item = Stored<'_>> {
        let (plain, four_bit) = match self {
            Checkpoint::Gguf(file) => (file.tensors(), None),
            Checkpoint::Folder(folder) => {
                (folder.tensors(), Some(folder.four_bit().chain(folder.packed())))
            }
        };
        let plain = plain.iter().filter_map(|info| self.tensor(&info.name)).map(Stored::Plain);
        plain.chain(four_bit.into_iter().flatten())
    }

    /// The tensor that GGUF calls so.
    #[must_use]
    pub fn stored(&self, name: &str) -> Option<Stored<'_>> {
        match self {
            Checkpoint::Gguf(file) => file.tensor(name).map(Stored::Plain),
            Checkpoint::Folder(folder) => folder.stored(name),
        }
    }

    /// Copies a row of a tensor's bytes, of `info.row_bytes()`, from its file.
    pub(crate) fn read_row(
        &self,
        info: &TensorInfo,
        row: usize,
        to: &mut [u8],
    ) -> std::io::Result<()> {
        match self {
            Checkpoint::Gguf(file) => file.read_row(info, row, to),
            Checkpoint::Folder(folder) => folder.read_row(info, row, to),
        }
    }

    fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        match self {
            Checkpoint::Gguf(file) => file.tensor(name),
            Checkpoint::Folder(folder) => folder.tensor(name),
        }
    }

    /// What the files call the tensor that GGUF calls so, for messages.
    #[must_use]
    pub fn spelled(&self, name: &str) -> String {
        match self {
            Checkpoint::Gguf(_) => name.to_owned(),
            Checkpoint::Folder(folder) => folder.spelled(name),
        }
    }

    /// What says a fact that GGUF's metadata call so, for messages; of attention biases GGUF says
    /// nothing but by the family.
    #[must_use]
    pub fn said_by(&self, key: &str) -> String {
        match self {
            Checkpoint::Gguf(file) => {
                let architecture =
                    file.metadata().string("general.architecture").unwrap_or("the metadata");
                match key {
                    "attention_bias" => format!("the family {architecture}"),
                    key => format!("{architecture}.{key}"),
                }
            }
            Checkpoint::Folder(_) => format!("\"{}\" in config.json", Config::field(key)),
        }
    }

    /// Tells the system that a tensor's bytes are not needed in memory for now; see
    /// [`Gguf::release`].
    pub fn release(&self, tensor: &Stored<'_>) {
        match (self, tensor) {
            (Checkpoint::Gguf(file), Stored::Plain(tensor)) => file.release(tensor.info),
            (Checkpoint::Folder(folder), tensor) => folder.release(tensor),
            (Checkpoint::Gguf(_), Stored::FourBit(..) | Stored::Packed(_)) => {}
        }
    }

    /// Refuses a model whose files were changed after they were opened.
    ///
    /// # Errors
    /// [`GgufError::Changed`] with the file, or [`GgufError::Io`].
    pub fn check_unchanged(&self) -> Result<(), GgufError> {
        match self {
            Checkpoint::Gguf(file) => file.check_unchanged(),
            Checkpoint::Folder(folder) => folder.check_unchanged(),
        }
    }

    /// Size of all files with weights, in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        match self {
            Checkpoint::Gguf(file) => file.file_size(),
            Checkpoint::Folder(folder) => folder.file_size(),
        }
    }

    /// Where the model is, if it was opened by path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Checkpoint::Gguf(file) => file.path(),
            Checkpoint::Folder(folder) => Some(folder.path()),
        }
    }
}
