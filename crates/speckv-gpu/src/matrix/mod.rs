//! Weight matrices in device memory, and their products with activations.

mod build;
mod gather;
mod multiply;
mod planes;
mod unit;

pub use build::{BuildError, RowSource};
pub use gather::{Choice, Gather};
pub use multiply::{Input, Multiply, Output};

use speckv_formats::quant::WeightType;

use crate::{
    device::Buffer,
    format::{BLOCK, Format, GROUP},
};

/// A matrix `[rows, columns]` whose products with activations are `out[a][r] = sum over k of
/// w[r][k] x[a][k]`.
///
/// It is cut into parts of whole groups of rows, each with planes that a kernel can see at once.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    weight_type: WeightType,
    format: Format,
    parts: Vec<Part>,
}

/// Some rows of a matrix: one buffer with up to four planes.
#[derive(Debug)]
struct Part {
    buffer: Buffer,
    /// First byte and length of each plane: low, scales, high, tops. A plane that the format does
    /// not have has no bytes.
    planes: [(u64, u64); 4],
    first_row: usize,
    groups: usize,
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

    /// How the weights are stored.
    #[must_use]
    pub fn weight_type(&self) -> WeightType {
        self.weight_type
    }

    /// Bytes of device memory.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.parts.iter().map(|part| part.buffer.len()).sum()
    }

    /// Blocks of 32 columns.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.columns.div_ceil(BLOCK)
    }

    /// Groups of 32 rows, filled up to an even number.
    #[must_use]
    pub fn groups(&self) -> usize {
        padded_groups(self.rows)
    }
}

/// Groups of a matrix of so many rows: an even number, because some kernels take two at a time.
fn padded_groups(rows: usize) -> usize {
    rows.div_ceil(GROUP).next_multiple_of(2)
}

/// Bytes of device memory for a matrix of this type and shape.
#[must_use]
pub fn matrix_bytes(weight_type: WeightType, rows: usize, columns: usize) -> u64 {
    Format::of(weight_type).bytes(padded_groups(rows) * GROUP, columns)
}
