//! Speculation under load, in simulated time: one, two, ... sixteen sequences share the engine, and gamma follows.

use std::{sync::Arc, time::Duration};

use speckv::{
    controller::{Controller, Fixed, Off, Speckv, SpeckvOptions},
    cost::{CostModel, Samples, TimeSample, VerifySample},
    draft::ModelDrafter,
    engine::{Clock, Engine, ReadLimits, Sequence, SequenceSettings},
    predictor::{Predictor, SessionFacts},
    sampling::SamplingSettings,
    sim::{Difference, SimCost, SimModel, SimSettings},
    token::Token,
};

const ANSWER: usize = 150;

/// Passes of the target: t(n) = 40 + `row` n milliseconds; of the draft a fifth of that.
fn milliseconds(pass: f64, row: f64) -> SimCost {
    SimCost { pass: Duration::from_secs_f64(pass / 1000.0), token: Duration::from_secs_f64(row / 1000.0) }
}

fn costs(row: f64) -> CostModel {
    let verify = (1..=17).map(|n| VerifySample { rows: n, context: 0, seconds: (40.0 + row * n as f64) / 1000.0 });
    let samples = Samples {
        draft: vec![TimeSample { tokens: 1, context: 0, seconds: (8.0 + 0.2 * row) / 1000.0 }],
        verify: verify.collect(),
        catch_up: vec![TimeSample { tokens: 100, context: 0, seconds: 0.1 }],
    };
    CostModel::from_samples(&samples).expect("good samples")
}

struct Outcome {
    tokens_per_second: f64,
    gamma: f64,
    texts: Vec<Vec<Token>>,
}

fn serve(count: usize, row: f64, agreement: f64, controller: &dyn Fn() -> Box<dyn Controller>) -> Outcome {
    let settings = SimSettings { seed: 7, ..SimSettings::default() };
    let target = SimModel::new(settings).costing(milliseconds(40.0, row));
    let draft = target.draft(Difference::Share { agreement }).costing(milliseconds(8.0, 0.2 * row));
    let time = target.time().clone();
    let mut engine = Engine::new(Arc::new(target), Box::new(ModelDrafter::new(Arc::new(draft), 32)));
    engine.set_clock(Clock::Virtual(time.clone()));
    let mut sequences: Vec<Sequence<SimModel>> = (0..count)
        .map(|number| {
            let settings = SequenceSettings {
                prompt: vec![number as Token, 1, 2, 3],
                sampling: SamplingSettings::default(),
                end_tokens: vec![],
                max_tokens: ANSWER,
                controller: controller(),
            };
            let mut sequence = engine.sequence(settings).expect("a sequence");
            sequence.set_read_limits(ReadLimits { target: 32, draft: 256 });
            sequence
        })
        .collect();
    let start = time.now();
    // Only while all are there: afterwards the load is another one.
    while sequences.iter().all(|sequence| sequence.finish_reason().is_none()) {
        let mut slice: Vec<_> = sequences.iter_mut().collect();
        engine.step(&mut slice).expect("a step");
    }
    let tokens: usize = sequences.iter().map(Sequence::generated).sum();
    let (steps, drafted) = sequences
        .iter()
        .map(Sequence::totals)
        .fold((0, 0), |(steps, drafted), totals| (steps + totals.steps, drafted + totals.drafted));
    Outcome {
        tokens_per_second: tokens as f64 / (time.now() - start).as_secs_f64(),
        gamma: drafted as f64 / steps as f64,
        texts: sequences.iter().map(|sequence| sequence.tokens().to_vec()).collect(),
    }
}

fn speckv(row: f64) -> impl Fn() -> Box<dyn Controller> {
    move || {
        let predictor = Arc::new(Predictor::prior());
        Box::new(Speckv::new(costs(row), predictor, SessionFacts::default(), SpeckvOptions::default()))
    }
}

#[test]
fn speculation_helps_a_lone_sequence_and_never_hurts_a_crowd() {
    let mut gammas = Vec::new();
    for count in [1, 2, 4, 8, 16] {
        let row = 6.0;
        let off = serve(count, row, 0.85, &|| Box::new(Off));
        let fixed = serve(count, row, 0.85, &|| Box::new(Fixed::new(4)));
        let own = serve(count, row, 0.85, &speckv(row));
        let ratio = own.tokens_per_second / off.tokens_per_second;
        let of_fixed = fixed.tokens_per_second / off.tokens_per_second;
        println!("{count} sequences: {ratio:.2} x off (fixed 4: {of_fixed:.2}), gamma {:.2}", own.gamma);
        assert!(ratio >= 0.97, "{count} sequences: {ratio:.3} x off, gamma {:.2}", own.gamma);
        if count == 1 {
            assert!(ratio > 1.3, "{ratio:.3} x off");
        }
        if count == 16 {
            assert!(of_fixed < 0.97, "the crowd that a fixed gamma hurts: {of_fixed:.3} x off");
        }
        for (a, b) in off.texts.iter().zip(&own.texts) {
            let common = a.len().min(b.len());
            assert_eq!(a[..common], b[..common]);
        }
        gammas.push(own.gamma);
    }
    assert!(gammas[0] > 2.0 * gammas[4], "gamma falls with the load: {gammas:?}");
}

#[test]
fn where_rows_are_nearly_free_a_crowd_speculates_too() {
    let row = 0.5;
    for count in [1, 8] {
        let off = serve(count, row, 0.85, &|| Box::new(Off));
        let own = serve(count, row, 0.85, &speckv(row));
        let ratio = own.tokens_per_second / off.tokens_per_second;
        assert!(ratio > 1.4, "{count} sequences: {ratio:.3} x off, gamma {:.2}", own.gamma);
    }
}

#[test]
fn a_worthless_draft_costs_a_crowd_little() {
    let row = 4.0;
    for count in [1, 4, 16] {
        let off = serve(count, row, 0.0, &|| Box::new(Off));
        let own = serve(count, row, 0.0, &speckv(row));
        let ratio = own.tokens_per_second / off.tokens_per_second;
        println!("{count} sequences with a worthless draft: {ratio:.3} x off, gamma {:.2}", own.gamma);
        assert!(ratio > 0.9, "{count} sequences: {ratio:.3} x off, gamma {:.2}", own.gamma);
    }
}
