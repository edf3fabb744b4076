//! How packed weights lie in memory, per tensor type.
//!
//! A *unit* holds [`GROUP`] rows times [`UNIT`](Format::UNIT) columns: first the scales of all
//! rows, then blocks of 32 columns. A block is two halves of 16 columns, that is four *quads* of
//! four columns; in every vector of bytes, byte `4 r + i` belongs to row `r` and to column `i` of a
//! quad:
//!
//! | low bits | vectors per half | quad of the half |
//! |---|---|---|
//! | 2 | 1 | quad `j` in bits `2j, 2j+1` |
//! | 4 | 2 | vector `v`: quad `2v` in the low nibble, `2v + 1` in the high one |
//! | 8 | 4 | one per quad |
//!
//! after the low bits of a block come its high bits: one bit per weight in one vector (quad `j` of
//! half `h` in bit `4h + j`), or two bits in one vector per half (quad `j` in bits `2j, 2j + 1`). A
//! weight is `scale * (q - OFFSET) + min`. A unit takes exactly the bytes of its rows in the file,
//! except for Q3_K, whose 6-bit scales take 8; NF4, which no file has, takes 4.25 bits per weight.
//! [`code_book`](super::code_book) has the formats whose integers are indices into levels.

use speckv_formats::quant::{iq4_nl, nf4};

use super::simd::GROUP;

/// Scales and minima of a unit, decoded: `[part][row]`, a part being [`Format::SUB`] (or
/// [`Format::MIN_SUB`]) columns.
#[repr(C, align(64))]
pub struct Scales {
    /// Scale of each part.
    pub scale: [[f32; GROUP]; 16],
    /// What is added to each weight of the part.
    pub min: [[f32; GROUP]; 16],
}

impl Scales {
    /// All zero.
    pub const ZERO: Scales = Scales { scale: [[0.0; GROUP]; 16], min: [[0.0; GROUP]; 16] };
}

/// One way to pack weights.
pub trait Format: 'static {
    /// Columns per unit: 32, 64 or 256.
    const UNIT: usize;
    /// Low bits per weight: 2, 4 or 8.
    const LOW: usize;
    /// High bits per weight: 0, 1 or 2.
    const HIGH: usize = 0;
    /// Bits of the largest unsigned weight that reaches the multiplier: up to 6, or 8, and then
    /// [`OFFSET`](Self::OFFSET) is 128.
    const BITS: u32;
    /// Columns that share a scale: 16 or 32.
    const SUB: usize = 32;
    /// Columns that share a minimum: 16 or 32; 0 if there is none.
    const MIN_SUB: usize = 0;
    /// What the stored weights have been raised by.
    const OFFSET: i32 = 0;
    /// Values of a code-book type, raised by [`OFFSET`](Self::OFFSET).
    const TABLE: Option<[u8; 16]> = None;
    /// Whether the scales are half floats that need no decoding: one per row for the whole unit,
    /// then, where there are minima, one per row.
    const HALVES: bool = false;
    /// Bytes of scales at the start of a unit.
    const SCALE_BYTES: usize;
    /// Bytes of a block of 32 columns without scales.
    const BLOCK_BYTES: usize = GROUP * 32 * (Self::LOW + Self::HIGH) / 8;
    /// Bytes of a unit.
    const UNIT_BYTES: usize = Self::SCALE_BYTES + Self::UNIT / 32 * Self::BLOCK_BYTES;

    /// Decodes the scales at the start of a unit, unless they are [`HALVES`](Self::HALVES).
    fn decode(_unit: &[u8], _scales: &mut Scales) {}
}

/// Half-precision to single precision in integer arithmetic, so that it turns into vector code on
/// every instruction set. Exact for all finite values, subnormals included; infinities become
/// 65,536 and more, which no file should hold.
#[inline(always)]
fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // The exponent bias is 15 in f16 and 127 in f32: a multiplication by 2^112 moves it, and
    // normalises subnormals on the way.
    f32::from_bits(magnitude) * f32::from_bits(0x7780_0000) * f32::from_bits(0x3f80_0000 | sign)
}

#[inline(always)]
pub(super) fn halves(bytes: &[u8]) -> [f32; GROUP] {
    std::array::from_fn(|row| f16_to_f32(u16::from_le_bytes([bytes[2 * row], bytes[2 * row + 1]])))
}

macro_rules! blocks_of_32 {
    ($($(#[$doc:meta])* $name:ident: $low:literal + $high:literal bits, $scale_bytes:literal, { $($rest:tt)* })*) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Format for $name {
            const UNIT: usize = 32;
            const LOW: usize = $low;
            const HIGH: usize = $high;
            const HALVES: bool = true;
            const SCALE_BYTES: usize = $scale_bytes;
            $($rest)*
        }
    )*};
}

blocks_of_32! {
    /// `d (q - 8)`.
    Q4_0: 4 + 0 bits, 32, { const BITS: u32 = 4; const OFFSET: i32 = 8; }
    /// `d q + m`.
    Q4_1: 4 + 0 bits, 64, { const BITS: u32 = 4; const MIN_SUB: usize = 32; }
    /// `d (q - 16)`.
    Q5_0: 4 + 1 bits, 32, { const BITS: u32 = 5; const OFFSET: i32 = 16; }
    /// `d q + m`.
    Q5_1: 4 + 1 bits, 64, { const BITS: u32 = 5; const MIN_SUB: usize = 32; }
    /// `d (q - 128)`.
    Q8_0: 8 + 0 bits, 32, { const BITS: u32 = 8; const OFFSET: i32 = 128; }
    /// `d (table[q] - 128)`.
    Iq4Nl: 4 + 0 bits, 32, {
        const BITS: u32 = 8;
        const OFFSET: i32 = 128;
        const TABLE: Option<[u8; 16]> = Some(IQ4_NL_TABLE);
    }
}

/// The 16 values of IQ4_NL, raised by 128.
const IQ4_NL_TABLE: [u8; 16] = {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        table[i] = (iq4_nl::LEVELS[i] as i16 + 128) as u8;
        i += 1;
    }
    table
};

/// `d (table[q] - 128)` with `d = absmax / 127`, one per 64 columns: the levels of NF4 in steps of
/// 1/127, at most 0.4 % of absmax from their values.
pub struct Nf4;
impl Format for Nf4 {
    const UNIT: usize = 64;
    const LOW: usize = 4;
    const BITS: u32 = 8;
    const OFFSET: i32 = 128;
    const TABLE: Option<[u8; 16]> = Some(NF4_TABLE);
    const HALVES: bool = true;
    const SCALE_BYTES: usize = 32;
}

/// The 16 levels of NF4 times 127, rounded, raised by 128.
const NF4_TABLE: [u8; 16] = {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        // All are positive after raising, so that cutting off rounds.
        table[i] = (nf4::LEVELS[i] * 127.0 + 128.5) as u8;
        i += 1;
    }
    table
};

/// Rows' scales and minima of 6 bits: vectors of [`GROUP`] bytes, `8` with the low nibbles (scale |
/// min << 4) of each block, then `2` with the upper two bits of the scales (block `b` in vector `b
/// / 4`, bits `2 (b mod 4)`), then `2` for the minima.
#[inline(always)]
fn decode_six_bits(unit: &[u8], scales: &mut Scales) {
    let d = halves(&unit[..32]);
    let d_min = halves(&unit[32..64]);
    let (low, high) = unit[64..64 + 192].split_at(128);
    for block in 0..8 {
        let shift = 2 * (block % 4);
        for row in 0..GROUP {
            let nibbles = low[block * GROUP + row];
            let scale_high = high[block / 4 * GROUP + row] >> shift & 3;
            let min_high = high[(2 + block / 4) * GROUP + row] >> shift & 3;
            scales.scale[block][row] = d[row] * f32::from(nibbles & 15 | scale_high << 4);
            scales.min[block][row] = -d_min[row] * f32::from(nibbles >> 4 | min_high << 4);
        }
    }
}

/// `d s q - dmin m`, 4 bits, 6-bit s and m per 32.
pub struct Q4K;
impl Format for Q4K {
    const UNIT: usize = 256;
    const LOW: usize = 4;
    const BITS: u32 = 4;
    const MIN_SUB: usize = 32;
    const SCALE_BYTES: usize = 256;
    #[inline(always)]
    fn decode(unit: &[u8], scales: &mut Scales) {
        decode_six_bits(unit, scales);
    }
}

/// `d s q - dmin m`, 5 bits, 6-bit s and m per 32.
pub struct Q5K;
impl Format for Q5K {
    const UNIT: usize = 256;
    const LOW: usize = 4;
    const HIGH: usize = 1;
    const BITS: u32 = 5;
    const MIN_SUB: usize = 32;
    const SCALE_BYTES: usize = 256;
    #[inline(always)]
    fn decode(unit: &[u8], scales: &mut Scales) {
        decode_six_bits(unit, scales);
    }
}

/// Rows' signed 8-bit scales per 16 columns, `[part][row]`, after the rows' `d`.
#[inline(always)]
fn decode_signed_bytes(unit: &[u8], scales: &mut Scales) {
    let d = halves(&unit[..32]);
    let bytes = &unit[32..32 + 16 * GROUP];
    for part in 0..16 {
        for row in 0..GROUP {
            scales.scale[part][row] = d[row] * f32::from(bytes[part * GROUP + row] as i8);
        }
    }
}

/// `d s (q - 32)`, 6 bits, signed 8-bit s per 16.
pub struct Q6K;
impl Format for Q6K {
    const UNIT: usize = 256;
    const LOW: usize = 4;
    const HIGH: usize = 2;
    const BITS: u32 = 6;
    const SUB: usize = 16;
    const OFFSET: i32 = 32;
    const SCALE_BYTES: usize = 32 + 256;
    #[inline(always)]
    fn decode(unit: &[u8], scales: &mut Scales) {
        decode_signed_bytes(unit, scales);
    }
}

/// `d s (q - 4)`, 3 bits, s per 16, which the file keeps in 6 bits and this in 8.
pub struct Q3K;
impl Format for Q3K {
    const UNIT: usize = 256;
    const LOW: usize = 2;
    const HIGH: usize = 1;
    const BITS: u32 = 3;
    const SUB: usize = 16;
    const OFFSET: i32 = 4;
    const SCALE_BYTES: usize = 32 + 256;
    #[inline(always)]
    fn decode(unit: &[u8], scales: &mut Scales) {
        decode_signed_bytes(unit, scales);
    }
}

/// `d s q - dmin m`, 2 bits, 4-bit s and m per 16.
pub struct Q2K;
impl Format for Q2K {
    const UNIT: usize = 256;
    const LOW: usize = 2;
    const BITS: u32 = 2;
    const SUB: usize = 16;
    const MIN_SUB: usize = 16;
    const SCALE_BYTES: usize = 64 + 256;
    #[inline(always)]
    fn decode(unit: &[u8], scales: &mut Scales) {
        let d = halves(&unit[..32]);
        let d_min = halves(&unit[32..64]);
        let bytes = &unit[64..64 + 16 * GROUP];
        for part in 0..16 {
            for row in 0..GROUP {
                let nibbles = bytes[part * GROUP + row];
                scales.scale[part][row] = d[row] * f32::from(nibbles & 15);
                scales.min[part][row] = -d_min[row] * f32::from(nibbles >> 4);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_conversion_is_exact_for_every_finite_value() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits);
            if expected.is_finite() {
                assert_eq!(f16_to_f32(bits).to_bits(), expected.to_f32().to_bits(), "{bits:#06x}");
            }
        }
    }
}
