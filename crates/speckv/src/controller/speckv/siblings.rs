//! What the draft's second choice is worth in a row beside the draft.
//!
//! With `S_i` the probability that the first `i` tokens of the draft are accepted, and `r_i` the
//! probability that the second choice after them is right where the draft's token is not, a sibling
//! there gains `(S_i - S_(i+1)) r_i` tokens. It takes the price of one more row.
//!
//! `r_i` starts from the second token's share of what the draft leaves to other tokens than its
//! first. A correction is learned from every rejection, with or without a sibling: the target's own
//! token tells whether the second choice would have been right.

use super::step::Step;
use crate::{
    predictor::{Calibrator, logit},
    record::{Drafted, StepRecord},
    signals::Signals,
};

/// Score of a second choice before anything was seen: intercept, and slope of the logit of its
/// share. Fitted to the rejections of recorded texts of the training split.
const PRIOR: [f32; 2] = [0.85, 1.3];
/// Weight of a new step in the value of siblings per step: a memory of some 16 steps.
const VALUE_RATE: f64 = 0.06;

/// What was learned of the draft's second choices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Siblings {
    right: Calibrator,
    value: f64, // per step that drafts, in tokens
}

impl Siblings {
    /// Before anything was seen.
    pub(super) fn new() -> Self {
        Siblings { right: Calibrator::damped(), value: 0.0 }
    }

    /// Expected value of a sibling in a step that drafts, in tokens.
    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// The place of the most valuable sibling, if that is worth more than its row and than what
    /// look-up says beside the draft. `signals`: of the kept tokens, each of which has a second
    /// choice.
    pub(super) fn worth(&mut self, signals: &[Signals], step: &Step) -> Option<usize> {
        let kept = signals.len();
        let (mut place, mut gain) = (0, 0.0);
        for (at, signals) in signals.iter().enumerate() {
            let (reached, accepted) = step.survival(at, kept);
            let right = f64::from(self.right.probability(score(signals)));
            let tokens = reached * (1.0 - accepted) * right;
            if tokens > gain {
                (place, gain) = (at, tokens);
            }
        }
        let value = (gain - step.prices().marginal_verify(kept + 1)).max(0.0);
        self.value += VALUE_RATE * (value - self.value);
        (value > step.beside()).then_some(place)
    }

    /// Learns from a finished step in which the target rejected a token.
    pub(super) fn learn(&mut self, record: &StepRecord) {
        let at = record.outcome.accepted;
        if record.outcome.label(at) != Some(false) || !record.forced.places.is_empty() {
            return;
        }
        let (Some(drafted), Some(&token)) = (record.drafted.get(at), record.tokens.get(at)) else {
            return;
        };
        if let Drafted { second: Some(second), signals, .. } = drafted {
            self.right.observe(score(signals), token == *second);
        }
    }
}

/// Logit of the probability that a second choice is right where the first one is not, before
/// anything was seen.
fn score(signals: &Signals) -> f32 {
    let Signals { confidence, margin, .. } = *signals;
    let share = (confidence - margin) / (1.0 - confidence).max(1e-6);
    PRIOR[0] + PRIOR[1] * logit(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::record;

    fn signals(confidence: f32, second: f32) -> Signals {
        Signals { confidence, margin: confidence - second, ..Signals::default() }
    }

    #[test]
    fn a_second_choice_is_more_probable_the_more_of_the_rest_it_has() {
        let scores = [0.02, 0.1, 0.2, 0.39].map(|second| score(&signals(0.6, second)));
        assert!(scores.windows(2).all(|pair| pair[0] < pair[1]), "{scores:?}");
        assert!(score(&signals(1.0, 0.0)).is_finite(), "nothing is left to others");
    }

    #[test]
    fn rejections_teach_whether_the_second_choice_would_have_been_right() {
        let probability =
            |siblings: &Siblings| siblings.right.probability(score(&signals(0.6, 0.2)));
        for right in [true, false] {
            let mut siblings = Siblings::new();
            let before = probability(&siblings);
            let mut rejected = record(&[0.9, 0.6, 0.7], 1);
            rejected.drafted[1].second = Some(5);
            rejected.drafted[1].signals = signals(0.6, 0.2);
            rejected.tokens = vec![0, if right { 5 } else { 6 }];
            for _ in 0..60 {
                siblings.learn(&rejected);
            }
            let after = probability(&siblings);
            assert!(if right { after > 0.8 } else { after < 0.2 }, "{before} became {after}");
            let mut accepted = rejected.clone();
            accepted.outcome.accepted = 3;
            siblings.learn(&accepted);
            assert_eq!(probability(&siblings), after, "nothing was rejected");
        }
    }
}
