//! Models on whichever device the user has chosen.

use std::sync::Arc;

use speckv::{
    model::{Best, Cache, Feed, LanguageModel, ModelError, PassOutput},
    token::Token,
};
use speckv_cpu::{model::CpuModel, pool::Pool};
use speckv_formats::{
    checkpoint::Checkpoint, compression::Compression, config::Config, quant::WeightType,
};
#[cfg(feature = "gpu")]
use speckv_gpu::{device::Device, model::GpuModel};

#[cfg(feature = "gpu")]
use super::GpuBackend;
use super::{Backend, CacheType, CpuBackend, LocalModel, WeightOptions};
use crate::failure::Outcome;

type CpuCache = <CpuModel as LanguageModel>::Cache;
type CpuOutput = <CpuModel as LanguageModel>::Output;
#[cfg(feature = "gpu")]
type GpuCache = <GpuModel as LanguageModel>::Cache;
#[cfg(feature = "gpu")]
type GpuOutput = <GpuModel as LanguageModel>::Output;

/// The processor or a GPU.
#[derive(Clone)]
pub enum AnyBackend {
    /// The processor.
    Cpu(CpuBackend),
    /// A GPU.
    #[cfg(feature = "gpu")]
    Gpu(GpuBackend),
}

impl AnyBackend {
    /// The threads of the processor, if that is the device.
    #[must_use]
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        match self {
            AnyBackend::Cpu(backend) => Some(backend.pool()),
            #[cfg(feature = "gpu")]
            AnyBackend::Gpu(_) => None,
        }
    }

    /// The GPU, if that is the device.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn gpu(&self) -> Option<&Arc<Device>> {
        match self {
            AnyBackend::Cpu(_) => None,
            AnyBackend::Gpu(backend) => Some(backend.device()),
        }
    }
}

/// A model on the processor or on a GPU.
#[derive(Debug)]
pub enum AnyModel {
    /// On the processor.
    Cpu(Box<CpuModel>),
    /// On a GPU.
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuModel>),
}

/// State of one sequence, where its model is.
#[derive(Debug)]
pub enum AnyCache {
    /// Of a model on the processor.
    Cpu(CpuCache),
    /// Of a model on a GPU.
    #[cfg(feature = "gpu")]
    Gpu(GpuCache),
}

#[cfg(feature = "gpu")]
impl AnyCache {
    /// The cache, if its model is on a GPU.
    fn on_gpu(&mut self) -> Option<&mut GpuCache> {
        match self {
            AnyCache::Gpu(cache) => Some(cache),
            AnyCache::Cpu(_) => None,
        }
    }
}

/// Output of a pass, where its model is.
pub enum AnyOutput {
    /// Of a model on the processor.
    Cpu(CpuOutput),
    /// Of a model on a GPU.
    #[cfg(feature = "gpu")]
    Gpu(GpuOutput),
}

/// The same expression for each kind.
macro_rules! each {
    ($enum:ident, $value:expr, $inner:ident => $then:expr) => {
        match $value {
            $enum::Cpu($inner) => $then,
            #[cfg(feature = "gpu")]
            $enum::Gpu($inner) => $then,
        }
    };
}

/// Caches and outputs of a model on another device.
const ANOTHER: ModelError =
    ModelError::Unsupported { what: "caches and outputs of a model on another device" };

impl Cache for AnyCache {
    fn len(&self) -> usize {
        each!(AnyCache, self, cache => cache.len())
    }

    fn truncate(&mut self, len: usize) {
        each!(AnyCache, self, cache => cache.truncate(len));
    }

    fn keep(&mut self, path: &[usize]) -> Result<(), ModelError> {
        each!(AnyCache, self, cache => cache.keep(path))
    }

    fn copy_from(&mut self, other: &Self, len: usize) -> bool {
        match (self, other) {
            (AnyCache::Cpu(to), AnyCache::Cpu(from)) => to.copy_from(from, len),
            #[cfg(feature = "gpu")]
            (AnyCache::Gpu(to), AnyCache::Gpu(from)) => to.copy_from(from, len),
            #[cfg(feature = "gpu")]
            _ => false,
        }
    }

    fn pretend(&mut self, len: usize) -> bool {
        each!(AnyCache, self, cache => cache.pretend(len))
    }
}

impl PassOutput for AnyOutput {
    fn rows(&self) -> usize {
        each!(AnyOutput, self, output => output.rows())
    }

    fn vocab_size(&self) -> usize {
        each!(AnyOutput, self, output => PassOutput::vocab_size(output))
    }

    fn best(&mut self, row: usize, vocab: usize) -> Result<Best, ModelError> {
        each!(AnyOutput, self, output => output.best(row, vocab))
    }

    fn likeliest(&mut self, row: usize, vocab: usize) -> Result<Token, ModelError> {
        each!(AnyOutput, self, output => output.likeliest(row, vocab))
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], ModelError> {
        each!(AnyOutput, self, output => output.logits(row))
    }

    fn hidden_rows(&self) -> usize {
        each!(AnyOutput, self, output => output.hidden_rows())
    }

    fn hidden(&mut self, row: usize) -> Result<&[f32], ModelError> {
        each!(AnyOutput, self, output => output.hidden(row))
    }
}

/// The feeds with the caches of one device.
fn of_device<'f, 'a, C: Cache>(
    feeds: &'f mut [Feed<'a, AnyCache>],
    own: impl Fn(&'f mut AnyCache) -> Option<&'f mut C>,
) -> Result<Vec<Feed<'f, C>>, ModelError> {
    let feed = |feed: &'f mut Feed<'a, AnyCache>| {
        let (tokens, rows, hidden, parents) = (feed.tokens, feed.rows, feed.hidden, feed.parents);
        let cache = own(&mut *feed.cache).ok_or(ANOTHER)?;
        Ok(Feed::new(cache, tokens, rows).with_hidden(hidden).with_parents(parents))
    };
    feeds.iter_mut().map(feed).collect()
}

impl LanguageModel for AnyModel {
    type Cache = AnyCache;
    type Output = AnyOutput;

    fn vocab_size(&self) -> usize {
        each!(AnyModel, self, model => model.vocab_size())
    }

    fn context_length(&self) -> usize {
        each!(AnyModel, self, model => model.context_length())
    }

    fn hidden_size(&self) -> Option<usize> {
        each!(AnyModel, self, model => model.hidden_size())
    }

    fn takes_branches(&self) -> bool {
        each!(AnyModel, self, model => model.takes_branches())
    }

    fn new_cache(&self) -> Result<AnyCache, ModelError> {
        Ok(match self {
            AnyModel::Cpu(model) => AnyCache::Cpu(model.new_cache()?),
            #[cfg(feature = "gpu")]
            AnyModel::Gpu(model) => AnyCache::Gpu(model.new_cache()?),
        })
    }

    fn new_output(&self) -> AnyOutput {
        match self {
            AnyModel::Cpu(model) => AnyOutput::Cpu(model.new_output()),
            #[cfg(feature = "gpu")]
            AnyModel::Gpu(model) => AnyOutput::Gpu(model.new_output()),
        }
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, AnyCache>],
        output: &mut AnyOutput,
    ) -> Result<(), ModelError> {
        match (self, output) {
            (AnyModel::Cpu(model), AnyOutput::Cpu(output)) => {
                let mut feeds = of_device(feeds, |cache| match cache {
                    AnyCache::Cpu(cache) => Some(cache),
                    #[cfg(feature = "gpu")]
                    AnyCache::Gpu(_) => None,
                })?;
                model.forward(&mut feeds, output)
            }
            #[cfg(feature = "gpu")]
            (AnyModel::Gpu(model), AnyOutput::Gpu(output)) => {
                let mut feeds = of_device(feeds, AnyCache::on_gpu)?;
                model.forward(&mut feeds, output)
            }
            #[cfg(feature = "gpu")]
            _ => Err(ANOTHER),
        }
    }

    fn continuation_limit(&self, sequences: usize) -> usize {
        each!(AnyModel, self, model => model.continuation_limit(sequences))
    }

    fn continue_greedily(
        &self,
        feeds: &mut [Feed<'_, AnyCache>],
        count: usize,
        vocab: usize,
        output: &mut AnyOutput,
    ) -> Result<usize, ModelError> {
        match (self, output) {
            #[cfg(feature = "gpu")]
            (AnyModel::Gpu(model), AnyOutput::Gpu(output)) => {
                let mut feeds = of_device(feeds, AnyCache::on_gpu)?;
                model.continue_greedily(&mut feeds, count, vocab, output)
            }
            // A processor gains nothing from it.
            (_, output) => {
                let _ = (count, vocab);
                self.forward(feeds, output)?;
                Ok(1)
            }
        }
    }
}

impl LocalModel for AnyModel {
    fn config(&self) -> &Config {
        each!(AnyModel, self, model => LocalModel::config(&**model))
    }

    fn compression(&self) -> Compression {
        each!(AnyModel, self, model => LocalModel::compression(&**model))
    }

    fn weight_type(&self) -> WeightType {
        each!(AnyModel, self, model => LocalModel::weight_type(&**model))
    }

    fn bits_per_weight(&self) -> f64 {
        each!(AnyModel, self, model => LocalModel::bits_per_weight(&**model))
    }

    fn cache_type(&self) -> CacheType {
        each!(AnyModel, self, model => LocalModel::cache_type(&**model))
    }

    fn pass_bytes(&self) -> u64 {
        each!(AnyModel, self, model => LocalModel::pass_bytes(&**model))
    }

    fn multiply_adds(&self) -> u64 {
        each!(AnyModel, self, model => LocalModel::multiply_adds(&**model))
    }

    fn position_bytes(&self) -> u64 {
        each!(AnyModel, self, model => LocalModel::position_bytes(&**model))
    }

    fn sequence_bytes(&self) -> u64 {
        each!(AnyModel, self, model => LocalModel::sequence_bytes(&**model))
    }

    fn head_size(&self) -> usize {
        each!(AnyModel, self, model => LocalModel::head_size(&**model))
    }

    fn threads(&self) -> usize {
        each!(AnyModel, self, model => LocalModel::threads(&**model))
    }

    fn processor(&self) -> String {
        each!(AnyModel, self, model => LocalModel::processor(&**model))
    }
}

impl Backend for AnyBackend {
    type Model = AnyModel;

    fn name(&self) -> &str {
        each!(AnyBackend, self, backend => backend.name())
    }

    fn identity(&self) -> String {
        each!(AnyBackend, self, backend => backend.identity())
    }

    fn weight_bytes(&self, file: &Checkpoint, compression: Compression) -> u64 {
        each!(AnyBackend, self, backend => backend.weight_bytes(file, compression))
    }

    fn position_bytes(&self, config: &Config, cache_type: CacheType) -> u64 {
        each!(AnyBackend, self, backend => backend.position_bytes(config, cache_type))
    }

    fn supports_cache(&self, config: &Config, cache_type: CacheType) -> bool {
        each!(AnyBackend, self, backend => backend.supports_cache(config, cache_type))
    }

    fn available_bytes(&self) -> Option<u64> {
        each!(AnyBackend, self, backend => backend.available_bytes())
    }

    fn load(
        &self,
        file: &Checkpoint,
        context: usize,
        options: &WeightOptions,
        at: &mut dyn FnMut(u64, u64),
    ) -> Outcome<AnyModel> {
        Ok(match self {
            AnyBackend::Cpu(backend) => {
                AnyModel::Cpu(Box::new(backend.load(file, context, options, at)?))
            }
            #[cfg(feature = "gpu")]
            AnyBackend::Gpu(backend) => {
                AnyModel::Gpu(Box::new(backend.load(file, context, options, at)?))
            }
        })
    }
}
