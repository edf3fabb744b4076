//! The engine: steps sequences, reads the clock, keeps every cache a prefix of its token list.

mod clock;
mod error;
mod generation;
mod prefill;
mod sequence;
mod step;
mod totals;

pub use clock::{Clock, VirtualTime};
pub use error::EngineError;
pub use generation::Generation;
pub use prefill::Prefill;
pub use sequence::{FinishReason, Sequence, SequenceSettings};
pub use step::{Engine, MAX_GAMMA};
pub use totals::Totals;
