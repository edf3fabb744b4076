//! F32, F16, BF16: plain floats, little endian, one element per block.
//!
//! F16 is IEEE 754 binary16 (1 sign, 5 exponent, 10 fraction bits), BF16 the upper half of a
//! binary32 (1, 8, 7). Both widen to `f32` exactly. Narrowing rounds to nearest, ties to even.

use half::{bf16, f16};

/// The float that two bytes of F16 hold.
#[must_use]
pub fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

/// The float that two bytes of BF16 hold.
#[must_use]
pub fn bf16_to_f32(bytes: [u8; 2]) -> f32 {
    bf16::from_le_bytes(bytes).to_f32()
}

/// The nearest F16; infinite beyond 65504.
#[must_use]
pub fn f32_to_f16(value: f32) -> [u8; 2] {
    f16::from_f32(value).to_le_bytes()
}

/// The nearest BF16.
#[must_use]
pub fn f32_to_bf16(value: f32) -> [u8; 2] {
    bf16::from_f32(value).to_le_bytes()
}
