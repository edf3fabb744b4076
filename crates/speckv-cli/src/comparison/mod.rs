//! Controllers against each other, on the same prompts, in one run.
//!
//! [`contestant`] finds who takes part by name, [`mod@race`] reads the totals that the engine's
//! clock made, [`sample`] is one answer's numbers, [`statistics`] and [`report`] are arithmetic on
//! the samples, [`spoiled`] is a draft that is worth nothing, [`live`] loads a pair and runs the
//! race for the commands that compare, [`forecast`] says how long it takes.

pub mod contestant;
pub mod forecast;
pub mod live;
pub mod race;
pub mod report;
pub mod sample;
pub mod spoiled;
pub mod table;

pub use race::{Field, Meters, Race, Rules, Text, race};
pub use report::Report;
pub use sample::Sample;
pub use speckv_lab::{contestant::Contestant, statistics::throughput as statistics};
pub use table::across_compressions;
