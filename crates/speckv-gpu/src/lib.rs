//! Language models on GPUs, behind [`speckv::model::LanguageModel`].
//!
//! Kernels are written in WGSL and run through wgpu on Vulkan, Metal or DX12. A row of a pass has
//! the same bits however many rows share the pass: sums are exact integers per 32 columns, then
//! multiply-adds in an order that the shapes alone decide.

pub mod cache_type;
pub mod device;
pub mod error;
pub mod format;
pub mod matrix;
pub mod model;
pub mod read_rate;
pub mod report;
pub mod self_test;
pub mod shader;
