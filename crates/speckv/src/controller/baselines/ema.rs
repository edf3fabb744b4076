//! Tiers by the moving average of accepted tokens: SGLang's adaptive speculation.

use super::default_source;
use crate::{
    controller::{Controller, Plan, Situation},
    record::StepRecord,
};

/// Chooses among the tiers 1, 3 and 7: the average accepted length is tracked, and every five steps
/// the tier moves towards `average + 1`, up when the average passes the tier, down only when it
/// falls clearly (0.25) below the next lower one.
#[derive(Debug, Clone, Copy)]
pub struct Ema {
    tier: usize,
    average: f32,
    steps: u32,
}

/// SGLang's documented defaults (`--speculative-adaptive-config`). Its documentation gives the
/// target as `round(average) + 1`; that a tier is left half a token before it is this project's
/// reading of that.
const TIERS: [usize; 3] = [1, 3, 7];
/// Weight of a new step in the average.
const RATE: f32 = 0.2;
/// Steps before the first change of tier.
const WARM_UP: u32 = 10;
/// Steps between changes.
const INTERVAL: u32 = 5;
/// How far below a tier the average has to be before it is left downwards.
const DOWN_HYSTERESIS: f32 = 0.25;

impl Default for Ema {
    fn default() -> Self {
        Ema { tier: 1, average: TIERS[1] as f32 - 1.0, steps: 0 }
    }
}

impl Ema {
    fn retarget(&mut self) {
        while self.tier + 1 < TIERS.len() && self.average > TIERS[self.tier] as f32 - 0.5 {
            self.tier += 1;
        }
        while self.tier > 0 && self.average < TIERS[self.tier - 1] as f32 - 0.5 - DOWN_HYSTERESIS {
            self.tier -= 1;
        }
    }
}

impl Controller for Ema {
    fn name(&self) -> String {
        "ema".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        Plan { gamma: TIERS[self.tier], source: default_source(situation) }
    }

    fn ahead(&self) -> usize {
        usize::MAX
    }

    fn observe(&mut self, record: &StepRecord) {
        if record.drafted.is_empty() || record.is_clipped() {
            return;
        }
        self.average += RATE * (record.outcome.accepted as f32 - self.average);
        self.steps += 1;
        if self.steps > WARM_UP && self.steps.is_multiple_of(INTERVAL) {
            self.retarget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::record;

    #[test]
    fn full_success_climbs_and_failure_falls_after_the_warm_up() {
        let mut controller = Ema::default();
        for _ in 0..10 {
            controller.observe(&record(&[0.9; 3], 3));
        }
        assert_eq!(TIERS[controller.tier], 3, "still warming up");
        for _ in 0..5 {
            controller.observe(&record(&[0.9; 3], 3));
        }
        assert_eq!(TIERS[controller.tier], 7);
        for _ in 0..30 {
            controller.observe(&record(&[0.9; 7], 0));
        }
        assert_eq!(TIERS[controller.tier], 1);
    }
}
