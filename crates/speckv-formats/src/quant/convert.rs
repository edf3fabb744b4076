//! Whole tensors: from bytes to floats and from floats to bytes.

use super::{
    TensorType, float, iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs, iq4_nl, iq4_xs, mxfp4,
    nvfp4, q2k, q3k, q4_0, q4_1, q4k, q5_0, q5_1, q5k, q6k, q8_0, tq1_0, tq2_0,
};

/// Why a conversion was refused.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum QuantError {
    /// The number of elements is no whole number of blocks.
    #[error("expected a multiple of {} elements for {tensor_type}, got \
        {elements}", tensor_type.block_len())]
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
    /// A format that is read and not written.
    #[error("{tensor_type} can be read but not written; written are {list}",
        list = TensorType::WRITTEN.map(TensorType::name).join(", "))]
    NotWritten {
        /// The format.
        tensor_type: TensorType,
    },
    /// A value that the format cannot hold.
    #[error(
        "expected numbers between -{largest} and {largest} for {tensor_type}, got {value} at \
         element {index}"
    )]
    OutOfRange {
        /// The format.
        tensor_type: TensorType,
        /// Largest magnitude that is taken.
        largest: f32,
        /// Position of the value.
        index: usize,
        /// The value.
        value: f32,
    },
}

/// Decodes blocks of `tensor_type` into `out`, one float per element, as the format defines them
/// (see the [module](super)).
///
/// Scales that are infinite or NaN give such values; no check is made for them here.
///
/// # Errors
/// [`QuantError::PartialBlock`] or [`QuantError::ByteLen`] where `bytes` and `out` do not fit
/// together; `out` is untouched then.
pub fn dequantize(
    tensor_type: TensorType,
    bytes: &[u8],
    out: &mut [f32],
) -> Result<(), QuantError> {
    check_sizes(tensor_type, bytes.len(), out.len())?;
    match tensor_type {
        TensorType::F32 => decode(bytes, out, |block| [f32::from_le_bytes(*block)]),
        TensorType::F16 => decode(bytes, out, |block| [float::f16_to_f32(*block)]),
        TensorType::BF16 => decode(bytes, out, |block| [float::bf16_to_f32(*block)]),
        TensorType::Q8_0 => decode(bytes, out, |block| q8_0::unpack(block).values()),
        TensorType::Q4_0 => decode(bytes, out, |block| q4_0::unpack(block).values()),
        TensorType::Q4_1 => decode(bytes, out, |block| q4_1::unpack(block).values()),
        TensorType::Q5_0 => decode(bytes, out, |block| q5_0::unpack(block).values()),
        TensorType::Q5_1 => decode(bytes, out, |block| q5_1::unpack(block).values()),
        TensorType::Q2K => decode(bytes, out, |block| q2k::unpack(block).values()),
        TensorType::Q3K => decode(bytes, out, |block| q3k::unpack(block).values()),
        TensorType::Q4K => decode(bytes, out, |block| q4k::unpack(block).values()),
        TensorType::Q5K => decode(bytes, out, |block| q5k::unpack(block).values()),
        TensorType::Q6K => decode(bytes, out, |block| q6k::unpack(block).values()),
        TensorType::Iq4Nl => decode(bytes, out, |block| iq4_nl::unpack(block).values()),
        TensorType::Iq4Xs => {
            decode(bytes, out, |block| iq4_xs::unpack(block).values(&iq4_xs::LEVELS, iq4_xs::UNIT))
        }
        TensorType::Iq3S => {
            decode(bytes, out, |block| iq3_s::unpack(block).values(&iq3_s::LEVELS, iq3_s::UNIT))
        }
        TensorType::Iq3Xxs => decode(bytes, out, |block| {
            iq3_xxs::unpack(block).values(&iq3_xxs::LEVELS, iq3_xxs::UNIT)
        }),
        TensorType::Iq2S => {
            decode(bytes, out, |block| iq2_s::unpack(block).values(&iq2_s::LEVELS, iq2_s::UNIT))
        }
        TensorType::Iq2Xs => {
            decode(bytes, out, |block| iq2_xs::unpack(block).values(&iq2_xs::LEVELS, iq2_xs::UNIT))
        }
        TensorType::Iq2Xxs => decode(bytes, out, |block| {
            iq2_xxs::unpack(block).values(&iq2_xxs::LEVELS, iq2_xxs::UNIT)
        }),
        TensorType::Iq1S => {
            decode(bytes, out, |block| iq1_s::unpack(block).values(&iq1_s::LEVELS, iq1_s::UNIT))
        }
        TensorType::Iq1M => {
            decode(bytes, out, |block| iq1_m::unpack(block).values(&iq1_m::LEVELS, iq1_m::UNIT))
        }
        TensorType::Mxfp4 => decode(bytes, out, |block| mxfp4::unpack(block).values()),
        TensorType::Nvfp4 => decode(bytes, out, |block| nvfp4::unpack(block).values()),
        TensorType::Tq1_0 => decode(bytes, out, |block| tq1_0::unpack(block).values()),
        TensorType::Tq2_0 => decode(bytes, out, |block| tq2_0::unpack(block).values()),
    }
    Ok(())
}

/// Encodes `values` as blocks of `tensor_type` into `out`, with a small squared error (see the
/// [module](super) for the method).
///
/// # Errors
/// [`QuantError::PartialBlock`] or [`QuantError::ByteLen`] where `values` and `out` do not fit
/// together; [`QuantError::OutOfRange`] for a value that is not finite or beyond the format's
/// range: 65504 where scales are half floats (and for F16), 3.39e38 for BF16; F32 takes everything.
/// [`QuantError::NotWritten`] for a type that is not in [`TensorType::WRITTEN`].
/// `out` is untouched then.
pub fn quantize(tensor_type: TensorType, values: &[f32], out: &mut [u8]) -> Result<(), QuantError> {
    check_sizes(tensor_type, out.len(), values.len())?;
    check_range(tensor_type, values)?;
    match tensor_type {
        TensorType::F32 => encode(values, out, |[value]: &[f32; 1]| value.to_le_bytes()),
        TensorType::F16 => encode(values, out, |[value]: &[f32; 1]| float::f32_to_f16(*value)),
        TensorType::BF16 => encode(values, out, |[value]: &[f32; 1]| float::f32_to_bf16(*value)),
        TensorType::Q8_0 => encode(values, out, |values| q8_0::pack(&q8_0::quantize(values))),
        TensorType::Q4_0 => encode(values, out, |values| q4_0::pack(&q4_0::quantize(values))),
        TensorType::Q4_1 => encode(values, out, |values| q4_1::pack(&q4_1::quantize(values))),
        TensorType::Q5_0 => encode(values, out, |values| q5_0::pack(&q5_0::quantize(values))),
        TensorType::Q5_1 => encode(values, out, |values| q5_1::pack(&q5_1::quantize(values))),
        TensorType::Q2K => encode(values, out, |values| q2k::pack(&q2k::quantize(values))),
        TensorType::Q3K => encode(values, out, |values| q3k::pack(&q3k::quantize(values))),
        TensorType::Q4K => encode(values, out, |values| q4k::pack(&q4k::quantize(values))),
        TensorType::Q5K => encode(values, out, |values| q5k::pack(&q5k::quantize(values))),
        TensorType::Q6K => encode(values, out, |values| q6k::pack(&q6k::quantize(values))),
        TensorType::Iq4Nl => encode(values, out, |values| iq4_nl::pack(&iq4_nl::quantize(values))),
        other => return Err(QuantError::NotWritten { tensor_type: other }),
    }
    Ok(())
}

fn decode<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES]) -> [f32; LEN],
) {
    for (bytes, out) in bytes.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<LEN>().0) {
        *out = block(bytes);
    }
}

fn encode<const BYTES: usize, const LEN: usize>(
    values: &[f32],
    out: &mut [u8],
    block: impl Fn(&[f32; LEN]) -> [u8; BYTES],
) {
    for (values, out) in values.as_chunks::<LEN>().0.iter().zip(out.as_chunks_mut::<BYTES>().0) {
        *out = block(values);
    }
}

fn check_sizes(tensor_type: TensorType, bytes: usize, elements: usize) -> Result<(), QuantError> {
    match tensor_type.byte_len(elements) {
        Some(expected) if expected == bytes => Ok(()),
        Some(expected) => Err(QuantError::ByteLen { tensor_type, expected, got: bytes }),
        None => Err(QuantError::PartialBlock { tensor_type, elements }),
    }
}

/// Refuses values that are not finite or beyond the range of the type.
///
/// # Errors
/// [`QuantError::OutOfRange`] for the first such value.
pub fn check_range(tensor_type: TensorType, values: &[f32]) -> Result<(), QuantError> {
    let largest = match tensor_type {
        TensorType::F32 => return Ok(()),
        TensorType::BF16 => half::bf16::MAX.to_f32(),
        _ => half::f16::MAX.to_f32(),
    };
    match values.iter().position(|value| value.is_nan() || value.abs() > largest) {
        Some(index) => {
            Err(QuantError::OutOfRange { tensor_type, largest, index, value: values[index] })
        }
        None => Ok(()),
    }
}
