//! Dense transformers on a GPU, behind
//! [`speckv::model::LanguageModel`].

mod buffers;
mod cache;
mod continuation;
mod embedding;
mod kernels;
mod layer;
mod load;
mod output;
mod pass;
mod rare;
mod weights;

use std::{
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use speckv::model::{Feed, LanguageModel, ModelError};
use speckv_formats::{
    checkpoint::Checkpoint, compression::Compression, config::Config, quant::WeightType,
    weights::Layout,
};

pub use cache::{KvCache, position_bytes};
pub use load::{LoadError, LoadOptions, MemoryNeed, Progress, memory_need};
pub use output::GpuOutput;

use crate::{
    cache_type::CacheType,
    device::{Bindings, Buffer, Device},
    error::GpuError,
    matrix::{Matrix, matrix_bytes},
};
use buffers::{Buffers, PAGE_ROWS, Sizes};
use embedding::Embedding;
use kernels::Kernels;
use layer::{Binder, LayerPass};
use pass::HostRoom;
use weights::{GateUp, Weights};

/// A transformer on a device, shared by all sequences.
pub struct GpuModel {
    shared: Arc<Shared>,
    compression: Compression,
}

/// What a model shares with its caches and outputs.
struct Shared {
    device: Arc<Device>,
    config: Config,
    sizes: Sizes,
    vocab: usize,
    context: usize,
    weights: Weights,
    embedding: Embedding,
    /// Whether the device gathers the embeddings that the host reads.
    gathers: OnceLock<bool>,
    buffers: Buffers,
    kernels: Kernels,
    layers: Vec<LayerPass>,
    output_norm: Bindings,
    /// Tokens that the output head omits while the text has none of them.
    gap: Option<Range<usize>>,
    /// Logits of as many impossible tokens.
    impossible: Option<Buffer>,
    /// Angle per position of each rotary pair: of layers that see everything, then of those that
    /// slide, if there are any.
    rope_frequencies: Vec<Vec<f64>>,
    /// Passes of one model take turns: they share the buffers.
    turn: Mutex<HostRoom>,
}

impl Shared {
    /// How keys and values are stored.
    fn cache_type(&self) -> CacheType {
        self.sizes.cache_type
    }
}

/// A device's failure as a model's.
fn failed(error: GpuError) -> ModelError {
    match error {
        GpuError::OutOfMemory { bytes, .. } => ModelError::OutOfMemory { bytes },
        other => ModelError::Backend(Box::new(other)),
    }
}

impl GpuModel {
    /// Loads a model from a file or folder: checks the memory, packs and uploads the weights, and
    /// binds the kernels.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(
        file: impl Into<Checkpoint>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, LoadError> {
        let file = file.into();
        let config = file.config()?;
        let layout = Layout::new(&file, &config)?;
        let device = &options.device;
        load::check_memory(&file, device, load::memory_need(&file, options)?)?;
        let context = load::context_of(&file, &config, options.context)?;
        let vocab = layout.head.rows;
        let limit = device.binding_limit();
        let sizes = Sizes::new(&config, vocab, context, limit, options.cache_type);
        let gap = rare::gap(options.head_gap.as_ref(), vocab);
        let weights =
            Weights::load(device, &file, &layout, options.compression, gap.as_ref(), progress)?;
        let embedding = Embedding::new(file, &layout, &weights, options)?;
        let apart = weights.layers.iter().any(|layer| matches!(layer.gate_up, GateUp::Apart(..)));
        let buffers = Buffers::new(device, &sizes, apart)?;
        let kernels = Kernels::new(device, &config, &sizes, &buffers)?;
        let binder =
            Binder { device, config: &config, sizes: &sizes, buffers: &buffers, kernels: &kernels };
        let layers = weights.layers.iter().enumerate();
        let layers = layers
            .map(|(number, layer)| binder.layer(layer, number))
            .collect::<Result<_, GpuError>>()?;
        let output_norm = binder.picked_norm(&weights.output_norm)?;
        let ropes = std::iter::once(&config.rope)
            .chain(config.sliding.as_ref().map(|sliding| &sliding.rope));
        let factors = weights.rope_factors.as_factors();
        let rope_frequencies = ropes.map(|rope| rope.frequencies(factors, context)).collect();
        let impossible = gap.as_ref().map(|gap| {
            device.filled("impossible tokens", &vec![f32::NEG_INFINITY.to_bits(); gap.len()])
        });
        let shared = Shared {
            gap,
            impossible: impossible.transpose()?,
            device: Arc::clone(device),
            sizes,
            vocab,
            context,
            weights,
            embedding,
            gathers: OnceLock::new(),
            buffers,
            kernels,
            layers,
            output_norm,
            rope_frequencies,
            turn: Mutex::default(),
            config,
        };
        Ok(GpuModel { shared: Arc::new(shared), compression: options.compression })
    }

    /// The blueprint.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The device that it is on.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.shared.device
    }

    /// Bytes of weights that one pass reads, without the head's gap.
    #[must_use]
    pub fn pass_bytes(&self) -> u64 {
        let weights = &self.shared.weights;
        let bytes: u64 = weights.matrices().map(Matrix::byte_len).sum();
        let gap = self.shared.gap.as_ref().map_or(0, Range::len);
        bytes - matrix_bytes(weights.head.weight_type(), gap, weights.head.columns())
    }

    /// Tokens that the output head covers while the text has none of those that it omits.
    #[must_use]
    pub fn head_size(&self) -> usize {
        self.shared.vocab - self.shared.gap.as_ref().map_or(0, Range::len)
    }

    /// Multiply-adds with weights for one position.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        let matrices = self.shared.weights.matrices();
        matrices.map(|matrix| (matrix.rows() * matrix.columns()) as u64).sum()
    }

    /// Bytes of keys and values per position.
    #[must_use]
    pub fn position_bytes(&self) -> usize {
        cache::position_bytes(&self.shared.config, self.cache_type())
    }

    /// How keys and values are stored.
    #[must_use]
    pub fn cache_type(&self) -> CacheType {
        self.shared.cache_type()
    }

    /// Bits per weight on the device, scales included.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        let bytes: u64 = self.shared.weights.matrices().map(Matrix::byte_len).sum();
        bytes as f64 * 8.0 / self.multiply_adds() as f64
    }

    /// What became of the weights when they were loaded.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The type that most of the weights of the layers have on the device.
    #[must_use]
    pub fn weight_type(&self) -> WeightType {
        let mut bytes: Vec<(WeightType, u64)> = Vec::new();
        for matrix in self.shared.weights.matrices() {
            match bytes.iter_mut().find(|(weight_type, _)| *weight_type == matrix.weight_type()) {
                Some((_, sum)) => *sum += matrix.byte_len(),
                None => bytes.push((matrix.weight_type(), matrix.byte_len())),
            }
        }
        let most = bytes.into_iter().max_by_key(|&(_, sum)| sum);
        most.map_or(self.shared.weights.head.weight_type(), |(weight_type, _)| weight_type)
    }
}

impl GpuModel {
    /// Refuses feeds that cannot be read, and what belongs to another model.
    fn check(&self, feeds: &[Feed<'_, KvCache>], output: &GpuOutput) -> Result<(), ModelError> {
        feeds.iter().try_for_each(|feed| feed.check(self))?;
        let own = |shared: &Arc<Shared>| Arc::ptr_eq(shared, &self.shared);
        if feeds.iter().all(|feed| own(&feed.cache.shared)) && own(&output.shared) {
            return Ok(());
        }
        Err(ModelError::Unsupported { what: "caches and outputs of another model" })
    }
}

impl LanguageModel for GpuModel {
    type Cache = KvCache;
    type Output = GpuOutput;

    fn vocab_size(&self) -> usize {
        self.shared.vocab
    }

    fn context_length(&self) -> usize {
        self.shared.context
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(self.shared.config.hidden)
    }

    fn takes_branches(&self) -> bool {
        true
    }

    fn new_cache(&self) -> Result<KvCache, ModelError> {
        KvCache::new(Arc::clone(&self.shared))
    }

    fn new_output(&self) -> GpuOutput {
        GpuOutput::new(Arc::clone(&self.shared))
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, KvCache>],
        output: &mut GpuOutput,
    ) -> Result<(), ModelError> {
        self.check(feeds, output)?;
        let mut host = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.pass(feeds, output, &mut host)
    }

    fn continuation_limit(&self, sequences: usize) -> usize {
        if Shared::gathers(&self.shared) { (PAGE_ROWS / sequences.max(1)).max(1) } else { 1 }
    }

    fn continue_greedily(
        &self,
        feeds: &mut [Feed<'_, KvCache>],
        count: usize,
        vocab: usize,
        output: &mut GpuOutput,
    ) -> Result<usize, ModelError> {
        self.check(feeds, output)?;
        let count = count.min(self.continuation_limit(feeds.len()));
        let vocab = vocab.min(self.shared.vocab);
        let mut host = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.continue_greedily(feeds, (count, vocab), output, &mut host)
    }
}

impl std::fmt::Debug for GpuModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GpuModel")
            .field("config", &self.shared.config)
            .field("device", &self.shared.device)
            .finish_non_exhaustive()
    }
}
