//! IQ3_XXS: 256 signed values of a grid in 8 groups of 32, each group with a scale.
//!
//! ```text
//! byte 0    d, half float
//! byte 2    64 bytes: the grid's entry for values 4 k to 4 k + 3
//! byte 66   8 words of 32 bits, one per group: seven bits of signs for each eight values, the first
//!           lowest, and s in the upper four bits
//! value     d (1 + 2 s[i / 32]) LEVELS[q[i]] / 4
//! ```

use super::{grid, halves, levels};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 98;
/// What the indices stand for; bit 3 is the sign.
pub const LEVELS: [i8; 16] = [4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62];
/// Factor of all values.
pub const UNIT: f32 = 0.25;

/// A block's numbers; scales are `1 + 2 s`.
pub type Block = levels::Block<LEN, 8>;

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    let word = |g: usize| {
        let at = 66 + 4 * g;
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    Block {
        d: halves::get(bytes, 0),
        scales: std::array::from_fn(|g| 1 + 2 * (word(g) >> 28) as i8),
        q: std::array::from_fn(|i| {
            let signs = grid::signs((word(i / 32) >> (7 * (i / 8 % 4))) as u8);
            let entry = grid::iq3::IQ3_XXS[usize::from(bytes[2 + i / 4])];
            grid::value(entry, i % 4, 3) | (signs >> (i % 8) & 1) << 3
        }),
    }
}
