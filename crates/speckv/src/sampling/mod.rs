//! From logits to a token: the sampling chain, the distributions it makes, and the random numbers
//! that it is given.
//!
//! Draft and target go through the same chain with the same settings, so speculation keeps the
//! distribution that the *settings* describe, not only the raw one.

mod candidates;
mod chain;
mod constraint;
mod distribution;
mod randomness;
mod settings;
mod token_set;

pub use chain::Chain;
pub use constraint::{Constraint, ConstraintError};
pub use distribution::Distribution;
pub use randomness::Randomness;
pub use settings::{SamplingError, SamplingSettings};
pub use token_set::TokenSet;
