//! Encoding: how far the decoded values are from the original ones.

use proptest::prelude::*;
use speckv_formats::quant::{self, QuantError, TensorType};

fn encode(tensor_type: TensorType, values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0xaa; tensor_type.byte_len(values.len()).unwrap()];
    quant::quantize(tensor_type, values, &mut bytes).unwrap();
    bytes
}

fn there_and_back(tensor_type: TensorType, values: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; values.len()];
    quant::dequantize(tensor_type, &encode(tensor_type, values), &mut out).unwrap();
    out
}

/// Root of the mean squared error over the root of the mean square.
fn relative_error(values: &[f32], decoded: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let error: f64 = values.iter().zip(decoded).map(|(&v, &d)| square(v - d)).sum();
    (error / values.iter().map(|&v| square(v)).sum::<f64>()).sqrt()
}

/// Normally distributed values with the deviation of trained weights: sums of twelve uniform ones.
fn normal(len: usize, seed: u64) -> Vec<f32> {
    let bytes = quant::random_blocks(TensorType::F32, 12 * len, seed);
    let uniform: Vec<f32> =
        bytes.chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect();
    uniform.chunks(12).map(|dozen| 0.02 * dozen.iter().sum::<f32>() / 2.0).collect()
}

#[test]
fn normal_weights_come_back_within_the_bound_of_the_type() {
    let values = normal(256 * 64, 5);
    // A little above what the search reached when it was written; a worse one is a regression.
    let bounds = [
        (TensorType::F32, 0.0),
        (TensorType::F16, 0.0003),
        (TensorType::BF16, 0.0021),
        (TensorType::Q8_0, 0.006),
        (TensorType::Q6K, 0.018),
        (TensorType::Q5_0, 0.042),
        (TensorType::Q5_1, 0.037),
        (TensorType::Q5K, 0.038),
        (TensorType::Q4_0, 0.083),
        (TensorType::Q4_1, 0.075),
        (TensorType::Q4K, 0.076),
        (TensorType::Iq4Nl, 0.076),
        (TensorType::Q3K, 0.15),
        (TensorType::Q2K, 0.28),
    ];
    assert_eq!(bounds.len(), TensorType::WRITTEN.len());
    for (tensor_type, bound) in bounds {
        let error = relative_error(&values, &there_and_back(tensor_type, &values));
        assert!(error <= bound, "{tensor_type}: {error}, bound {bound}");
    }
}

#[test]
fn more_bits_give_a_smaller_error() {
    let values = normal(256 * 32, 6);
    let error = |tensor_type| relative_error(&values, &there_and_back(tensor_type, &values));
    let ladder = [
        TensorType::Q2K,
        TensorType::Q3K,
        TensorType::Q4K,
        TensorType::Q5K,
        TensorType::Q6K,
        TensorType::Q8_0,
    ];
    for pair in ladder.windows(2) {
        assert!(error(pair[1]) < 0.75 * error(pair[0]), "{} after {}", pair[1], pair[0]);
    }
    assert!(
        error(TensorType::Iq4Nl) < error(TensorType::Q4_0),
        "levels that are denser around zero fit a bell"
    );
}

#[test]
fn the_search_beats_rounding_with_the_largest_magnitude_as_the_end() {
    let values = normal(256 * 32, 8);
    for (tensor_type, end) in [(TensorType::Q4_0, -8.0_f32), (TensorType::Q5_0, -16.0)] {
        let plain: Vec<f32> = values
            .chunks(32)
            .flat_map(|block| {
                let peak = block
                    .iter()
                    .fold(0.0_f32, |peak, &v| if v.abs() > peak.abs() { v } else { peak });
                let d = peak / end;
                block.iter().map(move |v| d * (v / d).round().clamp(end, -end - 1.0))
            })
            .collect();
        let (searched, plain) = (
            relative_error(&values, &there_and_back(tensor_type, &values)),
            relative_error(&values, &plain),
        );
        assert!(searched < 0.97 * plain, "{tensor_type}: {searched}, plain {plain}");
    }
}

#[test]
fn blocks_without_spread_come_back() {
    for tensor_type in TensorType::WRITTEN {
        assert_eq!(there_and_back(tensor_type, &[0.0; 256]), [0.0; 256], "{tensor_type}");
        for constant in [1.0_f32, -1.0, 0.0123, -3e4] {
            let decoded = there_and_back(tensor_type, &[constant; 256]);
            let error = relative_error(&[constant; 256], &decoded);
            assert!(error < 0.005, "{tensor_type}: {constant} came back as {}", decoded[0]);
        }
    }
}

#[test]
fn one_outlier_keeps_its_size() {
    let mut values = normal(256, 9);
    values[100] = -5.0;
    for tensor_type in TensorType::WRITTEN {
        let decoded = there_and_back(tensor_type, &values);
        assert!(
            (decoded[100] + 5.0).abs() < 0.25,
            "{tensor_type}: -5 came back as {}",
            decoded[100]
        );
    }
}

#[test]
fn encoding_twice_gives_the_same_bytes() {
    let values = normal(512, 10);
    for tensor_type in TensorType::WRITTEN {
        assert_eq!(encode(tensor_type, &values), encode(tensor_type, &values), "{tensor_type}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused_by_element() {
    let mut out = [0xaa; 34];
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 7e4] {
        let mut values = [0.5; 32];
        values[9] = value;
        let error = quant::quantize(TensorType::Q8_0, &values, &mut out).unwrap_err();
        assert!(matches!(error, QuantError::OutOfRange { index: 9, .. }), "{error}");
        assert_eq!(out, [0xaa; 34], "untouched");
    }
    assert!(quant::quantize(TensorType::F32, &[f32::NAN], &mut [0; 4]).is_ok());
    assert!(matches!(
        quant::quantize(TensorType::Q8_0, &[0.0; 32], &mut [0; 33]),
        Err(QuantError::ByteLen { expected: 34, got: 33, .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Whatever the sizes, no value comes back farther off than the largest magnitude in the block,
    /// give or take 1e-6, about what steps of the smallest half float resolve.
    #[test]
    fn every_finite_block_encodes(
        values in proptest::collection::vec(-1.0_f32..=1.0, 256),
        exponents in proptest::collection::vec(-45_i32..=15, 1..8),
    ) {
        let values: Vec<f32> =
            values.iter().enumerate().map(|(i, v)| v * 2.0_f32.powi(exponents[i % exponents.len()])).collect();
        let peak = values.iter().fold(0.0_f32, |peak, v| peak.max(v.abs()));
        for tensor_type in TensorType::WRITTEN {
            for (value, decoded) in values.iter().zip(there_and_back(tensor_type, &values)) {
                prop_assert!((value - decoded).abs() <= peak + 1e-6, "{tensor_type}: {value} came \
                    back as {decoded}");
            }
        }
    }
}
