//! What the models proposed at every position of one greedy output.
//!
//! Under greedy decoding the target's text does not depend on how far a step drafts. A trace that
//! holds, for every position, what each source would have proposed from there and how much of it
//! the target agrees with, shows exactly what any controller would have done.

use speckv::{
    controller::Lookup,
    record::{Drafted, Source},
    token::Token,
};

/// How deep a recording goes, and how deep a step could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depths {
    /// Tokens of the draft model's chain at every position, at least 1.
    pub gamma_max: usize,
    /// Tokens of look-up's chain.
    pub ngram_max: usize,
    /// Tokens that one pass of the draft model proposes; 0 where it proposes one per pass.
    pub block_max: usize,
    /// Most tokens that a live step of the recorded engine may draft, whatever a controller
    /// plans.
    pub gamma_limit: usize,
}

impl Depths {
    /// Depth of a source's chains; 0 for one that traces do not record.
    #[must_use]
    pub fn of(&self, source: Source) -> usize {
        match source {
            Source::MODEL => self.gamma_max,
            Source::NGRAM => self.ngram_max,
            Source::PARALLEL => self.block_max,
            _ => 0,
        }
    }
}

/// What one source proposes from one position on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proposal {
    /// Proposed tokens with their signals, up to the depth of the recording or to an end token.
    pub drafted: Vec<Drafted>,
    /// How many of them, from the first on, the target's text continues with.
    pub agreed: usize,
}

/// What is proposed before one token of the output.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Position {
    /// From the draft model; empty without one.
    pub model: Proposal,
    /// From one pass of the draft model; empty where it proposes one token per pass.
    pub parallel: Proposal,
    /// From look-up, where it found something.
    pub ngram: Option<(Lookup, Proposal)>,
}

impl Position {
    /// What a source proposes here; `None` for one that traces do not record.
    #[must_use]
    pub fn proposal(&self, source: Source) -> Option<&Proposal> {
        let some = |proposal| Some(proposal).filter(|it: &&Proposal| !it.drafted.is_empty());
        match source {
            Source::MODEL => some(&self.model),
            Source::PARALLEL => some(&self.parallel),
            Source::NGRAM => self.ngram.as_ref().map(|(_, proposal)| proposal),
            _ => None,
        }
    }
}

/// One output of the target with everything that could have been drafted for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The prompt's id in its workload.
    pub prompt_id: String,
    /// The prompt's task.
    pub task: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that the run was allowed to produce.
    pub max_tokens: usize,
    /// Tokens that end an output.
    pub end_tokens: Vec<Token>,
    /// How deep it was recorded.
    pub depths: Depths,
    /// The target's output, the end token included if there was one.
    pub tokens: Vec<Token>,
    /// What was proposed before each of them, `[tokens]`.
    pub positions: Vec<Position>,
}

/// Why a trace cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The calls of a step came out of order: a fault of the replay.
    #[error("the replay broke the order of a step")]
    Step(#[from] speckv::step::StepError),
    /// Another number of positions than tokens.
    #[error("trace of {prompt_id}: expected {tokens} positions, one per token, got {positions}")]
    Positions {
        /// The prompt.
        prompt_id: String,
        /// Tokens.
        tokens: usize,
        /// Positions.
        positions: usize,
    },
    /// More tokens than were allowed.
    #[error("trace of {prompt_id}: expected at most {max_tokens} tokens, got {tokens}")]
    TooLong {
        /// The prompt.
        prompt_id: String,
        /// The limit.
        max_tokens: usize,
        /// Tokens.
        tokens: usize,
    },
    /// An agreement that the tokens contradict.
    #[error(
        "trace of {prompt_id}, position {position}: expected an agreement of {expected} tokens by \
         comparing the texts, got {got}"
    )]
    Agreement {
        /// The prompt.
        prompt_id: String,
        /// The position.
        position: usize,
        /// By comparison.
        expected: usize,
        /// As recorded.
        got: usize,
    },
}

impl Trace {
    /// Whether a draft model was recorded.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.positions.iter().any(|position| position.proposal(Source::MODEL).is_some())
    }

    /// Checks that the parts fit together: one position per token, agreements as the tokens
    /// themselves say.
    ///
    /// # Errors
    /// [`TraceError`] with the first place that does not fit.
    pub fn check(&self) -> Result<(), TraceError> {
        let (tokens, positions) = (self.tokens.len(), self.positions.len());
        if tokens != positions {
            return Err(TraceError::Positions {
                prompt_id: self.prompt_id.clone(),
                tokens,
                positions,
            });
        }
        if tokens > self.max_tokens {
            return Err(TraceError::TooLong {
                prompt_id: self.prompt_id.clone(),
                max_tokens: self.max_tokens,
                tokens,
            });
        }
        for (position, proposals) in self.positions.iter().enumerate() {
            for proposal in [Source::MODEL, Source::PARALLEL, Source::NGRAM]
                .into_iter()
                .filter_map(|source| proposals.proposal(source))
            {
                let text = &self.tokens[position..];
                let expected = proposal
                    .drafted
                    .iter()
                    .zip(text)
                    .take_while(|(drafted, token)| drafted.token == **token)
                    .count();
                if expected != proposal.agreed {
                    let prompt_id = self.prompt_id.clone();
                    return Err(TraceError::Agreement {
                        prompt_id,
                        position,
                        expected,
                        got: proposal.agreed,
                    });
                }
            }
        }
        Ok(())
    }
}
