//! Every controller passes the conformance suite: greedy output is plain, sampled output is the
//! target's.

use std::sync::Arc;

use speckv::{
    conformance::check_controller,
    controller::{
        AdaptiveVerification, Chain, Confidence, Controller, Ema, Entropy, EntropyRule,
        ExpectedValue, Heuristic, Paper, PaperPredictor, Speckv, SpeckvOptions,
    },
    cost::CostModel,
    predictor::{Predictor, SessionFacts},
};

fn check<C: Controller + 'static>(make: impl Fn() -> C) {
    let make = || -> Box<dyn Controller> { Box::new(make()) };
    check_controller(&make).unwrap_or_else(|error| panic!("{}: {error}", make().name()));
}

fn speckv() -> Speckv {
    let facts = SessionFacts { temperature: 1.0, compression: 0.7 };
    let prior = Arc::new(Predictor::prior());
    Speckv::new(CostModel::default(), prior, facts, SpeckvOptions::default())
}

#[test]
fn baselines_that_stop_by_signals_or_outcomes_lose_nothing() {
    check(|| Confidence::new(0.4, Confidence::GAMMA));
    check(|| Heuristic::new(Heuristic::GAMMA));
    let svip = EntropyRule::Svip { threshold: Entropy::SVIP_THRESHOLD };
    check(|| Entropy::new(svip, Entropy::GAMMA));
    check(|| Entropy::new(EntropyRule::AdaEdl, Entropy::GAMMA));
}

#[test]
fn baselines_with_averages_and_costs_lose_nothing() {
    check(Ema::default);
    check(|| ExpectedValue::new(CostModel::default(), ExpectedValue::GAMMA));
    check(|| AdaptiveVerification::new(CostModel::default(), AdaptiveVerification::GAMMA));
    check(|| Paper::new(PaperPredictor::default(), 0));
}

#[test]
fn the_default_controller_loses_nothing_alone_or_in_a_chain() {
    check(speckv);
    check(|| Chain::new(Box::new(speckv())));
}
