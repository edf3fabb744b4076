//! IQ3_S: 256 signed values of a grid in 8 groups of 32, each group with a scale.
//!
//! ```text
//! byte 0     d, half float
//! byte 2     64 bytes: the low eight bits of the grid's entry for values 4 k to 4 k + 3
//! byte 66    8 bytes: the ninth bit of entry k in bit k % 8 of byte k / 8
//! byte 74    32 bytes: the sign of value i in bit i % 8 of byte i / 8
//! byte 106   4 bytes: s[g] in byte g / 2, low half for even g
//! value      d (1 + 2 s[i / 32]) LEVELS[q[i]]
//! ```

use super::{grid, halves, levels};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 110;
/// What the indices stand for; bit 3 is the sign.
pub const LEVELS: [i8; 16] = [1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15];
/// Factor of all values.
pub const UNIT: f32 = 1.0;

/// A block's numbers; scales are `1 + 2 s`.
pub type Block = levels::Block<LEN, 8>;

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    let (entries, ninth, signs) = (&bytes[2..66], &bytes[66..74], &bytes[74..106]);
    Block {
        d: halves::get(bytes, 0),
        scales: std::array::from_fn(|g| 1 + 2 * (bytes[106 + g / 2] >> (4 * (g % 2)) & 15) as i8),
        q: std::array::from_fn(|i| {
            let k = i / 4;
            let entry = usize::from(entries[k]) | usize::from(ninth[k / 8] >> (k % 8) & 1) << 8;
            grid::value(grid::iq3::IQ3_S[entry], i % 4, 3) | (signs[i / 8] >> (i % 8) & 1) << 3
        }),
    }
}
