//! From logits to a token: the sampling chain, the distributions it makes, and the random numbers
//! that it is given.
//!
//! Draft and target go through the same chain with the same settings, so speculation keeps the
//! distribution that the *settings* describe, not only the raw one.

mod chain;
mod distribution;
mod randomness;
mod settings;

pub use chain::Chain;
pub use distribution::Distribution;
pub use randomness::Randomness;
pub use settings::{SamplingError, SamplingSettings};
