//! Tensors of a file: what they are called, their shape, and where their bytes lie.

use super::{GgufError, MAX_DIMENSIONS, cursor::Cursor};
use crate::quant::{self, Encode, QuantError, Rows, TensorType, WeightType};

/// A tensor's entry in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, unique in the file.
    pub name: String,
    /// Dimensions, innermost first: a matrix that maps `in` values to `out` values is `[in, out]`.
    /// Never empty, none is zero.
    pub shape: Vec<usize>,
    /// How the elements are stored.
    pub tensor_type: TensorType,
    /// Where the data begin, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes of data.
    pub byte_len: usize,
}

impl TensorInfo {
    /// Elements in the tensor, the product of its dimensions.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Elements in a row, the innermost dimension.
    #[must_use]
    pub fn row_len(&self) -> usize {
        self.shape[0]
    }

    /// Number of rows, the product of the other dimensions.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Bytes of a row; rows are whole blocks.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.row_len() / self.tensor_type.block_len() * self.tensor_type.block_bytes()
    }
}

/// A tensor with its bytes in the file.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// What it is.
    pub info: &'a TensorInfo,
    /// Its data, `info.byte_len` bytes.
    pub bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// Bytes of one row.
    ///
    /// # Panics
    /// If `row` is not below [`TensorInfo::rows`].
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [u8] {
        let len = self.info.row_bytes();
        &self.bytes[row * len..(row + 1) * len]
    }

    /// All elements as floats, `[..., out, in]` read from left to right.
    ///
    /// # Errors
    /// None for a tensor of a [`Gguf`](super::Gguf), whose sizes agree.
    pub fn to_f32(&self) -> Result<Vec<f32>, QuantError> {
        let mut out = vec![0.0; self.info.elements()];
        quant::dequantize(self.info.tensor_type, self.bytes, &mut out)?;
        Ok(out)
    }
}

impl Rows for Tensor<'_> {
    fn shape(&self) -> &[usize] {
        &self.info.shape
    }

    fn weight_type(&self) -> WeightType {
        self.info.tensor_type.into()
    }

    fn bytes(&self, row: usize) -> Option<&[u8]> {
        Some(self.row(row))
    }

    fn write(
        &self,
        row: usize,
        to: WeightType,
        encode: Encode<'_>,
        values: &mut [f32],
        out: &mut Vec<u8>,
    ) -> Result<(), QuantError> {
        quant::dequantize(self.info.tensor_type, self.row(row), values)?;
        encode(values, to, out)
    }
}

/// Smallest entry: an empty name, no dimension.
pub(super) const SMALLEST_ENTRY: u64 = 8 + 4 + 4 + 8;

/// Reads one entry; the offset is still relative to the tensor data.
pub(super) fn read_info(cursor: &mut Cursor<'_>) -> Result<TensorInfo, GgufError> {
    let name = cursor.name("a tensor name")?;
    let offset = cursor.offset();
    let dimensions = cursor.u32("a tensor's number of dimensions")?;
    if dimensions > MAX_DIMENSIONS {
        return Err(GgufError::Invalid {
            expected: "at most 4 dimensions",
            offset,
            got: dimensions.to_string(),
        });
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(cursor.u64("a tensor's dimension")?);
    }
    if shape.is_empty() {
        shape.push(1); // a scalar
    }
    let tensor_type = match TensorType::from_id(cursor.u32("a tensor's type")?) {
        Ok(tensor_type) => tensor_type,
        Err(source) => return Err(GgufError::TensorType { name, source }),
    };
    let offset = cursor.u64("a tensor's offset")?;
    let (shape, byte_len) = check_shape(&name, &shape, tensor_type)?;
    Ok(TensorInfo { name, shape, tensor_type, offset, byte_len })
}

/// The shape in sizes of this machine and the bytes it takes.
pub(super) fn check_shape(
    name: &str,
    shape: &[u64],
    tensor_type: TensorType,
) -> Result<(Vec<usize>, usize), GgufError> {
    let fail = |expected: String| {
        Err(GgufError::Shape { name: name.to_owned(), expected, shape: shape.to_vec() })
    };
    if shape.is_empty() || shape.len() > MAX_DIMENSIONS as usize || shape.contains(&0) {
        return fail("1 to 4 dimensions of at least 1".to_owned());
    }
    if !shape[0].is_multiple_of(tensor_type.block_len() as u64) {
        let block_len = tensor_type.block_len();
        return fail(format!(
            "a first dimension that is a multiple of {block_len} for {tensor_type}"
        ));
    }
    let sizes: Option<Vec<usize>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let checked = sizes.and_then(|sizes| {
        let elements =
            sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        // Sizes beyond what a slice can hold could not be dequantized either.
        elements.checked_mul(4).filter(|&bytes| isize::try_from(bytes).is_ok())?;
        let byte_len = tensor_type.byte_len(elements)?;
        Some((sizes, byte_len))
    });
    checked.map_or_else(|| fail("a size that fits into memory".to_owned()), Ok)
}
