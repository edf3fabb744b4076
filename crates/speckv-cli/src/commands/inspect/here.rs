//! What a model needs of this machine, and how fast it can be here.

use std::{path::Path, sync::Arc};

use serde_json::{Value as Json, json};
use speckv_cpu::{
    model::{CacheType, packed_bytes},
    pool::Pool,
};
use speckv_formats::{checkpoint::Checkpoint, compression::Compression, config::Config};
use speckv_local::{
    draft_search,
    failure::{Failure, Outcome},
    known_drafts::{self, KnownDraft},
    machine, memory,
    model_source::ModelSource,
    pair::DEFAULT_CONTEXT,
    text::ModelText,
    units,
};

use crate::curve::read_buffer::{HostMemory, ReadBuffer, ReadMemory as _};

/// Bytes that the read rate is measured on: more than caches hold.
const BUFFER: usize = 256 << 20;
/// Times that they are read; the best counts, since what disturbs a read only makes it slower.
const READS: usize = 4;
/// Share of the read rate that passes of one row reach; see `record/`.
const REACHED: f64 = 0.85;

/// A model on this machine.
pub(super) struct Here {
    /// Bytes of weights as kernels read them.
    weights: u64,
    /// Bytes of keys and values of the default context.
    cache: u64,
    context: usize,
    available: Option<u64>,
    /// Bytes per second.
    read_rate: f64,
    draft: Draft,
}

/// What could draft.
enum Draft {
    Here(String),
    Known(KnownDraft),
    None,
}

impl Here {
    /// Measures the machine and looks for a draft. Reads no weights.
    pub(super) fn measure(
        file: &Checkpoint,
        path: &Path,
        config: &Config,
        source: &ModelSource,
    ) -> Outcome<Self> {
        let context = DEFAULT_CONTEXT.min(config.context_length);
        let text = ModelText::of(file)?;
        let draft = match draft_search::find(file, path, &text, source) {
            Some(found) => Draft::Here(found.name),
            None => {
                known_drafts::for_target(file, text.tokenizer()).map_or(Draft::None, Draft::Known)
            }
        };
        Ok(Here {
            weights: packed_bytes(file, Compression::AsIs),
            cache: (context * CacheType::F16.position_bytes(config)) as u64,
            context,
            available: memory::available(),
            read_rate: read_rate()?,
            draft,
        })
    }

    /// Tokens per second of plain decoding that the memory allows.
    fn tokens_per_second(&self) -> f64 {
        REACHED * self.read_rate / self.weights.max(1) as f64
    }

    fn fits(&self) -> Option<bool> {
        self.available.map(|available| self.weights + self.cache <= available)
    }

    pub(super) fn as_text(&self) -> String {
        let there = self.available.map_or(String::new(), |available| {
            let fits = if self.fits() == Some(true) { "fits" } else { "does not fit" };
            format!(", {} are available: {fits}", units::bytes(available))
        });
        let draft = match &self.draft {
            Draft::Here(name) => format!("{name}, which is on this machine"),
            Draft::Known(draft) => format!(
                "none here; --draft {} fetches one of {}, licence {}{}",
                draft.name,
                units::bytes(draft.size),
                draft.licence,
                if draft.is_certain() { "" } else { ", if its vocabulary is the same" }
            ),
            Draft::None => "none known; look-up of earlier text needs none".to_owned(),
        };
        format!(
            "memory needed           {} of weights, {} for {} tokens{there}\n\
             plain decoding          about {:.1} tokens per second, at {:.1} GB/s of memory\n\
             draft                   {draft}\n",
            units::bytes(self.weights),
            units::bytes(self.cache),
            self.context,
            self.tokens_per_second(),
            self.read_rate / 1e9,
        )
    }

    pub(super) fn as_json(&self) -> Json {
        let draft = match &self.draft {
            Draft::Here(name) => json!({ "name": name, "on_this_machine": true }),
            Draft::Known(draft) => json!({
                "name": draft.name,
                "on_this_machine": false,
                "size": draft.size,
                "licence": draft.licence,
                "vocabulary_compared": draft.is_certain(),
            }),
            Draft::None => Json::Null,
        };
        json!({
            "weight_bytes": self.weights,
            "cache_bytes": self.cache,
            "context": self.context,
            "available_bytes": self.available,
            "fits": self.fits(),
            "read_rate": self.read_rate,
            "tokens_per_second": self.tokens_per_second(),
            "draft": draft,
        })
    }
}

/// Bytes per second that this machine's memory gives to the threads that models use.
fn read_rate() -> Outcome<f64> {
    let no = |error: &dyn std::fmt::Display| {
        Failure::new(
            format!("cannot measure the memory: {error}"),
            "close other programs and try again",
        )
    };
    let pool = Pool::new(machine::threads()).map_err(|error| no(&error))?;
    let buffer = ReadBuffer::new(BUFFER).map_err(|error| no(&error))?;
    let memory = HostMemory { buffer, pool: Arc::new(pool) };
    let rates: Result<Vec<f64>, _> = (0..READS).map(|_| memory.rate()).collect();
    Ok(rates.map_err(|error| no(&error))?.into_iter().fold(0.0, f64::max))
}
