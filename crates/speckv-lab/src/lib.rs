//! The SpecKV laboratory: workloads, traces, exact replay.
//!
//! No module uses tensors: a trace holds what the models proposed, and replays of controllers need
//! nothing else.
//!
//! ```
//! use speckv::{controller::Fixed, cost::CostModel};
//! use speckv_lab::{
//!     replay::{Summary, replay},
//!     synthetic::{self, Regime},
//! };
//!
//! // A text of 400 tokens on which the draft is right four times out of five.
//! let trace = synthetic::trace(&[Regime::calibrated(400, 1.5)], 1);
//! let steps = replay(&mut Fixed::new(3), &trace, &CostModel::uncalibrated())?;
//! let summary = Summary::of(&steps);
//! assert_eq!(summary.tokens, 400);
//! assert!(summary.steps < 200, "a step makes more than two tokens on average");
//! # Ok::<(), speckv_lab::trace::TraceError>(())
//! ```

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
pub mod run;
pub mod run_folder;
pub mod sheet;
pub mod statistics;
pub mod synthetic;
pub mod trace;
pub mod trace_file;
pub mod training;
pub mod workload;
