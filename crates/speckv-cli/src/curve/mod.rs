//! What passes of a model cost: t(n) for n = 1 to 17 rows, prompt processing, and how near that is
//! to the memory's floor.
//!
//! [`plan`] says what is timed and in which order, [`mod@measure`] reads the clock, [`read_buffer`]
//! is the memory that the read rate is measured on, [`spread`] and [`report`] are arithmetic on the
//! samples.

pub mod measure;
pub mod plan;
pub mod read_buffer;
pub mod report;
pub mod spread;

pub use measure::{MeasureError, Samples, measure};
pub use plan::Plan;
pub use report::{Report, Subject};
