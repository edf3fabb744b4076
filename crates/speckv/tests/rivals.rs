//! Every controller that has a name passes the conformance suite: greedy output is plain, sampled
//! output is the target's.

use std::sync::Arc;

use speckv::{
    conformance::check_controller,
    controller::{Controller, ControllerParts, ControllerSpec},
    predictor::{Predictor, SessionFacts},
};

fn check(names: &[&str], parts: &ControllerParts) {
    for name in names {
        let spec: ControllerSpec = name.parse().expect("a known name");
        let make = || -> Box<dyn Controller> { spec.build(parts) };
        check_controller(&make).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn the_rivals_lose_nothing() {
    check(
        &["confidence:0.4", "heuristic", "entropy:svip", "entropy:adaedl"],
        &ControllerParts::default(),
    );
}

#[test]
fn the_rivals_with_averages_and_costs_lose_nothing() {
    check(
        &["ema", "expected-value", "adaptive-verification", "paper"],
        &ControllerParts::default(),
    );
}

#[test]
fn speckv_loses_nothing_alone_or_in_a_chain() {
    let facts = SessionFacts { temperature: 1.0, compression: 0.7 };
    let parts = ControllerParts {
        facts,
        predictor: Some(Arc::new(Predictor::prior())),
        ..ControllerParts::default()
    };
    check(&["speckv", "chain+speckv"], &parts);
}
