//! IQ2_S: 256 signed values of a grid in 16 groups of 16, each group with a scale.
//!
//! ```text
//! byte 0    d, half float
//! byte 2    32 bytes: the low eight bits of the grid's entry for values 8 k to 8 k + 7
//! byte 34   32 bytes: the sign of value i in bit i % 8 of byte i / 8
//! byte 66   8 bytes: the upper two bits of entry k in byte k / 4 from bit 2 (k % 4)
//! byte 74   8 bytes: s[g] in byte g / 2, low half for even g
//! value     d (1 + 2 s[i / 16]) LEVELS[q[i]] / 8
//! ```

use super::{grid, halves, levels};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 82;
/// What the indices stand for; bit 2 is the sign.
pub const LEVELS: [i8; 8] = [8, 25, 43, 0, -8, -25, -43, 0];
/// Factor of all values.
pub const UNIT: f32 = 0.125;

/// A block's numbers; scales are `1 + 2 s`.
pub type Block = levels::Block<LEN, 16>;

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    let (entries, signs, upper) = (&bytes[2..34], &bytes[34..66], &bytes[66..74]);
    Block {
        d: halves::get(bytes, 0),
        scales: std::array::from_fn(|g| 1 + 2 * (bytes[74 + g / 2] >> (4 * (g % 2)) & 15) as i8),
        q: std::array::from_fn(|i| {
            let k = i / 8;
            let upper = usize::from(upper[k / 4] >> (2 * (k % 4)) & 3);
            let entry = grid::iq2::IQ2_S[usize::from(entries[k]) | upper << 8];
            grid::value(entry, i % 8, 2) | (signs[k] >> (i % 8) & 1) << 2
        }),
    }
}
