//! How fast a device reads its memory: the processor on the same threads as the model.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use speckv::model::ModelError;
use speckv_cpu::{memory::Memory, pool::Pool};
use speckv_local::{
    backend::AnyBackend,
    failure::{Failure, Outcome},
};

use super::plan::Random;

/// Bytes that a thread takes at a time: a huge page.
const PIECE: usize = 2 << 20;

/// Words summed side by side: as many as fill eight registers of 16 bytes, so that the additions
/// never wait for each other.
const LANES: usize = 16;

/// Memory of a device that is read to see how fast that goes.
pub trait ReadMemory {
    /// Size in bytes.
    fn byte_len(&self) -> usize;

    /// Bytes read per second, of the whole buffer at least once.
    ///
    /// # Errors
    /// A device that fails.
    fn rate(&self) -> Result<f64, ModelError>;
}

/// Main memory, read by the threads of a pool.
pub struct HostMemory {
    /// What is read.
    pub buffer: ReadBuffer,
    /// What reads it.
    pub pool: Arc<Pool>,
}

impl ReadMemory for HostMemory {
    fn byte_len(&self) -> usize {
        self.buffer.byte_len()
    }

    fn rate(&self) -> Result<f64, ModelError> {
        let start = Instant::now();
        std::hint::black_box(self.buffer.read(&self.pool));
        Ok(self.byte_len() as f64 / start.elapsed().as_secs_f64())
    }
}

#[cfg(feature = "gpu")]
impl ReadMemory for speckv_gpu::read_rate::ReadBuffer {
    fn byte_len(&self) -> usize {
        speckv_gpu::read_rate::ReadBuffer::byte_len(self) as usize
    }

    fn rate(&self) -> Result<f64, ModelError> {
        let rate = speckv_gpu::read_rate::ReadBuffer::rate(self);
        rate.map_err(|error| ModelError::Backend(Box::new(error)))
    }
}

/// So many bytes of the memory of a device, or as many as it can read at once.
///
/// # Errors
/// If the device refuses the memory.
pub fn of_device(backend: &AnyBackend, bytes: usize) -> Outcome<Box<dyn ReadMemory>> {
    let refused = |error: &dyn std::fmt::Display| {
        Failure::new(
            format!("{bytes} bytes to measure the read rate on were refused: {error}"),
            "give a smaller --buffer, but one far larger than the caches",
        )
    };
    if let Some(pool) = backend.pool() {
        let buffer = ReadBuffer::new(bytes).map_err(|error| refused(&error))?;
        return Ok(Box::new(HostMemory { buffer, pool: Arc::clone(pool) }));
    }
    #[cfg(feature = "gpu")]
    if let Some(device) = backend.gpu() {
        let buffer = speckv_gpu::read_rate::ReadBuffer::new(device, bytes as u64);
        return Ok(Box::new(buffer.map_err(|error| refused(&error))?));
    }
    Err(Failure::bug("a device without memory"))
}

/// Memory full of numbers, of the kind that weights live in: page-aligned, in huge pages where the
/// system has them.
#[derive(Debug)]
pub struct ReadBuffer {
    memory: Memory,
}

impl ReadBuffer {
    /// A buffer of `bytes` bytes, every page written: an untouched page would be read from one
    /// shared page of zeros.
    ///
    /// # Errors
    /// The system's, if it refuses the memory.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let mut memory = Memory::zeroed(bytes)?;
        let mut random = Random(1);
        for word in memory.bytes_mut().chunks_mut(8) {
            word.copy_from_slice(&random.next().to_le_bytes()[..word.len()]);
        }
        Ok(ReadBuffer { memory })
    }

    /// Number of bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.memory.len()
    }

    /// Reads every byte once, on all threads: the sum of all words, modulo 2^64. A result that
    /// depends on every word is what keeps the compiler from leaving a read out.
    #[must_use]
    pub fn read(&self, pool: &Pool) -> u64 {
        let bytes = self.memory.bytes();
        let total = AtomicU64::new(0);
        pool.run(bytes.len().div_ceil(PIECE), &|piece, _| {
            let end = bytes.len().min((piece + 1) * PIECE);
            total.fetch_add(sum(&bytes[piece * PIECE..end]), Ordering::Relaxed);
        });
        total.into_inner()
    }
}

/// Sum of the words of `bytes`, modulo 2^64; a last part of a word is filled up with zeros.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let (blocks, few) = words.as_chunks::<LANES>();
    let mut lanes = [0u64; LANES];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block) {
            *lane = lane.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    let mut last = [0u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    let few = few.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    lanes.into_iter().chain(few).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn a_read_sums_every_word_on_any_number_of_threads() {
        // Pieces, a part of a piece, a part of a block and a part of a word.
        let buffer = ReadBuffer::new(2 * PIECE + 8 * LANES + 8 * 3 + 5).unwrap();
        let mut expected = 0u64;
        for word in buffer.memory.bytes().chunks(8) {
            let mut whole = [0; 8];
            whole[..word.len()].copy_from_slice(word);
            expected = expected.wrapping_add(u64::from_le_bytes(whole));
        }
        for threads in [1, 2, 5] {
            let pool = Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap();
            assert_eq!(buffer.read(&pool), expected, "{threads} threads");
        }
    }

    #[test]
    fn no_page_is_left_at_zero() {
        let buffer = ReadBuffer::new(1 << 20).unwrap();
        assert!(buffer.memory.bytes().chunks(4096).all(|page| page.iter().any(|&byte| byte != 0)));
    }
}
