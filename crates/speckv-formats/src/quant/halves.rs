//! Half floats inside blocks.

use super::float;

/// The half float at byte `at`.
pub(super) fn get(block: &[u8], at: usize) -> f32 {
    float::f16_to_f32([block[at], block[at + 1]])
}

/// Stores `value`, rounded to a half float, at byte `at`.
pub(super) fn put(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&float::f32_to_f16(value));
}

/// `value` as a half float would hold it.
pub(super) fn round(value: f32) -> f32 {
    float::f16_to_f32(float::f32_to_f16(value))
}

/// The nearest half float that is not smaller in magnitude, up to the largest. A scale that is
/// rounded down would make the largest integer overflow. This matters where half floats are coarse:
/// below 6e-5.
pub(super) fn round_away(value: f32) -> f32 {
    let bits = half::f16::from_f32(value).to_bits();
    let rounded = half::f16::from_bits(bits);
    if rounded.to_f32().abs() < value.abs() && rounded.to_f32().abs() < half::f16::MAX.to_f32() {
        half::f16::from_bits(bits + 1).to_f32()
    } else {
        rounded.to_f32()
    }
}
