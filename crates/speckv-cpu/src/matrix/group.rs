//! What a packed group of 16 rows takes in memory.

use speckv_formats::quant::{TensorType, WeightType};

use crate::kernels::{
    code_book,
    format::{self, Format},
    simd::GROUP,
};

/// Bits per weight in memory, scales included. The formats of files take the same, but for Q3_K (4
/// % more), NF4 (4.25) and those of grids: IQ1 and IQ2 take 3.3 to 3.6, IQ3 takes 4.3, TQ1_0 2.1.
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
        TensorType::Iq4Xs => of::<code_book::Iq4Xs>(columns),
        TensorType::Iq3S => of::<code_book::Iq3S>(columns),
        TensorType::Iq3Xxs => of::<code_book::Iq3Xxs>(columns),
        TensorType::Iq2S => of::<code_book::Iq2S>(columns),
        TensorType::Iq2Xs => of::<code_book::Iq2Xs>(columns),
        TensorType::Iq2Xxs => of::<code_book::Iq2Xxs>(columns),
        TensorType::Iq1S => of::<code_book::Iq1S>(columns),
        TensorType::Iq1M => of::<code_book::Iq1M>(columns),
        TensorType::Mxfp4 => of::<code_book::Mxfp4>(columns),
        TensorType::Nvfp4 => of::<code_book::Nvfp4>(columns),
        TensorType::Tq1_0 | TensorType::Tq2_0 => of::<code_book::Ternary>(columns),
    }
}
