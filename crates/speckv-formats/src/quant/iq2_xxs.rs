//! IQ2_XXS: 256 signed values of a grid in 8 groups of 32, each group with a scale.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   8 bytes per group: the grid's entries for eight values each in four bytes, then a word
//!          of 32 bits with seven bits of signs for each eight values, the first lowest, and s in
//!          the upper four bits
//! value    d (1 + 2 s[i / 32]) LEVELS[q[i]] / 8
//! ```

use super::{grid, halves, iq2_s, levels};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 66;
/// What the indices stand for; bit 2 is the sign.
pub const LEVELS: [i8; 8] = iq2_s::LEVELS;
/// Factor of all values.
pub const UNIT: f32 = 0.125;

/// A block's numbers; scales are `1 + 2 s`.
pub type Block = levels::Block<LEN, 8>;

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    let word = |g: usize| {
        let at = 2 + 8 * g + 4;
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    Block {
        d: halves::get(bytes, 0),
        scales: std::array::from_fn(|g| 1 + 2 * (word(g) >> 28) as i8),
        q: std::array::from_fn(|i| {
            let (g, k) = (i / 32, i / 8 % 4);
            let signs = grid::signs((word(g) >> (7 * k)) as u8);
            let entry = grid::iq2::IQ2_XXS[usize::from(bytes[2 + 8 * g + k])];
            grid::value(entry, i % 8, 2) | (signs >> (i % 8) & 1) << 2
        }),
    }
}
