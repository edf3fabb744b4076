//! Every format, every instruction set, every number of rows.

use std::num::NonZeroUsize;

use super::{Input, Matrix, Output};
use crate::{
    gguf::{Gguf, TensorType, Writer},
    kernels::{Isa, activation::Activations},
    pool::Pool,
    quant::{dequantize, random_blocks},
};

const ROWS: usize = 37; // two whole groups and a part
const COLUMNS: usize = 512;
const MOST: usize = 26; // two whole tiles and a part

struct Case {
    file: Gguf,
    matrix: Matrix,
    exact: Vec<f32>, // [MOST, COLUMNS]
    quantized: Activations,
}

fn activations(seed: f32) -> Vec<f32> {
    // Rows of very different sizes, one of zeros, and an outlier, as real activations have.
    let mut x: Vec<f32> = (0..MOST * COLUMNS)
        .map(|i| {
            ((i as f32 * 0.7131 + seed).sin() * 3.0 + (i as f32 * 0.0137).cos())
                * 10f32.powi(i as i32 / COLUMNS as i32 % 5 - 2)
        })
        .collect();
    x[3 * COLUMNS..4 * COLUMNS].fill(0.0);
    x[5 * COLUMNS + 17] = 4000.0;
    x
}

fn quantized(isa: Isa, exact: &[f32]) -> Activations {
    let mut activations = Activations::default();
    activations.reshape(MOST, COLUMNS);
    let parts = activations.parts();
    for (row, x) in exact.chunks_exact(COLUMNS).enumerate() {
        // SAFETY: one row at a time.
        unsafe { isa.quantize(x, parts, row) };
    }
    activations
}

fn case(tensor_type: TensorType) -> Case {
    let bytes = random_blocks(tensor_type, ROWS * COLUMNS / tensor_type.block_len(), 7);
    let mut writer = Writer::new();
    writer.tensor("w", &[COLUMNS, ROWS], tensor_type, bytes).unwrap();
    let file = Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap();
    let pool = Pool::new(NonZeroUsize::MIN).unwrap();
    let matrix = Matrix::pack(&file.tensor("w").unwrap(), None, &pool).unwrap();
    let exact = activations(0.3);
    let quantized = quantized(Isa::Portable, &exact);
    Case { file, matrix, exact, quantized }
}

impl Case {
    fn product(&self, isa: Isa, first: usize, n: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; n * ROWS];
        let input = Input { quantized: &self.quantized, exact: &self.exact, first };
        let output = Output::new(&mut out, ROWS);
        // SAFETY: `out` has n rows of ROWS columns, and `isa` is available.
        unsafe { self.matrix.multiply(isa, 0..self.matrix.groups(), input, n, output) };
        out
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn products_are_near_the_exact_ones_of_the_decoded_weights() {
    for tensor_type in TensorType::ALL {
        let case = case(tensor_type);
        let mut weights = vec![0.0; ROWS * COLUMNS];
        dequantize(tensor_type, case.file.tensor("w").unwrap().bytes, &mut weights).unwrap();
        let got = case.product(Isa::Portable, 0, MOST);
        for a in 0..MOST {
            // What the integer kernels are given: the activations after rounding. The remaining error is float addition's.
            let x: Vec<f64> = (0..COLUMNS)
                .map(|k| match case.matrix.is_quantized() {
                    true => {
                        let scale = case.quantized.scale[a * COLUMNS / 32 + k / 32];
                        f64::from(case.quantized.q[a * COLUMNS + k]) * f64::from(scale)
                    }
                    false => f64::from(case.exact[a * COLUMNS + k]),
                })
                .collect();
            for r in 0..ROWS {
                let terms = (0..COLUMNS).map(|k| f64::from(weights[r * COLUMNS + k]) * x[k]);
                let size: f64 = terms.clone().map(f64::abs).sum();
                let error = (f64::from(got[a * ROWS + r]) - terms.sum::<f64>()).abs();
                assert!(
                    error <= 1e-5 * size + 1e-12,
                    "{} row {r} activation {a}: error {error} of {size}",
                    tensor_type.name()
                );
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_portable_bits() {
    for tensor_type in TensorType::ALL {
        let case = case(tensor_type);
        let expected = bits(&case.product(Isa::Portable, 0, MOST));
        for &isa in Isa::available() {
            assert_eq!(bits(&case.product(isa, 0, MOST)), expected, "{} on {isa}", tensor_type.name());
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    for tensor_type in TensorType::ALL {
        let case = case(tensor_type);
        let alone: Vec<Vec<u32>> = (0..MOST).map(|a| bits(&case.product(Isa::Portable, a, 1))).collect();
        for &isa in Isa::available() {
            for n in 1..=MOST {
                for first in [0, MOST - n] {
                    let got = bits(&case.product(isa, first, n));
                    for (a, got) in got.chunks_exact(ROWS).enumerate() {
                        assert_eq!(got, alone[first + a], "{} on {isa}, row {a} of {n}", tensor_type.name());
                    }
                }
            }
        }
    }
}

#[test]
fn quantized_activations_are_the_same_on_every_instruction_set_and_near_the_exact_ones() {
    let exact = activations(1.7);
    let expected = quantized(Isa::Portable, &exact);
    for &isa in Isa::available() {
        let got = quantized(isa, &exact);
        assert_eq!(got.q, expected.q);
        assert_eq!(bits(&got.scale), bits(&expected.scale));
        assert_eq!((got.sum16, got.sum32), (expected.sum16.clone(), expected.sum32.clone()));
        assert_eq!(bits(&got.scaled_sum16), bits(&expected.scaled_sum16));
        assert_eq!(bits(&got.scaled_sum32), bits(&expected.scaled_sum32));
    }
    for (i, x) in exact.iter().enumerate() {
        let scale = expected.scale[i / 32];
        let error = (f32::from(expected.q[i]) * scale - x).abs();
        assert!(error <= 0.5001 * scale, "value {i}: error {error} at scale {scale}");
        assert!(expected.q[i] > -128);
    }
}

#[test]
fn packing_some_rows_gives_their_products() {
    let case = case(TensorType::Q4K);
    let pool = Pool::new(NonZeroUsize::MIN).unwrap();
    let only = [36, 0, 17, 17, 5];
    let part = Matrix::pack(&case.file.tensor("w").unwrap(), Some(&only), &pool).unwrap();
    let whole = case.product(Isa::Portable, 0, 1);
    let mut out = vec![0.0; only.len()];
    let input = Input { quantized: &case.quantized, exact: &case.exact, first: 0 };
    // SAFETY: one row of as many columns as the matrix has rows.
    unsafe { part.multiply(Isa::Portable, 0..part.groups(), input, 1, Output::new(&mut out, only.len())) };
    assert_eq!(out, only.map(|row| whole[row as usize]));
}

#[test]
fn packed_weights_take_the_bytes_of_the_file() {
    for tensor_type in TensorType::ALL {
        let file = 48 / 16 * 16 * COLUMNS / tensor_type.block_len() * tensor_type.block_bytes();
        let packed = 3 * super::group_bytes(tensor_type, COLUMNS);
        let more = if tensor_type == TensorType::Q3K { 1.04 } else { 1.0 };
        assert!(packed as f64 <= file as f64 * more, "{}: {packed} bytes for {file}", tensor_type.name());
    }
}

#[test]
fn a_broken_activation_comes_out_as_broken() {
    for &isa in Isa::available() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut case = case(TensorType::Q4K);
            case.exact[2 * COLUMNS + 77] = bad;
            case.quantized = quantized(isa, &case.exact);
            assert!(case.product(isa, 2, 1).iter().any(|x| !x.is_finite()), "{bad} on {isa}");
            assert!(case.product(isa, 1, 1).iter().all(|x| x.is_finite()), "{bad} on {isa}");
        }
    }
}
