//! Models on the processor.

use std::{num::NonZeroUsize, sync::Arc};

use speckv::model::LanguageModel;
use speckv_cpu::{
    kernels::Isa,
    matrix::PackError,
    model::{CacheType, CpuModel, LoadError, LoadOptions, packed_bytes},
    pool::Pool,
};
use speckv_formats::{
    checkpoint::Checkpoint, compression::Compression, config::Config, quant::WeightType,
    weights::WeightError,
};

use super::{Backend, LocalModel, WeightOptions};
use crate::{
    failure::{DAMAGED, Failure, Outcome, chain},
    memory,
};

/// Positions of a cache come in groups of so many, interleaved.
const POSITION_GROUP: usize = 16;

/// Loads models into main memory; all of them share one pool of threads.
#[derive(Clone)]
pub struct CpuBackend {
    pool: Arc<Pool>,
}

impl CpuBackend {
    /// A backend with so many threads.
    ///
    /// # Errors
    /// If the system refuses to start them.
    pub fn new(threads: NonZeroUsize) -> Outcome<Self> {
        let pool = Pool::new(threads).map(Arc::new).map_err(|error| {
            Failure::new(
                format!("cannot start {threads} threads: {error}"),
                "give a smaller number with --threads",
            )
        })?;
        Ok(CpuBackend { pool })
    }

    /// The threads.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Backend for CpuBackend {
    type Model = CpuModel;

    fn name(&self) -> &str {
        "cpu"
    }

    fn identity(&self) -> String {
        let isa = Isa::from_environment().map_or("unknown", |isa| isa.name());
        format!("{isa}, {} threads", self.pool.threads())
    }

    fn weight_bytes(&self, file: &Checkpoint, compression: Compression) -> u64 {
        packed_bytes(file, compression)
    }

    fn position_bytes(&self, config: &Config, cache_type: CacheType) -> u64 {
        cache_type.position_bytes(config) as u64
    }

    fn supports_cache(&self, config: &Config, cache_type: CacheType) -> bool {
        cache_type.takes(config.head_dim)
    }

    fn available_bytes(&self) -> Option<u64> {
        memory::available()
    }

    fn load(
        &self,
        file: &Checkpoint,
        context: usize,
        options: &WeightOptions,
        at: &mut dyn FnMut(u64, u64),
    ) -> Outcome<CpuModel> {
        let load = LoadOptions {
            compression: options.compression,
            head_gap: options.head_gap.clone(),
            cache_type: options.cache_type,
            context: Some(context),
            ..LoadOptions::new(Arc::clone(&self.pool))
        };
        CpuModel::load(file, &load, &mut |progress| at(progress.done, progress.total))
            .map_err(|error| load_failure(&error))
    }
}

fn load_failure(error: &LoadError) -> Failure {
    let hint = match error {
        LoadError::Context { most, .. } => format!("give at most --ctx {most}"),
        LoadError::CacheType { .. } => "omit --kv: keys and values are then f16".into(),
        LoadError::Config(_) => {
            "`speckv inspect MODEL` shows what the file holds; `speckv models` lists models that \
             work"
                .into()
        }
        LoadError::Weight(WeightError::Store {
            source: PackError::Columns { .. } | PackError::Convert(_),
            ..
        }) => "another --compression (or --draft-compression) can represent these weights; asis \
             always can"
            .into(),
        _ => DAMAGED.into(),
    };
    Failure::new(chain(error), hint)
}

impl LocalModel for CpuModel {
    fn config(&self) -> &Config {
        CpuModel::config(self)
    }

    fn compression(&self) -> Compression {
        CpuModel::compression(self)
    }

    fn weight_type(&self) -> WeightType {
        CpuModel::weight_type(self)
    }

    fn bits_per_weight(&self) -> f64 {
        CpuModel::bits_per_weight(self)
    }

    fn cache_type(&self) -> CacheType {
        CpuModel::cache_type(self)
    }

    fn pass_bytes(&self) -> u64 {
        CpuModel::pass_bytes(self)
    }

    fn multiply_adds(&self) -> u64 {
        CpuModel::multiply_adds(self)
    }

    fn position_bytes(&self) -> u64 {
        CpuModel::position_bytes(self) as u64
    }

    fn sequence_bytes(&self) -> u64 {
        let positions = self.context_length().next_multiple_of(POSITION_GROUP);
        LocalModel::position_bytes(self) * positions as u64
    }

    fn head_size(&self) -> usize {
        CpuModel::head_size(self)
    }

    fn threads(&self) -> usize {
        CpuModel::threads(self)
    }

    fn processor(&self) -> String {
        self.isa().name().to_owned()
    }
}
