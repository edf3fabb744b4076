//! What the unit tests of controllers share: situations, records and costs with round numbers.

use std::sync::Arc;

use super::{
    AdaptiveVerification, Chain, Confidence, Controller, Ema, Entropy, EntropyRule, ExpectedValue,
    Fixed, Heuristic, Off, Paper, PaperPredictor, Plan, Situation, Speckv, SpeckvOptions,
};
use crate::{
    cost::{CostModel, Samples, SharedPass, TimeSample, VerifySample},
    predictor::{Predictor, SessionFacts},
    record::{Before, Drafted, Last, Outcome, StepRecord, Times},
    signals::Signals,
};

pub(crate) fn signals(confidence: f32) -> Signals {
    Signals {
        confidence,
        entropy_bits: 4.0 * (1.0 - confidence),
        margin: (2.0 * confidence - 1.0).max(0.0),
        match_length: 0,
    }
}

/// A step that verified everything it drafted; its times are 0, so that cost models learn nothing
/// from it.
pub(crate) fn record(confidences: &[f32], accepted: usize) -> StepRecord {
    let count = confidences.len();
    let last = if count == 0 {
        Last::Plain
    } else if accepted == count {
        Last::Bonus
    } else {
        Last::Recovered
    };
    StepRecord {
        before: Before {
            step: 0,
            context: 0,
            draft_behind: 0,
            gamma_limit: 99,
            plan: Plan::model(count),
            block: 0,
        },
        drafted: confidences
            .iter()
            .map(|&confidence| Drafted::new(0, signals(confidence)))
            .collect(),
        branch: Default::default(),
        outcome: Outcome { verified: count, accepted, last, produced: accepted + 1, ended: false },
        forced: Default::default(),
        times: Times::default(),
        tokens: vec![0; accepted + 1],
    }
}

/// One of each controller, with the defaults that it has.
pub(crate) fn every_controller() -> Vec<Box<dyn Controller>> {
    let cost = CostModel::uncalibrated;
    let speckv = || {
        let predictor = Arc::new(Predictor::prior());
        Speckv::new(cost(), predictor, SessionFacts::default(), SpeckvOptions::default())
    };
    let svip = EntropyRule::Svip { threshold: Entropy::SVIP_THRESHOLD };
    vec![
        Box::new(Off),
        Box::new(Fixed::new(4)),
        Box::new(Confidence::new(Confidence::THRESHOLD, Confidence::GAMMA)),
        Box::new(Heuristic::new(Heuristic::GAMMA)),
        Box::new(Entropy::new(svip, Entropy::GAMMA)),
        Box::new(Entropy::new(EntropyRule::AdaEdl, Entropy::GAMMA)),
        Box::new(Ema::default()),
        Box::new(ExpectedValue::new(cost(), ExpectedValue::GAMMA)),
        Box::new(AdaptiveVerification::new(cost(), AdaptiveVerification::GAMMA)),
        Box::new(Paper::new(PaperPredictor::default(), 0)),
        Box::new(speckv()),
        Box::new(Chain::new(Box::new(speckv()))),
    ]
}

pub(crate) fn situation(gamma_limit: usize) -> Situation {
    Situation {
        context: 0,
        gamma_limit,
        remaining: 1 << 20,
        draft_behind: 0,
        has_model: true,
        parallel: 0,
        lookup: None,
        pass: SharedPass::ALONE,
    }
}

/// `draft` seconds per token, `plain + more * (rows - 1)` seconds per pass, catching up a hundredth
/// of a draft token each.
pub(crate) fn cost(draft: f64, plain: f64, more: f64) -> CostModel {
    let verify = (1..=17).map(|rows| VerifySample {
        rows,
        context: 0,
        seconds: plain + more * (rows - 1) as f64,
    });
    let samples = Samples {
        draft: vec![TimeSample { tokens: 1, context: 0, seconds: draft }],
        verify: verify.collect(),
        catch_up: vec![TimeSample { tokens: 1, context: 0, seconds: 0.01 * draft }],
        ..Samples::default()
    };
    CostModel::from_samples(&samples).expect("positive times")
}
