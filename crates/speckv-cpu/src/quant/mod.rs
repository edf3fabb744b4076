//! Number formats of weights.

use crate::gguf::TensorType;

/// Why bytes and elements do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantError {
    /// The number of elements is no whole number of blocks.
    #[error("expected a multiple of {} elements for {tensor_type}, got {elements}", tensor_type.block_len())]
    PartialBlock {
        /// The format.
        tensor_type: TensorType,
        /// Elements given.
        elements: usize,
    },
    /// The number of bytes is not that of the elements.
    #[error("expected {expected} bytes of {tensor_type}, got {got}")]
    ByteLen {
        /// The format.
        tensor_type: TensorType,
        /// Bytes that the elements take.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
}

/// (being written)
///
/// # Errors
/// [`QuantError`] where the sizes do not fit together.
pub fn dequantize(tensor_type: TensorType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    let _ = (tensor_type, bytes, out);
    Ok(())
}
