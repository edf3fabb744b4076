//! IQ4_XS: 256 indices into the 16 levels of [IQ4_NL](super::iq4_nl) in 8 groups of 32, each group
//! with a signed scale.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   the upper two bits of scale[g] from bit 2 g of a word
//! byte 4   4 bytes: the low four bits of scale[g] in byte g / 2, low half for even g; 32 is added
//! byte 8   128 bytes: byte 16 g + j holds q[32 g + j] in the low half, q[32 g + 16 + j] in the high
//! value    d scale[i / 32] LEVELS[q[i]]
//! ```

use super::{halves, iq4_nl, levels, nibbles};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 136;
/// What the indices stand for.
pub const LEVELS: [i8; 16] = iq4_nl::LEVELS;
/// Factor of all values.
pub const UNIT: f32 = 1.0;

/// A block's numbers.
pub type Block = levels::Block<LEN, 8>;

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    let high = u16::from_le_bytes([bytes[2], bytes[3]]);
    let mut q = [0; LEN];
    for (q, bytes) in q.chunks_exact_mut(32).zip(bytes[8..].chunks_exact(16)) {
        q.copy_from_slice(&nibbles::unpack(bytes));
    }
    Block {
        d: halves::get(bytes, 0),
        scales: std::array::from_fn(|g| {
            let low = bytes[4 + g / 2] >> (4 * (g % 2)) & 15;
            let high = (high >> (2 * g) & 3) as u8;
            (low | high << 4) as i8 - 32
        }),
        q,
    }
}
