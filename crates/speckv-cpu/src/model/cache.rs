//! Keys and values of one sequence.

use half::slice::HalfFloatSliceExt;
use speckv::model::{Cache, ModelError};

use super::config::{Config, MAX_HEAD_DIM};
use crate::{kernels::simd::GROUP, memory::Memory};

/// Keys and values of one sequence in half precision. Memory is taken as positions fill up, not at the start.
///
/// Per layer and key-value head: keys [capacity / 16, head_dim, 16], so that scores are products of 16 interleaved rows, then values
/// [capacity, head_dim]. To forget positions is to forget the length: what lies beyond is written again before it is read.
#[derive(Debug)]
pub struct KvCache {
    memory: Memory,
    len: usize,
    capacity: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Positions, ascending, of tokens that the model's output head leaves out elsewhere.
    rare: Vec<usize>,
}

impl KvCache {
    /// An empty cache for `context` positions.
    pub(super) fn new(config: &Config, context: usize) -> Result<Self, ModelError> {
        let capacity = context.next_multiple_of(GROUP);
        let values = config.layers as u64 * config.kv_heads as u64 * 2 * capacity as u64 * config.head_dim as u64;
        let bytes = values * 2;
        let too_much = |_| ModelError::OutOfMemory { bytes };
        let memory = Memory::zeroed(usize::try_from(bytes).map_err(|_| ModelError::OutOfMemory { bytes })?);
        Ok(KvCache {
            memory: memory.map_err(too_much)?,
            len: 0,
            capacity,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            rare: Vec::new(),
        })
    }

    /// Bytes per position.
    pub(super) fn position_bytes(config: &Config) -> usize {
        config.layers * config.kv_heads * 2 * config.head_dim * 2
    }

    pub(super) fn grow(&mut self, tokens: usize) {
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
        let head = 2 * self.capacity * self.head_dim;
        let start = layer * self.kv_heads * head;
        let memory = self.memory.bytes_mut()[2 * start..2 * (start + self.kv_heads * head)].as_mut_ptr();
        Heads { start: memory.cast(), capacity: self.capacity, head_dim: self.head_dim }
    }
}

impl Cache for KvCache {
    fn len(&self) -> usize {
        self.len
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        while self.rare.pop_if(|position| *position >= len).is_some() {}
    }

    fn pretend(&mut self, len: usize) -> bool {
        if len > self.capacity {
            return false;
        }
        // Memory must really be there: untouched pages all are the same page of zeros, and a pass would read it from the cache.
        let part = 2 * self.capacity * self.head_dim; // keys or values of one head
        let filled = 2 * len.next_multiple_of(GROUP) * self.head_dim;
        for part in self.memory.bytes_mut().chunks_exact_mut(part) {
            part[..filled].fill(0x2c); // 0x2c2c is about 0.065
        }
        self.len = self.len.max(len);
        true
    }
}

/// One layer's keys and values, for tasks that write different positions or read different heads at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    start: *mut u16,
    capacity: usize,
    head_dim: usize,
}

// SAFETY: tasks write disjoint positions, and read only after a section of writes has ended.
unsafe impl Send for Heads {}
// SAFETY: as above.
unsafe impl Sync for Heads {}

impl Heads {
    /// Keys of a head, [capacity / 16, head_dim, 16].
    ///
    /// # Safety
    /// `head` is one of the model's, and the cache is alive.
    pub(super) unsafe fn keys(&self, head: usize) -> *mut u16 {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(head * 2 * self.capacity * self.head_dim) }
    }

    /// Values of a head, [capacity, head_dim].
    ///
    /// # Safety
    /// As [`keys`](Self::keys).
    pub(super) unsafe fn values(&self, head: usize) -> *mut u16 {
        // SAFETY: the caller's promise.
        unsafe { self.start.add((head * 2 + 1) * self.capacity * self.head_dim) }
    }

    /// Stores a key and a value, `[head_dim]` each, at `position`.
    ///
    /// # Safety
    /// As [`keys`](Self::keys); `position` is below the capacity and nobody else touches it.
    pub(super) unsafe fn store(&self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        let mut halves = [half::f16::ZERO; MAX_HEAD_DIM];
        let halves = &mut halves[..self.head_dim];
        // SAFETY: the caller's promise.
        unsafe {
            halves.convert_from_f32_slice(key);
            let keys = self.keys(head).add(position / GROUP * GROUP * self.head_dim + position % GROUP);
            for (i, x) in halves.iter().enumerate() {
                keys.add(i * GROUP).write(x.to_bits());
            }
            halves.convert_from_f32_slice(value);
            let values = self.values(head).add(position * self.head_dim);
            std::ptr::copy_nonoverlapping(halves.as_ptr().cast(), values, self.head_dim);
        }
    }
}
