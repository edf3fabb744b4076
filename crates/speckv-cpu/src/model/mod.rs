//! Dense transformers of all families that `speckv-formats` knows, behind
//! [`speckv::model::LanguageModel`].

use std::sync::{Arc, Mutex, PoisonError};

use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel, ModelError},
};
use speckv_formats::{
    checkpoint::Checkpoint,
    compression::Compression,
    config::{Config, ConfigError},
    quant::WeightType,
    weights::Progress,
};

use crate::{
    kernels::{Isa, simd::GROUP},
    matrix::bits_per_element,
    pool::Pool,
};

mod branches;
mod cache;
mod pass;
mod scratch;
mod weights;

pub use crate::kernels::CacheType;
pub use cache::KvCache;
use cache::{CacheShape, ModelId};
pub use weights::{LoadError, LoadOptions, packed_bytes};

use cache::MAX_HEAD_DIM;
use scratch::Scratch;
use weights::Weights;

/// A transformer on the CPU: weights and threads, shared by all sequences.
pub struct CpuModel {
    config: Config,
    weights: Weights,
    context: usize,
    isa: Isa,
    pool: Arc<Pool>,
    compression: Compression,
    /// Buffers of one pass; passes of one model run one after the other.
    scratch: Mutex<Scratch>,
    /// Angle per position of each rotary pair, [rope.dim / 2]: of layers that see everything, then
    /// of those that slide, if there are any.
    rope_frequencies: Vec<Vec<f64>>,
    id: ModelId,
    /// The shape of this model's caches.
    cache: CacheShape,
}

impl CpuModel {
    /// Loads a model from a file or folder: reads the blueprint, packs the weights.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(
        file: impl Into<Checkpoint>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, LoadError> {
        let file = &file.into();
        let config = file.config()?;
        check_heads(file, &config)?;
        let context = options.context.unwrap_or(config.context_length);
        if context > config.context_length || context == 0 {
            let (path, most) = (file.path().map(Into::into), config.context_length);
            return Err(LoadError::Context { path, most, asked: context });
        }
        if !options.cache_type.takes(config.head_dim) {
            return Err(LoadError::CacheType {
                asked: options.cache_type,
                head_dim: config.head_dim,
            });
        }
        let isa = options.isa.map_or_else(Isa::from_environment, Ok)?;
        let weights = Weights::load(file, &config, options, progress)?;
        let ropes = std::iter::once(&config.rope)
            .chain(config.sliding.as_ref().map(|sliding| &sliding.rope));
        let factors = weights.rope_factors.as_factors();
        let rope_frequencies = ropes.map(|rope| rope.frequencies(factors, context)).collect();
        Ok(CpuModel {
            weights,
            context,
            isa,
            pool: Arc::clone(&options.pool),
            compression: options.compression,
            scratch: Mutex::new(Scratch::default()),
            rope_frequencies,
            id: ModelId::new(),
            cache: CacheShape::new(&config, options.cache_type, context),
            config,
        })
    }

    /// The blueprint.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of weights that one pass reads.
    #[must_use]
    pub fn pass_bytes(&self) -> u64 {
        self.weights.pass_bytes()
    }

    /// Tokens that the output head covers while the text has none of those that it leaves out.
    #[must_use]
    pub fn head_size(&self) -> usize {
        let head = &self.weights.head;
        head.matrix.rows() - head.gap.as_ref().map_or(0, ExactSizeIterator::len)
    }

    /// Multiply-adds with weights for one position.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        self.weights.multiply_adds()
    }

    /// Bytes of keys and values per position.
    #[must_use]
    pub fn position_bytes(&self) -> usize {
        self.cache.cache_type.position_bytes(&self.config)
    }

    /// How keys and values are stored.
    #[must_use]
    pub fn cache_type(&self) -> CacheType {
        self.cache.cache_type
    }

    /// The type that most of the weights have in memory.
    #[must_use]
    pub fn weight_type(&self) -> WeightType {
        self.weights.dominant_type()
    }

    /// Bits per weight of that type in memory, scales included.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        bits_per_element(self.weight_type())
    }

    /// What became of the weights when they were loaded.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The instruction set in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads in use.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}

/// Refuses heads that the attention kernels cannot take.
fn check_heads(file: &Checkpoint, config: &Config) -> Result<(), ConfigError> {
    let head_dim = config.head_dim;
    if head_dim.is_multiple_of(GROUP) && head_dim <= MAX_HEAD_DIM {
        return Ok(());
    }
    Err(ConfigError::Value {
        key: file.said_by("attention.key_length"),
        expected: format!("a multiple of {GROUP} up to {MAX_HEAD_DIM}"),
        got: head_dim.to_string(),
    })
}

impl LanguageModel for CpuModel {
    type Cache = KvCache;
    type Output = Logits;

    fn vocab_size(&self) -> usize {
        self.weights.embedding.vocab_size
    }

    fn context_length(&self) -> usize {
        self.context
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(self.config.hidden)
    }

    fn takes_branches(&self) -> bool {
        true
    }

    fn new_cache(&self) -> Result<KvCache, ModelError> {
        KvCache::new(self.id, self.cache)
    }

    fn new_output(&self) -> Logits {
        Logits::new()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, KvCache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        feeds.iter().try_for_each(|feed| {
            feed.cache.check(self.id, &self.cache)?;
            feed.check(self)
        })?;
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        self.pass(feeds, logits, &mut scratch)
    }
}

impl std::fmt::Debug for CpuModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpuModel")
            .field("config", &self.config)
            .field("isa", &self.isa)
            .finish_non_exhaustive()
    }
}
