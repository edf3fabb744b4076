//! Real language models on the CPU, behind [`speckv::model::LanguageModel`].

mod disjoint;
pub mod kernels;
pub mod matrix;
pub mod memory;
pub mod model;
pub mod pool;
