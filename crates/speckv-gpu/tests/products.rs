//! Products on a device: against the formats' own unpacking, and for equal bits.

mod support;

use speckv_formats::quant::{self, TensorType, WeightType, random_blocks};
use speckv_gpu::{
    device::{Buffer, Device},
    matrix::{Input, Matrix, Multiply, Output},
    shader::{Epilogue, Shader},
};
use support::{bits, device, floats, random};

const EPSILON: f32 = 1e-6;

fn weight_types() -> Vec<WeightType> {
    TensorType::WRITTEN.map(WeightType::File).into_iter().chain([WeightType::Nf4]).collect()
}

/// A random matrix's rows: bytes of the type, and the values that they stand for.
struct Weights {
    bytes: Vec<Vec<u8>>,
    values: Vec<Vec<f32>>,
}

fn random_weights(weight_type: WeightType, rows: usize, columns: usize) -> Weights {
    let mut weights = Weights { bytes: Vec::new(), values: Vec::new() };
    for row in 0..rows {
        let (bytes, values) = match weight_type {
            WeightType::Nf4 => {
                let mut bytes = Vec::new();
                quant::encode(&random(columns, row as u64 + 7), weight_type, &mut bytes).unwrap();
                let blocks = bytes.chunks_exact(quant::nf4::BYTES);
                // The kernels take the levels in steps of 1/127 of the largest weight.
                let values = blocks.flat_map(|block| {
                    let block = quant::nf4::unpack(block.try_into().unwrap());
                    let scale = half(block.absmax / 127.0);
                    let level = |q: u8| (quant::nf4::LEVELS[usize::from(q)] * 127.0).round();
                    block.q.map(|q| scale * level(q))
                });
                (bytes.clone(), values.collect())
            }
            WeightType::File(tensor_type) => {
                let blocks = columns / tensor_type.block_len();
                let bytes = random_blocks(tensor_type, blocks, row as u64 + 1);
                let mut values = vec![0.0; columns];
                quant::dequantize(tensor_type, &bytes, &mut values).unwrap();
                (bytes, values)
            }
        };
        weights.bytes.push(bytes);
        weights.values.push(values);
    }
    weights
}

fn half(value: f32) -> f32 {
    half::f16::from_f32(value).to_f32()
}

/// A device with everything that a product needs around it.
struct Bench {
    device: std::sync::Arc<Device>,
    entries: Buffer,
    input: Input,
    rows: usize,
    columns: usize,
}

impl Bench {
    /// Room for `rows` rows of `columns` values, with values of the seed, through a norm with
    /// weights of 1.
    fn new(rows: usize, columns: usize, seed: u64) -> Option<Self> {
        let device = device()?;
        let blocks = columns.div_ceil(32);
        let width = blocks * 32;
        let entries = device.uniforms("entries", 8).unwrap();
        let mut x = vec![0.0; rows * width];
        for (row, values) in x.chunks_exact_mut(width).enumerate() {
            values[..columns].copy_from_slice(&random(columns, seed + row as u64));
        }
        let x = device.filled("x", &bits(&x)).unwrap();
        let weight = device.filled("weight", &bits(&vec![1.0; width])).unwrap();
        let input = Input::new(&device, rows, blocks).unwrap();
        let shape = [columns as u32, blocks as u32, EPSILON.to_bits()];
        let shape = device.uniform("shape", &shape).unwrap();
        let norm = device.kernel(&Shader::norm(false)).unwrap();
        let bindings = norm
            .bind_whole(
                &device,
                &[&entries, &shape, &x, &weight, &input.exact, &input.q, &input.factors],
            )
            .unwrap();
        let mut recorder = device.recorder();
        device.write(&entries, 0, &[0, rows as u32, 0, 0]);
        recorder.dispatch(&norm, &bindings, 0, [rows, 1, 1]);
        device.run(recorder).unwrap();
        Some(Bench { device, entries, input, rows, columns })
    }

    /// The activations in f64 as the integers have them, `[rows, columns]`, and as they were.
    fn activations(&self) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let width = self.columns.div_ceil(32) * 32;
        let device = &self.device;
        let q = device.read(&self.input.q, 0, self.rows * width / 4).unwrap();
        let factors = device.read(&self.input.factors, 0, self.rows * width / 8).unwrap();
        let exact = floats(&device.read(&self.input.exact, 0, self.rows * width).unwrap());
        let integers: Vec<f64> = (0..self.rows * width)
            .map(|i| {
                let byte = q[i / 4].to_le_bytes()[i % 4] as i8;
                f64::from(byte) * f64::from(f32::from_bits(factors[i / 32 * 4]))
            })
            .collect();
        let rows = |values: Vec<f64>| {
            values.chunks_exact(width).map(|row| row[..self.columns].to_vec()).collect()
        };
        (rows(integers), rows(exact.into_iter().map(f64::from).collect()))
    }

    fn matrix(&self, weight_type: WeightType, weights: &Weights) -> Matrix {
        let append = |row: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(&weights.bytes[row]);
            Ok(())
        };
        let shape = [weights.bytes.len(), self.columns];
        Matrix::build(&self.device, weight_type, shape, &append).unwrap()
    }

    /// Rows `first` to `first + n` of the product, `[n, rows of the matrix]`.
    fn multiply(&self, matrix: &Matrix, first: usize, n: usize) -> Vec<Vec<f32>> {
        let stride = matrix.rows();
        let device = &self.device;
        let to = device.buffer("out", (self.rows * stride) as u64 * 4).unwrap();
        let output = Output {
            to: &to,
            factors: None,
            first: 0,
            stride,
            epilogue: Epilogue::Store,
            cap: 0.0,
            factor: 1.0,
            bias: None,
        };
        let multiply = Multiply::new(device, &self.entries, matrix, &self.input, output).unwrap();
        device.write(&self.entries, 0, &[first as u32, n as u32, 0, 0]);
        let mut recorder = device.recorder();
        multiply.record(&mut recorder, 0, n).unwrap();
        device.run(recorder).unwrap();
        let out = floats(&device.read(&to, (first * stride) as u64 * 4, n * stride).unwrap());
        out.chunks_exact(stride).map(<[f32]>::to_vec).collect()
    }
}

#[test]
fn quantized_activations_are_within_half_a_step() {
    let Some(bench) = Bench::new(3, 1100, 5) else { return };
    let (integers, exact) = bench.activations();
    for (integers, exact) in integers.iter().zip(&exact) {
        let mean = exact.iter().map(|x| x * x).sum::<f64>() / exact.len() as f64;
        assert!((mean - 1.0).abs() < 1e-3, "the norm's mean square is {mean}");
        for (block, exact) in integers.chunks(32).zip(exact.chunks(32)) {
            let step = exact.iter().fold(0f64, |peak, x| peak.max(x.abs())) / 127.0;
            for (integer, exact) in block.iter().zip(exact) {
                assert!((integer - exact).abs() <= 0.5001 * step, "{integer} for {exact}");
            }
        }
    }
}

#[test]
fn every_format_multiplies_as_its_unpacking_says() {
    for weight_type in weight_types() {
        // Rows that fill no group, columns of several slices and of units that are not whole.
        let columns = if weight_type.block_len() == 256 { 768 } else { 448 };
        let Some(bench) = Bench::new(2, columns, 3) else { return };
        let weights = random_weights(weight_type, 83, columns);
        let matrix = bench.matrix(weight_type, &weights);
        let (integers, exact) = bench.activations();
        let inputs = if weight_type.is_quantized() { integers } else { exact };
        let got = bench.multiply(&matrix, 0, 2);
        for (got, x) in got.iter().zip(&inputs) {
            for (row, (got, weights)) in got.iter().zip(&weights.values).enumerate() {
                let terms = weights.iter().zip(x).map(|(w, x)| f64::from(*w) * x);
                let expected: f64 = terms.clone().sum();
                let size: f64 = terms.map(f64::abs).sum();
                let error = (f64::from(*got) - expected).abs();
                assert!(error <= 4e-6 * size, "{weight_type} row {row}: {got} for {expected}");
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_for_every_number_of_rows_and_every_neighbour() {
    for weight_type in weight_types() {
        let columns = if weight_type.block_len() == 256 { 512 } else { 320 };
        let Some(bench) = Bench::new(35, columns, 11) else { return };
        let weights = random_weights(weight_type, 70, columns);
        let matrix = bench.matrix(weight_type, &weights);
        let alone: Vec<Vec<u32>> =
            (0..35).map(|row| bits(&bench.multiply(&matrix, row, 1)[0])).collect();
        // Every number of rows for a format of each kind; a few for those that share its code.
        let all = ["Q4_K", "Q6_K", "F16"].contains(&weight_type.name());
        let numbers: Vec<usize> = if all { (2..=17).collect() } else { vec![2, 3, 5, 9] };
        for (first, n) in numbers.into_iter().map(|n| (35 - n, n)).chain([(0, 35), (3, 19)]) {
            for (row, got) in bench.multiply(&matrix, first, n).iter().enumerate() {
                assert!(bits(got) == alone[first + row], "{weight_type}: row {row} of {n} rows");
            }
        }
    }
}

#[test]
fn the_self_test_passes_on_this_device() {
    let Some(device) = device() else { return };
    for weight_type in [TensorType::Q4K.into(), TensorType::BF16.into(), WeightType::Nf4] {
        let report = speckv_gpu::self_test::check_format(&device, weight_type).unwrap();
        assert!(report.is_accurate(), "{report:?}");
        assert_eq!(report.largest_tile, speckv_gpu::shader::MAX_TILE, "{report:?}");
    }
}
