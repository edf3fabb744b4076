#![doc = include_str!("../README.md")]

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
pub mod weights;
