//! The one limit on gamma, and those of drafts that propose several tokens in one pass.

/// Most tokens that a step may draft, whatever asks for them: the engine, every controller, the
/// command line, the server and the Python package have this limit and no other.
///
/// It bounds what a step holds: prices per position, signals, and under sampling one distribution
/// over the vocabulary per drafted token. No controller gains from it: in the recordings of
/// `record/` the best constant gamma is below 10, and the default controller drafts up to 16.
pub const MAX_GAMMA: usize = 64;

/// Missed tokens that a draft model reads along in a pass that proposes several tokens.
pub const READ_ALONG_PARALLEL: usize = 16;

/// Most tokens that a draft with one mask token for all positions proposes in a pass.
pub const PARALLEL_DEPTH: usize = 16;

/// A gamma outside of 1 to [`MAX_GAMMA`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a gamma from 1 to {MAX_GAMMA}, got {got}")]
pub struct GammaError {
    /// What was asked for.
    pub got: usize,
}

/// `gamma`, if it is from 1 to [`MAX_GAMMA`].
///
/// ```
/// use speckv::controller::{MAX_GAMMA, checked_gamma};
///
/// assert_eq!(checked_gamma(MAX_GAMMA), Ok(64));
/// let refused = checked_gamma(65).expect_err("beyond the limit");
/// assert_eq!(refused.to_string(), "expected a gamma from 1 to 64, got 65");
/// ```
///
/// # Errors
/// [`GammaError`].
pub fn checked_gamma(gamma: usize) -> Result<usize, GammaError> {
    if (1..=MAX_GAMMA).contains(&gamma) { Ok(gamma) } else { Err(GammaError { got: gamma }) }
}
