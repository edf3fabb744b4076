//! Matrices row by row, from the type that a file has to the type that a backend wants.

use super::{QuantError, TensorType, WeightType, nf4, quantize};

/// A function that appends the bytes of a row's weights in a type to a buffer: [`encode`], or a
/// backend's own with the same results.
pub type Encode<'a> =
    &'a (dyn Fn(&[f32], WeightType, &mut Vec<u8>) -> Result<(), QuantError> + Sync);

/// A matrix in a file.
pub trait Rows: Sync {
    /// [in, out].
    fn shape(&self) -> &[usize];

    /// The type that the weights have in memory unless they are to have another.
    fn weight_type(&self) -> WeightType;

    /// The bytes of a row, if the file has them as [`weight_type`](Self::weight_type) has them.
    fn bytes(&self, row: usize) -> Option<&[u8]>;

    /// Appends a row in the type `to` to `out`; `values` is room for its weights.
    ///
    /// # Errors
    /// A weight that the type cannot hold.
    fn write(
        &self,
        row: usize,
        to: WeightType,
        encode: Encode<'_>,
        values: &mut [f32],
        out: &mut Vec<u8>,
    ) -> Result<(), QuantError>;
}

/// Appends a row's weights in the type `to` to `out`.
///
/// # Errors
/// [`QuantError::PartialBlock`] where the row is no whole number of blocks,
/// [`QuantError::OutOfRange`] for a weight that the type cannot hold.
pub fn encode(values: &[f32], to: WeightType, out: &mut Vec<u8>) -> Result<(), QuantError> {
    match to {
        WeightType::File(to) => append_blocks(values, to, out),
        WeightType::Nf4 => {
            let blocks = values.as_chunks().0;
            out.extend(blocks.iter().flat_map(|block| nf4::pack(&nf4::quantize(block))));
            Ok(())
        }
    }
}

fn append_blocks(values: &[f32], to: TensorType, out: &mut Vec<u8>) -> Result<(), QuantError> {
    let start = out.len();
    let bytes = to
        .byte_len(values.len())
        .ok_or(QuantError::PartialBlock { tensor_type: to, elements: values.len() })?;
    out.resize(start + bytes, 0);
    quantize(to, values, &mut out[start..])
}
