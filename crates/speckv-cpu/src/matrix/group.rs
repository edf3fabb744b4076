//! What a packed group of 16 rows takes in memory.

use speckv_formats::quant::{TensorType, WeightType};

use crate::kernels::{
    format::{self, Format},
    simd::GROUP,
};

/// Bits per weight in memory, scales included. The formats of files take the same, but for Q3_K (4
/// % more) and NF4 (4.25).
#[must_use]
pub fn bits_per_element(weight_type: WeightType) -> f64 {
    let columns = 256;
    (group_bytes(weight_type, columns) * 8) as f64 / (GROUP * columns) as f64
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
