//! A low-rank adapter (LoRA, Hu et al. 2021, arXiv 2106.09685) to be merged into a model's weights.
//!
//! Two layouts are read:
//!
//! - a folder as the PEFT library writes it: `adapter_config.json` and
//!   `adapter_model.safetensors`, tensors named after Hugging Face's;
//! - one safetensors file with GGUF's names, `blk.0.attn_q.lora_a [rank, in]` and `lora_b [out,
//!   rank]`, and `alpha` in its metadata.
//!
//! Either may have `mask_embeddings [masks, hidden]`, the input embeddings of a parallel draft's
//! mask tokens, which take the rows of unused tokens from `mask_id` of the file's metadata on.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Checkpoint, CheckpointError,
    names::{Meaning, Names},
    shard::{Entry, Shard},
};
use crate::quant::{self, Rows, TensorType};

/// An adapter, read and checked against nothing yet.
#[derive(Debug)]
pub struct Adapter {
    path: PathBuf,
    parts: BTreeMap<String, Part>, // by GGUF's names of the tensors that they change
    mask_tokens: Vec<u32>,
    mask_embeddings: Vec<f32>, // [masks, hidden]
    of_hugging_face: bool,
}

/// What is added to one matrix: `scale * b a`.
#[derive(Debug, Default)]
struct Part {
    a: Vec<f32>, // [rank, in]
    b: Vec<f32>, // [out, rank]
    shape_a: Vec<usize>,
    shape_b: Vec<usize>,
    scale: f32,
}

/// Why an adapter cannot be merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// It says something that cannot be merged.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The adapter.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Settings of a PEFT folder that change what its tensors mean, with the value that is understood.
const ONLY: [(&str, &str); 6] = [
    ("use_dora", "false"),
    ("bias", "\"none\""),
    ("rank_pattern", "{}"),
    ("alpha_pattern", "{}"),
    ("fan_in_fan_out", "false"),
    ("lora_bias", "false"),
];

impl Adapter {
    /// Reads a PEFT folder or a safetensors file.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn open(path: &Path) -> Result<Self, AdapterError> {
        let folder = path.is_dir();
        let file = if folder { path.join("adapter_model.safetensors") } else { path.to_owned() };
        let shard = Shard::open(&file)?;
        let wrong = |problem: String| AdapterError::Content { path: file.clone(), problem };
        let metadata = metadata(shard.source.bytes());
        let scale = if folder {
            peft_scale(&path.join("adapter_config.json"))?
        } else {
            let alpha = metadata.get("alpha").and_then(|alpha| alpha.parse::<f32>().ok());
            let alpha = alpha.filter(|alpha| alpha.is_finite());
            Scale::ByRank(
                alpha.ok_or_else(|| wrong("no number under alpha in its metadata".into()))?,
            )
        };
        let mut adapter = Adapter {
            path: file.clone(),
            parts: BTreeMap::new(),
            mask_tokens: Vec::new(),
            mask_embeddings: Vec::new(),
            of_hugging_face: folder,
        };
        for entry in shard.entries()? {
            let bytes = &shard.source.bytes()[entry.start..entry.start + entry.byte_len];
            let values = values(&entry, bytes).map_err(&wrong)?;
            if entry.name == "mask_embeddings" {
                let first = metadata.get("mask_id").and_then(|id| id.parse::<u32>().ok());
                let first = first.ok_or_else(|| wrong("no token under mask_id".into()))?;
                let count = entry.shape.first().copied().unwrap_or(0) as u32;
                adapter.mask_tokens = (first..first.saturating_add(count)).collect();
                adapter.mask_embeddings = values;
                continue;
            }
            let Some((name, is_a)) = split(&entry.name, folder) else {
                return Err(wrong(format!(
                    "the tensor {} is no part of a LoRA adapter",
                    entry.name
                )));
            };
            let part = adapter.parts.entry(name).or_default();
            if is_a {
                (part.a, part.shape_a) = (values, entry.shape);
            } else {
                (part.b, part.shape_b) = (values, entry.shape);
            }
        }
        for (name, part) in &mut adapter.parts {
            match (&part.shape_a[..], &part.shape_b[..]) {
                (&[rank, _], &[_, same]) if rank == same && rank > 0 => {
                    part.scale = scale.of(rank);
                }
                (a, b) => {
                    let shapes =
                        format!("expected [rank, in] and [out, rank], got {a:?} and {b:?}");
                    return Err(wrong(format!("{name}: {shapes}")));
                }
            }
        }
        Ok(adapter)
    }

    /// Checks that every tensor of it changes one of the model's, of the same shape, and that there
    /// is room for its mask tokens.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check(&self, model: &Checkpoint) -> Result<(), AdapterError> {
        let wrong =
            |problem: String| Err(AdapterError::Content { path: self.path.clone(), problem });
        for (name, part) in &self.parts {
            let tensor = model.stored(name);
            let shape = tensor.as_ref().map_or(&[][..], |tensor| tensor.shape());
            let own = [part.shape_a[1], part.shape_b[0]];
            if shape != own {
                return wrong(format!(
                    "it changes {name} of shape {own:?}, of which the model has {shape:?}"
                ));
            }
        }
        let embedding = model.stored("token_embd.weight");
        let shape = embedding.as_ref().map_or(&[][..], |tensor| tensor.shape());
        match (self.mask_tokens.last(), shape) {
            (None, _) => Ok(()),
            (Some(&last), &[hidden, vocab_size])
                if (last as usize) < vocab_size
                    && self.mask_embeddings.len() == hidden * self.mask_tokens.len() =>
            {
                Ok(())
            }
            (Some(last), shape) => wrong(format!(
                "it has {} mask embeddings of {} values up to token {last}; the model's embedding \
                 has the shape {shape:?}",
                self.mask_tokens.len(),
                self.mask_embeddings.len() / self.mask_tokens.len()
            )),
        }
    }

    /// Mask tokens of the parallel draft that it makes; none of another one.
    #[must_use]
    pub fn mask_tokens(&self) -> &[u32] {
        &self.mask_tokens
    }

    /// Whether it changes a tensor, by GGUF's name.
    pub(crate) fn changes(&self, name: &str) -> bool {
        let masks = !self.mask_tokens.is_empty() && name == "token_embd.weight";
        masks || self.parts.contains_key(name)
    }

    /// Whether its rows of queries and keys are in the order of Hugging Face.
    pub(crate) fn is_of_hugging_face(&self) -> bool {
        self.of_hugging_face
    }

    /// Adds what it says to a row of a tensor: `values += scale * b[row] a`. The row of a mask
    /// token's embedding becomes the mask's.
    pub(crate) fn change(&self, name: &str, row: usize, values: &mut [f32]) {
        if name == "token_embd.weight"
            && let Some(mask) = self.mask_tokens.iter().position(|&token| token as usize == row)
        {
            let start = mask * values.len();
            values.copy_from_slice(&self.mask_embeddings[start..start + values.len()]);
        }
        let Some(Part { a, b, shape_a, scale, .. }) = self.parts.get(name) else { return };
        let (rank, columns) = (shape_a[0], shape_a[1]);
        for (weight, a) in b[row * rank..(row + 1) * rank].iter().zip(a.chunks_exact(columns)) {
            let weight = scale * weight;
            values.iter_mut().zip(a).for_each(|(value, a)| *value += weight * a);
        }
    }
}

/// How the scale follows from the rank.
enum Scale {
    /// `alpha / rank`.
    ByRank(f32),
    /// `alpha / sqrt(rank)`.
    ByRoot(f32),
}

impl Scale {
    fn of(&self, rank: usize) -> f32 {
        match self {
            Scale::ByRank(alpha) => alpha / rank as f32,
            Scale::ByRoot(alpha) => alpha / (rank as f32).sqrt(),
        }
    }
}

/// The scale by a PEFT folder's configuration.
fn peft_scale(path: &Path) -> Result<Scale, AdapterError> {
    let wrong = |problem: String| AdapterError::Content { path: path.to_owned(), problem };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let config: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if config["peft_type"] != "LORA" {
        return Err(wrong(format!(
            "expected \"LORA\" under peft_type, got {}",
            config["peft_type"]
        )));
    }
    for (key, only) in ONLY {
        let got = config.get(key).filter(|value| !value.is_null()).map(Value::to_string);
        if let Some(got) = got.filter(|got| got != only) {
            return Err(wrong(format!("expected {only} under {key}, got {got}")));
        }
    }
    let alpha = config["lora_alpha"].as_f64().map(|alpha| alpha as f32);
    let alpha = alpha.ok_or_else(|| wrong("no number under lora_alpha".into()))?;
    let by_root = config["use_rslora"] == true;
    Ok(if by_root { Scale::ByRoot(alpha) } else { Scale::ByRank(alpha) })
}

/// GGUF's name of the tensor that a tensor of an adapter changes, and whether it is the `a` of two.
fn split(name: &str, of_hugging_face: bool) -> Option<(String, bool)> {
    if !of_hugging_face {
        let (tensor, part) = name.rsplit_once('.')?;
        let is_a = match part {
            "lora_a" => true,
            "lora_b" => false,
            _ => return None,
        };
        return Some((format!("{tensor}.weight"), is_a));
    }
    let name = name.strip_prefix("base_model.model.")?.strip_suffix(".weight")?;
    let name = name.strip_suffix(".default").unwrap_or(name);
    let (module, part) = name.rsplit_once('.')?;
    let is_a = match part {
        "lora_A" => true,
        "lora_B" => false,
        _ => return None,
    };
    match Names::MATRICES.meaning(&format!("{module}.weight")) {
        Meaning::Tensor(name) => Some((name, is_a)),
        Meaning::Ignored | Meaning::Unknown => None,
    }
}

/// The texts in the header's own metadata.
fn metadata(bytes: &[u8]) -> BTreeMap<String, String> {
    let header = || {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let mut header: Value = serde_json::from_slice(rest.get(..length)?).ok()?;
        serde_json::from_value(header.get_mut("__metadata__")?.take()).ok()
    };
    header().unwrap_or_default()
}

/// A tensor's values as float32.
fn values(entry: &Entry, bytes: &[u8]) -> Result<Vec<f32>, String> {
    let tensor_type = match entry.dtype.as_str() {
        "F32" => TensorType::F32,
        "F16" => TensorType::F16,
        "BF16" => TensorType::BF16,
        other => return Err(format!("{}: expected F32, F16 or BF16, got {other}", entry.name)),
    };
    let mut values = vec![0.0; entry.shape.iter().product()];
    quant::dequantize(tensor_type, bytes, &mut values)
        .map_err(|error| format!("{}: {error}", entry.name))?;
    if let Some(got) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!("{}: expected finite weights, got {got}", entry.name));
    }
    Ok(values)
}
