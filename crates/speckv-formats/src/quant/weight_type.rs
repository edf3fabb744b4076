//! The number formats that matrices have in memory.

use std::fmt;

use super::{TensorType, nf4};

/// How a matrix's weights are stored: in a format that files have, or in NF4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightType {
    /// A type of the file format.
    File(TensorType),
    /// [NF4](nf4): 64 indices of 4 bits and a scale.
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

    /// Bits per weight, scales included, as [`encode`](super::encode) writes them. What a backend's
    /// own layout takes may differ by a few per cent.
    #[must_use]
    pub fn bits_per_element(self) -> f64 {
        match self {
            WeightType::File(tensor_type) => tensor_type.bits_per_element(),
            WeightType::Nf4 => (nf4::BYTES * 8) as f64 / nf4::LEN as f64,
        }
    }

    /// Whether weights of this type are integers with scales, not floats.
    #[must_use]
    pub fn is_quantized(self) -> bool {
        !matches!(self, WeightType::File(TensorType::F32 | TensorType::F16 | TensorType::BF16))
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
