//! 32 numbers of four or five bits, as the formats with blocks of 32 store them.
//!
//! Byte j of 16 holds element j in its low and element j + 16 in its high four bits. A fifth bit,
//! where there is one, is bit i of a little endian u32 for element i.

/// The elements of 16 bytes, 0 to 15 each.
pub(super) fn unpack(bytes: &[u8]) -> [u8; 32] {
    std::array::from_fn(|i| if i < 16 { bytes[i] & 15 } else { bytes[i - 16] >> 4 })
}

/// The bytes of 32 elements, of which the low four bits are taken.
#[inline(always)]
pub(super) fn pack(q: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|j| (q[j] & 15) | (q[j + 16] << 4))
}

/// The elements of four bytes of fifth bits and 16 bytes of the others, 0 to 31 each.
pub(super) fn unpack_five(high: &[u8], low: &[u8]) -> [u8; 32] {
    let low = unpack(low);
    std::array::from_fn(|i| low[i] | (high[i / 8] >> (i % 8) & 1) << 4)
}

/// Fifth bits and others of 32 elements.
pub(super) fn pack_five(q: &[u8; 32]) -> ([u8; 4], [u8; 16]) {
    let mut high = [0; 4];
    for (i, &q) in q.iter().enumerate() {
        high[i / 8] |= (q >> 4 & 1) << (i % 8);
    }
    (high, pack(q))
}
