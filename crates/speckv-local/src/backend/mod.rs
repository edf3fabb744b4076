//! The interface to devices that run models.
//!
//! A [`Backend`] loads a checkpoint into a model on its device, and a [`LocalModel`] is a language
//! model that can describe itself: shape, weights, memory. Loading pairs, calibration, controllers
//! and memory checks are written against these two traits, so another crate adds a device by
//! implementing them.

mod any;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
mod open;
mod pair_backends;
#[cfg(feature = "gpu")]
pub mod tested_formats;

use std::ops::Range;

pub use any::{AnyBackend, AnyCache, AnyModel, AnyOutput};
pub use cpu::CpuBackend;
#[cfg(feature = "gpu")]
pub use gpu::GpuBackend;
pub use open::{device_hint, hardware, open};
pub use pair_backends::PairBackends;
use speckv::{model::LanguageModel, token::Token};
pub use speckv_cpu::model::CacheType;
use speckv_formats::{
    checkpoint::Checkpoint, compression::Compression, config::Config, quant::WeightType,
};

use crate::failure::Outcome;

/// What becomes of a model when it is loaded.
#[derive(Debug, Clone, Default)]
pub struct WeightOptions {
    /// What the matrices become.
    pub compression: Compression,
    /// Tokens that the output head omits while the text has none of them; for drafts.
    pub head_gap: Option<Range<Token>>,
    /// How keys and values are stored.
    pub cache_type: CacheType,
    /// Whether the model drafts: on a GPU its embedding is then on the device too, if it fits, so
    /// that several tokens take one submission.
    pub drafts: bool,
}

/// A language model on this machine that can describe itself.
pub trait LocalModel: LanguageModel + 'static {
    /// The model's configuration.
    fn config(&self) -> &Config;

    /// What became of the weights when they were loaded.
    fn compression(&self) -> Compression;

    /// The type that most of the weights have in the device's memory.
    fn weight_type(&self) -> WeightType;

    /// Bits per weight of that type on the device, scales included.
    fn bits_per_weight(&self) -> f64;

    /// How keys and values are stored.
    fn cache_type(&self) -> CacheType;

    /// Bytes of weights that one pass reads.
    fn pass_bytes(&self) -> u64;

    /// Multiply-adds with weights for one position.
    fn multiply_adds(&self) -> u64;

    /// Bytes of keys and values per position of a sequence.
    fn position_bytes(&self) -> u64;

    /// Bytes of keys and values of one sequence with a full context, as the device allocates them.
    fn sequence_bytes(&self) -> u64;

    /// Tokens that the output head covers while the text has none of those that it omits.
    fn head_size(&self) -> usize;

    /// Threads of the host that compute.
    fn threads(&self) -> usize;

    /// What computes: an instruction set, or the name of a device.
    fn processor(&self) -> String;
}

/// Loads models onto one device.
pub trait Backend {
    /// Its models.
    type Model: LocalModel;

    /// Name of the device in options and messages: `cpu`, `gpu:0`.
    fn name(&self) -> &str;

    /// What measured times belong to: instruction set and threads, or device and driver.
    fn identity(&self) -> String;

    /// Bytes of the device's memory that the weights of `file` take.
    fn weight_bytes(&self, file: &Checkpoint, compression: Compression) -> u64;

    /// Bytes of keys and values per position of a sequence.
    fn position_bytes(&self, config: &Config, cache_type: CacheType) -> u64;

    /// Whether keys and values of a model can be stored as `cache_type`.
    fn supports_cache(&self, config: &Config, cache_type: CacheType) -> bool;

    /// Bytes of the device's memory that this process can still get; `None` where that is unknown.
    fn available_bytes(&self) -> Option<u64>;

    /// Loads weights for sequences of at most `context` positions; `at(done, total)` counts bytes.
    ///
    /// # Errors
    /// An unsupported architecture, missing or misshapen tensors, weights that the compression
    /// cannot represent, a context longer than the model's.
    fn load(
        &self,
        file: &Checkpoint,
        context: usize,
        options: &WeightOptions,
        at: &mut dyn FnMut(u64, u64),
    ) -> Outcome<Self::Model>;
}
