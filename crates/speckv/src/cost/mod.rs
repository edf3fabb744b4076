//! What time costs: measured seconds of draft and verification.
//!
//! A step that drafts `n` tokens and verifies `k` of them at context length `c` takes `catch_up +
//! n * draft(c) + verify(k + 1, c) + overhead` seconds. Every part is measured per pair of models,
//! compression and machine; [`CostModel::observe`], [`CostModel::observe_pass`] and
//! [`CostModel::observe_round`] keep it true while the machine drifts. Pure: times come in as
//! arguments, no clock is read.

mod affine;
mod calibration;
mod growth;
mod model;
mod online;
mod passes;
mod shared;

use affine::Affine;
pub use calibration::{CostError, Samples, TimeSample, VerifySample};
pub use model::CostModel;
use model::Parts;
use online::Online;
pub use passes::{PassCurve, PassPoint};
pub use shared::SharedPass;

/// Verification passes that have an entry of their own, from 1 to this many rows. Longer ones lie
/// on a broken line through those that were measured, or on the straight continuation of the
/// entries where none were.
pub const MEASURED_ROWS: usize = 17;
