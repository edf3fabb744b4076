//! Q4_K: 256 integers of 4 bits in 8 groups of 32, each group with a scale and a minimum of 6 bits.
//!
//! ```text
//! byte 0    d, half float
//! byte 2    dmin, half float
//! byte 4    12 bytes: scale[0..8] and min[0..8], six bits each: byte j < 4 holds scale[j], byte 4 + j min[j] in their low six
//!           bits; byte 8 + j the low four bits of scale[4 + j] (low half) and min[4 + j] (high half), whose upper two bits are
//!           the upper two of byte j and of byte 4 + j
//! byte 16   128 bytes: byte 32 n + l holds q[64 n + l] in the low half and q[64 n + 32 + l] in the high half   (n < 4, l < 32)
//! value    d scale[i / 32] q[i] - dmin min[i / 32]
//! ```

use super::{halves, search, six_bits};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 144;
/// Elements per group.
pub const GROUP: usize = 32;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale of the scales.
    pub d: f32,
    /// Scale of the minima.
    pub dmin: f32,
    /// A scale per group, 0 to 63.
    pub scales: [u8; 8],
    /// A minimum per group, 0 to 63.
    pub mins: [u8; 8],
    /// Integers, 0 to 15.
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
    let (scales, mins) = six_bits::unpack(&bytes[4..16]);
    Block {
        d: halves::get(bytes, 0),
        dmin: halves::get(bytes, 2),
        scales,
        mins,
        q: std::array::from_fn(|i| {
            let (n, half, l) = (i / 64, i / 32 % 2, i % 32);
            bytes[16 + 32 * n + l] >> (4 * half) & 15
        }),
    }
}

/// The bytes of a block; `d` and `dmin` are rounded to half floats.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 0, block.d);
    halves::put(&mut bytes, 2, block.dmin);
    bytes[4..16].copy_from_slice(&six_bits::pack(&block.scales, &block.mins));
    for (i, &q) in block.q.iter().enumerate() {
        let (n, half, l) = (i / 64, i / 32 % 2, i % 32);
        bytes[16 + 32 * n + l] |= (q & 15) << (4 * half);
    }
    bytes
}

/// A block near `values` in the sense of squares.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let search::AffineGroups { d, dmin, scales, mins, q } =
        search::affine_groups(values, 15.0, 63.0);
    Block { d, dmin, scales, mins, q }
}
