//! The number formats that matrices have in memory.

use std::fmt;

use crate::{
    gguf::TensorType, kernels::format, kernels::format::Format, kernels::simd::GROUP, quant::nf4,
};

/// How a matrix's weights are stored: in a format that files have, or in NF4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightType {
    /// A type of the file format.
    File(TensorType),
    /// [NF4](crate::quant::nf4): 64 indices of 4 bits and a scale.
    Nf4,
}

impl From<TensorType> for WeightType {
    fn from(tensor_type: TensorType) -> Self {
        WeightType::File(tensor_type)
    }
}

impl WeightType {
    /// Elements of a row that are stored together; a row is a whole number of such blocks.
    #[must_use]
    pub fn block_len(self) -> usize {
        match self {
            WeightType::File(tensor_type) => tensor_type.block_len(),
            WeightType::Nf4 => nf4::LEN,
        }
    }

    /// The name that people use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WeightType::File(tensor_type) => tensor_type.name(),
            WeightType::Nf4 => "NF4",
        }
    }

    /// Bits per weight in memory, scales included.
    #[must_use]
    pub fn bits_per_element(self) -> f64 {
        let columns = 256;
        (group_bytes(self, columns) * 8) as f64 / (GROUP * columns) as f64
    }

    /// Whether weights of this type are multiplied in integers.
    pub(super) fn is_quantized(self) -> bool {
        !matches!(self, WeightType::File(TensorType::F32 | TensorType::F16 | TensorType::BF16))
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Bytes of a packed group of 16 rows.
pub(super) fn group_bytes(weight_type: WeightType, columns: usize) -> usize {
    fn of<F: Format>(columns: usize) -> usize {
        columns / F::UNIT * F::UNIT_BYTES
    }
    let tensor_type = match weight_type {
        WeightType::Nf4 => return of::<format::Nf4>(columns),
        WeightType::File(tensor_type) => tensor_type,
    };
    match tensor_type {
        TensorType::F32 => GROUP * columns * 4,
        TensorType::F16 | TensorType::BF16 => GROUP * columns * 2,
        TensorType::Q4_0 => of::<format::Q4_0>(columns),
        TensorType::Q4_1 => of::<format::Q4_1>(columns),
        TensorType::Q5_0 => of::<format::Q5_0>(columns),
        TensorType::Q5_1 => of::<format::Q5_1>(columns),
        TensorType::Q8_0 => of::<format::Q8_0>(columns),
        TensorType::Iq4Nl => of::<format::Iq4Nl>(columns),
        TensorType::Q2K => of::<format::Q2K>(columns),
        TensorType::Q3K => of::<format::Q3K>(columns),
        TensorType::Q4K => of::<format::Q4K>(columns),
        TensorType::Q5K => of::<format::Q5K>(columns),
        TensorType::Q6K => of::<format::Q6K>(columns),
    }
}
