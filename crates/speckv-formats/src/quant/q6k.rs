//! Q6_K: 256 integers of 6 bits around zero in 16 groups of 16, each group with a signed scale.
//!
//! ```text
//! byte 0     128 bytes, low four bits: byte 64 n + 32 h + l holds q[128 n + 32 h + l] in the low half and
//!            q[128 n + 64 + 32 h + l] in the high half   (n < 2, h < 2, l < 32)
//! byte 128   64 bytes, upper two bits: those of q[128 n + 32 s + l] in bits 2 s and 2 s + 1 of byte 32 n + l   (s < 4)
//! byte 192   scale[0..16], i8
//! byte 208   d, half float
//! value     d scale[i / 16] (q[i] - 32)
//! ```

use super::{halves, search};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 210;
/// Elements per group.
pub const GROUP: usize = 16;
/// The q that stands for zero.
pub const OFFSET: u8 = 32;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale of the scales, of either sign.
    pub d: f32,
    /// A scale per group, -128 to 127.
    pub scales: [i8; 16],
    /// Integers before the offset, 0 to 63.
    pub q: [u8; LEN],
}

impl Block {
    /// d scale (q\[i\] - 32).
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
        d: halves::get(bytes, 208),
        scales: std::array::from_fn(|g| bytes[192 + g] as i8),
        q: std::array::from_fn(|i| {
            let (n, s, l) = (i / 128, i / 32 % 4, i % 32);
            let low = bytes[64 * n + 32 * (s % 2) + l] >> (4 * (s / 2)) & 15;
            let high = bytes[128 + 32 * n + l] >> (2 * s) & 3;
            low | high << 4
        }),
    }
}

/// The bytes of a block; `d` is rounded to a half float.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 208, block.d);
    for (g, &scale) in block.scales.iter().enumerate() {
        bytes[192 + g] = scale as u8;
    }
    for (i, &q) in block.q.iter().enumerate() {
        let (n, s, l) = (i / 128, i / 32 % 4, i % 32);
        bytes[64 * n + 32 * (s % 2) + l] |= (q & 15) << (4 * (s / 2));
        bytes[128 + 32 * n + l] |= (q >> 4 & 3) << (2 * s);
    }
    bytes
}

/// A block near `values` in the sense of squares.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let (d, scales, q) = search::signed_groups(values, f32::from(OFFSET), 128.0);
    Block { d, scales, q }
}
