//! Whether models fit in memory, found out before they are read.

mod available;

pub use available::available;
use speckv_formats::{checkpoint::Checkpoint, compression::Compression};

use crate::{
    backend::{Backend, CacheType},
    failure::{Failure, Outcome},
    units,
};

/// What needs memory: a model, what its matrices become, the context that it keeps, and what it is
/// called in messages.
#[derive(Debug, Clone, Copy)]
pub struct MemoryNeed<'a> {
    /// The model.
    pub file: &'a Checkpoint,
    /// What its matrices become.
    pub compression: Compression,
    /// Positions of its one sequence, at most what the model was made for.
    pub context: usize,
    /// How keys and values are stored.
    pub cache_type: CacheType,
    /// "weights", or what else they are.
    pub what: &'static str,
}

/// Bytes that a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bytes {
    weights: u64,
    /// Keys and values of a full context.
    cache: u64,
}

impl MemoryNeed<'_> {
    fn bytes(&self, backend: &impl Backend) -> Bytes {
        // What is wrong with a configuration is reported where the model is loaded.
        let cache = self.file.config().map_or(0, |config| {
            let positions = self.context.min(config.context_length) as u64;
            positions.saturating_mul(backend.position_bytes(&config, self.cache_type))
        });
        Bytes { weights: backend.weight_bytes(self.file, self.compression), cache }
    }
}

/// Refuses models whose weights, keys and values together need more of the backend's memory than
/// this process can get. Where that is unknown, everything passes.
///
/// # Errors
/// Models that do not fit.
pub fn check(backend: &impl Backend, needs: &[MemoryNeed<'_>]) -> Outcome<()> {
    let bytes: Vec<Bytes> = needs.iter().map(|need| need.bytes(backend)).collect();
    let available = backend.available_bytes();
    let Some(available) = available.filter(|&available| !fit(&bytes, available)) else {
        return Ok(());
    };
    let needed: Vec<String> = needs
        .iter()
        .zip(&bytes)
        .map(|(need, bytes)| {
            let [weights, cache] = [bytes.weights, bytes.cache].map(units::bytes);
            format!(
                "{} {weights} as {} with {cache} of keys and values",
                need.what, need.compression
            )
        })
        .collect();
    let failure = Failure::new(
        format!(
            "memory needed: {}; available on {}: {}",
            needed.join(", "),
            backend.name(),
            units::bytes(available)
        ),
        "nf4 or q4_0 as --compression (for a draft: self:nf4, --draft-compression) and a shorter \
         context or --kv q8_0 need less, `--draft ngram` needs no weights, --device and \
         --draft-device choose where a model is",
    );
    Err(match needs.first().and_then(|need| need.file.path()) {
        Some(path) => failure.about(path.display()),
        None => failure,
    })
}

/// Whether all fit side by side.
fn fit(needs: &[Bytes], available: u64) -> bool {
    let mut parts = needs.iter().flat_map(|need| [need.weights, need.cache]);
    parts.try_fold(0, |sum: u64, bytes| sum.checked_add(bytes)).is_some_and(|sum| sum <= available)
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, sync::Arc};

    use speckv_formats::{gguf::Gguf, tiny::Tiny};

    use super::*;
    use crate::backend::CpuBackend;

    fn need(weights: u64, cache: u64) -> Bytes {
        Bytes { weights, cache }
    }

    #[test]
    fn models_fit_together_or_not_at_all() {
        assert!(
            fit(&[], 0) && fit(&[need(50, 10), need(30, 10)], 100) && fit(&[need(100, 0)], 100)
        );
        assert!(!fit(&[need(50, 10), need(30, 11)], 100) && !fit(&[need(100, 1)], 100));
        assert!(!fit(&[need(u64::MAX, 1)], u64::MAX));
    }

    #[test]
    fn keys_and_values_count_up_to_what_the_model_was_made_for() {
        let tiny = Tiny { heads: 2, ..Tiny::default() }; // 2 layers, 2 key-value heads of 32 values, 256 positions
        let file: Checkpoint =
            Arc::new(Gguf::from_bytes(tiny.to_bytes().expect("a file")).expect("a model")).into();
        let backend = CpuBackend::new(NonZeroUsize::MIN).expect("one thread");
        let cache = |context, cache_type| {
            let compression = Compression::AsIs;
            MemoryNeed { file: &file, compression, context, cache_type, what: "weights" }
                .bytes(&backend)
                .cache
        };
        let position = 2 * 2 * 2 * 32 * 2;
        assert_eq!(cache(100, CacheType::F16), 100 * position);
        assert_eq!(cache(1_000_000, CacheType::F16), 256 * position);
        assert_eq!(cache(100, CacheType::Q8_0), 100 * position * 17 / 32);
    }
}
