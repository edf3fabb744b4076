//! Decoding: values worked out by hand, and a second formulation that walks the bytes in storage
//! order with division and remainder.

use proptest::prelude::*;
use speckv_formats::quant::{
    self, QuantError, TensorType, float, iq4_nl, q2k, q3k, q4_0, q4_1, q4k, q5_0, q5_1, q5k, q6k,
    q8_0,
};

fn decode(tensor_type: TensorType, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; bytes.len() / tensor_type.block_bytes() * tensor_type.block_len()];
    quant::dequantize(tensor_type, bytes, &mut out).unwrap();
    out
}

/// 0.5, 2.0 and -0.25 as half floats: exponent biased by 15, then ten bits of fraction.
const HALF: [u8; 2] = [0x00, 0x38];
const TWO: [u8; 2] = [0x00, 0x40];
const MINUS_QUARTER: [u8; 2] = [0x00, 0xb4];

#[test]
fn floats_decode_by_hand() {
    assert_eq!(decode(TensorType::F32, &[0, 0, 0x80, 0x3f]), [1.0]);
    assert_eq!(
        decode(TensorType::F16, &[HALF, TWO, MINUS_QUARTER, [1, 0]].concat()),
        [0.5, 2.0, -0.25, 2f32.powi(-24)]
    );
    assert_eq!(decode(TensorType::BF16, &[0x80, 0x3f, 0x40, 0xc0]), [1.0, -3.0]);
}

#[test]
fn blocks_of_32_decode_by_hand() {
    let block = |head: &[[u8; 2]], fifth: &[u8], first: u8, last: u8| {
        let mut bytes = [head.concat(), fifth.to_vec(), vec![0; 16]].concat();
        let (start, end) = (bytes.len() - 16, bytes.len() - 1);
        (bytes[start], bytes[end]) = (first, last);
        bytes
    };
    let ends = |values: &[f32]| [values[0], values[15], values[16], values[31]];
    // Nibbles: element 0 is 15, 16 is 9, 15 is 0, 31 is 1; all others are 0.
    assert_eq!(
        ends(&decode(TensorType::Q4_0, &block(&[HALF], &[], 0x9f, 0x10))),
        [3.5, -4.0, 0.5, -3.5]
    );
    assert_eq!(
        ends(&decode(TensorType::Q4_1, &block(&[HALF, TWO], &[], 0x9f, 0x10))),
        [9.5, 2.0, 6.5, 2.5]
    );
    assert_eq!(
        ends(&decode(TensorType::Iq4Nl, &block(&[HALF], &[], 0x9f, 0x10))),
        [56.5, -63.5, 6.5, -52.0]
    );
    // Fifth bits of elements 0 and 31: 31, 0, 9, 17.
    let fifth = [0x01, 0, 0, 0x80];
    assert_eq!(
        ends(&decode(TensorType::Q5_0, &block(&[HALF], &fifth, 0x9f, 0x10))),
        [7.5, -8.0, -3.5, 0.5]
    );
    assert_eq!(
        ends(&decode(TensorType::Q5_1, &block(&[HALF, TWO], &fifth, 0x9f, 0x10))),
        [17.5, 2.0, 6.5, 10.5]
    );
    let mut q8 = [MINUS_QUARTER.to_vec(), vec![0; 32]].concat();
    (q8[2], q8[33]) = (0x80, 127);
    let values = decode(TensorType::Q8_0, &q8);
    assert_eq!((values[0], values[31]), (32.0, -31.75));
}

#[test]
fn six_bit_scales_decode_by_hand() {
    let mut bytes = [0; 144];
    bytes[..4].copy_from_slice(&[HALF, TWO].concat());
    bytes[4 + 1] = 0b10_000011; // scale 1 = 3, upper bits of scale 5 = 2
    bytes[4 + 5] = 0b01_000101; // minimum 1 = 5, upper bits of minimum 5 = 1
    bytes[4 + 9] = 0b1100_0111; // scale 5 = 2 * 16 + 7, minimum 5 = 16 + 12
    bytes[16] = 0x2f; // q[0] = 15, q[32] = 2
    bytes[16 + 64] = 0x40; // q[160] = 4
    let block = q4k::unpack(&bytes);
    assert_eq!((block.scales, block.mins), ([0, 3, 0, 0, 0, 39, 0, 0], [0, 5, 0, 0, 0, 28, 0, 0]));
    let values = decode(TensorType::Q4K, &bytes);
    assert_eq!((values[0], values[32], values[33]), (0.0, 0.5 * 3.0 * 2.0 - 2.0 * 5.0, -10.0));
    assert_eq!((values[160], values[161]), (0.5 * 39.0 * 4.0 - 2.0 * 28.0, -56.0));

    let mut bytes5 = [0; 176];
    bytes5[..16].copy_from_slice(&bytes[..16]);
    bytes5[16] = 0b0010_0010; // bit 4 of q[32] and q[160]
    bytes5[48] = 0x2f;
    bytes5[48 + 64] = 0x40;
    let values = decode(TensorType::Q5K, &bytes5);
    assert_eq!((values[32], values[160]), (0.5 * 3.0 * 18.0 - 10.0, 0.5 * 39.0 * 20.0 - 56.0));
}

#[test]
fn two_three_and_six_bits_decode_by_hand() {
    let mut q2 = [0; 84];
    q2[9] = 0x73; // group 9, elements 144 to 159: scale 3, minimum 7
    q2[16 + 32 + 16] = 0b00_00_10_00; // n = 1, l = 16, bits 2 and 3: element 128 + 32 + 16 = 176
    q2[16 + 32 + 31] = 0b11; // n = 1, l = 31, bits 0 and 1: element 159
    q2[80..].copy_from_slice(&[HALF, TWO].concat());
    let values = decode(TensorType::Q2K, &q2);
    assert_eq!((values[159], values[144], values[176]), (0.5 * 3.0 * 3.0 - 14.0, -14.0, 0.0));
    assert_eq!(q2k::unpack(&q2).q[176], 2);

    let mut q3 = [0; 110];
    q3[31] = 1 << 4; // bit 2 of element 128 + 31
    q3[32 + 32 + 31] = 0b01; // its low bits: q = 5
    q3[96 + 1] = 0xa0; // low bits of scale 9 = 10
    q3[104 + 1] = 0b11_0000; // upper bits of scale 9: 3 * 16
    q3[108..].copy_from_slice(&HALF);
    let values = decode(TensorType::Q3K, &q3);
    assert_eq!((values[159], values[158]), (0.5 * (58.0 - 32.0), 0.5 * (58.0 - 32.0) * -4.0));
    assert_eq!(values[0], 0.5 * -32.0 * -4.0);

    let mut q6 = [0; 210];
    q6[64 + 32 + 5] = 0x70; // n = 1, h = 1, l = 5, high half: element 128 + 64 + 32 + 5 = 229 has 7
    q6[128 + 32 + 5] = 0b10_00_00_00; // n = 1, s = 3: its upper bits are 2
    q6[192 + 14] = 0xfd; // group 14: -3
    q6[208..].copy_from_slice(&TWO);
    let values = decode(TensorType::Q6K, &q6);
    assert_eq!((values[229], values[230]), (2.0 * -3.0 * (39.0 - 32.0), 2.0 * -3.0 * -32.0));
}

/// The value of every element, in storage order with plain arithmetic on numbers that `f64` holds
/// exactly.
fn walk(tensor_type: TensorType, b: &[u8]) -> Vec<f64> {
    let half = |at: usize| f64::from(float::f16_to_f32([b[at], b[at + 1]]));
    let bit = |at: usize, k: usize| usize::from(b[at]) / 2_usize.pow(k as u32) % 2;
    let digit = |at: usize, base: usize, k: usize| usize::from(b[at]) / base.pow(k as u32) % base;
    let mut out = vec![f64::NAN; tensor_type.block_len()];
    match tensor_type {
        TensorType::F32 => {
            out[0] = f64::from(f32::from_bits(u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        }
        TensorType::F16 => out[0] = half(0),
        TensorType::BF16 => {
            out[0] = f64::from(f32::from_bits(u32::from_le_bytes([0, 0, b[0], b[1]])))
        }
        TensorType::Q8_0 => {
            for i in 0..32 {
                out[i] = half(0) * (f64::from(b[2 + i]) - if b[2 + i] < 128 { 0.0 } else { 256.0 });
            }
        }
        TensorType::Q4_0
        | TensorType::Q4_1
        | TensorType::Q5_0
        | TensorType::Q5_1
        | TensorType::Iq4Nl => {
            let has_m = matches!(tensor_type, TensorType::Q4_1 | TensorType::Q5_1);
            let five = matches!(tensor_type, TensorType::Q5_0 | TensorType::Q5_1);
            let fifth = if has_m { 4 } else { 2 };
            for j in 0..16 {
                for high in 0..2 {
                    let i = j + 16 * high;
                    let q = digit(fifth + if five { 4 } else { 0 } + j, 16, high)
                        + if five { 16 * bit(fifth + i / 8, i % 8) } else { 0 };
                    out[i] = match tensor_type {
                        TensorType::Iq4Nl => half(0) * f64::from(iq4_nl::LEVELS[q]),
                        TensorType::Q4_0 => half(0) * (q as f64 - 8.0),
                        TensorType::Q5_0 => half(0) * (q as f64 - 16.0),
                        _ => half(0) * q as f64 + half(2),
                    };
                }
            }
        }
        TensorType::Q2K => {
            let mut i = 0;
            for quarters in [16, 48] {
                for shift in 0..4 {
                    for l in 0..32 {
                        let (scale, min) =
                            (digit(i / 16, 16, 0) as f64, digit(i / 16, 16, 1) as f64);
                        out[i] = half(80) * scale * digit(quarters + l, 4, shift) as f64
                            - half(82) * min;
                        i += 1;
                    }
                }
            }
        }
        TensorType::Q3K => {
            // The scales as three words, the third of which holds the upper bits of all.
            let word = |k: usize| {
                u32::from_le_bytes([b[96 + 4 * k], b[97 + 4 * k], b[98 + 4 * k], b[99 + 4 * k]])
            };
            let (low, high) = ([word(0), word(1)], word(2));
            let scales: Vec<f64> = (0..4_usize)
                .flat_map(|k| {
                    let four = low[k % 2] >> (4 * (k / 2)) & 0x0f0f_0f0f;
                    let two = high >> (2 * k) & 0x0303_0303;
                    (four | two << 4).to_le_bytes().map(|scale| f64::from(scale) - 32.0)
                })
                .collect();
            let mut i = 0;
            for n in 0..2 {
                for shift in 0..4 {
                    for l in 0..32 {
                        let below = if bit(l, 4 * n + shift) == 1 { 0.0 } else { 4.0 };
                        out[i] = half(108)
                            * scales[i / 16]
                            * (digit(32 + 32 * n + l, 4, shift) as f64 - below);
                        i += 1;
                    }
                }
            }
        }
        TensorType::Q4K | TensorType::Q5K => {
            let s = |k: usize| usize::from(b[4 + k]);
            let five = tensor_type == TensorType::Q5K;
            for group in 0..8 {
                let (scale, min) = if group < 4 {
                    (s(group) % 64, s(group + 4) % 64)
                } else {
                    (
                        s(group + 4) % 16 + s(group - 4) / 64 * 16,
                        s(group + 4) / 16 + s(group) / 64 * 16,
                    )
                };
                for l in 0..32 {
                    let q = digit(if five { 48 } else { 16 } + group / 2 * 32 + l, 16, group % 2)
                        + if five { 16 * bit(16 + l, group) } else { 0 };
                    out[32 * group + l] = half(0) * scale as f64 * q as f64 - half(2) * min as f64;
                }
            }
        }
        TensorType::Q6K => {
            for n in 0..2 {
                let (low, high, scales) = (64 * n, 128 + 32 * n, 192 + 8 * n);
                for l in 0..32 {
                    let q = [
                        digit(low + l, 16, 0) + 16 * digit(high + l, 4, 0),
                        digit(low + l + 32, 16, 0) + 16 * digit(high + l, 4, 1),
                        digit(low + l, 16, 1) + 16 * digit(high + l, 4, 2),
                        digit(low + l + 32, 16, 1) + 16 * digit(high + l, 4, 3),
                    ];
                    for (k, q) in q.into_iter().enumerate() {
                        let scale = f64::from(b[scales + l / 16 + 2 * k] as i8);
                        out[128 * n + l + 32 * k] = half(208) * scale * (q as f64 - 32.0);
                    }
                }
            }
        }
        other => panic!("{other} is only read"),
    }
    out
}

#[test]
fn decoding_is_the_exact_value_rounded_once() {
    // What is only read is compared with the gguf package, in `gguf_oracle.rs`.
    for tensor_type in TensorType::WRITTEN {
        let bytes = quant::random_blocks(tensor_type, 300, 7);
        let values = decode(tensor_type, &bytes);
        let expected =
            bytes.chunks(tensor_type.block_bytes()).flat_map(|block| walk(tensor_type, block));
        for (i, (got, expected)) in values.iter().zip(expected).enumerate() {
            assert!(
                *got == expected as f32,
                "{tensor_type} element {i}: {got}, expected {expected}"
            );
        }
    }
}

/// Both directions on one block type, from bytes and back.
macro_rules! assert_packs_back {
    ($module:ident, $tensor_type:expr) => {{
        assert_eq!(
            ($module::LEN, $module::BYTES),
            ($tensor_type.block_len(), $tensor_type.block_bytes())
        );
        let bytes = quant::random_blocks($tensor_type, 64, 3);
        for block in bytes.as_chunks::<{ $module::BYTES }>().0 {
            let unpacked = $module::unpack(block);
            assert_eq!($module::pack(&unpacked), *block, "{}", $tensor_type);
            assert_eq!(decode($tensor_type, block), unpacked.values(), "{}", $tensor_type);
        }
    }};
}

#[test]
fn packing_undoes_unpacking_for_every_byte() {
    assert_packs_back!(q8_0, TensorType::Q8_0);
    assert_packs_back!(q4_0, TensorType::Q4_0);
    assert_packs_back!(q4_1, TensorType::Q4_1);
    assert_packs_back!(q5_0, TensorType::Q5_0);
    assert_packs_back!(q5_1, TensorType::Q5_1);
    assert_packs_back!(iq4_nl, TensorType::Iq4Nl);
    assert_packs_back!(q2k, TensorType::Q2K);
    assert_packs_back!(q3k, TensorType::Q3K);
    assert_packs_back!(q4k, TensorType::Q4K);
    assert_packs_back!(q5k, TensorType::Q5K);
    assert_packs_back!(q6k, TensorType::Q6K);
}

#[test]
fn sizes_that_do_not_fit_are_refused_and_leave_the_output_alone() {
    let mut out = [9.0; 256];
    let error = quant::dequantize(TensorType::Q4K, &[0; 143], &mut out).unwrap_err();
    assert_eq!(
        error,
        QuantError::ByteLen { tensor_type: TensorType::Q4K, expected: 144, got: 143 }
    );
    let error = quant::dequantize(TensorType::Q8_0, &[0; 34], &mut out[..31]).unwrap_err();
    assert_eq!(error.to_string(), "expected a multiple of 32 elements for Q8_0, got 31");
    assert_eq!(out, [9.0; 256]);
    assert_eq!(quant::dequantize(TensorType::Q6K, &[], &mut []), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700), blocks in 0_usize..3) {
        for tensor_type in TensorType::ALL {
            let len = (blocks * tensor_type.block_bytes()).min(bytes.len());
            let mut out = vec![0.0; blocks * tensor_type.block_len()];
            let _ = quant::dequantize(tensor_type, &bytes[..len], &mut out);
        }
    }
}
