#![allow(
    clippy::single_range_in_vec_init,
    reason = "lists of ranges are meant: the parts of a text that a user wrote"
)]
#![doc = include_str!("../README.md")]
#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

pub mod chat_template;
pub mod checkpoint;
pub mod compression;
pub mod config;
pub mod convert;
pub mod gguf;
mod jinja;
mod mask_tokens;
pub mod quant;
pub mod requantize;
pub mod synthetic;
pub mod tiny;
pub mod tokenizer;
pub mod weights;

pub use mask_tokens::MASK_TOKENS_KEY;
