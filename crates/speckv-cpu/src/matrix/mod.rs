//! Weight matrices, packed for the kernels.

use std::ops::Range;

use speckv_formats::quant::{TensorType, WeightType};

use crate::{
    disjoint::DisjointMut,
    kernels::{
        Isa, STRIP,
        activation::Activations,
        code_book,
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
///
/// ```compile_fail
/// # let activations = speckv_cpu::kernels::activation::Activations::default();
/// // Where it begins is checked with the product, so that it cannot be set afterwards.
/// let mut input = speckv_cpu::matrix::Input::new(&activations, &[]);
/// input.first = usize::MAX;
/// ```
#[derive(Clone, Copy)]
pub struct Input<'a> {
    quantized: &'a Activations,
    exact: &'a [f32], // [rows, columns]
    first: usize,
}

impl<'a> Input<'a> {
    /// Quantized rows, and exact rows [rows, columns]; only those that the weights need must be
    /// there.
    #[must_use]
    pub fn new(quantized: &'a Activations, exact: &'a [f32]) -> Self {
        Input { quantized, exact, first: 0 }
    }

    /// The same rows, counted from row `first` on.
    #[must_use]
    pub fn from_row(self, first: usize) -> Self {
        Input { first, ..self }
    }

    /// Asserts that `n` rows of `columns` values are there for the kernels of a matrix.
    fn check(&self, quantized: bool, n: usize, columns: usize) {
        let end = self.first.checked_add(n).expect("a row number below 2^64");
        let rows = if quantized {
            let got = self.quantized.columns();
            assert!(got == columns, "expected activations of {columns} columns, got {got}");
            self.quantized.rows()
        } else {
            self.exact.len().checked_div(columns).unwrap_or(end)
        };
        assert!(end <= rows, "expected activations up to row {end}, got {rows} rows");
    }
}

/// A matrix [rows, stride] that tasks write different columns of.
#[derive(Clone, Copy)]
pub(crate) struct Output<'a> {
    values: DisjointMut<'a, f32>,
    stride: usize,
    /// The product's column that the matrix begins with.
    first: usize,
}

impl<'a> Output<'a> {
    /// The matrix `values`, [rows, stride].
    pub(crate) fn new(values: &'a mut [f32], stride: usize) -> Self {
        Output::window(values, stride, 0)
    }

    /// The matrix `values`, [rows, stride], which holds the columns from `first` on of a wider one.
    pub(crate) fn window(values: &'a mut [f32], stride: usize, first: usize) -> Self {
        Output { values: DisjointMut::new(values), stride, first }
    }

    /// A pointer to the first of `columns` in row `rows.start`; those columns of all `rows` are
    /// inside, at a distance of `stride` values.
    ///
    /// # Panics
    /// If they are not.
    #[inline]
    pub(crate) fn pointer(&self, rows: Range<usize>, columns: Range<usize>) -> *mut f32 {
        let start = columns.start.wrapping_sub(self.first);
        let end = columns.end.wrapping_sub(self.first);
        assert!(
            start <= end && end <= self.stride && rows.start < rows.end,
            "columns {start}..{end} of {}, rows {rows:?}",
            self.stride
        );
        let last = (rows.end - 1).checked_mul(self.stride).expect("a row of the matrix");
        self.values.pointer(rows.start * self.stride + start..last + end)
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
    /// # Panics
    /// If `input` does not have `n` rows of `self.columns()` values, `out` not `n` rows of these
    /// columns, or the matrix not so many groups.
    ///
    /// # Safety
    /// No other task uses the columns of `groups` in `out`'s first `n` rows while this runs.
    pub(crate) unsafe fn multiply(
        &self,
        isa: Isa,
        groups: Range<usize>,
        input: Input<'_>,
        n: usize,
        out: Output<'_>,
    ) {
        input.check(self.is_quantized(), n, self.columns);
        let quantized = self.is_quantized();
        let mut group = groups.start;
        while group < groups.end {
            // Weights are read once: a few groups are multiplied with all rows before the next
            // ones.
            let end = groups.end.min(group + if quantized { isa.groups_at_once(n) } else { 1 });
            let mut row = 0;
            while row < n {
                let rows = if quantized { isa.strip_rows(n - row) } else { isa.tile_rows(n - row) };
                // SAFETY: the rows are inside `input`, as checked; no other task uses these columns
                // of `out` by this function's contract.
                unsafe { self.strip(isa, group..end, input, (row, rows), out) };
                row += rows;
            }
            group = end;
        }
    }

    /// `rows` rows of the product from row `row` on.
    ///
    /// # Safety
    /// As [`multiply`](Self::multiply), which has checked `input`.
    #[inline]
    unsafe fn strip(
        &self,
        isa: Isa,
        groups: Range<usize>,
        input: Input<'_>,
        (row, rows): (usize, usize),
        out: Output<'_>,
    ) {
        let x = input.first + row..input.first + row + rows;
        let at_once = if self.is_quantized() { isa.groups_at_once(rows) } else { 1 };
        let whole = groups.end.min(self.rows / GROUP);
        let mut group = groups.start;
        // SAFETY: `pointer` checks that the tiles lie inside `out`; no other task uses them, by
        // this function's contract.
        unsafe {
            while group < whole {
                let end = whole.min(group + at_once);
                let to = out.pointer(row..row + rows, group * GROUP..end * GROUP);
                self.tile(isa, group..end, input, x.clone(), to, out.stride);
                group = end;
            }
            if group < groups.end {
                let mut strip = [[0f32; GROUP]; STRIP];
                self.tile(isa, group..groups.end, input, x, strip.as_mut_ptr().cast(), GROUP);
                let rest = self.rows - group * GROUP;
                for (a, strip) in strip[..rows].iter().enumerate() {
                    let columns = group * GROUP..self.rows;
                    let to = out.pointer(row + a..row + a + 1, columns);
                    std::ptr::copy_nonoverlapping(strip.as_ptr(), to, rest);
                }
            }
        }
    }

    /// One tile: whole groups with rows `rows` of the activations.
    ///
    /// # Safety
    /// `input` has `rows`, and `out` is valid for as many rows of the groups' columns, which no
    /// other task uses.
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
        match self.kernel(isa, tile_rows) {
            Kernel::Integer(kernel) => {
                let x = input.quantized;
                let blocks = columns / 32;
                let args = TileArgs {
                    rows: tile_rows,
                    groups: groups.len(),
                    group_bytes: self.group_bytes,
                    weights,
                    columns,
                    q: x.q()[row * columns..].as_ptr(),
                    scales: x.scales()[row * blocks..].as_ptr(),
                    sums: x.sums()[row * blocks..].as_ptr(),
                    out,
                    out_stride,
                };
                // SAFETY: the slice of weights holds the groups, `input` has `tile_rows` rows from
                // `row` on, and `out` is valid by this function's contract.
                unsafe { kernel(&args) }
            }
            Kernel::Float(kernel) => {
                let x = input.exact[row * columns..].as_ptr();
                let args = DenseArgs { weights, columns, x, x_stride: columns, out, out_stride };
                // SAFETY: as above.
                unsafe { kernel(&args) }
            }
        }
    }

    /// The kernel for the weights' type and so many rows of activations.
    #[inline]
    fn kernel(&self, isa: Isa, rows: usize) -> Kernel {
        let tensor_type = match self.weight_type {
            WeightType::Nf4 => return Kernel::Integer(isa.tile_kernel::<format::Nf4>(rows)),
            WeightType::File(tensor_type) => tensor_type,
        };
        match tensor_type {
            TensorType::F32 => Kernel::Float(isa.dense_kernel::<dense::F32>(rows)),
            TensorType::F16 => Kernel::Float(isa.dense_kernel::<dense::F16>(rows)),
            TensorType::BF16 => Kernel::Float(isa.dense_kernel::<dense::Bf16>(rows)),
            TensorType::Q4_0 => Kernel::Integer(isa.tile_kernel::<format::Q4_0>(rows)),
            TensorType::Q4_1 => Kernel::Integer(isa.tile_kernel::<format::Q4_1>(rows)),
            TensorType::Q5_0 => Kernel::Integer(isa.tile_kernel::<format::Q5_0>(rows)),
            TensorType::Q5_1 => Kernel::Integer(isa.tile_kernel::<format::Q5_1>(rows)),
            TensorType::Q8_0 => Kernel::Integer(isa.tile_kernel::<format::Q8_0>(rows)),
            TensorType::Iq4Nl => Kernel::Integer(isa.tile_kernel::<format::Iq4Nl>(rows)),
            TensorType::Q2K => Kernel::Integer(isa.tile_kernel::<format::Q2K>(rows)),
            TensorType::Q3K => Kernel::Integer(isa.tile_kernel::<format::Q3K>(rows)),
            TensorType::Q4K => Kernel::Integer(isa.tile_kernel::<format::Q4K>(rows)),
            TensorType::Q5K => Kernel::Integer(isa.tile_kernel::<format::Q5K>(rows)),
            TensorType::Q6K => Kernel::Integer(isa.tile_kernel::<format::Q6K>(rows)),
            TensorType::Iq4Xs => Kernel::Integer(isa.tile_kernel::<code_book::Iq4Xs>(rows)),
            TensorType::Iq3S => Kernel::Integer(isa.tile_kernel::<code_book::Iq3S>(rows)),
            TensorType::Iq3Xxs => Kernel::Integer(isa.tile_kernel::<code_book::Iq3Xxs>(rows)),
            TensorType::Iq2S => Kernel::Integer(isa.tile_kernel::<code_book::Iq2S>(rows)),
            TensorType::Iq2Xs => Kernel::Integer(isa.tile_kernel::<code_book::Iq2Xs>(rows)),
            TensorType::Iq2Xxs => Kernel::Integer(isa.tile_kernel::<code_book::Iq2Xxs>(rows)),
            TensorType::Iq1S => Kernel::Integer(isa.tile_kernel::<code_book::Iq1S>(rows)),
            TensorType::Iq1M => Kernel::Integer(isa.tile_kernel::<code_book::Iq1M>(rows)),
            TensorType::Mxfp4 => Kernel::Integer(isa.tile_kernel::<code_book::Mxfp4>(rows)),
            TensorType::Nvfp4 => Kernel::Integer(isa.tile_kernel::<code_book::Nvfp4>(rows)),
            TensorType::Tq1_0 | TensorType::Tq2_0 => {
                Kernel::Integer(isa.tile_kernel::<code_book::Ternary>(rows))
            }
        }
    }
}

/// The product kernel of a weight type.
enum Kernel {
    /// With quantized activations.
    Integer(unsafe fn(&TileArgs)),
    /// With exact activations.
    Float(unsafe fn(&DenseArgs)),
}
