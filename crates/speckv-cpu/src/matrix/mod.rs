//! Weight matrices, packed for the kernels.

use std::ops::Range;

use speckv_formats::quant::{TensorType, WeightType};

use crate::{
    kernels::{
        Isa, STRIP,
        activation::Activations,
        dense::{self, DenseArgs},
        format,
        simd::GROUP,
        tile::TileArgs,
    },
    memory::Memory,
};

mod group;
mod pack;
#[cfg(test)]
mod tests;

pub use group::bits_per_element;
pub use pack::PackError;

/// A matrix [rows, columns] whose products with activations are `out[a][r] = sum over k of w[r][k]
/// x[a][k]`.
///
/// Rows are interleaved in groups of 16 and keep the bits that they have in the file, unless they
/// are to have another type; see [`crate::kernels::format`].
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    weight_type: WeightType,
    group_bytes: usize,
    memory: Memory,
}

/// Activations of a product: the same values once quantized, for integer kernels, and once as they
/// were, for float weights.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Quantized rows.
    pub quantized: &'a Activations,
    /// Exact rows, [rows, columns].
    pub exact: &'a [f32],
    /// The row that counts as the first.
    pub first: usize,
}

/// A destination that tasks write disjoint columns of.
#[derive(Clone, Copy)]
pub struct Output {
    start: *mut f32,
    stride: usize,
}

// SAFETY: tasks write disjoint columns, and nobody reads before all have ended.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// The matrix `values`, [rows, stride].
    pub fn new(values: &mut [f32], stride: usize) -> Self {
        Output { start: values.as_mut_ptr(), stride }
    }

    /// A small matrix [rows, stride] that stands for the columns from `first` on.
    pub(crate) fn window(values: &mut [f32], stride: usize, first: usize) -> Self {
        Output { start: values.as_mut_ptr().wrapping_sub(first), stride }
    }

    /// Where `row`, `column` lies, if it is inside.
    pub(crate) fn at(&self, row: usize, column: usize) -> *mut f32 {
        self.start.wrapping_add(row * self.stride + column)
    }
}

impl Matrix {
    /// Number of outputs.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of inputs.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of groups of 16 rows; the last may be filled up with zeros.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    /// Bytes of a group.
    pub(crate) fn group_bytes(&self) -> u64 {
        self.group_bytes as u64
    }

    /// Bytes that a product reads.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.memory.len()
    }

    /// How the weights are stored.
    #[must_use]
    pub fn weight_type(&self) -> WeightType {
        self.weight_type
    }

    /// Whether the kernels read quantized activations, not exact ones.
    #[must_use]
    pub fn is_quantized(&self) -> bool {
        self.weight_type.is_quantized()
    }

    /// Columns `16 * groups.start..` of the product of `input`'s first `n` rows, written to `out`'s
    /// same columns.
    ///
    /// # Safety
    /// `out` has `n` rows of at least `self.rows()` columns, and nobody else touches those of
    /// `groups`. `isa` is one that [`Isa::available`] lists.
    ///
    /// # Panics
    /// If `input` does not have `n` rows of `self.columns()` values.
    pub(crate) unsafe fn multiply(
        &self,
        isa: Isa,
        groups: Range<usize>,
        input: Input<'_>,
        n: usize,
        out: Output,
    ) {
        let needed = (input.first + n) * self.columns;
        if self.is_quantized() {
            assert!(input.quantized.columns() == self.columns && input.quantized.q.len() >= needed);
        } else {
            assert!(input.exact.len() >= needed);
        }
        let quantized = self.is_quantized();
        let mut group = groups.start;
        while group < groups.end {
            // Weights go by once: a few groups meet all rows before the next ones come.
            let end = groups.end.min(group + if quantized { isa.groups_at_once(n) } else { 1 });
            let mut row = 0;
            while row < n {
                let rows = if quantized { isa.strip_rows(n - row) } else { isa.tile_rows(n - row) };
                // SAFETY: groups lie inside the matrix, rows inside `input` (asserted) and `out`
                // (the caller's promise).
                unsafe { self.strip(isa, group..end, input, (row, rows), out) };
                row += rows;
            }
            group = end;
        }
    }

    /// `rows` rows of the product from row `row` on.
    ///
    /// # Safety
    /// As [`multiply`](Self::multiply).
    #[inline]
    unsafe fn strip(
        &self,
        isa: Isa,
        groups: Range<usize>,
        input: Input<'_>,
        (row, rows): (usize, usize),
        out: Output,
    ) {
        let x = input.first + row..input.first + row + rows;
        let at_once = if self.is_quantized() { isa.groups_at_once(rows) } else { 1 };
        let whole = groups.end.min(self.rows / GROUP);
        let mut group = groups.start;
        // SAFETY: the caller's promise.
        unsafe {
            while group < whole {
                let end = whole.min(group + at_once);
                self.tile(
                    isa,
                    group..end,
                    input,
                    x.clone(),
                    out.at(row, group * GROUP),
                    out.stride,
                );
                group = end;
            }
            if group < groups.end {
                let mut strip = [[0f32; GROUP]; STRIP];
                self.tile(isa, group..groups.end, input, x, strip.as_mut_ptr().cast(), GROUP);
                let rest = self.rows - group * GROUP;
                for (a, strip) in strip[..rows].iter().enumerate() {
                    std::ptr::copy_nonoverlapping(
                        strip.as_ptr(),
                        out.at(row + a, group * GROUP),
                        rest,
                    );
                }
            }
        }
    }

    /// One tile: whole groups with rows `rows` of the activations.
    #[inline]
    unsafe fn tile(
        &self,
        isa: Isa,
        groups: Range<usize>,
        input: Input<'_>,
        rows: Range<usize>,
        out: *mut f32,
        out_stride: usize,
    ) {
        debug_assert!(rows.len() <= STRIP);
        let columns = self.columns;
        let weights = self.memory.bytes()
            [groups.start * self.group_bytes..groups.end * self.group_bytes]
            .as_ptr();
        let (row, tile_rows) = (rows.start, rows.len());
        // SAFETY: see `multiply`; a kernel reads its groups and `tile_rows` rows.
        unsafe {
            if self.is_quantized() {
                let x = input.quantized;
                let args = TileArgs {
                    rows: tile_rows,
                    groups: groups.len(),
                    group_bytes: self.group_bytes,
                    weights,
                    columns,
                    q: x.q.as_ptr().add(row * columns),
                    scales: x.scales.as_ptr().add(row * columns / 32),
                    sums: x.sums.as_ptr().add(row * columns / 32),
                    out,
                    out_stride,
                };
                let kernel = match self.weight_type {
                    WeightType::File(TensorType::Q4_0) => {
                        isa.tile_kernel::<format::Q4_0>(tile_rows)
                    }
                    WeightType::File(TensorType::Q4_1) => {
                        isa.tile_kernel::<format::Q4_1>(tile_rows)
                    }
                    WeightType::File(TensorType::Q5_0) => {
                        isa.tile_kernel::<format::Q5_0>(tile_rows)
                    }
                    WeightType::File(TensorType::Q5_1) => {
                        isa.tile_kernel::<format::Q5_1>(tile_rows)
                    }
                    WeightType::File(TensorType::Q8_0) => {
                        isa.tile_kernel::<format::Q8_0>(tile_rows)
                    }
                    WeightType::File(TensorType::Iq4Nl) => {
                        isa.tile_kernel::<format::Iq4Nl>(tile_rows)
                    }
                    WeightType::File(TensorType::Q2K) => isa.tile_kernel::<format::Q2K>(tile_rows),
                    WeightType::File(TensorType::Q3K) => isa.tile_kernel::<format::Q3K>(tile_rows),
                    WeightType::File(TensorType::Q4K) => isa.tile_kernel::<format::Q4K>(tile_rows),
                    WeightType::File(TensorType::Q5K) => isa.tile_kernel::<format::Q5K>(tile_rows),
                    WeightType::Nf4 => isa.tile_kernel::<format::Nf4>(tile_rows),
                    WeightType::File(_) => isa.tile_kernel::<format::Q6K>(tile_rows),
                };
                kernel(&args);
            } else {
                let x = input.exact.as_ptr().add(row * columns);
                let args = DenseArgs { weights, columns, x, x_stride: columns, out, out_stride };
                let kernel = match self.weight_type {
                    WeightType::File(TensorType::F16) => isa.dense_kernel::<dense::F16>(tile_rows),
                    WeightType::File(TensorType::BF16) => {
                        isa.dense_kernel::<dense::Bf16>(tile_rows)
                    }
                    _ => isa.dense_kernel::<dense::F32>(tile_rows),
                };
                kernel(&args);
            }
        }
    }
}
