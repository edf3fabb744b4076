//! Hugging Face's heuristic: two tokens more after full acceptance, one fewer after a rejection.

use super::default_source;
use crate::{
    controller::{Controller, Plan, Situation},
    record::StepRecord,
};

/// `gamma + 2` when all drafted tokens were accepted, else `max(1, gamma - 1)`.
#[derive(Debug, Clone, Copy)]
pub struct Heuristic {
    gamma: usize,
}

impl Heuristic {
    /// Gamma of the first step.
    pub const GAMMA: usize = 5;

    /// Starts at `gamma`.
    #[must_use]
    pub fn new(gamma: usize) -> Self {
        Heuristic { gamma: gamma.max(1) }
    }
}

impl Controller for Heuristic {
    fn name(&self) -> String {
        "heuristic".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        Plan { gamma: self.gamma, source: default_source(situation) }
    }

    fn ahead(&self) -> usize {
        usize::MAX
    }

    fn observe(&mut self, record: &StepRecord) {
        if record.drafted.is_empty() || record.is_censored() {
            return;
        }
        self.gamma = if record.outcome.accepted == record.drafted.len() {
            self.gamma + 2
        } else {
            (self.gamma - 1).max(1)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::record;

    #[test]
    fn it_goes_up_by_two_and_down_by_one_but_not_below_one() {
        let mut controller = Heuristic::new(2);
        controller.observe(&record(&[0.9; 2], 2));
        assert_eq!(controller.gamma, 4);
        for expected in [3, 2, 1, 1] {
            controller.observe(&record(&[0.9; 3], 0));
            assert_eq!(controller.gamma, expected);
        }
    }

    #[test]
    fn beyond_the_limit_a_rejection_takes_it_down_and_a_full_success_leaves_it() {
        let mut controller = Heuristic::new(12);
        let mut clipped = record(&[0.9; 8], 8);
        (clipped.before.gamma_limit, clipped.before.plan) = (8, Plan::model(12));
        controller.observe(&clipped);
        assert_eq!(
            controller.gamma, 12,
            "whether the other four would have been accepted is not known"
        );
        for expected in [11, 10, 9] {
            let mut clipped = record(&[0.9; 8], 3);
            (clipped.before.gamma_limit, clipped.before.plan) = (8, Plan::model(controller.gamma));
            controller.observe(&clipped);
            assert_eq!(controller.gamma, expected);
        }
    }
}
