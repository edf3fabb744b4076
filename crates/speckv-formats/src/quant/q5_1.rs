//! Q5_1: 32 integers of 5 bits, a scale, and the value of zero.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   m, half float
//! byte 4   bit 4 of q[i] in bit i of a u32
//! byte 8   byte j: q[j] in the low half, q[j + 16] in the high half (low four bits)
//! value    d q[i] + m
//! ```

use super::{halves, nibbles, search};

/// Elements per block.
pub const LEN: usize = 32;
/// Bytes per block.
pub const BYTES: usize = 24;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale.
    pub d: f32,
    /// Value of q = 0, of either sign.
    pub m: f32,
    /// Integers, 0 to 31.
    pub q: [u8; LEN],
}

impl Block {
    /// d q\[i\] + m.
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| self.d * f32::from(q) + self.m)
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block {
        d: halves::get(bytes, 0),
        m: halves::get(bytes, 2),
        q: nibbles::unpack_five(&bytes[4..8], &bytes[8..]),
    }
}

/// The bytes of a block; `d` and `m` are rounded to half floats.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 0, block.d);
    halves::put(&mut bytes, 2, block.m);
    let (high, low) = nibbles::pack_five(&block.q);
    bytes[4..8].copy_from_slice(&high);
    bytes[8..].copy_from_slice(&low);
    bytes
}

/// A block near `values` in the sense of squares.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let (d, m) = search::affine(values, 31.0, f32::INFINITY);
    let (d, m) = (halves::round(d), halves::round(m));
    Block { d, m, q: values.map(|v| search::level(v, d, m, 31.0) as u8) }
}
