//! Keys and values of one sequence.

use half::slice::HalfFloatSliceExt;
use speckv::model::{Cache, LastFeed, ModelError};
use speckv_formats::config::Config;

use crate::{
    kernels::{attention::SCALE_LEN, simd::GROUP},
    memory::Memory,
};

/// Most values per head that the kernels take.
pub(super) const MAX_HEAD_DIM: usize = 1024;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum CacheType {
    /// Half precision.
    #[default]
    F16,
    /// Signed bytes with a half-precision scale per 32 values of a head: 17/32 of the memory.
    Q8_0,
}

impl CacheType {
    /// Name as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CacheType::F16 => "f16",
            CacheType::Q8_0 => "q8_0",
        }
    }

    /// Whether heads of so many values can be stored so.
    #[must_use]
    pub fn takes(self, head_dim: usize) -> bool {
        self == CacheType::F16 || head_dim.is_multiple_of(SCALE_LEN)
    }

    /// Bytes of the keys, or values, of `positions` positions of one head.
    fn bytes(self, positions: usize, head_dim: usize) -> usize {
        match self {
            CacheType::F16 => positions * head_dim * 2,
            CacheType::Q8_0 => positions * (head_dim + head_dim / SCALE_LEN * 2),
        }
    }

    /// Bytes of keys and values per position of a sequence.
    #[must_use]
    pub fn position_bytes(self, config: &Config) -> usize {
        config.layers * config.kv_heads * 2 * self.bytes(1, config.head_dim)
    }
}

impl std::fmt::Display for CacheType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
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
    capacity: usize,
    kv_heads: usize,
    head_dim: usize,
    cache_type: CacheType,
    /// Positions, ascending, of tokens that the model's output head leaves out elsewhere.
    rare: Vec<usize>,
    last: LastFeed,
}

impl KvCache {
    /// An empty cache for `context` positions.
    pub(super) fn new(
        config: &Config,
        cache_type: CacheType,
        context: usize,
    ) -> Result<Self, ModelError> {
        let capacity = context.next_multiple_of(GROUP);
        let bytes = capacity as u64 * cache_type.position_bytes(config) as u64;
        let too_much = |_| ModelError::OutOfMemory { bytes };
        let memory =
            Memory::zeroed(usize::try_from(bytes).map_err(|_| ModelError::OutOfMemory { bytes })?);
        Ok(KvCache {
            memory: memory.map_err(too_much)?,
            len: 0,
            capacity,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            cache_type,
            rare: Vec::new(),
            last: LastFeed::default(),
        })
    }

    /// How keys and values are stored.
    #[must_use]
    pub fn cache_type(&self) -> CacheType {
        self.cache_type
    }

    /// Forgets positions from `len` on.
    fn cut(&mut self, len: usize) {
        self.len = self.len.min(len);
        while self.rare.pop_if(|position| *position >= len).is_some() {}
    }

    pub(super) fn grow(&mut self, tokens: usize) {
        self.last.note(self.len, tokens, &[]);
        self.len += tokens;
        debug_assert!(self.len <= self.capacity);
    }

    /// The last position of a token that the output head leaves out elsewhere.
    pub(super) fn last_rare(&self) -> Option<usize> {
        self.rare.last().copied()
    }

    pub(super) fn note_rare(&mut self, position: usize) {
        self.rare.push(position);
    }

    /// Where a layer's heads lie.
    pub(super) fn heads(&mut self, layer: usize) -> Heads {
        let part = self.cache_type.bytes(self.capacity, self.head_dim);
        let bytes = 2 * part * self.kv_heads;
        let start = self.memory.bytes_mut()[layer * bytes..(layer + 1) * bytes].as_mut_ptr();
        Heads {
            start,
            part,
            capacity: self.capacity,
            head_dim: self.head_dim,
            cache_type: self.cache_type,
        }
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
        self.cut(self.last.start() + path.len());
        self.last.forget();
        Ok(())
    }

    fn copy_from(&mut self, other: &Self, len: usize) -> bool {
        let shape =
            |cache: &KvCache| (cache.capacity, cache.kv_heads, cache.head_dim, cache.cache_type);
        if len > other.len || shape(self) != shape(other) || self.memory.len() != other.memory.len()
        {
            return false;
        }
        let part = self.cache_type.bytes(self.capacity, self.head_dim); // keys or values of one head
        let (capacity, blocks) = (self.capacity, self.head_dim / SCALE_LEN);
        let grouped = len.next_multiple_of(GROUP);
        let filled = grouped * self.head_dim;
        let parts = self
            .memory
            .bytes_mut()
            .chunks_exact_mut(part)
            .zip(other.memory.bytes().chunks_exact(part));
        for (index, (to, from)) in parts.enumerate() {
            let mut copy = |start: usize, bytes: usize| {
                to[start..start + bytes].copy_from_slice(&from[start..start + bytes]);
            };
            match self.cache_type {
                CacheType::F16 => copy(0, 2 * filled),
                CacheType::Q8_0 => {
                    copy(0, filled);
                    let scales = capacity * self.head_dim;
                    if index.is_multiple_of(2) {
                        copy(scales, 2 * grouped * blocks); // of keys: by groups of positions
                    } else {
                        (0..blocks).for_each(|block| copy(scales + 2 * block * capacity, 2 * len)); // of values: by blocks
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
        if len > self.capacity {
            return false;
        }
        // Memory must really be there: untouched pages all are the same page of zeros, and a pass
        // would read it from the cache. The byte makes halves of about 0.065, and with such a scale
        // values of about 3.
        let part = self.cache_type.bytes(self.capacity, self.head_dim); // keys or values of one head
        let filled = len.next_multiple_of(GROUP) * self.head_dim;
        let (filled, scales) = match self.cache_type {
            CacheType::F16 => (2 * filled, part),
            CacheType::Q8_0 => (filled, self.capacity * self.head_dim),
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
pub(super) struct Heads {
    start: *mut u8,
    /// Bytes of the keys, or values, of one head.
    part: usize,
    pub capacity: usize,
    head_dim: usize,
    pub cache_type: CacheType,
}

// SAFETY: tasks write disjoint positions, and read only after a section of writes has ended.
unsafe impl Send for Heads {}
// SAFETY: as above.
unsafe impl Sync for Heads {}

impl Heads {
    /// Keys of a head.
    ///
    /// # Safety
    /// `head` is one of the model's, and the cache is alive.
    pub(super) unsafe fn keys(&self, head: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(2 * head * self.part) }
    }

    /// Values of a head.
    ///
    /// # Safety
    /// As [`keys`](Self::keys).
    pub(super) unsafe fn values(&self, head: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.start.add((2 * head + 1) * self.part) }
    }

    /// Stores a key and a value, `[head_dim]` each, at `position`.
    ///
    /// # Safety
    /// As [`keys`](Self::keys); `position` is below the capacity and nobody else touches it.
    pub(super) unsafe fn store(&self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.cache_type {
                CacheType::F16 => self.store_halves(head, position, key, value),
                CacheType::Q8_0 => self.store_bytes(head, position, key, value),
            }
        }
    }

    unsafe fn store_halves(&self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        let mut halves = [half::f16::ZERO; MAX_HEAD_DIM];
        let halves = &mut halves[..self.head_dim];
        // SAFETY: the caller's promise.
        unsafe {
            halves.convert_from_f32_slice(key);
            let keys = self
                .keys(head)
                .cast::<u16>()
                .add(position / GROUP * GROUP * self.head_dim + position % GROUP);
            for (i, x) in halves.iter().enumerate() {
                keys.add(i * GROUP).write(x.to_bits());
            }
            halves.convert_from_f32_slice(value);
            let values = self.values(head).cast::<u16>().add(position * self.head_dim);
            std::ptr::copy_nonoverlapping(halves.as_ptr().cast(), values, self.head_dim);
        }
    }

    unsafe fn store_bytes(&self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        let (head_dim, capacity) = (self.head_dim, self.capacity);
        let blocks = head_dim / SCALE_LEN;
        let (group, lane) = (position / GROUP, position % GROUP);
        // SAFETY: the caller's promise.
        unsafe {
            let (keys, values) = (self.keys(head), self.values(head));
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
/// at 127. What is no number, or beyond half precision, comes back as such through the scale.
fn quantized(x: &[f32; SCALE_LEN]) -> (u16, [i8; SCALE_LEN]) {
    let peak = x.iter().fold(0f32, |peak, x| peak.max(x.abs()));
    let broken = x.iter().fold(0f32, |sum, x| sum + x * 0.0); // NaN if one is no finite number, else 0
    let scale = half::f16::from_f32(peak / 127.0 + broken);
    let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    (scale.to_bits(), x.map(|x| (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_bytes_is_within_half_a_step_and_broken_numbers_stay_broken() {
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
