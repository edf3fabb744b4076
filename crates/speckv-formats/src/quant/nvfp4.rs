//! NVFP4: 64 floats of 4 bits, those of [MXFP4](super::mxfp4), in four groups of 16, each with a
//! scale that is a float of 8 bits without a sign (four exponent and three fraction bits).
//!
//! ```text
//! byte 0   scale[0..4]
//! byte 4   8 bytes per group: byte 8 g + j holds q[16 g + j] in the low half, q[16 g + 8 + j] in the
//!          high half
//! value    scale[i / 16] LEVELS[q[i]] / 2
//! ```

use super::mxfp4;

/// Elements per block.
pub const LEN: usize = 64;
/// Bytes per block.
pub const BYTES: usize = 36;
/// Twice what the indices stand for.
pub const LEVELS: [i8; 16] = mxfp4::LEVELS;

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Scales as 8 bits: no NaN, and bit 7 is 0, or the byte 0x7f, which stands for 480.
    pub scales: [u8; 4],
    /// Indices into [`LEVELS`], 0 to 15.
    pub q: [u8; LEN],
}

/// Half of a scale of a [`Block`], since [`LEVELS`] are doubled: `2^(e - 8) (1 + m / 8)`, and for
/// e = 0, `2^-10 m`.
#[must_use]
#[inline(always)]
pub fn scale(bits: u8) -> f32 {
    // As the upper bits of a float of 32 bits it is 2^-119 of the number; subnormal ones, too.
    f32::from_bits(u32::from(bits) << 20) * f32::from_bits((119 + 127) << 23)
}

impl Block {
    /// scale LEVELS\[q\[i\]\] / 2.
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        std::array::from_fn(|i| {
            scale(self.scales[i / 16]) * f32::from(LEVELS[usize::from(self.q[i] & 15)])
        })
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block {
        // 0x7f is no number, which readers take for 0; of other bytes the upper bit says nothing.
        scales: std::array::from_fn(|g| if bytes[g] == 0x7f { 0 } else { bytes[g] & 0x7f }),
        q: std::array::from_fn(|i| {
            let byte = bytes[4 + 8 * (i / 16) + i % 8];
            if i % 16 < 8 { byte & 15 } else { byte >> 4 }
        }),
    }
}
