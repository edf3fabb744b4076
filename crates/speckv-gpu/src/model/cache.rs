//! Keys and values of one sequence on the device.

use std::sync::Arc;

use speckv::model::{Cache, LastFeed, ModelError};
use speckv_formats::config::Config;

use super::{Shared, failed, rare::RarePositions};
use crate::{
    cache_type::CacheType,
    device::{Bindings, Buffer},
    error::GpuError,
    format::GROUP,
};

/// Positions that a cache has room for at first.
const FIRST_SLOTS: usize = 512;

/// Most positions that one call moves on the device.
const MOVES: usize = 256;

/// Bytes of keys and values per position of a sequence.
#[must_use]
pub fn position_bytes(config: &Config, cache_type: CacheType) -> usize {
    config.layers * 2 * slot_bytes(config, cache_type) as usize
}

/// Bytes of the keys, or values, of one position in one layer.
fn slot_bytes(config: &Config, cache_type: CacheType) -> u64 {
    (config.kv_heads * cache_type.words(config.head_dim) * 4) as u64
}

/// One layer's keys and values, bound to the kernels that write and read them.
#[derive(Debug)]
pub(super) struct LayerCache {
    keys: Buffer,
    values: Buffer,
    pub rotate: Bindings,
    pub attend: Bindings,
}

/// Keys and values of one sequence. Memory is taken as positions fill up.
///
/// A position lies at the slot of its number. Branches of the last feed lie in the slots after its
/// trunk; [`keep`](Cache::keep) moves those that stay.
pub struct KvCache {
    pub(super) shared: Arc<Shared>,
    layers: Vec<LayerCache>,
    len: usize,
    slots: usize,
    last: LastFeed,
    rare: RarePositions,
}

impl std::fmt::Debug for KvCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvCache")
            .field("len", &self.len)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

impl KvCache {
    /// An empty cache with room for a few positions.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, ModelError> {
        let (last, rare) = (LastFeed::default(), RarePositions::default());
        let mut cache = KvCache { shared, layers: Vec::new(), len: 0, slots: 0, last, rare };
        cache.reserve(1)?;
        Ok(cache)
    }

    /// Keys and values of every layer.
    pub(super) fn layers(&self) -> &[LayerCache] {
        &self.layers
    }

    /// Makes room for so many slots, and keeps what is held.
    pub(super) fn reserve(&mut self, slots: usize) -> Result<(), ModelError> {
        if slots <= self.slots {
            return Ok(());
        }
        let most = self.shared.context.next_multiple_of(GROUP);
        let slots = slots.max(2 * self.slots).max(FIRST_SLOTS).next_multiple_of(GROUP).min(most);
        let bytes =
            slots as u64 * position_bytes(&self.shared.config, self.shared.cache_type()) as u64;
        self.grow(slots).map_err(|error| match error {
            GpuError::OutOfMemory { .. } => ModelError::OutOfMemory { bytes },
            other => failed(other),
        })
    }

    fn grow(&mut self, slots: usize) -> Result<(), GpuError> {
        let shared = Arc::clone(&self.shared);
        let (device, config) = (&*shared.device, &shared.config);
        let bytes = slots as u64 * slot_bytes(config, shared.cache_type());
        if bytes > device.binding_limit() {
            return Err(GpuError::OutOfMemory { what: "keys of a layer".into(), bytes });
        }
        let mut layers = Vec::with_capacity(shared.layers.len());
        for layer in &shared.layers {
            let keys = device.buffer("keys", bytes)?;
            let values = device.buffer("values", bytes)?;
            layers.push(bind(&shared, layer, keys, values)?);
        }
        if self.len > 0 {
            let held =
                self.len.next_multiple_of(GROUP) as u64 * slot_bytes(config, shared.cache_type());
            let mut recorder = device.recorder();
            for (from, to) in self.layers.iter().zip(&layers) {
                recorder.copy(&from.keys, 0, &to.keys, 0, held);
                recorder.copy(&from.values, 0, &to.values, 0, held);
            }
            device.run(recorder)?;
        }
        self.layers = layers;
        self.slots = slots;
        Ok(())
    }

    /// The last position of a token that the output head omits elsewhere.
    pub(super) fn last_rare(&self) -> Option<usize> {
        self.rare.last()
    }

    /// Notes a feed that a pass has appended: `trunk` positions stay. `rare` are the tokens that
    /// the output head omits elsewhere, by index.
    pub(super) fn note(&mut self, tokens: usize, trunk: usize, parents: &[usize], rare: &[usize]) {
        self.last.note(self.len, tokens, parents);
        self.rare.note(self.len, trunk, !parents.is_empty(), rare);
        self.len += trunk;
    }

    /// Notes `count` more positions that the device has appended to the last feed.
    pub(super) fn extend(&mut self, count: usize) {
        self.last.forget();
        self.len += count;
    }

    /// Moves keys and values of slots, `(from, to)` in ascending order, `to` not after `from`.
    fn move_slots(&self, moves: &[(usize, usize)]) -> Result<(), GpuError> {
        let shared = &self.shared;
        let (device, kernel) = (&*shared.device, &shared.kernels.keep);
        for moves in moves.chunks(MOVES) {
            let words: Vec<u32> =
                moves.iter().flat_map(|&(from, to)| [from as u32, to as u32]).collect();
            let list = device.filled("moves", &words)?;
            let kv_heads = shared.config.kv_heads;
            let shape = device.uniform("shape", &[kv_heads as u32, moves.len() as u32])?;
            let mut recorder = device.recorder();
            for layer in &self.layers {
                let buffers = [&shape, &list, &layer.keys, &layer.values];
                let bindings = kernel.bind_whole(device, &buffers)?;
                let words = kv_heads * shared.cache_type().words(shared.config.head_dim);
                recorder.dispatch(kernel, &bindings, 0, [words.div_ceil(64), 1, 1]);
            }
            device.run(recorder)?;
        }
        Ok(())
    }
}

/// Binds a layer's keys and values.
fn bind(
    shared: &Shared,
    layer: &super::layer::LayerPass,
    keys: Buffer,
    values: Buffer,
) -> Result<LayerCache, GpuError> {
    let (device, buffers, kernels) = (&*shared.device, &shared.buffers, &shared.kernels);
    let kind = usize::from(layer.slides);
    let shape = if layer.turns { &kernels.rotate_shapes[kind] } else { &kernels.still_shape };
    let mut rotated =
        vec![&buffers.entries, shape, &buffers.qkv, &buffers.rows, &buffers.angles[kind]];
    rotated.extend(&layer.qkv_bias);
    rotated.extend(&layer.head_norms);
    rotated.extend([&keys, &values]);
    let attended = [
        &buffers.entries,
        &kernels.attend_shapes[kind],
        &buffers.qkv,
        &buffers.rows,
        &buffers.paths,
        &keys,
        &values,
        &buffers.partial,
        &buffers.partial_sums,
    ];
    Ok(LayerCache {
        rotate: layer.rotate.bind_whole(device, &rotated)?,
        attend: kernels.attend.bind_whole(device, &attended)?,
        keys,
        values,
    })
}

impl Cache for KvCache {
    fn len(&self) -> usize {
        self.len
    }

    fn truncate(&mut self, len: usize) {
        self.last.forget();
        self.len = self.len.min(len);
        self.rare.cut(self.len);
    }

    fn keep(&mut self, path: &[usize]) -> Result<(), ModelError> {
        self.last.check(path)?;
        let start = self.last.start();
        let moves: Vec<(usize, usize)> = path
            .iter()
            .enumerate()
            .filter(|&(i, &token)| i != token)
            .map(|(i, &token)| (start + token, start + i))
            .collect();
        if !moves.is_empty() {
            self.move_slots(&moves).map_err(failed)?;
        }
        self.rare.keep(start, self.len - start, path);
        self.last.forget();
        self.len = start + path.len();
        Ok(())
    }

    fn copy_from(&mut self, other: &Self, len: usize) -> bool {
        let same = Arc::ptr_eq(&self.shared, &other.shared);
        if len > other.len || !same {
            return false;
        }
        let held = std::mem::take(&mut self.len); // what is held need not be copied when it grows
        if self.reserve(len).is_err() {
            self.len = held;
            return false;
        }
        let bytes = len.next_multiple_of(GROUP) as u64
            * slot_bytes(&self.shared.config, self.shared.cache_type());
        let mut recorder = self.shared.device.recorder();
        if bytes > 0 {
            for (from, to) in other.layers.iter().zip(&self.layers) {
                recorder.copy(&from.keys, 0, &to.keys, 0, bytes);
                recorder.copy(&from.values, 0, &to.values, 0, bytes);
            }
        }
        self.last.forget();
        // A device that fails here fails in every later pass too, and says so there.
        let copied = self.shared.device.run(recorder).is_ok();
        self.len = if copied { len } else { 0 };
        self.rare.copy_from(&other.rare, self.len);
        copied
    }

    fn pretend(&mut self, len: usize) -> bool {
        if len > self.shared.context || self.reserve(len).is_err() {
            return false;
        }
        self.last.forget();
        self.len = self.len.max(len);
        true
    }
}
