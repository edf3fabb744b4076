//! The SpecKV laboratory: workloads, traces, exact replay.
//!
//! Nothing here sees a tensor: a trace holds what the models said, and every question about
//! controllers is answered from it.

#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

pub mod batch_table;
pub mod columns;
pub mod comparison;
pub mod contestant;
pub mod evaluation;
pub mod grid;
pub mod oracle;
pub mod paper;
pub mod recorder;
pub mod replay;
pub mod report;
pub mod run_folder;
pub mod sheet;
pub mod statistics;
pub mod synthetic;
pub mod trace;
pub mod trace_file;
pub mod training;
pub mod workload;
