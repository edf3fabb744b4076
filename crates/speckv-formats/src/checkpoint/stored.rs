//! A tensor in whichever way a checkpoint stores it.

use std::ops::Range;

use super::{FourBitInfo, Packed};
use crate::{
    gguf::Tensor,
    quant::{self, Encode, QuantError, Rows, TensorType, WeightType, bitsandbytes::FourBit, nf4},
};

/// A tensor of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    /// In a type of the GGUF format.
    Plain(Tensor<'a>),
    /// A matrix in the 4 bits of bitsandbytes.
    FourBit(&'a FourBitInfo, FourBit<'a>),
    /// A matrix in FP8, INT8, or the 4 bits of GPTQ or AWQ.
    Packed(Packed<'a>),
}

impl Stored<'_> {
    /// Its name in GGUF.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Stored::Plain(tensor) => &tensor.info.name,
            Stored::FourBit(info, _) => &info.name,
            Stored::Packed(packed) => &packed.info.name,
        }
    }

    /// The name of the format that it has in the file, such as `Q4_K` or `FP4`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Stored::Plain(tensor) => tensor.info.tensor_type.name(),
            Stored::FourBit(info, _) => info.kind,
            Stored::Packed(packed) => packed.info.kind,
        }
    }

    /// Bytes in the file, scales included.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        match self {
            Stored::Plain(tensor) => tensor.info.byte_len,
            Stored::FourBit(info, _) => info.byte_len,
            Stored::Packed(packed) => packed.info.byte_len,
        }
    }

    /// Number of values.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape().iter().product()
    }

    /// Writes the values of a row to `out`, one per column.
    ///
    /// # Errors
    /// If `out` does not have the length of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn read(&self, row: usize, out: &mut [f32]) -> Result<(), QuantError> {
        match self {
            Stored::Plain(tensor) => {
                quant::dequantize(tensor.info.tensor_type, tensor.row(row), out)
            }
            Stored::FourBit(info, values) => {
                let columns = info.shape[0];
                check_length(columns, out)?;
                values.values(row * columns, out);
                Ok(())
            }
            Stored::Packed(packed) => {
                check_length(packed.info.shape[0], out)?;
                packed.values(row, out);
                Ok(())
            }
        }
    }
}

/// Refuses room for another number of values than a row has.
fn check_length(columns: usize, out: &[f32]) -> Result<(), QuantError> {
    if out.len() == columns {
        return Ok(());
    }
    let (expected, got) = (columns * 4, out.len() * 4);
    Err(QuantError::ByteLen { tensor_type: TensorType::F32, expected, got })
}

impl Rows for Stored<'_> {
    fn shape(&self) -> &[usize] {
        match self {
            Stored::Plain(tensor) => &tensor.info.shape,
            Stored::FourBit(info, _) => &info.shape,
            Stored::Packed(packed) => &packed.info.shape,
        }
    }

    /// 4 bits stay NF4 where its kernel can take them: in blocks of 64 with its levels, and rows of
    /// whole blocks. All others become half precision.
    fn weight_type(&self) -> WeightType {
        match self {
            Stored::Plain(tensor) => tensor.weight_type(),
            Stored::FourBit(info, values)
                if values.is_nf4() && info.shape[0].is_multiple_of(nf4::LEN) =>
            {
                WeightType::Nf4
            }
            Stored::FourBit(..) => WeightType::File(TensorType::F16),
            Stored::Packed(packed) => packed.weight_type(),
        }
    }

    fn bytes(&self, row: usize) -> Option<&[u8]> {
        match self {
            Stored::Plain(tensor) => tensor.bytes(row),
            Stored::FourBit(..) | Stored::Packed(_) => None,
        }
    }

    fn write(
        &self,
        row: usize,
        to: WeightType,
        encode: Encode<'_>,
        values: &mut [f32],
        out: &mut Vec<u8>,
    ) -> Result<(), QuantError> {
        if let (Stored::FourBit(info, four_bit), WeightType::Nf4, WeightType::Nf4) =
            (self, to, self.weight_type())
        {
            let blocks = info.shape[0] / nf4::LEN;
            for block in row * blocks..(row + 1) * blocks {
                let block = four_bit.nf4_block(block);
                nf4::check_range(block.absmax)?;
                out.extend(nf4::pack(&block));
            }
            return Ok(());
        }
        if let Stored::Packed(packed) = self {
            return packed.write(row, to, encode, values, out);
        }
        self.read(row, values)?;
        encode(values, to, out)
    }
}

/// Some rows of a matrix: all, or those of one of several matrices that lie in one tensor.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    whole: Stored<'a>,
    first: usize,
    shape: [usize; 2],
}

impl<'a> Part<'a> {
    /// Rows `rows` of a matrix.
    ///
    /// # Panics
    /// If `whole` is no matrix or has no such rows.
    #[must_use]
    pub fn new(whole: Stored<'a>, rows: Range<usize>) -> Self {
        let &[columns, all] = whole.shape() else { panic!("expected a matrix") };
        assert!(rows.start <= rows.end && rows.end <= all, "rows {rows:?} of {all}");
        Part { whole, first: rows.start, shape: [columns, rows.len()] }
    }

    /// As [`Stored::read`].
    ///
    /// # Errors
    /// If `out` does not have the length of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn read(&self, row: usize, out: &mut [f32]) -> Result<(), QuantError> {
        self.whole.read(self.first + row, out)
    }
}

impl Rows for Part<'_> {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn weight_type(&self) -> WeightType {
        self.whole.weight_type()
    }

    fn bytes(&self, row: usize) -> Option<&[u8]> {
        self.whole.bytes(self.first + row)
    }

    fn write(
        &self,
        row: usize,
        to: WeightType,
        encode: Encode<'_>,
        values: &mut [f32],
        out: &mut Vec<u8>,
    ) -> Result<(), QuantError> {
        self.whole.write(self.first + row, to, encode, values, out)
    }
}
