//! A product as it is recorded: a matrix bound to its input and its output.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use super::{Matrix, Part};
use crate::{
    device::{Bindings, Buffer, Device, Kernel, Recorder},
    error::GpuError,
    format::{Format, GROUP},
    shader::{Epilogue, MAX_TILE, Product, Slices, tile_for},
};

/// From so many rows on, a lane takes two rows of weights: fewer rows give too few workgroups.
const PAIR_ROWS: usize = 8192;

/// Activations of a product, once in integers and once as they were.
#[derive(Debug, Clone)]
pub struct Input {
    /// Integers, four to a word, `[rows, blocks, 8]`.
    pub q: Buffer,
    /// What each block's integers stand for, `[rows, blocks, 4]`.
    pub factors: Buffer,
    /// Exact values, `[rows, blocks, 32]`.
    pub exact: Buffer,
}

impl Input {
    /// Room for rows of `blocks` blocks of 32 columns.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`].
    pub fn new(device: &Device, rows: usize, blocks: usize) -> Result<Self, GpuError> {
        let values = (rows * blocks) as u64 * 32;
        Ok(Input {
            q: device.buffer("activations", values)?,
            factors: device.buffer("activations", values / 2)?,
            exact: device.buffer("activations", values * 4)?,
        })
    }
}

/// Where a product's results go.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// Values `[rows, stride]`, or the integers of the next product's input.
    pub to: &'a Buffer,
    /// For integers, the factors of the next product's input.
    pub factors: Option<&'a Buffer>,
    /// Column of the first result.
    pub first: usize,
    /// Columns per row.
    pub stride: usize,
    /// What happens to the results.
    pub epilogue: Epilogue,
    /// Soft cap, for [`Epilogue::Cap`].
    pub cap: f32,
    /// Results are multiplied by it before anything else happens to them; not for gate and up.
    pub factor: f32,
    /// Added first, one value per row of the matrix.
    pub bias: Option<&'a Buffer>,
}

/// A matrix bound to its input and output.
#[derive(Debug)]
pub struct Multiply {
    format: Format,
    slices: Slices,
    epilogue: Epilogue,
    bias: bool,
    rows: usize,
    largest_tile: usize,
    /// Bindings, first row of the matrix, groups of 32 rows.
    parts: Vec<(Bindings, usize, usize)>,
    kernels: [OnceLock<Arc<Kernel>>; MAX_TILE + 1],
}

impl Multiply {
    /// Binds `matrix` to its input and output. `entries` are the entries at binding 0.
    ///
    /// # Errors
    /// No memory, or what the driver refuses.
    pub fn new(
        device: &Device,
        entries: &Buffer,
        matrix: &Matrix,
        input: &Input,
        output: Output<'_>,
    ) -> Result<Self, GpuError> {
        let largest_tile = device.largest_tile(matrix.weight_type);
        Ok(Multiply { largest_tile, ..Self::untested(device, entries, matrix, input, output)? })
    }

    /// As [`new`](Self::new), with tiles of every size, whatever the self-test has found.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn untested(
        device: &Device,
        entries: &Buffer,
        matrix: &Matrix,
        input: &Input,
        output: Output<'_>,
    ) -> Result<Self, GpuError> {
        let mut multiply = Multiply {
            format: matrix.format,
            slices: Slices::new(matrix.blocks(), device.invocations()),
            epilogue: output.epilogue,
            bias: output.bias.is_some(),
            rows: matrix.rows,
            largest_tile: MAX_TILE,
            parts: Vec::new(),
            kernels: std::array::from_fn(|_| OnceLock::new()),
        };
        let kernel = multiply.kernel(device, 1)?;
        for part in &matrix.parts {
            let bindings = bind(device, &kernel, entries, matrix, part, input, output)?;
            multiply.parts.push((bindings, part.first_row, part.groups));
        }
        Ok(multiply)
    }

    /// The kernel for tiles of so many rows.
    fn product(&self, tile: usize) -> Product {
        let pair = self.epilogue.is_glu() || (self.rows >= PAIR_ROWS && tile <= 8);
        Product {
            format: self.format,
            tile,
            slices: self.slices,
            groups: if pair { 2 } else { 1 },
            epilogue: self.epilogue,
            bias: self.bias,
        }
    }

    fn kernel(&self, device: &Device, tile: usize) -> Result<Arc<Kernel>, GpuError> {
        if let Some(kernel) = self.kernels[tile].get() {
            return Ok(Arc::clone(kernel));
        }
        let kernel = device.kernel(&self.product(tile).shader())?;
        Ok(Arc::clone(self.kernels[tile].get_or_init(|| kernel)))
    }

    /// Records the product of the `n` rows that `entry` names.
    ///
    /// # Errors
    /// A kernel that the driver refuses to compile.
    pub fn record(
        &self,
        recorder: &mut Recorder<'_>,
        entry: u32,
        n: usize,
    ) -> Result<(), GpuError> {
        self.record_without(recorder, entry, n, &(0..0))
    }

    /// As [`record`](Self::record), without the parts of the matrix whose rows are all in `omitted`.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn record_without(
        &self,
        recorder: &mut Recorder<'_>,
        entry: u32,
        n: usize,
        omitted: &Range<usize>,
    ) -> Result<(), GpuError> {
        let tile = tile_for(n, self.largest_tile);
        let kernel = self.kernel(recorder.device(), tile)?;
        let groups = self.product(tile).groups;
        for (bindings, first, part_groups) in &self.parts {
            if omitted.start <= *first && first + part_groups * GROUP <= omitted.end {
                continue;
            }
            let grid = [n.div_ceil(tile), part_groups / groups, 1];
            recorder.dispatch(&kernel, bindings, entry, grid);
        }
        Ok(())
    }
}

/// Binds one part.
fn bind(
    device: &Device,
    kernel: &Kernel,
    entries: &Buffer,
    matrix: &Matrix,
    part: &Part,
    input: &Input,
    output: Output<'_>,
) -> Result<Bindings, GpuError> {
    // Gate and up take turns in groups: their results are half as many columns.
    let halve = if output.epilogue.is_glu() { 2 } else { 1 };
    let first = output.first + part.first_row / halve;
    let rows = matrix.rows.saturating_sub(part.first_row).min(part.groups * GROUP);
    let shape = [
        matrix.blocks() as u32,
        rows as u32,
        first as u32,
        output.stride as u32,
        output.cap.to_bits(),
        output.factor.to_bits(),
    ];
    let shape = device.uniform("shape", &shape)?;
    let plane = |i: usize| (&part.buffer, part.planes[i].0, part.planes[i].1);
    let whole = |buffer| (buffer, 0, Buffer::len(buffer));
    let mut buffers = vec![(entries, 0, crate::device::OFFSET_STEP), whole(&shape), plane(0)];
    if matrix.format.is_integer() {
        buffers.extend((1..4).map(plane).filter(|(_, _, bytes)| *bytes > 0));
        buffers.extend([whole(&input.q), whole(&input.factors)]);
    } else {
        buffers.push(whole(&input.exact));
    }
    buffers.push(whole(output.to));
    buffers.extend(output.factors.map(whole));
    // A part's rows have their own piece of the bias.
    let piece = output.bias.map(|bias| {
        let offset = part.first_row as u64 * 4;
        (bias, offset, bias.len() - offset)
    });
    buffers.extend(piece);
    kernel.bind(device, &buffers)
}
