//! Blocks of weights. The first byte says of which tensor type the rest are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use speckv_formats::quant::{TensorType, dequantize, quantize};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    let tensor_type = TensorType::ALL[kind as usize % TensorType::ALL.len()];
    let blocks = data.len() / tensor_type.block_bytes();
    let mut values = vec![0.0; blocks * tensor_type.block_len()];
    let bytes = &data[..blocks * tensor_type.block_bytes()];
    dequantize(tensor_type, bytes, &mut values).expect("whole blocks");
    let mut again = vec![0; bytes.len()];
    if quantize(tensor_type, &values, &mut again).is_ok() {
        dequantize(tensor_type, &again, &mut values).expect("whole blocks");
        assert!(values.iter().all(|value| value.is_finite() || tensor_type == TensorType::F32));
    }
});
