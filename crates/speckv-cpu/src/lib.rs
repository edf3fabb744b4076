//! Real language models on the CPU, behind [`speckv::model::LanguageModel`].

pub mod chat_template;
pub mod checkpoint;
pub mod convert;
mod disjoint;
pub mod gguf;
pub mod kernels;
pub mod matrix;
pub mod memory;
pub mod model;
pub mod pool;
pub mod quant;
pub mod requantize;
pub mod tiny;
pub mod tokenizer;
