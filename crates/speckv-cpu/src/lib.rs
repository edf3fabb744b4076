#![doc = include_str!("../README.md")]
#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

pub mod checked;
pub mod cores;
mod disjoint;
pub mod kernels;
pub mod matrix;
pub mod memory;
pub mod model;
pub mod pool;
#[cfg(target_os = "macos")]
mod sysctl;
