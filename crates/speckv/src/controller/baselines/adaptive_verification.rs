//! vLLM's adaptive verification: calibrated confidence against measured cost.

use super::default_source;
use crate::{
    controller::{Controller, Plan, Situation, Verdict},
    cost::{CostModel, SharedPass},
    predictor::{Calibrator, logit},
    record::{Source, StepRecord},
    signals::Signals,
};

/// Estimates each token's acceptance from the logit of its confidence alone, calibrated online, and
/// keeps the prefix with the most expected tokens per second of the step: a token stays while `(E +
/// S_i) / T(i)` rises. vLLM drafts in one parallel pass and trims; where each token has a pass,
/// drafting stops at the first token that would be trimmed, which is the same prefix for less time.
#[derive(Debug, Clone)]
pub struct AdaptiveVerification {
    cost: CostModel,
    calibrator: Calibrator,
    gamma: usize,
    context: usize,
    draft_seconds: f64, // per token
    block_seconds: f64, // of the pass that drafts all tokens; 0 where there is none
    pass: SharedPass,
    survival: f64,
    expected: f64,
    seconds: f64,
}

impl AdaptiveVerification {
    /// vLLM's usual depth with adaptive verification.
    pub const GAMMA: usize = 7;

    /// Drafts up to `gamma` tokens.
    #[must_use]
    pub fn new(cost: CostModel, gamma: usize) -> Self {
        let calibrator = Calibrator::default();
        AdaptiveVerification {
            cost,
            calibrator,
            gamma,
            context: 0,
            draft_seconds: 0.0,
            block_seconds: 0.0,
            pass: SharedPass::ALONE,
            survival: 1.0,
            expected: 1.0,
            seconds: 1.0,
        }
    }
}

impl Controller for AdaptiveVerification {
    fn name(&self) -> String {
        format!("adaptive-verification-{}", self.gamma)
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        let source = default_source(situation);
        (self.context, self.pass) = (situation.context, situation.pass);
        let drafting = |tokens| {
            let Situation { context, draft_behind, pass, .. } = *situation;
            self.cost.shared_drafting_seconds(source, tokens, draft_behind, context, pass)
        };
        (self.draft_seconds, self.block_seconds) = match source {
            Source::PARALLEL => {
                let most = situation.parallel.min(situation.gamma_limit);
                (0.0, drafting(self.gamma.min(most)))
            }
            _ => (drafting(1), 0.0),
        };
        (self.survival, self.expected, self.seconds) =
            (1.0, 1.0, self.cost.shared_plain_seconds(self.context, self.pass));
        Plan { gamma: self.gamma, source }
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        let Some(newest) = signals.last() else { return Verdict::Continue };
        self.survival *= f64::from(self.calibrator.probability(logit(newest.confidence)));
        let count = signals.len();
        let seconds = count as f64 * self.draft_seconds
            + self.block_seconds
            + self.cost.shared_verify_seconds(count + 1, self.context, self.pass);
        // The first token is always drafted (the rule has no off), so its drafting is in both rates.
        let first = self.draft_seconds + self.block_seconds;
        let before = if count == 1 { self.seconds + first } else { self.seconds };
        if (self.expected + self.survival) / seconds <= self.expected / before {
            return Verdict::Drop;
        }
        self.expected += self.survival;
        self.seconds = seconds;
        Verdict::Continue
    }

    fn observe(&mut self, record: &StepRecord) {
        for (position, drafted) in record.drafted.iter().enumerate() {
            let Some(accepted) = record.outcome.label(position) else { break };
            self.calibrator.observe(logit(drafted.signals.confidence), accepted);
        }
        if self.pass.is_alone() {
            self.cost.observe(record);
        }
    }

    fn set_cost(&mut self, cost: &CostModel) {
        self.cost = cost.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{cost, signals, situation};

    #[test]
    fn the_prefix_with_the_best_rate_is_kept() {
        // draft 1, verify 4 + (n - 1): T(1) = 6, T(2) = 8. Confidence 0.9: 1.9/6 > 1/5; then S =
        // 0.45: 2.35/8 < 1.9/6: drop.
        let mut controller = AdaptiveVerification::new(cost(1.0, 4.0, 1.0), 7);
        assert_eq!(controller.plan(&situation(9)).gamma, 7);
        let drafted = [signals(0.9), signals(0.5)];
        assert_eq!(controller.judge(&drafted[..1]), Verdict::Continue);
        assert_eq!(controller.judge(&drafted), Verdict::Drop);
        // Confidence 0.99 instead: S = 0.891, 2.791/8 = 0.349 > 0.317: go on.
        let _ = controller.plan(&situation(9));
        let drafted = [signals(0.9), signals(0.99)];
        assert_eq!(controller.judge(&drafted[..1]), Verdict::Continue);
        assert_eq!(controller.judge(&drafted), Verdict::Continue);
    }
}
