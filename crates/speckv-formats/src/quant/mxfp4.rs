//! MXFP4: 32 floats of 4 bits (one sign, two exponent and one fraction bit) and a scale that is a
//! power of two. Open Compute Project, Microscaling Formats 1.0.
//!
//! ```text
//! byte 0   e, exponent of the scale
//! byte 1   byte j: q[j] in the low half, q[j + 16] in the high half
//! value    2^(e - 128) LEVELS[q[i]]
//! ```

use super::nibbles;

/// Elements per block.
pub const LEN: usize = 32;
/// Bytes per block.
pub const BYTES: usize = 17;
/// Twice what the indices stand for.
pub const LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Exponent of the scale.
    pub e: u8,
    /// Indices into [`LEVELS`], 0 to 15.
    pub q: [u8; LEN],
}

/// 2^(e - 128): half of what the exponent says, since [`LEVELS`] are doubled.
#[must_use]
#[inline(always)]
pub fn scale(e: u8) -> f32 {
    // Below 2^-126 the power is a subnormal number: 2^-127 and 2^-128.
    let bits = if e < 2 { 0x0020_0000 << e } else { (u32::from(e) - 1) << 23 };
    f32::from_bits(bits)
}

impl Block {
    /// 2^(e - 128) LEVELS\[q\[i\]\].
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| scale(self.e) * f32::from(LEVELS[usize::from(q & 15)]))
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block { e: bytes[0], q: nibbles::unpack(&bytes[1..]) }
}
