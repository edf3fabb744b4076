//! NF4 as in QLoRA (Dettmers et al. 2023, section 3 and appendix E): 64 indices into 16 levels at
//! quantiles of the normal distribution, and the largest magnitude of the block.
//!
//! ```text
//! absmax    max |v[i]|, f32
//! value     absmax LEVELS[q[i]],   q[i] the level nearest to v[i] / absmax
//! ```
//!
//! No file format of tensors knows NF4 by a number of its own, so it is not a [`TensorType`]; the
//! bytes of [`pack`] are this crate's: absmax, then byte j of 32 with element j in the low half and
//! element j + 32 in the high half.

use super::{QuantError, TensorType};

/// Elements per block.
pub const LEN: usize = 64;
/// Bytes per block.
pub const BYTES: usize = 36;

/// What the 16 indices stand for: appendix E of the paper.
pub const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Largest magnitude.
    pub absmax: f32,
    /// Indices into [`LEVELS`], 0 to 15.
    pub q: [u8; LEN],
}

impl Block {
    /// absmax LEVELS\[q\[i\]\].
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| self.absmax * LEVELS[usize::from(q & 15)])
    }
}

/// Index of the level nearest to `x`: how many midpoints between neighbours lie below it.
fn nearest(x: f32) -> u8 {
    LEVELS.windows(2).filter(|pair| x > (pair[0] + pair[1]) / 2.0).count() as u8
}

/// The block of `values`.
#[must_use]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let absmax = values.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    let inverse = if absmax > 0.0 { 1.0 / absmax } else { 0.0 };
    Block { absmax, q: values.map(|v| nearest(v * inverse)) }
}

/// Refuses a scale whose 127th part no half float can hold: kernels keep absmax / 127 as one.
///
/// # Errors
/// [`QuantError::OutOfRange`].
pub fn check_range(absmax: f32) -> Result<(), QuantError> {
    let largest = 127.0 * half::f16::MAX.to_f32();
    match absmax.is_nan() || absmax.abs() > largest {
        true => Err(QuantError::OutOfRange {
            tensor_type: TensorType::F16,
            largest,
            index: 0,
            value: absmax,
        }),
        false => Ok(()),
    }
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    let [a, b, c, d, codes @ ..] = bytes;
    Block {
        absmax: f32::from_le_bytes([*a, *b, *c, *d]),
        q: std::array::from_fn(|i| if i < 32 { codes[i] & 15 } else { codes[i - 32] >> 4 }),
    }
}

/// The bytes of a block.
#[must_use]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..4].copy_from_slice(&block.absmax.to_le_bytes());
    for (j, byte) in bytes[4..].iter_mut().enumerate() {
        *byte = (block.q[j] & 15) | (block.q[j + 32] << 4);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The levels as appendix E prints them.
    const PUBLISHED: [f64; 16] = [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ];

    fn values() -> [f32; LEN] {
        std::array::from_fn(|i| {
            ((i * 37 % 64) as f32 * 0.71).sin() * 0.03 + (i as f32 * 0.013).cos() * 0.002
        })
    }

    #[test]
    fn dequantized_values_follow_the_definition() {
        let values = values();
        let absmax = values.iter().fold(0.0, |most: f64, &v| most.max(f64::from(v).abs()));
        let block = quantize(&values);
        assert!((0..16).filter(|level| block.q.contains(level)).count() >= 14, "{:?}", block.q);
        for (got, v) in block.values().into_iter().zip(values) {
            let x = f64::from(v) / absmax;
            let nearest = PUBLISHED
                .into_iter()
                .min_by(|a, b| (a - x).abs().total_cmp(&(b - x).abs()))
                .unwrap();
            assert!((f64::from(got) - absmax * nearest).abs() < 1e-6 * absmax, "{v} became {got}");
        }
    }

    #[test]
    fn levels_come_back_as_they_are_and_zeros_stay_zero() {
        let values: [f32; LEN] = std::array::from_fn(|i| 0.37 * LEVELS[i % 16]);
        for (got, v) in quantize(&values).values().into_iter().zip(values) {
            assert!((got - v).abs() <= 1e-7, "{v} became {got}");
        }
        assert_eq!(quantize(&[0.0; LEN]).values(), [0.0; LEN]);
    }

    #[test]
    fn bytes_hold_the_block() {
        let block = quantize(&values());
        assert_eq!(unpack(&pack(&block)), block);
    }
}
