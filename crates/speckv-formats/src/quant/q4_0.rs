//! Q4_0: 32 integers of 4 bits around zero and a scale.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   byte j: q[j] in the low half, q[j + 16] in the high half
//! value    d (q[i] - 8)
//! ```

use super::{halves, nibbles, search};

/// Elements per block.
pub const LEN: usize = 32;
/// Bytes per block.
pub const BYTES: usize = 18;
/// The q that stands for zero.
pub const OFFSET: u8 = 8;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale, of either sign.
    pub d: f32,
    /// Integers before the offset, 0 to 15.
    pub q: [u8; LEN],
}

impl Block {
    /// d (q\[i\] - 8).
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| self.d * (f32::from(q) - f32::from(OFFSET)))
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block { d: halves::get(bytes, 0), q: nibbles::unpack(&bytes[2..]) }
}

/// The bytes of a block; `d` is rounded to a half float.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 0, block.d);
    bytes[2..].copy_from_slice(&nibbles::pack(&block.q));
    bytes
}

/// A block near `values` in the sense of squares.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let (low, high) = (-f32::from(OFFSET), f32::from(OFFSET) - 1.0);
    let d = halves::round(search::scale(values, [low, high], |x| search::whole(x, low, high)));
    Block { d, q: values.map(|v| (search::signed_level(v, d, low, high) - low) as u8) }
}
