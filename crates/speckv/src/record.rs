//! The record of a step, in three parts: what was known before it, what was known while it drafted,
//! and what was known after verification. Whoever learns from records takes the parts that were
//! known at the time.

use std::time::Duration;

use crate::{gamma::READ_ALONG_PARALLEL, signals::Signals, token::Token};

pub use crate::source::Source;

/// A controller's decision before a step. The default is plain decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Most tokens to draft; 0 is plain decoding.
    pub gamma: usize,
    /// The source that drafts.
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

    /// Up to `gamma` tokens from one pass of the draft model.
    #[must_use]
    pub fn parallel(gamma: usize) -> Self {
        Plan { gamma, source: Source::PARALLEL }
    }

    /// Up to `gamma` tokens from n-gram look-up.
    #[must_use]
    pub fn ngram(gamma: usize) -> Self {
        Plan { gamma, source: Source::NGRAM }
    }
}

/// A proposed token as the record keeps it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drafted {
    /// The proposed token.
    pub token: Token,
    /// The source's second choice there; `None` where there is none, or the source does not say.
    pub second: Option<Token>,
    /// The draft's distribution where it was proposed.
    pub signals: Signals,
}

impl Drafted {
    /// A token without a second choice.
    #[must_use]
    pub fn new(token: Token, signals: Signals) -> Self {
        Drafted { token, second: None, signals }
    }
}

/// Tokens verified beside the draft: a second branch of the same pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Branch {
    /// Kept draft tokens that it follows; after them it says something else than the draft, or goes
    /// on where the draft ends.
    pub at: usize,
    /// Whether it is a sibling: the draft's second choice in place of its token after
    /// [`at`](Self::at) others. Otherwise look-up says it.
    pub sibling: bool,
    /// Its tokens, all of them verified.
    pub tokens: Vec<Drafted>,
    /// How many of them were accepted, from the first on. 0 where the draft itself was accepted
    /// beyond [`at`](Self::at), or not that far.
    pub accepted: usize,
}

/// Known before the step began.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Before {
    /// Number of the step in its sequence, from 0.
    pub step: usize,
    /// Tokens in the sequence before the step.
    pub context: usize,
    /// Tokens that the draft had not read yet (beyond the one that every step feeds).
    pub draft_behind: usize,
    /// Most tokens that budget and context allowed to draft.
    pub gamma_limit: usize,
    /// What the controller decided.
    pub plan: Plan,
    /// Tokens that the draft's pass proposes at once; 0 where it proposes one per pass.
    pub block: usize,
}

impl Before {
    /// Rows of a pass that proposes [`block`](Self::block) tokens: the text that it reads along,
    /// its last token, and a mask for each token but the first.
    #[must_use]
    pub fn block_rows(&self) -> usize {
        block_rows(self.block, self.draft_behind)
    }
}

/// Rows of a draft's pass that proposes `tokens` tokens with `behind` more to read.
pub(crate) fn block_rows(tokens: usize, behind: usize) -> usize {
    tokens + if behind <= READ_ALONG_PARALLEL { behind } else { 0 }
}

/// What made the step's last token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Last {
    /// Nothing was verified: plain decoding.
    #[default]
    Plain,
    /// A draft token was rejected; this one was drawn from (p - q)+.
    Recovered,
    /// All draft tokens were accepted; this one was drawn from the target.
    Bonus,
    /// The last draft token was accepted and is an end token: nothing was drawn after it.
    Accepted,
}

/// Known after verification. Built by [`Stepper::commit`](crate::step::Stepper::commit) alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// Draft tokens that were verified; at most the number drafted.
    pub verified: usize,
    /// Draft tokens that were accepted.
    pub accepted: usize,
    /// What made the token after the accepted ones.
    pub last: Last,
    /// Tokens added to the sequence: those accepted of the draft and of the branch beside it, one
    /// more unless the last accepted one is an end token, and what a constraint forced.
    pub produced: usize,
    /// An accepted end token cut the step: what draft and target would have said after it was not
    /// seen.
    pub ended: bool,
}

impl Outcome {
    /// Outcome of draft token `position` (from 0), or `None` where it was not seen: after the first
    /// rejection, beyond what was verified, or past an end token.
    ///
    /// ```
    /// # use speckv::{controller::{Fixed, Situation}, record::{Drafted, Times}, signals::Signals};
    /// # use speckv::step::{Ending, Stepper};
    /// # let mut stepper = Stepper::new(Fixed::new(3));
    /// # stepper.plan(&Situation::alone(9, 9))?;
    /// # for token in 0..3 { stepper.judge(Drafted::new(token, Signals::default()), false)?; }
    /// # let ending = Ending { accepted: 1, token: Some(9), verified: None, branch: 0 };
    /// # let record = stepper.finish(&ending, Times::default())?;
    /// // Three tokens verified, one accepted.
    /// let labels = [0, 1, 2].map(|position| record.outcome.label(position));
    /// assert_eq!(labels, [Some(true), Some(false), None]);
    /// # Ok::<(), speckv::step::StepError>(())
    /// ```
    #[must_use]
    pub fn label(&self, position: usize) -> Option<bool> {
        if self.ended && position >= self.accepted {
            None
        } else if position < self.accepted {
            Some(true)
        } else if position == self.accepted && position < self.verified {
            Some(false)
        } else {
            None
        }
    }
}

/// Tokens that a constraint forced in a step: proposed without a draft, accepted without a decision.
/// They are not among the drafted tokens, and no signals belong to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forced {
    /// Rows of the target's pass that read forced tokens, of this step or the one before.
    pub rows: usize,
    /// Which of [`StepRecord::tokens`] were forced, ascending.
    pub places: Vec<usize>,
}

/// Where the step's time went. Where several sequences share a pass, each one's record has the time
/// of the whole pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Draft reading tokens that it had missed. A few missed tokens are read along with the first
    /// drafting pass, and their time is in `draft`: see [`crate::draft::ModelDrafter`].
    pub catch_up: Duration,
    /// Drafting, signals included.
    pub draft: Duration,
    /// The target's pass.
    pub verify: Duration,
    /// Controller: planning, judging, and observing the step before.
    pub controller: Duration,
    /// The whole step, observing the step before included.
    pub total: Duration,
}

/// One step, from decision to outcome.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepRecord {
    /// Known before.
    pub before: Before,
    /// Known while drafting, one entry per drafted token.
    pub drafted: Vec<Drafted>,
    /// Tokens verified beside the draft.
    pub branch: Branch,
    /// Known after.
    pub outcome: Outcome,
    /// What a constraint forced.
    pub forced: Forced,
    /// Where the time went.
    pub times: Times,
    /// Tokens added to the sequence, `[produced]`.
    pub tokens: Vec<Token>,
}

impl StepRecord {
    /// Rows of the target's pass: the text's last token, the draft, the branch beside it, and forced
    /// tokens.
    #[must_use]
    pub fn rows(&self) -> usize {
        1 + self.outcome.verified + self.branch.tokens.len() + self.forced.rows
    }

    /// Whether budget, context or an end token, and not the controller or the target, ended this
    /// step: what would have come after was not seen. A clipped step whose draft the
    /// target rejected is not censored: the rejection would have come whatever followed.
    #[must_use]
    pub fn is_censored(&self) -> bool {
        self.outcome.ended || (self.is_short() && self.outcome.accepted == self.outcome.verified)
    }

    /// Whether budget, context or an end token cut the step, whatever the target said of it: no
    /// mean of lengths or acceptance may be taken over steps with it. Leaving out the censored ones
    /// alone would keep the rejected of the clipped steps and drop the accepted.
    #[must_use]
    pub fn is_clipped(&self) -> bool {
        self.outcome.ended || self.is_short()
    }

    /// Whether its sequence counts as drafting with the model until its next step is decided: it
    /// did so in this one, or would have if the draft had not been reading. A sequence counts in its
    /// first two steps too: sequences that begin together would otherwise each expect to draft
    /// alone, and then none would draft. Many do not draft in their first step, so that the first
    /// token does not wait for a draft that reads.
    #[must_use]
    pub fn expects_drafting(&self) -> bool {
        let Before { step, plan, .. } = &self.before;
        *step == 0 || (plan.source.is_of_model() && plan.gamma > 0)
    }

    /// The plan went further than budget and context, and the draft went as far as these.
    fn is_short(&self) -> bool {
        let (plan, limit) = (self.before.plan.gamma, self.before.gamma_limit);
        plan > limit && self.drafted.len() >= limit
    }
}
