//! TQ2_0: 256 values of -1, 0 and 1 in two bits each, and a scale.
//!
//! ```text
//! byte 0    64 bytes: q[128 n + 32 s + l] in bits 2 s and 2 s + 1 of byte 32 n + l   (n < 2, s < 4, l < 32)
//! byte 64   d, half float
//! value     d (q[i] - 1)
//! ```

use super::halves;

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 66;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale.
    pub d: f32,
    /// Integers before the offset of 1, 0 to 3.
    pub q: [u8; LEN],
}

impl Block {
    /// d (q\[i\] - 1).
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| self.d * (f32::from(q) - 1.0))
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block {
        d: halves::get(bytes, 64),
        q: std::array::from_fn(|i| bytes[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3),
    }
}
