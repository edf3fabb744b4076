//! Q3_K: 256 integers of 3 bits around zero in 16 groups of 16, each group with a signed scale.
//!
//! ```text
//! byte 0     32 bytes: bit 2 of q[32 b + l] in bit b of byte l   (b < 8, l < 32)
//! byte 32    64 bytes: the low bits of q[128 n + 32 s + l] in bits 2 s and 2 s + 1 of byte 32 n + l   (n < 2, s < 4, l < 32)
//! byte 96    12 bytes: six bits per scale, stored with 32 added: the low four of scale[g] in byte g % 8, low half for g < 8;
//!            the upper two in byte 8 + g % 4 from bit 2 (g / 4)
//! byte 108   d, half float
//! value     d scale[i / 16] (q[i] - 4)
//! ```

use super::{halves, search};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 110;
/// Elements per group.
pub const GROUP: usize = 16;
/// The q that stands for zero.
pub const OFFSET: u8 = 4;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale of the scales, of either sign.
    pub d: f32,
    /// A scale per group, -32 to 31: the 32 that is added in the bytes is taken off.
    pub scales: [i8; 16],
    /// Integers before the offset, 0 to 7.
    pub q: [u8; LEN],
}

impl Block {
    /// d scale (q\[i\] - 4).
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        std::array::from_fn(|i| {
            self.d * f32::from(self.scales[i / GROUP]) * (f32::from(self.q[i]) - f32::from(OFFSET))
        })
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block {
        d: halves::get(bytes, 108),
        scales: std::array::from_fn(|g| {
            let low = bytes[96 + g % 8] >> (4 * (g / 8)) & 15;
            let high = bytes[104 + g % 4] >> (2 * (g / 4)) & 3;
            (low | high << 4) as i8 - 32
        }),
        q: std::array::from_fn(|i| {
            let (n, s, l) = (i / 128, i / 32 % 4, i % 32);
            (bytes[32 + 32 * n + l] >> (2 * s) & 3) | (bytes[l] >> (i / 32) & 1) << 2
        }),
    }
}

/// The bytes of a block; `d` is rounded to a half float.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 108, block.d);
    for (g, &scale) in block.scales.iter().enumerate() {
        let stored = scale.wrapping_add(32) as u8;
        bytes[96 + g % 8] |= (stored & 15) << (4 * (g / 8));
        bytes[104 + g % 4] |= (stored >> 4 & 3) << (2 * (g / 4));
    }
    for (i, &q) in block.q.iter().enumerate() {
        let (n, s, l) = (i / 128, i / 32 % 4, i % 32);
        bytes[32 + 32 * n + l] |= (q & 3) << (2 * s);
        bytes[l] |= (q >> 2 & 1) << (i / 32);
    }
    bytes
}

/// A block near `values` in the sense of squares.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let (d, scales, q) = search::signed_groups(values, f32::from(OFFSET), 32.0);
    Block { d, scales, q }
}
