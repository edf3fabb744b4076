//! Rows of a matrix that the device chooses.

use std::sync::Arc;

use super::Matrix;
use crate::{
    device::{Bindings, Buffer, Device, Kernel, OFFSET_STEP, Recorder},
    error::GpuError,
    format::GROUP,
    shader::Shader,
};

/// Blocks of 32 columns that a workgroup writes.
const BLOCKS: usize = 32;

/// All bytes of a buffer.
fn whole(buffer: &Buffer) -> (&Buffer, u64, u64) {
    (buffer, 0, buffer.len())
}

/// Where the tokens come from whose rows are gathered: the results of the kernel of the signals.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Numbers that the kernel of the signals reads.
    pub shape: &'a Buffer,
    /// Its results.
    pub parts: &'a Buffer,
}

/// The rows of a matrix with the numbers of the likeliest tokens, bound to where they go.
#[derive(Debug)]
pub struct Gather {
    kernel: Arc<Kernel>,
    blocks: usize,
    parts: Vec<Bindings>,
}

impl Gather {
    /// Binds the rows of `matrix`, multiplied by `factor`, to the rows of `to`. `entries` are the
    /// entries at binding 0.
    ///
    /// # Errors
    /// No memory, or what the driver refuses.
    pub fn new(
        device: &Device,
        entries: &Buffer,
        (matrix, factor): (&Matrix, f32),
        choice: Choice<'_>,
        to: &Buffer,
    ) -> Result<Self, GpuError> {
        let kernel = device.kernel(&Shader::gather(&matrix.format))?;
        let mut parts = Vec::with_capacity(matrix.parts.len());
        for part in &matrix.parts {
            let rows = matrix.rows.saturating_sub(part.first_row).min(part.groups * GROUP);
            let shape =
                [matrix.blocks() as u32, part.first_row as u32, rows as u32, factor.to_bits()];
            let shape = device.uniform("shape", &shape)?;
            let planes = part.planes.iter().map(|&(first, bytes)| (&part.buffer, first, bytes));
            let mut buffers = vec![(entries, 0, OFFSET_STEP), whole(&shape)];
            buffers.extend(planes.filter(|(_, _, bytes)| *bytes > 0));
            buffers.extend([whole(choice.shape), whole(choice.parts), whole(to)]);
            parts.push(kernel.bind(device, &buffers)?);
        }
        Ok(Gather { kernel, blocks: matrix.blocks(), parts })
    }

    /// Records the rows for the `n` rows of logits that `entry` names.
    pub fn record(&self, recorder: &mut Recorder<'_>, entry: u32, n: usize) {
        for bindings in &self.parts {
            recorder.dispatch(&self.kernel, bindings, entry, [n, self.blocks.div_ceil(BLOCKS), 1]);
        }
    }
}
