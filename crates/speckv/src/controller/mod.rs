//! Controllers decide, step by step, how far to draft.

use crate::{
    cost::{CostModel, SharedPass},
    record::{Source, StepRecord},
    signals::Signals,
};

pub mod baselines;

mod drafting;
mod gamma;
mod spec;
mod speckv;
#[cfg(test)]
pub(crate) mod testing;

pub use baselines::{
    AdaptiveVerification, Chain, Confidence, Ema, Entropy, EntropyRule, ExpectedValue, Fixed,
    Heuristic, Off, PAPER_FEATURES, PAPER_HIDDEN, Paper, PaperPredictor,
};
pub use drafting::Drafting;
pub use gamma::{GammaError, MAX_GAMMA, checked_gamma};
pub use spec::{ControllerKind, ControllerParts, ControllerSpec, SpecError};
pub use speckv::{Speckv, SpeckvOptions};

/// Decides how far a sequence drafts. One controller serves one sequence.
///
/// A controller sees distributions, never the drafted tokens themselves, and it judges each
/// position before it sees the next. Under sampling that is what keeps the output distribution the
/// target's: whether a draft token is verified may depend on the distribution that it was drawn
/// from, not on the draw.
pub trait Controller: Send {
    /// Name as the command line spells it, with its parameters: `fixed-4`.
    fn name(&self) -> String;

    /// Decides before a step. The engine clips `gamma` to [`Situation::gamma_limit`].
    fn plan(&mut self, situation: &Situation) -> Plan;

    /// Judges the newest drafted position, the last of `signals`; the positions before it are all
    /// kept.
    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        let _ = signals;
        Verdict::Continue
    }

    /// Learns from a finished step.
    fn observe(&mut self, record: &StepRecord) {
        let _ = record;
    }

    /// The text was changed from outside: the next turn of a chat, or another prompt. What was
    /// learned of models and machine stays true, what was learned of the text may not.
    fn next_text(&mut self) {}

    /// Decides by these costs from the next step on: for engines that measure their passes
    /// themselves.
    fn set_cost(&mut self, cost: &CostModel) {
        let _ = cost;
    }
}

/// Writes that a pointer to a controller is one: every method is passed on.
macro_rules! pass_on {
    ($pointer:ty) => {
        impl<C: Controller + ?Sized> Controller for $pointer {
            fn name(&self) -> String {
                (**self).name()
            }

            fn plan(&mut self, situation: &Situation) -> Plan {
                (**self).plan(situation)
            }

            fn judge(&mut self, signals: &[Signals]) -> Verdict {
                (**self).judge(signals)
            }

            fn observe(&mut self, record: &StepRecord) {
                (**self).observe(record);
            }

            fn next_text(&mut self) {
                (**self).next_text();
            }

            fn set_cost(&mut self, cost: &CostModel) {
                (**self).set_cost(cost);
            }
        }
    };
}

pass_on!(Box<C>);
pass_on!(&mut C);

/// What is known before a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Situation {
    /// Tokens in the sequence.
    pub context: usize,
    /// Most tokens that budget and context allow to draft.
    pub gamma_limit: usize,
    /// Tokens that budget and context still allow to produce, this step's own included.
    pub remaining: usize,
    /// Tokens that a draft model would have to read before it can draft (beyond the one that every
    /// step feeds).
    pub draft_behind: usize,
    /// Whether there is a draft model.
    pub has_model: bool,
    /// What n-gram look-up could offer, if it found something.
    pub lookup: Option<Lookup>,
    /// Who else is in the target's pass.
    pub pass: SharedPass,
}

impl Situation {
    /// A sequence of `context` tokens that is alone in the target's pass, has a draft model that
    /// has read all of it, and may draft up to `gamma_limit` tokens of an answer without an end in
    /// sight.
    #[must_use]
    pub fn alone(context: usize, gamma_limit: usize) -> Self {
        Situation {
            context,
            gamma_limit,
            remaining: usize::MAX,
            draft_behind: 0,
            has_model: true,
            lookup: None,
            pass: SharedPass::ALONE,
        }
    }
}

/// What n-gram look-up could offer for the next tokens, known for free before drafting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lookup {
    /// Tokens at the end of the sequence that also stand at the place found.
    pub match_length: usize,
    /// Tokens that follow there.
    pub available: usize,
    /// Distribution of the first token over all places found.
    pub signals: Signals,
}

/// A controller's decision before a step. The default is plain decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Most tokens to draft; 0 is plain decoding.
    pub gamma: usize,
    /// Who drafts.
    pub source: Source,
}

impl Default for Plan {
    fn default() -> Self {
        Plan::OFF
    }
}

impl Plan {
    /// Plain decoding.
    pub const OFF: Plan = Plan { gamma: 0, source: Source::MODEL };

    /// Up to `gamma` tokens from the draft model.
    #[must_use]
    pub fn model(gamma: usize) -> Self {
        Plan { gamma, source: Source::MODEL }
    }

    /// Up to `gamma` tokens from n-gram look-up.
    #[must_use]
    pub fn ngram(gamma: usize) -> Self {
        Plan { gamma, source: Source::NGRAM }
    }
}

/// What to do after a position was drafted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Keep this token and draft one more.
    Continue,
    /// Keep this token and verify.
    Verify,
    /// Verify without this token.
    Drop,
}
