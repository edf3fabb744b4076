//! Gamma by moving averages per depth and measured cost: Ollama's rule.

use super::default_source;
use crate::{
    controller::{Controller, MAX_GAMMA, Plan, Situation},
    cost::{CostModel, SharedPass},
    record::{Source, StepRecord},
};

/// `argmax over n = 0..=gamma of (1 + a_1 + a_1 a_2 + ... ) / (n * draft + verify(n + 1))`, where
/// `a_d` is the moving average of acceptance at depth `d` given that the depths before were
/// accepted; in a shared pass the seconds are this sequence's share. It knows no signals. While it
/// is off it drafts one token every 32 steps, else it could never come back.
#[derive(Debug, Clone)]
pub struct ExpectedValue {
    cost: CostModel,
    acceptance: [f32; MAX_GAMMA],
    gamma: usize,
    steps_off: u32,
    pass: SharedPass,
}

/// Weight of a new outcome in a depth's average: this project's choice.
const RATE: f32 = 0.05;
/// Acceptance of each depth before anything was seen: this project's choice.
const PRIOR: f32 = 0.75;
/// Plain steps between probes: this project's choice, so that it can come back.
const PROBE_INTERVAL: u32 = 32;

impl ExpectedValue {
    /// Most tokens per step, unless another number is given.
    pub const GAMMA: usize = 16;

    /// Drafts up to `gamma` tokens.
    #[must_use]
    pub fn new(cost: CostModel, gamma: usize) -> Self {
        ExpectedValue {
            cost,
            acceptance: [PRIOR; MAX_GAMMA],
            gamma: gamma.min(MAX_GAMMA),
            steps_off: 0,
            pass: SharedPass::ALONE,
        }
    }

    fn best(&self, situation: &Situation, source: Source) -> usize {
        let Situation { context, pass, draft_behind, .. } = *situation;
        let cost = &self.cost;
        let (mut survival, mut committed) = (1.0_f64, 1.0_f64);
        let (mut best, mut best_rate) = (0, 1.0 / self.cost.shared_plain_seconds(context, pass));
        for depth in 1..=self.gamma.min(situation.gamma_limit) {
            survival *= f64::from(self.acceptance[depth - 1]);
            committed += survival;
            let draft = cost.shared_drafting_seconds(source, depth, draft_behind, context, pass);
            let rate = committed / (draft + cost.shared_verify_seconds(depth + 1, context, pass));
            if rate > best_rate {
                (best, best_rate) = (depth, rate);
            }
        }
        best
    }
}

impl Controller for ExpectedValue {
    fn name(&self) -> String {
        "expected-value".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        self.pass = situation.pass;
        let source = default_source(situation);
        let mut gamma = self.best(situation, source);
        if gamma == 0 {
            self.steps_off += 1;
            if self.steps_off.is_multiple_of(PROBE_INTERVAL) {
                gamma = 1;
            }
        } else {
            self.steps_off = 0;
        }
        Plan { gamma, source }
    }

    fn ahead(&self) -> usize {
        usize::MAX
    }

    fn observe(&mut self, record: &StepRecord) {
        for depth in 0..record.drafted.len().min(MAX_GAMMA) {
            let Some(accepted) = record.outcome.label(depth) else { break };
            self.acceptance[depth] +=
                RATE * (f32::from(u8::from(accepted)) - self.acceptance[depth]);
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
    use crate::controller::testing::{cost, record, situation};

    #[test]
    fn the_depth_is_the_argmax_worked_by_hand() {
        // draft 1, verify(n) = 3 + n: rates 1/4, then (1 + .75)/6, (1 + .75 + .5625)/8, (2.3125 +
        // .421875)/10 = .25, .2917, .2891, .2734: one token
        let mut controller = ExpectedValue::new(cost(1.0, 4.0, 1.0), 8);
        assert_eq!(controller.plan(&situation(8)).gamma, 1);
        // free drafts: rates 1/4, 1.75/5, 2.3125/6, 2.734/7, 3.051/8: .25, .35, .3854, .3906,
        // .3814: three
        let mut controller = ExpectedValue::new(cost(1e-9, 4.0, 1.0), 8);
        assert_eq!(controller.plan(&situation(8)).gamma, 3);
        assert_eq!(controller.plan(&situation(2)).gamma, 2, "within the limit");
    }

    #[test]
    fn a_worthless_draft_turns_it_off_and_it_probes_rarely() {
        let mut controller = ExpectedValue::new(cost(1.0, 4.0, 1.0), 8);
        for _ in 0..60 {
            controller.observe(&record(&[0.9; 2], 0));
        }
        let drafted: usize = (0..320).map(|_| controller.plan(&situation(8)).gamma).sum();
        assert_eq!(drafted, 10);
    }
}
