//! IQ2_XS: 256 signed values of a grid in 16 groups of 16, each group with a scale.
//!
//! ```text
//! byte 0    d, half float
//! byte 2    32 words of 16 bits: the grid's entry for values 8 k to 8 k + 7 in nine bits, seven of
//!           their signs above
//! byte 66   8 bytes: s[g] in byte g / 2, low half for even g
//! value     d (1 + 2 s[i / 16]) LEVELS[q[i]] / 8
//! ```

use super::{grid, halves, iq2_s, levels};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 74;
/// What the indices stand for; bit 2 is the sign.
pub const LEVELS: [i8; 8] = iq2_s::LEVELS;
/// Factor of all values.
pub const UNIT: f32 = 0.125;

/// A block's numbers; scales are `1 + 2 s`.
pub type Block = levels::Block<LEN, 16>;

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block {
        d: halves::get(bytes, 0),
        scales: std::array::from_fn(|g| 1 + 2 * (bytes[66 + g / 2] >> (4 * (g % 2)) & 15) as i8),
        q: std::array::from_fn(|i| {
            let at = 2 + 2 * (i / 8);
            let word = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            let entry = grid::iq2::IQ2_XS[usize::from(word & 511)];
            let signs = grid::signs((word >> 9) as u8);
            grid::value(entry, i % 8, 2) | (signs >> (i % 8) & 1) << 2
        }),
    }
}
