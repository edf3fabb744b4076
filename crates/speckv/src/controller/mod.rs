//! Controllers decide, step by step, how far to draft.
//!
//! [`Speckv`] is the default one; [`baselines`] has those that it is compared with. A controller of
//! one's own implements [`Controller`], and [`crate::conformance::check_controller`] tests it.

use crate::{
    cost::{CostModel, SharedPass},
    record::StepRecord,
    signals::Signals,
};

pub mod baselines;

mod drafting;
mod speckv;
#[cfg(test)]
pub(crate) mod testing;

pub use baselines::{
    AdaptiveVerification, Chain, Confidence, Ema, Entropy, EntropyRule, ExpectedValue, Fixed,
    Heuristic, Off, PAPER_FEATURES, PAPER_HIDDEN, Paper, PaperPredictor,
};
pub use drafting::Drafting;
pub use speckv::{Speckv, SpeckvOptions};

pub use crate::{
    gamma::{GammaError, MAX_GAMMA, checked_gamma},
    record::Plan,
};

/// Decides how far a sequence drafts. One controller serves one sequence.
///
/// A controller sees distributions, never the drafted tokens themselves, and it judges each
/// position before it sees the next. Under sampling that is what keeps the output distribution the
/// target's: whether a draft token is verified may depend on the distribution that it was drawn
/// from, not on the draw.
///
/// The calls of a step come in this order, driven by a [`Stepper`](crate::step::Stepper):
/// [`plan`](Controller::plan) once; [`judge`](Controller::judge) after each drafted token, until a
/// verdict other than [`Verdict::Continue`] or the plan's gamma; [`observe`](Controller::observe)
/// once, after verification. A step whose pass failed has no `observe`: the next call is another
/// `plan`. All methods are called on one thread at a time, and should take microseconds and not
/// allocate: they run between the passes of every step.
///
/// A controller that drafts until a token is unsure, and no further than it got last time and one
/// more:
///
/// ```
/// use speckv::{
///     conformance::check_controller,
///     controller::{Controller, Plan, Situation, Verdict},
///     record::StepRecord,
///     signals::Signals,
/// };
///
/// struct OneMore {
///     reached: usize,
/// }
///
/// impl Controller for OneMore {
///     fn name(&self) -> String {
///         "one-more".into()
///     }
///
///     fn plan(&mut self, situation: &Situation) -> Plan {
///         if situation.has_model { Plan::model(self.reached + 1) } else { Plan::OFF }
///     }
///
///     fn judge(&mut self, signals: &[Signals]) -> Verdict {
///         match signals.last() {
///             Some(newest) if newest.confidence < 0.5 => Verdict::Drop,
///             _ => Verdict::Continue,
///         }
///     }
///
///     fn observe(&mut self, record: &StepRecord) {
///         self.reached = record.outcome.accepted;
///     }
/// }
///
/// check_controller(&|| Box::new(OneMore { reached: 0 }))?;
/// # Ok::<(), String>(())
/// ```
pub trait Controller: Send {
    /// Name with its parameters, for tables and records: `fixed-4`.
    fn name(&self) -> String;

    /// Decides before a step. A gamma above [`Situation::gamma_limit`] is brought down to it.
    fn plan(&mut self, situation: &Situation) -> Plan;

    /// Judges the newest drafted position, the last of `signals`; the positions before it are all
    /// kept. By default drafting goes on to the plan's gamma.
    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        let _ = signals;
        Verdict::Continue
    }

    /// How many of the step's next tokens may be drafted before the first of them is judged, at
    /// least 1: a draft model on a GPU makes so many in one submission. Each is judged all the
    /// same, and what then turns out not to be wanted has cost time. `usize::MAX` is for rules
    /// whose [`judge`](Controller::judge) never ends a draft.
    fn ahead(&self) -> usize {
        1
    }

    /// Most tokens of look-up's own proposal that are compared with the draft once it is done; 0:
    /// look-up is not asked. Called where look-up has found something and something else drafted.
    fn beside(&mut self) -> usize {
        0
    }

    /// How many of the tokens that look-up says beside the draft are verified in a branch of the
    /// same pass.
    ///
    /// Where the branch leaves the draft depends on drawn tokens, and may decide this: the branch's
    /// own tokens are not drawn, so a second candidate at a position only changes how the rest of
    /// the target's distribution is drawn from, not the result.
    fn branch(&mut self, beside: &Beside) -> usize {
        let _ = beside;
        0
    }

    /// Where the draft's second choice is verified too, in place of what look-up says beside the
    /// draft: the number of a kept token, from 0; `None` for nowhere. `signals`: of the kept
    /// tokens. Called after [`branch`](Controller::branch), where every kept token has a second
    /// choice.
    ///
    /// Under sampling this changes no distribution, for the reason that holds for a branch: the
    /// second choice is not drawn.
    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        let _ = signals;
        None
    }

    /// Learns from a finished step.
    fn observe(&mut self, record: &StepRecord) {
        let _ = record;
    }

    /// The text was changed by its owner: the next turn of a chat, or another prompt. What was
    /// learned of models and machine stays true, what was learned of the text may not.
    fn next_text(&mut self) {}

    /// Whether tokens that a constraint forces are taken without a decision of the target. The
    /// output is the same in any case; `false` is for plain decoding, one pass per token.
    fn takes_forced(&self) -> bool {
        true
    }

    /// Decides by these costs from the next step on: for engines that measure their own passes.
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

            fn ahead(&self) -> usize {
                (**self).ahead()
            }

            fn beside(&mut self) -> usize {
                (**self).beside()
            }

            fn branch(&mut self, beside: &Beside) -> usize {
                (**self).branch(beside)
            }

            fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
                (**self).sibling(signals)
            }

            fn observe(&mut self, record: &StepRecord) {
                (**self).observe(record);
            }

            fn next_text(&mut self) {
                (**self).next_text();
            }

            fn takes_forced(&self) -> bool {
                (**self).takes_forced()
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
    /// Whether there is a draft model that may propose one token per pass.
    pub has_model: bool,
    /// Most tokens that a draft model may propose in one pass; 0 where it may not.
    pub parallel: usize,
    /// What n-gram look-up could offer, if it found something.
    pub lookup: Option<Lookup>,
    /// The other sequences of the target's pass.
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
            parallel: 0,
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

/// What look-up says beside a draft that is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    /// Draft tokens that are verified.
    pub kept: usize,
    /// How many of them look-up says too, from the first on: its next token is another one, or goes
    /// on where the draft ends.
    pub at: usize,
    /// Tokens that look-up says from there on and that fit into the step, at least one.
    pub available: usize,
    /// What look-up's distribution looks like where it leaves the draft.
    pub signals: Signals,
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
