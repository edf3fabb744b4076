//! IQ1_S: 256 values of a grid of -1, 0 and 1 in 8 groups of 32, each group with a scale and a
//! shift up or down by an eighth.
//!
//! ```text
//! byte 0    d, half float
//! byte 2    32 bytes: the low eight bits of the grid's entry for values 8 k to 8 k + 7
//! byte 34   8 words of 16 bits, one per group: the upper three bits of its four entries, the first
//!           lowest, s from bit 12, and in bit 15 whether the shift is down
//! value     d (1 + 2 s[i / 32]) LEVELS[q[i]] / 8
//! ```

use super::{grid, halves, levels};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 50;
/// What the indices stand for: -1, 0 and 1, in eighths, shifted up and then shifted down.
pub const LEVELS: [i8; 8] = [-7, 1, 9, -9, -1, 7, 0, 0];
/// Factor of all values.
pub const UNIT: f32 = 0.125;

/// A block's numbers; scales are `1 + 2 s`.
pub type Block = levels::Block<LEN, 8>;

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    let word = |g: usize| u16::from_le_bytes([bytes[34 + 2 * g], bytes[35 + 2 * g]]);
    Block {
        d: halves::get(bytes, 0),
        scales: std::array::from_fn(|g| 1 + 2 * (word(g) >> 12 & 7) as i8),
        q: std::array::from_fn(|i| {
            let (word, k) = (word(i / 32), i / 8);
            let upper = usize::from(word >> (3 * (k % 4)) & 7);
            let entry = grid::iq1::IQ1[usize::from(bytes[2 + k]) | upper << 8];
            grid::value(entry, i % 8, 2) + 3 * (word >> 15) as u8
        }),
    }
}
