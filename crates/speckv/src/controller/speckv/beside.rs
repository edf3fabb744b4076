//! What look-up is worth beside a draft, in a branch of the same pass.
//!
//! At the position where look-up leaves the draft at most one of the two is right. With `a` and `b`
//! their probabilities of being right, taken to be independent but for that, look-up is right with
//! probability `b (1 - a) / (1 - a b)`; where the draft has ended, `a` is 0. A correction is learned
//! from the outcomes of each of the two cases.

use super::{prices::Prices, step::Step};
use crate::{
    controller::Beside,
    predictor::{Calibrator, logit},
    record::StepRecord,
};

/// Most tokens of a branch. A longer run of look-up's is worth a step of its own.
pub(super) const MOST: usize = 8;
/// Acceptance of a branch's later tokens before anything was seen: as of look-up's own drafts.
const SUSTAINED: f64 = 0.85;
/// Weight of a new outcome in that.
const SUSTAINED_RATE: f64 = 0.04;
/// Weight of a new step in the value of branches per step: a memory of some 16 steps.
const VALUE_RATE: f64 = 0.06;

/// What was learned of branches in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branches {
    other: Calibrator,   // where look-up contradicts the draft
    further: Calibrator, // where it goes on after the draft
    sustained: f64,
    value: f64, // of a branch per step in which look-up finds something, in tokens
    asked: Option<(bool, f32)>, // of the branch under way: goes on, logit of its first token
}

impl Branches {
    /// Before anything was seen.
    pub(super) fn new() -> Self {
        Branches {
            other: Calibrator::default(),
            further: Calibrator::default(),
            sustained: SUSTAINED,
            value: 0.0,
            asked: None,
        }
    }

    /// Expected value of a branch in a step in which look-up finds something, in tokens.
    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// How many tokens of a branch are worth their rows, and its value in tokens. `right`:
    /// probability that look-up's token is right at the branch, as far as look-up knows.
    pub(super) fn worth(&mut self, beside: &Beside, right: f32, step: &Step) -> (usize, f64) {
        let Beside { kept, at, available, .. } = *beside;
        let (reached, draft) = step.survival(at, kept);
        let b = f64::from(right);
        let alone = b * (1.0 - draft) / (1.0 - draft * b).max(1e-9);
        let score = logit(alone as f32);
        let goes_on = at == kept;
        let calibrator = if goes_on { &self.further } else { &self.other };
        let first = f64::from(calibrator.probability(score));
        let (count, value) = best(reached * first, self.sustained, kept, available, step.prices());
        self.asked = (count > 0).then_some((goes_on, score));
        self.value += VALUE_RATE * (value - self.value);
        (count, value)
    }

    /// Learns from a finished step.
    pub(super) fn learn(&mut self, record: &StepRecord) {
        let Some((goes_on, score)) = self.asked.take() else { return };
        let (branch, outcome) = (&record.branch, &record.outcome);
        if branch.sibling {
            return; // the draft's second choice was verified instead
        }
        if outcome.accepted < branch.at || (outcome.ended && branch.accepted == 0) {
            return; // what would have been there was not seen
        }
        let calibrator = if goes_on { &mut self.further } else { &mut self.other };
        calibrator.observe(score, branch.accepted > 0);
        let seen = branch.tokens.len().min(branch.accepted + 1);
        for position in 1..seen {
            let accepted = f64::from(u8::from(position < branch.accepted));
            self.sustained += SUSTAINED_RATE * (accepted - self.sustained);
        }
    }
}

/// The most valuable number of tokens of a branch, and its value in tokens.
fn best(
    first: f64,
    sustained: f64,
    kept: usize,
    available: usize,
    prices: &Prices,
) -> (usize, f64) {
    let (mut best, mut value, mut more) = ((0, 0.0), 0.0, first);
    for count in 1..=available.min(MOST) {
        value += more - prices.marginal_verify(kept + count);
        more *= sustained;
        if value > best.1 {
            best = (count, value);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::MAX_GAMMA;

    #[test]
    fn a_branch_is_as_long_as_its_rows_are_worth() {
        let mut verify = [0.0; MAX_GAMMA + 1];
        verify.iter_mut().enumerate().for_each(|(count, price)| *price = 0.1 * count as f64);
        let prices = Prices { draft: 0.0, pass: 0.0, verify };
        // 0.4, 0.2, 0.1: two are worth more than they take, the third exactly as much.
        let (count, value) = best(0.4, 0.5, 3, 8, &prices);
        assert_eq!(count, 2);
        assert!((value - 0.4).abs() < 1e-12, "{value}");
        assert_eq!(best(0.09, 0.9, 3, 8, &prices), (0, 0.0), "not worth its row");
        assert_eq!(best(0.9, 0.9, 3, 1, &prices).0, 1, "no more than there is");
    }
}
