//! Real language models on the CPU, behind [`speckv::model::LanguageModel`].

pub mod gguf;
pub mod quant;
pub mod tiny;
pub mod tokenizer;
pub mod chat_template;
pub mod kernels;
pub mod matrix;
pub mod memory;
pub mod model;
pub mod pool;
