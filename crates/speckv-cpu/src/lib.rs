//! Real language models on the CPU, behind [`speckv::model::LanguageModel`].

pub mod cores;
mod disjoint;
pub mod kernels;
pub mod matrix;
pub mod memory;
pub mod model;
pub mod pool;
#[cfg(target_os = "macos")]
mod sysctl;
