//! Q4_1: 32 integers of 4 bits, a scale, and the value of zero.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   m, half float
//! byte 4   byte j: q[j] in the low half, q[j + 16] in the high half
//! value    d q[i] + m
//! ```

use super::{halves, nibbles, search};

/// Elements per block.
pub const LEN: usize = 32;
/// Bytes per block.
pub const BYTES: usize = 20;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale.
    pub d: f32,
    /// Value of q = 0, of either sign.
    pub m: f32,
    /// Integers, 0 to 15.
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
    Block { d: halves::get(bytes, 0), m: halves::get(bytes, 2), q: nibbles::unpack(&bytes[4..]) }
}

/// The bytes of a block; `d` and `m` are rounded to half floats.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 0, block.d);
    halves::put(&mut bytes, 2, block.m);
    bytes[4..].copy_from_slice(&nibbles::pack(&block.q));
    bytes
}

/// A block near `values` in the sense of squares.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let (d, m) = search::affine(values, 15.0, f32::INFINITY);
    let (d, m) = (halves::round(d), halves::round(m));
    Block { d, m, q: values.map(|v| search::level(v, d, m, 15.0) as u8) }
}
