//! IQ4_NL: 32 indices into 16 levels that are denser around zero, and a scale.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   byte j: q[j] in the low half, q[j + 16] in the high half
//! value    d LEVELS[q[i]]
//! ```

use super::{halves, nibbles, search};

/// Elements per block.
pub const LEN: usize = 32;
/// Bytes per block.
pub const BYTES: usize = 18;
/// What the 16 indices stand for.
pub const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale, of either sign.
    pub d: f32,
    /// Indices into [`LEVELS`], 0 to 15.
    pub q: [u8; LEN],
}

impl Block {
    /// d LEVELS\[q\[i\]\].
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| self.d * level(q))
    }
}

fn level(q: u8) -> f32 {
    f32::from(LEVELS[usize::from(q & 15)])
}

/// Index of the level nearest to `x`: how many midpoints between neighbours lie below it.
fn nearest(x: f32) -> u8 {
    LEVELS.windows(2).filter(|pair| x > (f32::from(pair[0]) + f32::from(pair[1])) / 2.0).count() as u8
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
    let ends = [f32::from(LEVELS[0]), f32::from(LEVELS[15])];
    let d = halves::round(search::scale(values, ends, |x| level(nearest(x))));
    Block { d, q: values.map(|v| nearest(if d == 0.0 { 0.0 } else { v / d })) }
}
