//! Q8_0: 32 signed bytes and a scale.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   q[0..32], i8
//! value    d q[i]
//! ```

use super::halves;

/// Elements per block.
pub const LEN: usize = 32;
/// Bytes per block.
pub const BYTES: usize = 34;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale.
    pub d: f32,
    /// Integers, -128 to 127.
    pub q: [i8; LEN],
}

impl Block {
    /// d q\[i\].
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| self.d * f32::from(q))
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block { d: halves::get(bytes, 0), q: std::array::from_fn(|i| bytes[2 + i] as i8) }
}

/// The bytes of a block; `d` is rounded to a half float.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 0, block.d);
    for (byte, q) in bytes[2..].iter_mut().zip(block.q) {
        *byte = q as u8;
    }
    bytes
}

/// The block nearest to `values` with the largest magnitude at 127. With 255 levels a search for a
/// better scale gains little.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let peak = values.iter().fold(0.0_f32, |peak, v| peak.max(v.abs()));
    let d = halves::round(peak / 127.0);
    Block { d, q: values.map(|v| super::search::signed_level(v, d, -127.0, 127.0) as i8) }
}
