//! Weight matrices, packed for the kernels.

use std::ops::Range;

use crate::{
    gguf::TensorType,
    kernels::{
        Isa,
        activation::Activations,
        dense::{self, DenseArgs},
        format,
        simd::GROUP,
        tile::TileArgs,
    },
    memory::Memory,
};

mod pack;
#[cfg(test)]
mod tests;
mod weight_type;

pub use pack::{PackError, Rows};
pub(crate) use pack::{convert, encode};
pub use weight_type::WeightType;

/// A matrix [rows, columns] whose products with activations are `out[a][r] = sum over k of w[r][k] x[a][k]`.
///
/// Rows are interleaved in groups of 16 and keep the bits that they have in the file, unless they are to have another type; see [`crate::kernels::format`].
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    weight_type: WeightType,
    group_bytes: usize,
    memory: Memory,
}

/// Activations of a product: the same values once quantized, for integer kernels, and once as they were, for float weights.
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

/// Rows of activations whose partial results a task keeps at a time.
const STRIP: usize = 12;

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

    /// Columns `16 * groups.start..` of the product of `input`'s first `n` rows, written to `out`'s same columns.
    ///
    /// # Safety
    /// `out` has `n` rows of at least `self.rows()` columns, and nobody else touches those of `groups`. `isa` is one that
    /// [`Isa::available`] lists.
    ///
    /// # Panics
    /// If `input` does not have `n` rows of `self.columns()` values.
    pub(crate) unsafe fn multiply(&self, isa: Isa, groups: Range<usize>, input: Input<'_>, n: usize, out: Output) {
        let needed = (input.first + n) * self.columns;
        if self.is_quantized() {
            assert!(input.quantized.columns() == self.columns && input.quantized.q.len() >= needed);
        } else {
            assert!(input.exact.len() >= needed);
        }
        for group in groups {
            let column = group * GROUP;
            let mut row = 0;
            while row < n {
                let tile_rows = isa.tile_rows(n - row);
                // SAFETY: the group lies inside the matrix, the rows inside `input` (asserted) and `out` (the caller's promise).
                unsafe {
                    if column + GROUP <= self.rows {
                        self.tile(isa, group, input, input.first + row, tile_rows, out.at(row, column), out.stride);
                    } else {
                        let mut whole = [[0f32; GROUP]; STRIP];
                        self.tile(isa, group, input, input.first + row, tile_rows, whole.as_mut_ptr().cast(), GROUP);
                        let rest = self.rows - column;
                        for (a, whole) in whole[..tile_rows].iter().enumerate() {
                            std::ptr::copy_nonoverlapping(whole.as_ptr(), out.at(row + a, column), rest);
                        }
                    }
                }
                row += tile_rows;
            }
        }
    }

    /// One tile: group `group` with `tile_rows` rows of activations from `row` on.
    #[allow(clippy::too_many_arguments, reason = "the coordinates of one tile; a struct would only rename them")]
    #[inline]
    unsafe fn tile(
        &self,
        isa: Isa,
        group: usize,
        input: Input<'_>,
        row: usize,
        tile_rows: usize,
        out: *mut f32,
        out_stride: usize,
    ) {
        debug_assert!(tile_rows <= STRIP);
        let columns = self.columns;
        let weights = self.memory.bytes()[group * self.group_bytes..].as_ptr();
        // SAFETY: see `multiply`; a kernel reads one group and `tile_rows` rows.
        unsafe {
            if self.is_quantized() {
                let x = input.quantized;
                let args = TileArgs {
                    weights,
                    columns,
                    q: x.q.as_ptr().add(row * columns),
                    scale: x.scale.as_ptr().add(row * columns / 32),
                    sum16: x.sum16.as_ptr().add(row * columns / 16),
                    sum32: x.sum32.as_ptr().add(row * columns / 32),
                    scaled_sum16: x.scaled_sum16.as_ptr().add(row * columns / 16),
                    scaled_sum32: x.scaled_sum32.as_ptr().add(row * columns / 32),
                    out,
                    out_stride,
                };
                let kernel = match self.weight_type {
                    WeightType::File(TensorType::Q4_0) => isa.tile_kernel::<format::Q4_0>(tile_rows),
                    WeightType::File(TensorType::Q4_1) => isa.tile_kernel::<format::Q4_1>(tile_rows),
                    WeightType::File(TensorType::Q5_0) => isa.tile_kernel::<format::Q5_0>(tile_rows),
                    WeightType::File(TensorType::Q5_1) => isa.tile_kernel::<format::Q5_1>(tile_rows),
                    WeightType::File(TensorType::Q8_0) => isa.tile_kernel::<format::Q8_0>(tile_rows),
                    WeightType::File(TensorType::Iq4Nl) => isa.tile_kernel::<format::Iq4Nl>(tile_rows),
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
                    WeightType::File(TensorType::BF16) => isa.dense_kernel::<dense::Bf16>(tile_rows),
                    _ => isa.dense_kernel::<dense::F32>(tile_rows),
                };
                kernel(&args);
            }
        }
    }
}
