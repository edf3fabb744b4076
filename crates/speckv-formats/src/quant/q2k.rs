//! Q2_K: 256 integers of 2 bits in 16 groups of 16, each group with a scale and a minimum of 4
//! bits.
//!
//! ```text
//! byte 0    byte g: scale[g] in the low half, min[g] in the high half
//! byte 16   64 bytes: q[128 n + 32 s + l] in bits 2 s and 2 s + 1 of byte 32 n + l   (n < 2, s < 4, l < 32)
//! byte 80   d, half float
//! byte 82   dmin, half float
//! value    d scale[i / 16] q[i] - dmin min[i / 16]
//! ```

use super::{halves, search};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 84;
/// Elements per group.
pub const GROUP: usize = 16;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale of the scales.
    pub d: f32,
    /// Scale of the minima.
    pub dmin: f32,
    /// A scale per group, 0 to 15.
    pub scales: [u8; 16],
    /// A minimum per group, 0 to 15.
    pub mins: [u8; 16],
    /// Integers, 0 to 3.
    pub q: [u8; LEN],
}

impl Block {
    /// d scale q\[i\] - dmin min.
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        std::array::from_fn(|i| {
            let (scale, min) = (f32::from(self.scales[i / GROUP]), f32::from(self.mins[i / GROUP]));
            self.d * scale * f32::from(self.q[i]) - self.dmin * min
        })
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block {
        d: halves::get(bytes, 80),
        dmin: halves::get(bytes, 82),
        scales: std::array::from_fn(|g| bytes[g] & 15),
        mins: std::array::from_fn(|g| bytes[g] >> 4),
        q: std::array::from_fn(|i| {
            let (n, s, l) = (i / 128, i / 32 % 4, i % 32);
            bytes[16 + 32 * n + l] >> (2 * s) & 3
        }),
    }
}

/// The bytes of a block; `d` and `dmin` are rounded to half floats.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 80, block.d);
    halves::put(&mut bytes, 82, block.dmin);
    for (byte, (scale, min)) in bytes.iter_mut().zip(block.scales.iter().zip(&block.mins)) {
        *byte = (scale & 15) | (min << 4);
    }
    for (i, &q) in block.q.iter().enumerate() {
        let (n, s, l) = (i / 128, i / 32 % 4, i % 32);
        bytes[16 + 32 * n + l] |= (q & 3) << (2 * s);
    }
    bytes
}

/// A block near `values` in the sense of squares.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let search::AffineGroups { d, dmin, scales, mins, q } =
        search::affine_groups(values, 3.0, 15.0);
    Block { d, dmin, scales, mins, q }
}
