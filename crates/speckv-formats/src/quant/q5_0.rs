//! Q5_0: 32 integers of 5 bits around zero and a scale.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   bit 4 of q[i] in bit i of a u32
//! byte 6   byte j: q[j] in the low half, q[j + 16] in the high half (low four bits)
//! value    d (q[i] - 16)
//! ```

use super::{halves, nibbles, search};

/// Elements per block.
pub const LEN: usize = 32;
/// Bytes per block.
pub const BYTES: usize = 22;
/// The q that stands for zero.
pub const OFFSET: u8 = 16;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale, of either sign.
    pub d: f32,
    /// Integers before the offset, 0 to 31.
    pub q: [u8; LEN],
}

impl Block {
    /// d (q\[i\] - 16).
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| self.d * (f32::from(q) - f32::from(OFFSET)))
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block { d: halves::get(bytes, 0), q: nibbles::unpack_five(&bytes[2..6], &bytes[6..]) }
}

/// The bytes of a block; `d` is rounded to a half float.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 0, block.d);
    let (high, low) = nibbles::pack_five(&block.q);
    bytes[2..6].copy_from_slice(&high);
    bytes[6..].copy_from_slice(&low);
    bytes
}

/// A block near `values` in the sense of squares.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let (low, high) = (-f32::from(OFFSET), f32::from(OFFSET) - 1.0);
    let d = halves::round(search::scale(values, [low, high], |x| search::whole(x, low, high)));
    Block { d, q: values.map(|v| (search::signed_level(v, d, low, high) - low) as u8) }
}
