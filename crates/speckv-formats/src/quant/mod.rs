//! Number formats of weights: how each stores its elements, and the way there and back.
//!
//! One module per format, each with the layout and the formula of its values, `unpack` and `pack`
//! between a block's bytes and its integers in natural order, `Block::values`, and `quantize`.
//! [`dequantize`] and [`quantize`] go over whole tensors. Blocks do not know rows: a row is a whole
//! number of blocks.
//!
//! | type | elements | bytes | value of element i |
//! |---|---|---|---|
//! | [F32, F16, BF16](float) | 1 | 4, 2, 2 | the float |
//! | [Q8_0](q8_0) | 32 | 34 | d q |
//! | [Q4_0](q4_0) | 32 | 18 | d (q - 8) |
//! | [Q4_1](q4_1) | 32 | 20 | d q + m |
//! | [Q5_0](q5_0) | 32 | 22 | d (q - 16) |
//! | [Q5_1](q5_1) | 32 | 24 | d q + m |
//! | [IQ4_NL](iq4_nl) | 32 | 18 | d level\[q\] |
//! | [Q2_K](q2k) | 256 | 84 | d scale\[i/16\] q - dmin min\[i/16\] |
//! | [Q3_K](q3k) | 256 | 110 | d scale\[i/16\] (q - 4) |
//! | [Q4_K](q4k) | 256 | 144 | d scale\[i/32\] q - dmin min\[i/32\] |
//! | [Q5_K](q5k) | 256 | 176 | d scale\[i/32\] q - dmin min\[i/32\] |
//! | [Q6_K](q6k) | 256 | 210 | d scale\[i/16\] (q - 32) |
//! | [IQ4_XS](iq4_xs) | 256 | 136 | d scale\[i/32\] level\[q\] |
//! | [IQ3_S](iq3_s), [IQ3_XXS](iq3_xxs) | 256 | 110, 98 | d scale\[i/32\] level\[q\] |
//! | [IQ2_S](iq2_s), [IQ2_XS](iq2_xs) | 256 | 82, 74 | d scale\[i/16\] level\[q\] |
//! | [IQ2_XXS](iq2_xxs) | 256 | 66 | d scale\[i/32\] level\[q\] |
//! | [IQ1_S](iq1_s), [IQ1_M](iq1_m) | 256 | 50, 56 | d scale\[i/32\] level\[q\], i/16 |
//! | [MXFP4](mxfp4) | 32 | 17 | 2^e level\[q\] |
//! | [NVFP4](nvfp4) | 64 | 36 | scale\[i/16\] level\[q\] |
//! | [TQ1_0](tq1_0), [TQ2_0](tq2_0) | 256 | 54, 66 | d (q - 1) |
//! | [NF4](nf4), in memory only | 64 | 36 | absmax level\[q\] |
//! | [4 bits of bitsandbytes](bitsandbytes), in folders only | any | | absmax level\[q\] |
//!
//! **Exactness.** d, dmin and m are half floats with 11 significant bits. Every product above has
//! at most 24 of them, so it is exact in `f32`, and where a minimum follows, one rounding remains:
//! whatever the order of the multiplications, the value is the real-number formula rounded once.
//! Two implementations therefore agree bit for bit or one is wrong.
//!
//! The types from IQ4_XS on are read and not written.
//!
//! **Quantizing** looks for the scale (and minimum) of a block, or of a group within a block of
//! 256, that makes the sum of squared errors small: `search` tries some clippings, rounds, fits the
//! scale to the integers by least squares, and keeps the best. The integers are then rounded again
//! with the scale as it is stored.

pub mod bitsandbytes;
pub mod float;
pub mod iq1_m;
pub mod iq1_s;
pub mod iq2_s;
pub mod iq2_xs;
pub mod iq2_xxs;
pub mod iq3_s;
pub mod iq3_xxs;
pub mod iq4_nl;
pub mod iq4_xs;
pub mod levels;
pub mod mxfp4;
pub mod nf4;
pub mod nvfp4;
pub mod q2k;
pub mod q3k;
pub mod q4_0;
pub mod q4_1;
pub mod q4k;
pub mod q5_0;
pub mod q5_1;
pub mod q5k;
pub mod q6k;
pub mod q8_0;
pub mod tq1_0;
pub mod tq2_0;

mod convert;
mod grid;
mod halves;
mod nibbles;
mod random;
mod rows;
mod search;
mod six_bits;
mod tensor_type;
mod weight_type;

pub use convert::{QuantError, check_range, dequantize, quantize};
pub use random::random_blocks;
pub use rows::{Encode, Rows, encode};
pub use tensor_type::{TensorType, UnsupportedTensorType};
pub use weight_type::WeightType;
