//! Real language models on the CPU, behind [`speckv::model::LanguageModel`].

pub mod checked;
mod disjoint;
pub mod kernels;
pub mod matrix;
pub mod memory;
pub mod model;
pub mod pool;
