//! Stops where a bound by the draft's entropy makes acceptance unlikely: SVIP and AdaEDL.

use super::default_source;
use crate::controller::{Controller, Plan, Situation, Verdict};
use crate::{record::StepRecord, signals::Signals};

/// Which bound of acceptance by entropy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EntropyRule {
    /// SVIP (Zhang et al. 2024, arXiv 2411.18462): stop after a token with `sqrt(H) > threshold`, H
    /// in nats.
    Svip {
        /// Threshold on `sqrt(H)`.
        threshold: f32,
    },
    /// AdaEDL (Agrawal et al. 2024, arXiv 2410.18351): stop after a token with `1 - sqrt(0.2 H) <
    /// lambda`, H in nats, where `lambda` follows the running acceptance rate: up when it is below
    /// its goal of 0.9, down when it is above. The paper derives the bound `1 - sqrt(gamma H)` on
    /// acceptance and adapts `lambda` so; see the constants for what is its and what is this
    /// project's.
    AdaEdl,
}

/// Drafts until the entropy rule says stop.
#[derive(Debug, Clone, Copy)]
pub struct Entropy {
    rule: EntropyRule,
    gamma: usize,
    lambda: f32,
    acceptance: f32,
}

/// Weight of the entropy in AdaEDL's bound `1 - sqrt(gamma H)`: 0.2 in all experiments of its
/// paper.
const ENTROPY_WEIGHT: f32 = 0.2;
/// The update of lambda, and its start below, with the defaults of the reference implementation of
/// the rule that AdaEDL's update follows: Draft & Verify (Zhang et al. 2023, arXiv 2309.08168),
/// `auto_parameters = [1, 0.5, 0.9, 1e-2, 0.9]` and a threshold of 0.6 in its example. That
/// AdaEDL's own experiments kept these numbers is taken from the likeness of the two rules, not
/// from a table; its paper calls short answers sensitive to the start.
const GOAL: f32 = 0.9;
const ACCEPTANCE_MEMORY: f32 = 0.5;
const LAMBDA_MEMORY: f32 = 0.9;
const LAMBDA_STEP: f32 = 0.01;
const LAMBDA_START: f32 = 0.6;

impl Entropy {
    /// Threshold on the square root of the entropy: this project's choice, SVIP tunes it per pair.
    pub const SVIP_THRESHOLD: f32 = 0.6;
    /// Most tokens per step.
    pub const GAMMA: usize = 16;

    /// Stops by `rule`, at `gamma` tokens at the latest.
    #[must_use]
    pub fn new(rule: EntropyRule, gamma: usize) -> Self {
        Entropy { rule, gamma, lambda: LAMBDA_START, acceptance: GOAL }
    }

    fn stops(&self, entropy_bits: f32) -> bool {
        let entropy_nats = entropy_bits * std::f32::consts::LN_2;
        match self.rule {
            EntropyRule::Svip { threshold } => entropy_nats.sqrt() > threshold,
            EntropyRule::AdaEdl => 1.0 - (ENTROPY_WEIGHT * entropy_nats).sqrt() < self.lambda,
        }
    }
}

impl Controller for Entropy {
    fn name(&self) -> String {
        match self.rule {
            EntropyRule::Svip { threshold } => format!("entropy-svip-{threshold}"),
            EntropyRule::AdaEdl => "entropy-adaedl".into(),
        }
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        Plan { gamma: self.gamma, source: default_source(situation) }
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        match signals.last() {
            Some(newest) if self.stops(newest.entropy_bits) => Verdict::Verify,
            _ => Verdict::Continue,
        }
    }

    fn observe(&mut self, record: &StepRecord) {
        if record.outcome.verified == 0 || record.outcome.ended {
            return;
        }
        let rate = record.outcome.accepted as f32 / record.outcome.verified as f32;
        self.acceptance = ACCEPTANCE_MEMORY * self.acceptance + (1.0 - ACCEPTANCE_MEMORY) * rate;
        let goal = self.lambda + LAMBDA_STEP * (GOAL - self.acceptance).signum();
        self.lambda = (LAMBDA_MEMORY * self.lambda + (1.0 - LAMBDA_MEMORY) * goal).clamp(0.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::record;

    fn at(entropy_bits: f32) -> [Signals; 1] {
        [Signals { entropy_bits, ..Signals::default() }]
    }

    #[test]
    fn svip_stops_after_the_token_whose_entropy_root_exceeds_the_threshold() {
        let mut controller = Entropy::new(EntropyRule::Svip { threshold: 0.6 }, 8);
        // 0.36 nats are 0.5194 bits
        assert_eq!(controller.judge(&at(0.51)), Verdict::Continue);
        assert_eq!(controller.judge(&at(0.53)), Verdict::Verify);
    }

    #[test]
    fn adaedl_raises_its_threshold_while_too_few_are_accepted() {
        let mut controller = Entropy::new(EntropyRule::AdaEdl, 8);
        // lambda 0.6: 1 - sqrt(0.2 H) < 0.6 from H = 0.8 nats = 1.154 bits on
        assert_eq!(controller.judge(&at(1.14)), Verdict::Continue);
        assert_eq!(controller.judge(&at(1.17)), Verdict::Verify);
        controller.observe(&record(&[0.5; 4], 0)); // acceptance 0.45 < 0.9: lambda 0.6 + 0.1 * 0.01
        assert!((controller.lambda - 0.601).abs() < 1e-6);
        for _ in 0..8 {
            controller.observe(&record(&[0.5; 4], 4));
        }
        assert!(controller.lambda < 0.601, "{}", controller.lambda);
    }
}
