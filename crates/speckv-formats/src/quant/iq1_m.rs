//! IQ1_M: 256 values of a grid of -1, 0 and 1 in 16 groups of 16, each group with a scale and each
//! eight values with a shift up or down by an eighth.
//!
//! ```text
//! byte 0    32 bytes: the low eight bits of the grid's entry for values 8 k to 8 k + 7
//! byte 32   16 bytes: the upper three bits of entry k in byte k / 2 from bit 4 (k % 2), and above
//!           them whether the shift is down
//! byte 48   4 words of 16 bits: s[g] in word g / 4 from bit 3 (g % 4), and in bits 12 to 15 of the
//!           four words the bits of d, a half float, the lowest first
//! value     d (1 + 2 s[i / 16]) LEVELS[q[i]] / 8
//! ```

use super::{grid, iq1_s, levels};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 56;
/// What the indices stand for.
pub const LEVELS: [i8; 8] = iq1_s::LEVELS;
/// Factor of all values.
pub const UNIT: f32 = 0.125;

/// A block's numbers; scales are `1 + 2 s`.
pub type Block = levels::Block<LEN, 16>;

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    let word = |n: usize| u16::from_le_bytes([bytes[48 + 2 * n], bytes[49 + 2 * n]]);
    let d = (0..4).fold(0, |d, n| d | (word(n) >> 12) << (4 * n));
    Block {
        d: half::f16::from_bits(d).to_f32(),
        scales: std::array::from_fn(|g| 1 + 2 * (word(g / 4) >> (3 * (g % 4)) & 7) as i8),
        q: std::array::from_fn(|i| {
            let k = i / 8;
            let upper = bytes[32 + k / 2] >> (4 * (k % 2));
            let entry = usize::from(bytes[k]) | usize::from(upper & 7) << 8;
            grid::value(grid::iq1::IQ1[entry], i % 8, 2) + 3 * (upper >> 3 & 1)
        }),
    }
}
