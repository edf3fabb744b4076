//! Packed weights of the formats whose integers are indices into a few levels.
//!
//! The grids of the files, whose entries stand for several values, are not needed here: packing has
//! made one index of 3 or 4 bits of each value, so that 16 levels in a vector are all that a kernel
//! looks up. In memory, IQ2 takes 3 bits per index and IQ3 takes 4.

use speckv_formats::quant::{
    iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs, iq4_xs, mxfp4, nvfp4,
};

use super::{
    format::{Format, Scales, halves},
    simd::GROUP,
};

/// Levels raised by `offset`. What would need 7 bits is raised by 128 and has 8: kernels take up to
/// 6 bits as they are, and 8 as signed numbers.
const fn raised(levels: &[i8], offset: i32) -> [u8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < levels.len() {
        table[i] = (levels[i] as i32 + offset) as u8;
        i += 1;
    }
    table
}

/// Rows' signed 8-bit scales, `[part][row]`, after the rows' `d`; all are multiplied by `unit`.
#[inline(always)]
fn decode_scales<const PARTS: usize>(unit: &[u8], factor: f32, scales: &mut Scales) {
    let d = halves(&unit[..32]);
    let bytes = &unit[32..32 + PARTS * GROUP];
    for part in 0..PARTS {
        for row in 0..GROUP {
            let scale = f32::from(bytes[part * GROUP + row] as i8);
            scales.scale[part][row] = d[row] * factor * scale;
        }
    }
}

macro_rules! of_levels {
    ($($(#[$doc:meta])* $name:ident from $module:ident:
        $low:literal + $high:literal bits, $columns:literal per scale, $bits:literal bits raised by $offset:literal)*) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Format for $name {
            const UNIT: usize = 256;
            const LOW: usize = $low;
            const HIGH: usize = $high;
            const BITS: u32 = $bits;
            const SUB: usize = $columns;
            const OFFSET: i32 = $offset;
            const TABLE: Option<[u8; 16]> = Some(raised(&$module::LEVELS, $offset));
            const SCALE_BYTES: usize = 32 + 256 / $columns * GROUP;
            #[inline(always)]
            fn decode(unit: &[u8], scales: &mut Scales) {
                decode_scales::<{ 256 / $columns }>(unit, $module::UNIT, scales);
            }
        }
    )*};
}

of_levels! {
    /// `d s level[q]`, 4 bits, signed s per 32.
    Iq4Xs from iq4_xs: 4 + 0 bits, 32 per scale, 8 bits raised by 128
    /// `d s level[q]`, 4 bits, s per 32.
    Iq3S from iq3_s: 4 + 0 bits, 32 per scale, 5 bits raised by 15
    /// `d s level[q] / 4`, 4 bits, s per 32.
    Iq3Xxs from iq3_xxs: 4 + 0 bits, 32 per scale, 8 bits raised by 128
    /// `d s level[q] / 8`, 3 bits, s per 16.
    Iq2S from iq2_s: 2 + 1 bits, 16 per scale, 8 bits raised by 128
    /// `d s level[q] / 8`, 3 bits, s per 16.
    Iq2Xs from iq2_xs: 2 + 1 bits, 16 per scale, 8 bits raised by 128
    /// `d s level[q] / 8`, 3 bits, s per 32.
    Iq2Xxs from iq2_xxs: 2 + 1 bits, 32 per scale, 8 bits raised by 128
    /// `d s level[q] / 8`, 3 bits, s per 32.
    Iq1S from iq1_s: 2 + 1 bits, 32 per scale, 5 bits raised by 9
    /// `d s level[q] / 8`, 3 bits, s per 16.
    Iq1M from iq1_m: 2 + 1 bits, 16 per scale, 5 bits raised by 9
}

/// `2^(e - 128) level[q]`, 4 bits, e per 32.
pub struct Mxfp4;
impl Format for Mxfp4 {
    const UNIT: usize = 32;
    const LOW: usize = 4;
    const BITS: u32 = 5;
    const OFFSET: i32 = 12;
    const TABLE: Option<[u8; 16]> = Some(raised(&mxfp4::LEVELS, 12));
    const SCALE_BYTES: usize = GROUP;
    #[inline(always)]
    fn decode(unit: &[u8], scales: &mut Scales) {
        for row in 0..GROUP {
            scales.scale[0][row] = mxfp4::scale(unit[row]);
        }
    }
}

/// `scale level[q] / 2`, 4 bits, a float of 8 bits per 16.
pub struct Nvfp4;
impl Format for Nvfp4 {
    const UNIT: usize = 64;
    const LOW: usize = 4;
    const BITS: u32 = 5;
    const SUB: usize = 16;
    const OFFSET: i32 = 12;
    const TABLE: Option<[u8; 16]> = Some(raised(&nvfp4::LEVELS, 12));
    const SCALE_BYTES: usize = 4 * GROUP;
    #[inline(always)]
    fn decode(unit: &[u8], scales: &mut Scales) {
        for part in 0..4 {
            for row in 0..GROUP {
                scales.scale[part][row] = nvfp4::scale(unit[part * GROUP + row]);
            }
        }
    }
}

/// `d (q - 1)`, 2 bits, d per 256: what TQ1_0 and TQ2_0 become.
pub struct Ternary;
impl Format for Ternary {
    const UNIT: usize = 256;
    const LOW: usize = 2;
    const BITS: u32 = 2;
    const OFFSET: i32 = 1;
    const HALVES: bool = true;
    const SCALE_BYTES: usize = 32;
}
