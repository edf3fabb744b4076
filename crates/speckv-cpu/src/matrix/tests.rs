//! Every format, every instruction set, every number of rows.

use std::num::NonZeroUsize;

use speckv_formats::{
    gguf::{Gguf, Writer},
    quant::{TensorType, WeightType, dequantize, nf4, quantize, random_blocks},
};

use super::{Input, Matrix, Output, PackError};
use crate::{
    kernels::{Isa, activation::Activations},
    pool::Pool,
};

const ROWS: usize = 37; // two whole groups and a part
const COLUMNS: usize = 512;
// Two whole tiles and a part on every instruction set, a strip of the matrix unit and more.
const MOST: usize = 70;

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
    let matrix = Matrix::pack(&file.tensor("w").unwrap(), None, None, &pool).unwrap();
    let exact = activations(0.3);
    let quantized = quantized(Isa::PORTABLE, &exact);
    Case { file, matrix, exact, quantized }
}

impl Case {
    fn product(&self, isa: Isa, first: usize, n: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; n * ROWS];
        let input = Input::new(&self.quantized, &self.exact).from_row(first);
        let output = Output::new(&mut out, ROWS);
        // SAFETY: one task.
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
        let got = case.product(Isa::PORTABLE, 0, MOST);
        for a in 0..MOST {
            // What the integer kernels are given: the activations after rounding. The remaining
            // error is float addition's.
            let x: Vec<f64> = (0..COLUMNS)
                .map(|k| match case.matrix.is_quantized() {
                    true => {
                        let scale = case.quantized.scales()[a * COLUMNS / 32 + k / 32].scale;
                        f64::from(case.quantized.q()[a * COLUMNS + k]) * f64::from(scale)
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
        let expected = bits(&case.product(Isa::PORTABLE, 0, MOST));
        for &isa in Isa::available() {
            assert_eq!(
                bits(&case.product(isa, 0, MOST)),
                expected,
                "{} on {isa}",
                tensor_type.name()
            );
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    for tensor_type in TensorType::ALL {
        let case = case(tensor_type);
        let alone: Vec<Vec<u32>> =
            (0..MOST).map(|a| bits(&case.product(Isa::PORTABLE, a, 1))).collect();
        for &isa in Isa::available() {
            for n in (1..=26).chain([33, 48, 63, 64, 65, MOST]) {
                for first in [0, MOST - n] {
                    let got = bits(&case.product(isa, first, n));
                    for (a, got) in got.chunks_exact(ROWS).enumerate() {
                        assert_eq!(
                            got,
                            alone[first + a],
                            "{} on {isa}, row {a} of {n}",
                            tensor_type.name()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn quantized_activations_are_the_same_on_every_instruction_set_and_near_the_exact_ones() {
    let exact = activations(1.7);
    let expected = quantized(Isa::PORTABLE, &exact);
    for &isa in Isa::available() {
        let got = quantized(isa, &exact);
        assert_eq!(got.q(), expected.q());
        assert_eq!(got.scales(), expected.scales());
        assert_eq!(got.sums(), expected.sums());
    }
    for (i, x) in exact.iter().enumerate() {
        let scale = expected.scales()[i / 32].scale;
        let error = (f32::from(expected.q()[i]) * scale - x).abs();
        assert!(error <= 0.5001 * scale, "value {i}: error {error} at scale {scale}");
        assert!(expected.q()[i] > -128);
    }
}

#[test]
fn packing_some_rows_gives_their_products() {
    let case = case(TensorType::Q4K);
    let pool = Pool::new(NonZeroUsize::MIN).unwrap();
    let only = [36, 0, 17, 17, 5];
    let part = Matrix::pack(&case.file.tensor("w").unwrap(), Some(&only), None, &pool).unwrap();
    let whole = case.product(Isa::PORTABLE, 0, 1);
    let mut out = vec![0.0; only.len()];
    let input = Input::new(&case.quantized, &case.exact);
    // SAFETY: one task.
    unsafe {
        part.multiply(Isa::PORTABLE, 0..part.groups(), input, 1, Output::new(&mut out, only.len()))
    };
    assert_eq!(out, only.map(|row| whole[row as usize]));
}

#[test]
fn packed_weights_take_the_bytes_of_the_file() {
    for tensor_type in TensorType::ALL {
        let file = 48 / 16 * 16 * COLUMNS / tensor_type.block_len() * tensor_type.block_bytes();
        let packed = 3 * super::group::group_bytes(tensor_type.into(), COLUMNS);
        // Entries of grids become an index of 3 or 4 bits per weight.
        let more = match tensor_type {
            TensorType::Q3K => 1.04,
            TensorType::Iq4Xs => 1.02,
            TensorType::Iq3S | TensorType::Tq1_0 => 1.26,
            TensorType::Iq3Xxs | TensorType::Iq2S => 1.41,
            TensorType::Iq2Xs | TensorType::Iq2Xxs => 1.61,
            TensorType::Iq1S | TensorType::Iq1M => 2.12,
            _ => 1.0,
        };
        assert!(
            packed as f64 <= file as f64 * more,
            "{}: {packed} bytes for {file}",
            tensor_type.name()
        );
    }
}

#[test]
fn an_activation_that_is_not_finite_gives_results_that_are_not() {
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

/// Weights like a trained model's, as floats in a file.
fn float_file() -> (Gguf, Vec<f32>) {
    let weights: Vec<f32> = (0..ROWS * COLUMNS)
        .map(|i| {
            (i as f32 * 0.911).sin() * (i as f32 * 0.0317).cos() * 0.05
                + if i % 97 == 0 { 0.2 } else { 0.0 }
        })
        .collect();
    let bytes = weights.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
    let mut writer = Writer::new();
    writer.tensor("w", &[COLUMNS, ROWS], TensorType::F32, bytes).unwrap();
    (Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap(), weights)
}

fn converted(file: Gguf, to: WeightType) -> Result<Case, PackError> {
    let pool = Pool::new(NonZeroUsize::MIN).unwrap();
    let matrix = Matrix::pack(&file.tensor("w").unwrap(), None, Some(to), &pool)?;
    let exact = activations(0.3);
    let quantized = quantized(Isa::PORTABLE, &exact);
    Ok(Case { file, matrix, exact, quantized })
}

#[test]
fn converting_at_load_is_packing_what_quantize_gives() {
    for tensor_type in TensorType::WRITTEN {
        let (file, weights) = float_file();
        let mut bytes = vec![0; tensor_type.byte_len(weights.len()).unwrap()];
        quantize(tensor_type, &weights, &mut bytes).unwrap();
        let mut writer = Writer::new();
        writer.tensor("w", &[COLUMNS, ROWS], tensor_type, bytes).unwrap();
        let stored = Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap();
        let (at_load, stored) = (
            converted(file, tensor_type.into()).unwrap(),
            converted(stored, tensor_type.into()).unwrap(),
        );
        assert_eq!(at_load.matrix.weight_type(), tensor_type.into());
        let product = |case: &Case| bits(&case.product(Isa::PORTABLE, 0, MOST));
        assert_eq!(product(&at_load), product(&stored), "{tensor_type}");
    }
}

#[test]
fn nf4_products_have_the_portable_bits_in_every_batch_and_are_near_those_of_the_definition() {
    let (file, weights) = float_file();
    let case = converted(file, WeightType::Nf4).unwrap();
    let values: Vec<f32> =
        weights.as_chunks().0.iter().flat_map(|block| nf4::quantize(block).values()).collect();
    let expected = case.product(Isa::PORTABLE, 0, MOST);
    for a in 0..MOST {
        for r in 0..ROWS {
            let terms = (0..COLUMNS).map(|k| {
                let scale = case.quantized.scales()[a * COLUMNS / 32 + k / 32].scale;
                let x = f64::from(case.quantized.q()[a * COLUMNS + k]) * f64::from(scale);
                (f64::from(values[r * COLUMNS + k]) * x, x.abs())
            });
            // Levels are rounded to 1/127 of the block's largest magnitude, here at most 0.25, and
            // that magnitude to a half float.
            let (sum, size) =
                terms.fold((0.0, 0.0), |(sum, size), (term, x)| (sum + term, size + x));
            let error = (f64::from(expected[a * ROWS + r]) - sum).abs();
            assert!(
                error <= 0.25 * (0.5 / 127.0 + 1e-3) * size + 1e-9,
                "row {r}, activation {a}: error {error} of {size}"
            );
        }
    }
    for &isa in Isa::available() {
        for n in 1..=MOST {
            assert_eq!(
                bits(&case.product(isa, MOST - n, n)),
                bits(&expected[(MOST - n) * ROWS..]),
                "{n} rows on {isa}"
            );
        }
    }
}

#[test]
fn rows_that_are_no_whole_number_of_blocks_and_weights_out_of_range_are_refused() {
    let file = |columns: usize, weight: f32| {
        let mut writer = Writer::new();
        writer
            .tensor("w", &[columns, 2], TensorType::F32, weight.to_le_bytes().repeat(2 * columns))
            .unwrap();
        Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap()
    };
    let error = converted(file(96, 1.0), WeightType::Nf4)
        .err()
        .expect("96 is no multiple of 64")
        .to_string();
    assert!(error.contains("64") && error.contains("96") && error.contains("NF4"), "{error}");
    for to in [TensorType::F16, TensorType::Q8_0, TensorType::Iq4Nl] {
        let error =
            converted(file(64, 1e6), to.into()).err().expect("1e6 is out of range").to_string();
        assert!(error.contains("65504"), "{error}");
    }
}
