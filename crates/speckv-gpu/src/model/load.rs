//! Loading a model onto a device.

use std::{ops::Range, path::PathBuf, sync::Arc};

use speckv_formats::{
    checkpoint::Checkpoint,
    compression::Compression,
    config::{Config, ConfigError},
    quant::{QuantError, Rows},
    weights::{Layout, LayoutError},
};

pub use speckv_formats::weights::Progress;

use super::{buffers::Sizes, cache, weights};
use crate::{
    cache_type::CacheType, device::Device, error::GpuError, format::Format, matrix::BuildError,
};

/// Options of loading.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The device, shared by all models on it.
    pub device: Arc<Device>,
    /// Most positions of a sequence; `None` is what the model was made for.
    pub context: Option<usize>,
    /// What the matrices become.
    pub compression: Compression,
    /// How keys and values are stored.
    pub cache_type: CacheType,
    /// Tokens that the output head omits while the text has none of them; for drafts.
    pub head_gap: Option<Range<u32>>,
    /// Whether the embedding is to be on the device, so that a draft goes on from token to token
    /// there. It is there anyway where it is the output head. Where it is not, it takes memory of
    /// its own and is left in the file if it does not fit.
    pub embedding: bool,
}

impl LoadOptions {
    /// Everything by default on this device.
    #[must_use]
    pub fn new(device: Arc<Device>) -> Self {
        LoadOptions {
            device,
            context: None,
            compression: Compression::AsIs,
            cache_type: CacheType::F16,
            head_gap: None,
            embedding: false,
        }
    }
}

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Tensors that are missing, not expected, or of another shape.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A matrix that cannot be packed or stored.
    #[error("the tensor {name} cannot be used")]
    Weight {
        /// Its name.
        name: String,
        /// Why.
        source: BuildError,
    },
    /// A vector that cannot be decoded.
    #[error("the tensor {name} cannot be decoded")]
    Decode {
        /// Its name.
        name: String,
        /// Why.
        source: QuantError,
    },
    /// Something of the model that the kernels do not have.
    #[error(
        "a GPU cannot run {architecture} models with {what}\n\
         hint: `--device cpu` runs them"
    )]
    Unsupported {
        /// The model's family.
        architecture: String,
        /// What the kernels lack.
        what: String,
    },
    /// More context was asked for than the model was made for.
    #[error(
        "{path}: the model was made for {most} tokens of context, not {asked}",
        path = path.as_deref().unwrap_or("the model".as_ref()).display()
    )]
    Context {
        /// The model's file, if it is one.
        path: Option<PathBuf>,
        /// The model's limit.
        most: usize,
        /// What was asked for.
        asked: usize,
    },
    /// Keys and values that cannot be stored so.
    #[error(
        "keys and values in {cache_type} need heads of a multiple of 32 values, got {head_dim}"
    )]
    CacheType {
        /// What was asked for.
        cache_type: &'static str,
        /// Values of a head.
        head_dim: usize,
    },
    /// The device.
    #[error(transparent)]
    Device(#[from] GpuError),
}

/// Device memory that a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Weights, in bytes.
    pub weights: u64,
    /// Room for a pass, in bytes.
    pub pass: u64,
    /// Keys and values of one sequence of the whole context, in bytes.
    pub cache: u64,
}

impl MemoryNeed {
    /// Everything, for one sequence.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights + self.pass + self.cache
    }
}

/// Refuses heads that cannot be stored so.
fn check_cache_type(config: &Config, cache_type: CacheType) -> Result<(), LoadError> {
    if cache_type.takes(config.head_dim) {
        return Ok(());
    }
    Err(LoadError::CacheType { cache_type: cache_type.name(), head_dim: config.head_dim })
}

/// The context that was asked for, if the model has it.
pub(super) fn context_of(
    file: &Checkpoint,
    config: &Config,
    asked: Option<usize>,
) -> Result<usize, LoadError> {
    let context = asked.unwrap_or(config.context_length);
    if context > config.context_length || context == 0 {
        let (path, most) = (file.path().map(Into::into), config.context_length);
        return Err(LoadError::Context { path, most, asked: context });
    }
    Ok(context)
}

fn unsupported(config: &Config, what: String) -> LoadError {
    LoadError::Unsupported { architecture: config.architecture.clone(), what }
}

/// Refuses weights of types that the kernels do not read.
pub(super) fn check_types(
    file: &Checkpoint,
    config: &Config,
    layout: &Layout,
    compression: Compression,
) -> Result<(), LoadError> {
    let types = layout
        .matrices()
        .filter_map(|slot| Some(compression.of(file.stored(&slot.name)?.weight_type(), slot.role)));
    match types.into_iter().find(|&weight_type| !Format::supports(weight_type)) {
        None => Ok(()),
        Some(other) => Err(unsupported(config, format!("weights in {other}"))),
    }
}

/// The device memory that a file's model would take, without reading a weight.
///
/// # Errors
/// A file that holds no model, or a context that it does not have.
pub fn memory_need(file: &Checkpoint, options: &LoadOptions) -> Result<MemoryNeed, LoadError> {
    let config = file.config()?;
    let layout = Layout::new(file, &config)?;
    check_types(file, &config, &layout, options.compression)?;
    let context = context_of(file, &config, options.context)?;
    check_cache_type(&config, options.cache_type)?;
    let limit = options.device.binding_limit();
    let sizes = Sizes::new(&config, layout.head.rows, context, limit, options.cache_type);
    Ok(MemoryNeed {
        weights: weights::weight_bytes(file, &layout, &config, options.compression),
        pass: sizes.bytes(),
        cache: cache::position_bytes(&config, options.cache_type) as u64 * context as u64,
    })
}

/// Refuses what does not fit the memory of the device, where that is known.
pub(super) fn check_memory(
    file: &Checkpoint,
    device: &Device,
    need: MemoryNeed,
) -> Result<(), LoadError> {
    let Some(available) = device.adapter().memory() else { return Ok(()) };
    if need.total() <= available {
        return Ok(());
    }
    let gibibytes = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64);
    let name = file.path().map_or_else(|| "the model".into(), |path| path.display().to_string());
    Err(LoadError::Device(GpuError::TooLarge {
        what: format!(
            "{name} (weights {}, one sequence {})",
            gibibytes(need.weights),
            gibibytes(need.cache)
        ),
        adapter: device.adapter().name().to_owned(),
        needed: gibibytes(need.total()),
        available: gibibytes(available),
    }))
}
