//! What a device's driver does to the products' bits.
//!
//! Losslessness needs that a row has the same bits in every number of rows. Drivers may fuse or
//! reorder what the kernels say, differently in each kernel that they compile. The self-test
//! multiplies a small random matrix by 1 to 16 rows and compares each row's bits with those of the
//! row alone; tiles beyond the first one that differs are not used. It also compares the results
//! with the format's own unpacking in double precision.

use speckv_formats::quant::{self, QuantError, WeightType, nf4, random_blocks};

use crate::{
    device::{Buffer, Device, OFFSET_STEP},
    error::GpuError,
    format::GROUP,
    matrix::{BuildError, Input, Matrix, Multiply, Output},
    report::FormatReport,
    shader::{Epilogue, MAX_TILE, Shader},
};

/// Rows of the matrix: more than two groups.
const ROWS: usize = 70;
/// Columns of the matrix: two units of the largest block.
const COLUMNS: usize = 512;
/// The matrix of the test.
struct Sample {
    bytes: Vec<Vec<u8>>,
    values: Vec<Vec<f64>>, // as the kernels take them
}

impl Sample {
    fn new(weight_type: WeightType) -> Result<Self, QuantError> {
        let mut sample = Sample { bytes: Vec::new(), values: Vec::new() };
        for row in 0..ROWS {
            let seed = row as u64 + 1;
            let (mut bytes, mut values) = (Vec::new(), vec![0f32; COLUMNS]);
            let values = match weight_type {
                WeightType::File(tensor_type) => {
                    let blocks = COLUMNS / tensor_type.block_len();
                    bytes = random_blocks(tensor_type, blocks, seed);
                    quant::dequantize(tensor_type, &bytes, &mut values)?;
                    values.into_iter().map(f64::from).collect()
                }
                WeightType::Nf4 => {
                    quant::encode(&random(COLUMNS, seed), weight_type, &mut bytes)?;
                    // Levels in steps of 1/127, as the kernels take them.
                    let blocks = bytes.as_chunks::<{ nf4::BYTES }>().0.iter();
                    let level = |q: u8| f64::from((nf4::LEVELS[usize::from(q)] * 127.0).round());
                    blocks
                        .flat_map(|block| {
                            let block = nf4::unpack(block);
                            let scale = half::f16::from_f32(block.absmax / 127.0).to_f64();
                            block.q.map(|q| scale * level(q))
                        })
                        .collect()
                }
            };
            sample.bytes.push(bytes);
            sample.values.push(values);
        }
        Ok(sample)
    }
}

/// Numbers in -1..1, the same for the same seed.
fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Activations of the test on the device.
struct Bench<'d> {
    device: &'d Device,
    entries: Buffer,
    input: Input,
}

impl<'d> Bench<'d> {
    fn new(device: &'d Device) -> Result<Self, GpuError> {
        let blocks = COLUMNS / GROUP;
        let bench = Bench {
            device,
            entries: device.uniforms("entries", 1)?,
            input: Input::new(device, MAX_TILE, blocks)?,
        };
        let x = random(MAX_TILE * COLUMNS, 99);
        let x = device.filled("x", bytemuck::cast_slice(&x))?;
        let weight = device.filled("weight", &[1f32.to_bits(); COLUMNS])?;
        let shape = [COLUMNS as u32, blocks as u32, 1e-6f32.to_bits()];
        let shape = device.uniform("shape", &shape)?;
        let Input { q, factors, exact } = &bench.input;
        let kernel = device.kernel(&Shader::norm(false))?;
        let buffers = [&bench.entries, &shape, &x, &weight, exact, q, factors];
        let bindings = kernel.bind_whole(device, &buffers)?;
        bench.rows(0, MAX_TILE);
        let mut recorder = device.recorder();
        recorder.dispatch(&kernel, &bindings, 0, [MAX_TILE, 1, 1]);
        device.run(recorder)?;
        Ok(bench)
    }

    /// Which rows the next dispatch works on.
    fn rows(&self, first: usize, n: usize) {
        self.device.write(&self.entries, 0, &[first as u32, n as u32, 0, 0]);
        const { assert!(OFFSET_STEP >= 16) };
    }

    /// The words of `to` after a product of `n` rows from row `first` on.
    fn words(
        &self,
        multiply: &Multiply,
        to: &Buffer,
        row_words: usize,
        (first, n): (usize, usize),
    ) -> Result<Vec<u32>, GpuError> {
        self.rows(first, n);
        let mut recorder = self.device.recorder();
        multiply.record(&mut recorder, 0, n)?;
        self.device.run(recorder)?;
        self.device.read(to, (first * row_words) as u64 * 4, n * row_words)
    }

    /// The largest tile up to which every row has its bits in every number of rows.
    fn largest_tile(
        &self,
        multiply: &Multiply,
        to: &Buffer,
        row_words: usize,
    ) -> Result<usize, GpuError> {
        let alone = (0..MAX_TILE).map(|row| self.words(multiply, to, row_words, (row, 1)));
        let alone = alone.collect::<Result<Vec<_>, _>>()?.concat();
        for n in 2..=MAX_TILE {
            if self.words(multiply, to, row_words, (0, n))? != alone[..n * row_words] {
                return Ok(n - 1);
            }
        }
        Ok(MAX_TILE)
    }

    /// Activations as the products take them, `[MAX_TILE, COLUMNS]`.
    fn activations(&self, integers: bool) -> Result<Vec<f64>, GpuError> {
        let count = MAX_TILE * COLUMNS;
        let float = |word: u32| f64::from(f32::from_bits(word));
        if !integers {
            let words = self.device.read(&self.input.exact, 0, count)?;
            return Ok(words.into_iter().map(float).collect());
        }
        let q = self.device.read(&self.input.q, 0, count / 4)?;
        let factors = self.device.read(&self.input.factors, 0, count / 8)?;
        let q = q.iter().flat_map(|word| word.to_le_bytes());
        Ok(q.enumerate().map(|(i, q)| f64::from(q as i8) * float(factors[i / 32 * 4])).collect())
    }
}

/// Largest error of results `[n, ROWS]`.
fn largest_error(results: &[u32], activations: &[f64], sample: &Sample) -> f64 {
    let mut largest = 0f64;
    for (row, x) in results.chunks_exact(ROWS).zip(activations.chunks_exact(COLUMNS)) {
        for (result, weights) in row.iter().zip(&sample.values) {
            let terms = weights.iter().zip(x).map(|(w, x)| w * x);
            let size: f64 = terms.clone().map(f64::abs).sum();
            let error = (f64::from(f32::from_bits(*result)) - terms.sum::<f64>()).abs();
            // What is no number counts as infinitely wrong.
            let error = if error.is_finite() { error / size.max(1e-30) } else { f64::INFINITY };
            largest = largest.max(error);
        }
    }
    largest
}

/// Tests the products of one format.
///
/// # Errors
/// A device that fails, or a kernel that its driver refuses.
pub fn check_format(device: &Device, weight_type: WeightType) -> Result<FormatReport, BuildError> {
    let bench = Bench::new(device)?;
    let sample = Sample::new(weight_type)?;
    let append = |row: usize, out: &mut Vec<u8>| {
        out.extend_from_slice(&sample.bytes[row]);
        Ok(())
    };
    let matrix = Matrix::build(device, weight_type, [ROWS, COLUMNS], &append)?;
    let to = device.buffer("results", (MAX_TILE * ROWS) as u64 * 4)?;
    let factors = device.buffer("results", (MAX_TILE * ROWS) as u64 * 4)?;
    let mut output = Output {
        to: &to,
        factors: None,
        first: 0,
        stride: ROWS,
        epilogue: Epilogue::Store,
        cap: 0.0,
        factor: 1.0,
        bias: None,
    };
    let multiply =
        |output| Multiply::untested(device, &bench.entries, &matrix, &bench.input, output);
    let stored = multiply(output)?;
    let mut largest_tile = bench.largest_tile(&stored, &to, ROWS)?;
    let results = bench.words(&stored, &to, ROWS, (0, MAX_TILE.min(largest_tile)))?;
    let activations = bench.activations(weight_type.is_quantized())?;
    let error = largest_error(&results, &activations, &sample);
    // Gate and up, as whole groups of 32: two blocks of integers per row.
    output.stride = 2 * GROUP;
    output.factors = Some(&factors);
    output.epilogue = Epilogue::GluQuantized(true);
    let gated = multiply(output)?;
    largest_tile = largest_tile.min(bench.largest_tile(&gated, &to, 2 * GROUP / 4)?);
    Ok(FormatReport { format: weight_type.name().to_owned(), largest_tile, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_in_parts_of_the_terms_and_a_broken_result_is_infinitely_wrong() {
        let sample = Sample::new(WeightType::Nf4).unwrap();
        let x: Vec<f64> = random(COLUMNS, 3).into_iter().map(f64::from).collect();
        let exact =
            |weights: &Vec<f64>| -> f64 { weights.iter().zip(&x).map(|(w, x)| w * x).sum() };
        let mut results: Vec<u32> =
            sample.values.iter().map(|weights| (exact(weights) as f32).to_bits()).collect();
        assert!(largest_error(&results, &x, &sample) < 1e-6);
        results[3] = (f32::from_bits(results[3]) + 1.0).to_bits();
        assert!(largest_error(&results, &x, &sample) > 1e-3);
        results[3] = f32::NAN.to_bits();
        assert!(largest_error(&results, &x, &sample).is_infinite());
    }
}
