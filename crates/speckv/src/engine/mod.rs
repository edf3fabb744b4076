//! The engine: steps sequences, reads the clock, and keeps every cache a prefix of its token list.

mod accept;
mod clock;
mod error;
mod forced;
mod generation;
mod home;
mod likelihood;
mod phases;
mod prefill;
mod reading;
mod sequence;
mod step;
mod totals;

pub use clock::{Clock, VirtualTime};
pub use error::EngineError;
pub use generation::Generation;
pub use likelihood::Likelihood;
pub use prefill::Prefill;
pub use reading::{Pass, ReadLimits, Round};
pub use sequence::{FinishReason, Sequence, SequenceSettings};
pub use step::Engine;
pub use totals::Totals;
