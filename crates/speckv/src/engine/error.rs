//! Why the engine could not go on.

use crate::{
    draft::DraftError,
    logits::LogitsError,
    model::ModelError,
    sampling::{ConstraintError, SamplingError},
    step::StepError,
};

/// Failure of a step, or of making a sequence. Tokens and caches are as they were before the call,
/// so the call may be repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A sequence was given to an engine that did not make it.
    #[error("expected sequences of this engine, got one of another engine (sequence {sequence})")]
    ForeignSequence {
        /// Index in the slice of sequences.
        sequence: usize,
    },
    /// The prompt has no token.
    #[error("expected a prompt of at least one token, got none")]
    EmptyPrompt,
    /// The text does not fit in the model's context.
    #[error("the context holds {context} tokens, the prompt has {got}")]
    PromptTooLong {
        /// Most tokens of a sequence.
        context: usize,
        /// Tokens given.
        got: usize,
    },
    /// A sampling setting is outside its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The constraint of a sequence failed.
    #[error("the constraint on the answer failed (sequence {sequence} of the step)")]
    Constraint {
        /// Index in the slice of sequences.
        sequence: usize,
        /// Why.
        source: ConstraintError,
    },
    /// The target's pass failed.
    #[error("the target model failed")]
    Model(#[from] ModelError),
    /// The drafter failed.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The step's calls came out of order: a fault of the engine.
    #[error("the engine broke the order of a step")]
    Step(#[from] StepError),
    /// The target's logits make no token.
    #[error(
        "the target model's logits make no token (sequence {sequence} of the step, position \
         {position})"
    )]
    Logits {
        /// Index in the slice of sequences.
        sequence: usize,
        /// Position in the sequence that was to be decided.
        position: usize,
        /// What is wrong with them.
        source: LogitsError,
    },
}
