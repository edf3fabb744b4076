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
