//! Grids of code-book formats: each entry stands for several values. They are read when a block is
//! unpacked, at load, and by no kernel.

pub(super) mod iq1;
pub(super) mod iq2;
pub(super) mod iq3;

/// Value `k` of a grid's entry with `bits` bits per value.
#[inline]
pub(super) fn value(entry: u16, k: usize, bits: usize) -> u8 {
    (entry >> (bits * k)) as u8 & ((1 << bits) - 1)
}

/// Eight signs in seven bits: the last makes the number of minus signs even.
#[inline]
pub(super) fn signs(seven: u8) -> u8 {
    let seven = seven & 0x7f;
    seven | (seven.count_ones() as u8 & 1) << 7
}
