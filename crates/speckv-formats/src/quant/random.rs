//! Blocks for tests and benchmarks: any integers, scales of the size that weights have.

use super::{TensorType, halves};

/// Bytes of `blocks` valid blocks of `tensor_type`, the same for the same `seed`.
///
/// Integers take every value. Half floats in a block are finite, of either sign, with magnitudes
/// from 2^-10 to 2^-6, one in sixteen zero; elements of F32, F16 and BF16 lie in -1..1. This is for
/// tests and benchmarks of code that reads blocks.
#[must_use]
pub fn random_blocks(tensor_type: TensorType, blocks: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || splitmix(&mut state);
    let block_bytes = tensor_type.block_bytes();
    let mut bytes: Vec<u8> = (0..blocks * block_bytes).map(|_| next() as u8).collect();
    for block in bytes.chunks_exact_mut(block_bytes) {
        let unit = (next() >> 40) as f32 / (1 << 23) as f32 - 1.0; // [-1, 1)
        match tensor_type {
            TensorType::F32 => block.copy_from_slice(&unit.to_le_bytes()),
            TensorType::F16 => halves::put(block, 0, unit),
            TensorType::BF16 => block.copy_from_slice(&super::float::f32_to_bf16(unit)),
            // 2^-19 to 2^-4, which the levels make larger.
            TensorType::Mxfp4 => block[0] = 109 + block[0] % 16,
            // 2^-7 to 2.
            TensorType::Nvfp4 => block[..4].iter_mut().for_each(|scale| *scale %= 64),
            // The upper four bits of the scale: an exponent of 2^-11 to 2^-8 of either sign.
            TensorType::Iq1M => block[55] = block[55] & 0x8f | 0x10,
            _ => {
                for &at in half_offsets(tensor_type) {
                    let word = next();
                    let magnitude = (2.0_f32).powi((word % 4) as i32 - 10)
                        * (1.0 + (word >> 40) as f32 / (1 << 24) as f32);
                    let sign = if word & 16 == 0 { 1.0 } else { -1.0 };
                    halves::put(
                        block,
                        at,
                        if word >> 8 & 15 == 0 { 0.0 } else { sign * magnitude },
                    );
                }
            }
        }
    }
    bytes
}

/// Where the half floats of a block are.
fn half_offsets(tensor_type: TensorType) -> &'static [usize] {
    match tensor_type {
        TensorType::F32 | TensorType::F16 | TensorType::BF16 => &[],
        TensorType::Q8_0 | TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Iq4Nl => &[0],
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4K | TensorType::Q5K => &[0, 2],
        TensorType::Q2K => &[80, 82],
        TensorType::Q3K => &[108],
        TensorType::Q6K => &[208],
        TensorType::Iq4Xs | TensorType::Iq3S | TensorType::Iq3Xxs | TensorType::Iq2S => &[0],
        TensorType::Iq2Xs | TensorType::Iq2Xxs | TensorType::Iq1S => &[0],
        TensorType::Tq1_0 => &[52],
        TensorType::Tq2_0 => &[64],
        // Their scales are no half floats, or lie in pieces.
        TensorType::Iq1M | TensorType::Mxfp4 | TensorType::Nvfp4 => &[],
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
