//! The step under way: what was decided, and what its tokens have been judged to be worth.

use super::{catch_up::CatchUp, offer::Offer, prices::Prices};
use crate::{
    controller::{MAX_GAMMA, Verdict},
    predictor::Judgement,
    record::Outcome,
};

/// A step that drafts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    gamma: usize,
    /// The source drafts to be learned from, not for what it is expected to earn.
    probe: bool,
    /// Acceptance that is expected of each position after the next.
    sustained: f64,
    prices: Prices,
    /// Tokens per plain step that time is priced at.
    rate: f64,
    catch_up: CatchUp,
    /// The plan's value, in tokens.
    pub predicted: f64,
    /// `S_i` of the newest position.
    survival: f64,
    /// Sum of `S_1 ..= S_i`, `[0..=MAX_GAMMA]`.
    expected: [f64; MAX_GAMMA + 1],
    judged: usize,
    /// Value of what look-up says beside the draft, in tokens.
    beside: f64,
}

/// What a step came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gain {
    /// Tokens gained against plain decoding: the mean of expected and realised. The former is
    /// steadier, the latter cannot be wrong.
    pub tokens: f64,
    /// Plain steps' worth of time lost against plain decoding. The prompt's reading was decided for
    /// the whole text, not for this step: it is in the plan's value, and no loss of the draft's.
    pub time: f64,
    /// Tokens gained less the price of all the time that the step took, its share of the reading
    /// included.
    pub value: f64,
}

impl Step {
    /// The step of an offer that was chosen.
    pub(super) fn new(offer: &Offer, gamma: usize, probe: bool, sustained: f64, rate: f64) -> Self {
        Step {
            gamma,
            probe,
            sustained,
            prices: offer.prices,
            rate,
            catch_up: offer.catch_up,
            predicted: offer.predicted,
            survival: 1.0,
            expected: [0.0; MAX_GAMMA + 1],
            judged: 0,
            beside: 0.0,
        }
    }

    /// Judges draft token `position` (from 1).
    pub(super) fn judge(&mut self, position: usize, judgement: Judgement) -> Verdict {
        if position > MAX_GAMMA {
            return Verdict::Drop;
        }
        self.survival *= f64::from(judgement.accept);
        self.expected[position] = self.expected[position - 1] + self.survival;
        self.judged = position;
        let kept = self.survival - self.prices.marginal_verify(position);
        let ahead = self.prices.ahead(
            position,
            self.survival,
            f64::from(judgement.next),
            self.sustained,
            self.gamma.saturating_sub(position),
        );
        if ahead > 0.0 && kept + ahead > 0.0 {
            Verdict::Continue
        } else if kept > 0.0 || (self.probe && position == 1) {
            Verdict::Verify
        } else {
            Verdict::Drop
        }
    }

    /// The prices of its time.
    pub(super) fn prices(&self) -> &Prices {
        &self.prices
    }

    /// Value of what look-up says beside the draft, in tokens; 0 where it is not verified.
    pub(super) fn beside(&self) -> f64 {
        self.beside
    }

    /// Notes what look-up says beside the draft is worth.
    pub(super) fn set_beside(&mut self, value: f64) {
        self.beside = value;
    }

    /// Plain steps' worth of time that a branch of `count` tokens takes beside `verified` tokens.
    pub(super) fn branch_time(&self, verified: usize, count: usize) -> f64 {
        let verify = |tokens: usize| self.prices.verify[tokens.min(MAX_GAMMA)];
        (verify(verified + count) - verify(verified)) / self.rate
    }

    /// Probability that the first `at` of `kept` tokens are accepted, and that the next one is given
    /// that; 0 where there is none.
    pub(super) fn survival(&self, at: usize, kept: usize) -> (f64, f64) {
        let survival = |count: usize| match count {
            0 => 1.0,
            count => self.expected[count] - self.expected[count - 1],
        };
        let at = at.min(self.judged);
        let reached = survival(at);
        let next =
            if at < kept.min(self.judged) { survival(at + 1) / reached.max(1e-9) } else { 0.0 };
        (reached, next)
    }

    /// What the step came to, after `drafted` tokens.
    pub(super) fn gain(&self, drafted: usize, outcome: &Outcome) -> Gain {
        let accepted = outcome.accepted as f64;
        let verified = outcome.verified.min(MAX_GAMMA);
        let expected =
            if self.judged >= outcome.verified { self.expected[verified] } else { accepted };
        let tokens = 0.5 * (expected + accepted);
        let worked = (self.prices.drafting(drafted) + self.prices.verify[verified]) / self.rate;
        let value = tokens - self.rate * (worked + self.catch_up.share);
        Gain { tokens, time: worked + self.catch_up.text, value }
    }
}
