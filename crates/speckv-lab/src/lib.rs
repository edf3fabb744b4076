//! The SpecKV laboratory: workloads, traces, exact replay.
//!
//! No module uses tensors: a trace holds what the models proposed, and replays of controllers need
//! nothing else.

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
