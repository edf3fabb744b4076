//! TQ1_0: 256 values of -1, 0 and 1, five to a byte, and a scale.
//!
//! A byte is the fraction of 256 whose first digits in base 3 are the values plus 1.
//!
//! ```text
//! byte 0    32 bytes: digit n of byte l is q[32 n + l]          (n < 5, l < 32)
//! byte 32   16 bytes: digit n of byte l is q[160 + 16 n + l]    (n < 5, l < 16)
//! byte 48   4 bytes: digit n of byte l is q[240 + 4 n + l]      (n < 4, l < 4)
//! byte 52   d, half float
//! value     d (q[i] - 1)
//! ```

use super::{halves, tq2_0};

/// Elements per block.
pub const LEN: usize = 256;
/// Bytes per block.
pub const BYTES: usize = 54;

/// A block's numbers.
pub type Block = tq2_0::Block;

/// Digit `n` of a byte.
fn digit(byte: u8, n: usize) -> u8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let rest = byte.wrapping_mul(POWERS[n]);
    ((u16::from(rest) * 3) >> 8) as u8
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block {
        d: halves::get(bytes, 52),
        q: std::array::from_fn(|i| match i {
            0..160 => digit(bytes[i % 32], i / 32),
            160..240 => digit(bytes[32 + (i - 160) % 16], (i - 160) / 16),
            _ => digit(bytes[48 + (i - 240) % 4], (i - 240) / 4),
        }),
    }
}
