//! Model files: what they hold, in the terms of a transformer.
//!
//! No tensor is multiplied here. A backend reads a [`checkpoint::Checkpoint`], takes its
//! [`config::Config`] and its tensors, and stores them as its kernels need them.

pub mod chat_template;
pub mod checkpoint;
pub mod compression;
pub mod config;
pub mod convert;
pub mod gguf;
pub mod quant;
pub mod requantize;
pub mod tiny;
pub mod tokenizer;
