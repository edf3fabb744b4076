//! Calls of the protocol that are refused.

/// A call out of order, or numbers that contradict the step. The step is as it was before the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A step was planned and has not ended.
    #[error("expected the step under way to end before another begins")]
    UnderWay,
    /// No step was planned.
    #[error("expected a step under way, got none")]
    NotUnderWay,
    /// The step was not committed before it was observed.
    #[error("expected a committed step to observe, got one that is still drafting")]
    NotCommitted,
    /// The step was committed already.
    #[error("expected a step that is not committed yet, got one that waits to be observed")]
    Committed,
    /// The step takes no further draft token.
    #[error("expected no more draft tokens in this step, got one after {drafted}")]
    WantsNoMore {
        /// Tokens drafted.
        drafted: usize,
    },
    /// Counts that contradict each other.
    #[error(
        "expected accepted <= verified <= kept = {kept}, got {accepted} accepted and {verified} \
         verified"
    )]
    Counts {
        /// Draft tokens kept.
        kept: usize,
        /// Draft tokens verified, as given.
        verified: usize,
        /// Draft tokens accepted, as given.
        accepted: usize,
    },
    /// Accepted tokens of a branch that the branch or the draft contradicts.
    #[error(
        "expected at most {branch} accepted tokens of a branch after {at} accepted draft tokens, \
         got {beside} after {accepted}"
    )]
    Branch {
        /// Draft tokens that the branch follows.
        at: usize,
        /// Tokens of the branch.
        branch: usize,
        /// Draft tokens accepted, as given.
        accepted: usize,
        /// Tokens of the branch accepted, as given.
        beside: usize,
    },
    /// Neither an accepted token nor one after it.
    #[error("expected a token after 0 accepted ones, got none")]
    NothingProduced,
}
