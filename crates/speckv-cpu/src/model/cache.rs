//! Keys and values of one sequence.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use half::slice::HalfFloatSliceExt;
use speckv::model::{Cache, LastFeed, ModelError};
use speckv_formats::config::Config;

use crate::{
    disjoint::DisjointMut,
    kernels::{CacheType, attention::SCALE_LEN, simd::GROUP},
    memory::Memory,
};

/// Most values per head that the kernels take.
pub(super) const MAX_HEAD_DIM: usize = 1024;

/// What a cache is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheShape {
    pub layers: usize,
    pub kv_heads: usize,
    /// Values per head, a multiple of 16.
    pub head_dim: usize,
    /// Positions, a multiple of 16.
    pub capacity: usize,
    pub cache_type: CacheType,
}

impl CacheShape {
    /// The shape for `context` positions of a model.
    pub(super) fn new(config: &Config, cache_type: CacheType, context: usize) -> Self {
        CacheShape {
            layers: config.layers,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            capacity: context.next_multiple_of(GROUP),
            cache_type,
        }
    }

    /// Bytes of the keys, or values, of one head.
    pub(super) fn part(&self) -> usize {
        self.cache_type.bytes(self.capacity, self.head_dim)
    }

    /// Bytes of all keys and values, if they can be counted.
    fn bytes(&self) -> Option<usize> {
        (2 * self.layers).checked_mul(self.kv_heads)?.checked_mul(self.part())
    }
}

impl std::fmt::Display for CacheShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CacheShape { layers, kv_heads, head_dim, capacity, cache_type } = self;
        write!(
            f,
            "{layers} layers of {kv_heads} heads of {head_dim} values, \
             {capacity} positions in {cache_type}"
        )
    }
}

/// Identifies the model that made a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModelId(u64);

impl ModelId {
    /// One that no other model of this process has.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        ModelId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Keys and values of one sequence. Memory is taken as positions fill up, not at the start.
///
/// Per layer and key-value head: keys, 16 positions interleaved so that scores are products of 16
/// rows, then values; see [`CacheFormat`](crate::kernels::attention::CacheFormat). To forget
/// positions is to forget the length: what lies beyond is written again before it is read.
#[derive(Debug)]
pub struct KvCache {
    memory: Memory,
    len: usize,
    model: ModelId,
    shape: CacheShape,
    /// Positions, ascending, of tokens that the model's output head leaves out elsewhere.
    rare: Vec<usize>,
    last: LastFeed,
    /// Tokens of the last feed that are rare, by index, if it had branches.
    rare_fed: Vec<usize>,
}

impl KvCache {
    /// An empty cache of this shape for a model.
    pub(super) fn new(model: ModelId, shape: CacheShape) -> Result<Self, ModelError> {
        let bytes = shape.bytes().ok_or(ModelError::OutOfMemory { bytes: u64::MAX })?;
        let memory =
            Memory::zeroed(bytes).map_err(|_| ModelError::OutOfMemory { bytes: bytes as u64 })?;
        let (rare, rare_fed, last) = (Vec::new(), Vec::new(), LastFeed::default());
        Ok(KvCache { memory, len: 0, model, shape, rare, last, rare_fed })
    }

    /// Refuses a cache that another model made.
    pub(super) fn check(&self, model: ModelId, shape: &CacheShape) -> Result<(), ModelError> {
        if self.model == model && self.shape == *shape {
            return Ok(());
        }
        Err(ModelError::ForeignCache { expected: shape.to_string(), got: self.shape.to_string() })
    }

    /// How keys and values are stored.
    #[must_use]
    pub fn cache_type(&self) -> CacheType {
        self.shape.cache_type
    }

    /// Forgets positions from `len` on.
    fn cut(&mut self, len: usize) {
        self.len = self.len.min(len);
        while self.rare.pop_if(|position| *position >= len).is_some() {}
    }

    /// Takes in a feed that has been stored: its trunk becomes part of the text. `rare` are the
    /// indices of its tokens that the model's output head leaves out elsewhere.
    pub(super) fn grow(
        &mut self,
        tokens: usize,
        trunk: usize,
        parents: &[usize],
        rare: impl Iterator<Item = usize>,
    ) {
        let start = self.len;
        self.last.note(start, tokens, parents);
        self.rare_fed.clear();
        for index in rare {
            if index < trunk {
                self.rare.push(start + index);
            }
            if !parents.is_empty() {
                self.rare_fed.push(index);
            }
        }
        self.len += trunk;
        debug_assert!(start + tokens <= self.shape.capacity);
    }

    /// The last position of a token that the output head leaves out elsewhere.
    pub(super) fn last_rare(&self) -> Option<usize> {
        self.rare.last().copied()
    }

    /// A layer's heads.
    ///
    /// # Panics
    /// If there is no such layer.
    pub(super) fn heads(&mut self, layer: usize) -> Heads<'_> {
        let bytes = 2 * self.shape.part() * self.shape.kv_heads;
        let layer = &mut self.memory.bytes_mut()[layer * bytes..(layer + 1) * bytes];
        Heads { bytes: DisjointMut::new(layer), shape: self.shape }
    }
}

impl Cache for KvCache {
    fn len(&self) -> usize {
        self.len
    }

    fn truncate(&mut self, len: usize) {
        self.last.forget();
        self.cut(len);
    }

    fn keep(&mut self, path: &[usize]) -> Result<(), ModelError> {
        self.last.check(path)?;
        let start = self.last.start();
        // Where the path is that of the trunk, all is in place. No move overwrites what a later
        // one reads: places only ascend, and none is before its position.
        let trunk = path.iter().enumerate().take_while(|&(i, &token)| i == token).count();
        let kept = trunk.min(self.len - start);
        self.cut(start + kept);
        for (position, &token) in (start + kept..).zip(&path[kept..]) {
            self.shape.copy_position(self.memory.bytes_mut(), start + token, position);
            if self.rare_fed.contains(&token) {
                self.rare.push(position);
            }
        }
        self.len = start + path.len();
        self.last.forget();
        Ok(())
    }

    fn copy_from(&mut self, other: &Self, len: usize) -> bool {
        if len > other.len || self.check(other.model, &other.shape).is_err() {
            return false;
        }
        let CacheShape { capacity, head_dim, cache_type, .. } = self.shape;
        let part = self.shape.part(); // keys or values of one head
        let blocks = head_dim / SCALE_LEN;
        let grouped = len.next_multiple_of(GROUP);
        let filled = grouped * head_dim;
        let parts = self
            .memory
            .bytes_mut()
            .chunks_exact_mut(part)
            .zip(other.memory.bytes().chunks_exact(part));
        for (index, (to, from)) in parts.enumerate() {
            let mut copy = |start: usize, bytes: usize| {
                to[start..start + bytes].copy_from_slice(&from[start..start + bytes]);
            };
            match cache_type {
                CacheType::F16 => copy(0, 2 * filled),
                CacheType::Q8_0 => {
                    copy(0, filled);
                    let scales = capacity * head_dim;
                    if index.is_multiple_of(2) {
                        copy(scales, 2 * grouped * blocks); // of keys: by groups of positions
                    } else {
                        // of values: by blocks
                        (0..blocks).for_each(|block| copy(scales + 2 * block * capacity, 2 * len));
                    }
                }
            }
        }
        self.last.forget();
        self.len = len;
        self.rare.clear();
        self.rare.extend(other.rare.iter().take_while(|&&position| position < len));
        true
    }

    fn pretend(&mut self, len: usize) -> bool {
        let CacheShape { capacity, head_dim, cache_type, .. } = self.shape;
        if len > capacity {
            return false;
        }
        // Memory must really be there: untouched pages all are the same page of zeros, and a pass
        // would read it from the cache. The byte makes halves of about 0.065, and with such a scale
        // values of about 3.
        let part = self.shape.part(); // keys or values of one head
        let filled = len.next_multiple_of(GROUP) * head_dim;
        let (filled, scales) = match cache_type {
            CacheType::F16 => (2 * filled, part),
            CacheType::Q8_0 => (filled, capacity * head_dim),
        };
        for part in self.memory.bytes_mut().chunks_exact_mut(part) {
            part[..filled].fill(0x2c);
            part[scales..].fill(0x2c);
        }
        self.last.forget();
        self.len = self.len.max(len);
        true
    }
}

/// One layer's keys and values, for tasks that write different positions or read different heads at
/// the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads<'a> {
    bytes: DisjointMut<'a, u8>,
    pub shape: CacheShape,
}

impl<'a> Heads<'a> {
    /// Bytes of the layer, for writing.
    ///
    /// # Panics
    /// If `range` is not inside the layer.
    ///
    /// # Safety
    /// No task uses the cache while the result is alive.
    pub(super) unsafe fn bytes(&self, range: Range<usize>) -> &'a mut [u8] {
        // SAFETY: the caller excludes other uses.
        unsafe { self.bytes.get_mut(range) }
    }

    /// Keys of a head, valid for as many bytes as a head's keys take.
    ///
    /// # Panics
    /// If there is no such head.
    pub(super) fn keys(&self, head: usize) -> *mut u8 {
        let part = self.shape.part();
        self.bytes.pointer(2 * head * part..(2 * head + 1) * part)
    }

    /// Values of a head, valid for as many bytes as a head's values take.
    ///
    /// # Panics
    /// If there is no such head.
    pub(super) fn values(&self, head: usize) -> *mut u8 {
        let part = self.shape.part();
        self.bytes.pointer((2 * head + 1) * part..2 * (head + 1) * part)
    }

    /// Stores a key and a value, `[head_dim]` each, at `position`.
    ///
    /// # Panics
    /// If there is no such head or position, or a length is another.
    ///
    /// # Safety
    /// No other task uses that position of the head while this runs.
    pub(super) unsafe fn store(&self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        let CacheShape { capacity, head_dim, cache_type, .. } = self.shape;
        assert!(position < capacity, "position {position} of {capacity}");
        assert!(key.len() == head_dim && value.len() == head_dim, "a head has {head_dim} values");
        // SAFETY: lengths and position are checked; no other task uses the position.
        unsafe {
            match cache_type {
                CacheType::F16 => self.store_halves(head, position, key, value),
                CacheType::Q8_0 => self.store_bytes(head, position, key, value),
            }
        }
    }

    /// See [`store`](Self::store), which has checked everything but the head.
    unsafe fn store_halves(&self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        let head_dim = self.shape.head_dim;
        let mut halves = [half::f16::ZERO; MAX_HEAD_DIM];
        let halves = &mut halves[..head_dim];
        let (keys, values) = (self.keys(head).cast::<u16>(), self.values(head).cast::<u16>());
        // SAFETY: both pointers are valid for `capacity * head_dim` halves, of which these are the
        // ones at `position`.
        unsafe {
            halves.convert_from_f32_slice(key);
            let keys = keys.add(position / GROUP * GROUP * head_dim + position % GROUP);
            for (i, x) in halves.iter().enumerate() {
                keys.add(i * GROUP).write(x.to_bits());
            }
            halves.convert_from_f32_slice(value);
            let values = values.add(position * head_dim);
            std::ptr::copy_nonoverlapping(halves.as_ptr().cast(), values, head_dim);
        }
    }

    /// See [`store`](Self::store), which has checked everything but the head.
    unsafe fn store_bytes(&self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        let CacheShape { head_dim, capacity, .. } = self.shape;
        let blocks = head_dim / SCALE_LEN;
        let (group, lane) = (position / GROUP, position % GROUP);
        let (keys, values) = (self.keys(head), self.values(head));
        // SAFETY: both pointers are valid for `capacity * head_dim` bytes and as many scales as
        // blocks of them, of which these are the ones at `position`.
        unsafe {
            let key_scales =
                keys.add(capacity * head_dim).cast::<u16>().add(group * GROUP * blocks + lane);
            let value_scales = values.add(capacity * head_dim).cast::<u16>().add(position);
            let keys = keys.cast::<i8>().add(group * GROUP * head_dim + lane);
            let values = values.cast::<i8>().add(position * head_dim);
            for (block, (key, value)) in
                key.as_chunks().0.iter().zip(value.as_chunks().0).enumerate()
            {
                let (scale, bytes) = quantized(key);
                key_scales.add(block * GROUP).write(scale);
                for (i, &byte) in bytes.iter().enumerate() {
                    keys.add((block * SCALE_LEN + i) * GROUP).write(byte);
                }
                let (scale, bytes) = quantized(value);
                value_scales.add(block * capacity).write(scale);
                std::ptr::copy_nonoverlapping(
                    bytes.as_ptr(),
                    values.add(block * SCALE_LEN),
                    SCALE_LEN,
                );
            }
        }
    }
}

/// The scale, in half precision, and the bytes nearest to `x / scale`; the largest magnitude is
/// at 127. A value that is not finite, or beyond half precision, makes the scale not finite.
fn quantized(x: &[f32; SCALE_LEN]) -> (u16, [i8; SCALE_LEN]) {
    let peak = x.iter().fold(0f32, |peak, x| peak.max(x.abs()));
    // NaN if one value is not finite, else 0.
    let not_finite = x.iter().fold(0f32, |sum, x| sum + x * 0.0);
    let scale = half::f16::from_f32(peak / 127.0 + not_finite);
    let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    (scale.to_bits(), x.map(|x| (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_bytes_is_within_half_a_step_and_values_that_are_not_finite_stay_so() {
        let x: [f32; SCALE_LEN] = std::array::from_fn(|i| (i as f32 * 0.83).sin() * 7.0);
        let (scale, bytes) = quantized(&x);
        let scale = half::f16::from_bits(scale).to_f32();
        for (x, byte) in x.iter().zip(bytes) {
            // At the peak, the scale's own rounding (2^-11 of 127 steps) may add to it.
            assert!((x - scale * f32::from(byte)).abs() <= scale * 0.57, "{x}");
        }
        assert_eq!(quantized(&[0.0; SCALE_LEN]), (0, [0; SCALE_LEN]));
        let mut poisoned = x;
        poisoned[5] = f32::NAN;
        assert!(half::f16::from_bits(quantized(&poisoned).0).is_nan());
        poisoned[5] = f32::INFINITY;
        assert!(!half::f16::from_bits(quantized(&poisoned).0).is_finite());
    }
}
