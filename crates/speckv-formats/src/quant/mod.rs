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
//! | [NF4](nf4), in memory only | 64 | 36 | absmax level\[q\] |
//! | [4 bits of bitsandbytes](bitsandbytes), in folders only | any | | absmax level\[q\] |
//!
//! **Exactness.** d, dmin and m are half floats with 11 significant bits. Every product above has
//! at most 24 of them, so it is exact in `f32`, and where a minimum follows, one rounding remains:
//! whatever the order of the multiplications, the value is the real-number formula rounded once.
//! Two implementations therefore agree bit for bit or one is wrong.
//!
//! **Quantizing** looks for the scale (and minimum) of a block, or of a group within a block of
//! 256, that makes the sum of squared errors small: `search` tries some clippings, rounds, fits the
//! scale to the integers by least squares, and keeps the best. The integers are then rounded again
//! with the scale as it is stored.

pub mod bitsandbytes;
pub mod float;
pub mod iq4_nl;
pub mod nf4;
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

mod convert;
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
