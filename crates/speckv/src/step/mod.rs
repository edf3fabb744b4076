//! The step protocol: decide, draft, judge, verify, accept, commit, observe.
//!
//! [`Stepper`] is the state machine of one sequence's steps. It owns the controller and builds the
//! [`StepRecord`](crate::record::StepRecord); its caller has the models. Three programs drive it: [`Engine`](crate::engine::Engine), the exact replay of `speckv-lab`, and the Python
//! package, whose targets are verified by other engines.
//!
//! An [`Outcome`](crate::record::Outcome) cannot be built outside of this crate, so there is no
//! second way to end a step:
//!
//! ```compile_fail
//! use speckv::record::{Last, Outcome};
//! let outcome = Outcome { verified: 2, accepted: 1, last: Last::Recovered, produced: 2, ended: false };
//! ```

/// Fewest tokens that a limit on the draft model's reading may allow per step: more than a drafter
/// may leave to its first pass ([`READ_ALONG`](crate::draft::READ_ALONG)), so that every limited
/// step brings the draft model nearer to the end of the text.
pub const LEAST_DRAFT_READING: usize = 8;

const _: () = assert!(LEAST_DRAFT_READING > crate::draft::READ_ALONG);

mod error;
mod pass;
mod stepper;

#[cfg(test)]
mod tests;

pub use error::StepError;
pub use pass::{Expected, Member, shared_pass};
pub use stepper::{Ending, Stepper};
