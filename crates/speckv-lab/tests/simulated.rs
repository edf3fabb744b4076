//! Controllers on synthetic acceptance with known truth, in modelled time: tokens per second by
//! exact replay.

use std::sync::Arc;

use speckv::{
    controller::Controller,
    cost::{CostModel, Samples, TimeSample, VerifySample},
    predictor::{Metrics, Predictor, Question, SessionFacts, sigmoid},
    record::{Source, StepRecord},
};
use speckv_lab::{
    oracle,
    replay::{Summary, replay},
    synthetic::{self, Regime},
    trace::Trace,
    training::{Example, Kind, TrainOptions, examples, train},
};
use speckv_local::controllers::{ControllerParts, ControllerSpec};

/// Two CPU cores: the second kernel prototype's verification curve, a draft of a third of the
/// target's size.
fn cpu() -> CostModel {
    let verify = [
        41.0, 41.0, 44.0, 56.0, 61.0, 65.0, 77.0, 90.0, 112.0, 124.0, 136.0, 148.0, 160.0, 172.0,
        184.0, 206.0, 218.0,
    ];
    cost(&verify, 14.0, 4.0)
}

/// A flat curve and a cheap draft: a GPU at batch 1.
fn gpu() -> CostModel {
    let verify: Vec<f64> = (0..17).map(|more| 20.0 + 0.15 * f64::from(more)).collect();
    cost(&verify, 3.0, 0.05)
}

/// Milliseconds: verification per row count, a draft token, catching up per token.
fn cost(verify: &[f64], draft: f64, catch_up: f64) -> CostModel {
    let verify = verify.iter().enumerate().map(|(index, ms)| VerifySample {
        rows: index + 1,
        context: 0,
        seconds: ms / 1e3,
    });
    let time = |ms: f64| vec![TimeSample { tokens: 1, context: 0, seconds: ms / 1e3 }];
    CostModel::from_samples(&Samples {
        draft: time(draft),
        verify: verify.collect(),
        catch_up: time(catch_up),
        ..Samples::default()
    })
    .expect("positive times")
}

fn traces(regimes: &[Regime], count: u64) -> Vec<Trace> {
    // The controller's constants were chosen on seeds below 100.
    (100..100 + count).map(|seed| synthetic::trace(regimes, seed)).collect()
}

fn build(name: &str, cost: &CostModel) -> Box<dyn Controller> {
    let spec: ControllerSpec = name.parse().expect("a known name");
    spec.build(&ControllerParts { cost: cost.clone(), ..ControllerParts::default() })
}

fn run(name: &str, cost: &CostModel, traces: &[Trace]) -> Summary {
    let mut sum = Summary::default();
    for trace in traces {
        sum += Summary::of(&replay(build(name, cost).as_mut(), trace, cost).expect("a good trace"));
    }
    sum
}

/// Tokens per second relative to plain decoding.
fn ratio(name: &str, cost: &CostModel, traces: &[Trace]) -> f64 {
    run(name, cost, traces).tokens_per_second() / run("off", cost, traces).tokens_per_second()
}

fn best_fixed(cost: &CostModel, traces: &[Trace]) -> (usize, f64) {
    (1..=12)
        .map(|gamma| (gamma, ratio(&format!("fixed:{gamma}"), cost, traces)))
        .fold((0, 1.0), |a, b| if b.1 > a.1 { b } else { a })
}

/// Speed against plain decoding over the steps that begin after the first `skip` tokens.
fn ratio_after(skip: usize, records: &[StepRecord], cost: &CostModel) -> f64 {
    let first = records.first().map_or(0, |record| record.before.context);
    let rest: Vec<StepRecord> =
        records.iter().filter(|record| record.before.context - first >= skip).cloned().collect();
    Summary::of(&rest).tokens_per_second() * cost.plain_seconds(0)
}

const RIVALS: [&str; 9] = [
    "confidence",
    "confidence:0.4",
    "heuristic",
    "entropy:svip",
    "entropy:adaedl",
    "ema",
    "expected-value",
    "adaptive-verification",
    "paper",
];

fn scenarios() -> Vec<(&'static str, Vec<Regime>)> {
    let level = |length, level| Regime::calibrated(length, level);
    let boasting = Regime { level: -4.0, wander: 0.3, trust: 0.0, bias: 3.0, ..level(512, 0.0) };
    let shy = Regime { level: -4.0, wander: 0.3, trust: 0.0, bias: -3.0, ..level(512, 0.0) };
    let quoting = |length| Regime { lookup: (0.8, 0.97), ..level(length, 1.5) };
    vec![
        ("worthless, boasting", vec![boasting]),
        ("worthless, unsure", vec![shy]),
        ("low 0.35", vec![level(512, -0.8)]),
        ("chat 0.65", vec![level(512, 0.8)]),
        ("summary 0.75", vec![level(512, 1.5)]),
        ("code 0.92", vec![level(512, 3.2)]),
        ("unweighted 0.75", vec![Regime { trust: 0.0, bias: 1.0, ..level(512, 1.5) }]),
        ("overconfident 0.6", vec![Regime { bias: 2.0, ..level(512, 0.5) }]),
        ("mixed", vec![level(128, 3.5), level(128, -1.0), level(128, 3.0), level(128, 0.5)]),
        ("bad then good", vec![level(128, -3.0), level(384, 3.0)]),
        ("good then bad", vec![level(256, 3.0), level(256, -3.0)]),
        ("editing", vec![quoting(200), level(112, 1.0), quoting(200)]),
    ]
}

#[test]
fn a_worthless_draft_costs_at_most_three_percent_after_64_tokens() {
    for (machine, cost) in [("cpu", cpu()), ("gpu", gpu())] {
        for (name, regimes) in
            scenarios().into_iter().filter(|(name, _)| name.starts_with("worthless"))
        {
            for trace in traces(&regimes, 12) {
                let records =
                    replay(build("speckv", &cost).as_mut(), &trace, &cost).expect("a good trace");
                let after = ratio_after(64, &records, &cost);
                assert!(after >= 0.97, "{machine}, {name}, {}: {after:.3}", trace.prompt_id);
            }
            let whole = ratio("speckv", &cost, &traces(&regimes, 12));
            assert!(whole >= 0.97, "{machine}, {name}, from the first token: {whole:.3}");
        }
    }
}

#[test]
fn on_stationary_text_the_best_fixed_gamma_is_at_most_two_percent_better() {
    for (machine, cost) in [("cpu", cpu()), ("gpu", gpu())] {
        for (name, regimes) in scenarios().into_iter().filter(|(_, regimes)| regimes.len() == 1) {
            let traces = traces(&regimes, 12);
            let (ours, (gamma, best)) =
                (ratio("speckv", &cost, &traces), best_fixed(&cost, &traces));
            let slack = if name.starts_with("worthless") { 0.03 } else { 0.02 };
            assert!(
                ours >= best * (1.0 - slack),
                "{machine}, {name}: speckv {ours:.3}, fixed-{gamma} {best:.3}"
            );
        }
    }
}

#[test]
fn on_changing_text_it_beats_the_best_fixed_gamma_in_hindsight() {
    for (machine, cost) in [("cpu", cpu()), ("gpu", gpu())] {
        for wanted in ["mixed", "good then bad", "editing"] {
            let (name, regimes) = scenarios()
                .into_iter()
                .find(|(name, _)| *name == wanted)
                .expect("a known scenario");
            let traces = traces(&regimes, 12);
            let (ours, (gamma, best)) =
                (ratio("speckv", &cost, &traces), best_fixed(&cost, &traces));
            assert!(ours > best, "{machine}, {name}: speckv {ours:.3}, fixed-{gamma} {best:.3}");
        }
    }
}

#[test]
fn it_comes_back_after_a_bad_start_where_catching_up_is_cheap() {
    let (cost, regimes) = (gpu(), [Regime::calibrated(128, -3.0), Regime::calibrated(384, 3.0)]);
    let mut late = Summary::default();
    for trace in traces(&regimes, 12) {
        let records = replay(build("speckv", &cost).as_mut(), &trace, &cost).expect("a good trace");
        let rest: Vec<StepRecord> =
            records.into_iter().filter(|record| record.before.context >= 64 + 256).collect();
        late += Summary::of(&rest);
    }
    let ratio = late.tokens_per_second() * cost.plain_seconds(0);
    assert!(ratio > 2.2, "{ratio:.3} of plain decoding in the second half");
}

#[test]
fn it_works_without_any_calibration() {
    for (machine, truth) in [("cpu", cpu()), ("gpu", gpu())] {
        let traces = traces(&[Regime::calibrated(512, 1.5)], 12);
        let mut unweighted = Summary::default();
        for trace in &traces {
            let mut controller = build("speckv", &CostModel::uncalibrated());
            unweighted +=
                Summary::of(&replay(controller.as_mut(), trace, &truth).expect("a good trace"));
        }
        let (unweighted, measured) =
            (unweighted.tokens_per_second(), run("speckv", &truth, &traces).tokens_per_second());
        assert!(
            unweighted > 0.93 * measured,
            "{machine}: {unweighted:.2} without, {measured:.2} with calibration"
        );
    }
}

#[test]
fn every_controller_produces_the_text_within_its_limits() {
    let regimes = [Regime { lookup: (0.5, 0.8), ..Regime::calibrated(150, 1.0) }];
    let cost = cpu();
    let names = ["off", "fixed:3", "fixed:40", "speckv", "chain+speckv", "chain+fixed:4"]
        .iter()
        .chain(&RIVALS);
    for name in names {
        for trace in traces(&regimes, 3) {
            let records = replay(build(name, &cost).as_mut(), &trace, &cost).expect("a good trace");
            let text: Vec<u32> = records.iter().flat_map(|record| record.tokens.clone()).collect();
            assert_eq!(text, trace.tokens, "{name}");
            for record in &records {
                assert!(
                    record.drafted.len() <= record.before.plan.gamma.min(record.before.gamma_limit),
                    "{name}"
                );
                assert!(
                    record.outcome.accepted <= record.outcome.verified
                        && record.outcome.verified <= record.drafted.len(),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn no_controller_passes_the_oracle() {
    let cost = cpu();
    let regimes = [Regime { lookup: (0.5, 0.9), ..Regime::calibrated(300, 2.0) }];
    for trace in traces(&regimes, 4) {
        let least = oracle::least_seconds(&trace, &cost, &[Source::MODEL, Source::NGRAM])
            .expect("a good trace");
        for name in ["off", "fixed:2", "fixed:6", "speckv", "chain+fixed:2", "entropy:adaedl"] {
            let seconds = Summary::of(
                &replay(build(name, &cost).as_mut(), &trace, &cost).expect("a good trace"),
            )
            .seconds;
            assert!(seconds >= least - 1e-6, "{name}: {seconds} s, bound {least} s");
        }
    }
}

/// Examples of a deep fixed draft on some traces.
fn seen(traces: &[Trace], cost: &CostModel) -> Vec<Example> {
    let records = traces
        .iter()
        .map(|trace| replay(build("fixed:8", cost).as_mut(), trace, cost).expect("a good trace"));
    records.flat_map(|records| examples(&records, SessionFacts::default())).collect()
}

#[test]
fn training_on_other_texts_calibrates_a_boasting_draft_and_does_not_slow_it_down() {
    let cost = cpu();
    let regimes = [Regime { bias: 2.0, ..Regime::calibrated(512, 0.5) }];
    let train_on: Vec<Trace> = (0..12).map(|seed| synthetic::trace(&regimes, seed)).collect();
    let test_on = traces(&regimes, 12);
    let trained = train(
        &seen(&train_on, &cost),
        Kind::Logistic,
        &Predictor::prior(),
        &TrainOptions::default(),
    );
    let quality = |predictor: &Predictor| {
        let accept = seen(&test_on, &cost)
            .into_iter()
            .filter(|example| example.question == Question::Accept);
        let pairs: Vec<(f32, bool)> = accept
            .map(|example| {
                (
                    sigmoid(
                        predictor.head(example.source, example.question).score(&example.features),
                    ),
                    example.accepted,
                )
            })
            .collect();
        Metrics::of(&pairs).expect("there are examples")
    };
    let (before, after) = (quality(&Predictor::prior()), quality(&trained));
    println!("prior {before:?}\ntrained {after:?}");
    assert!(
        after.ece_10 < 0.04 && after.ece_10 < 0.5 * before.ece_10,
        "{} was {}",
        after.ece_10,
        before.ece_10
    );
    assert!(after.gain_over_constant() > 0.1 && after.auc > Some(0.7), "{after:?}");
    let speed = |predictor: Predictor| {
        let parts = ControllerParts {
            cost: cost.clone(),
            predictor: Some(Arc::new(predictor)),
            ..ControllerParts::default()
        };
        let spec: ControllerSpec = "speckv".parse().expect("known");
        let mut sum = Summary::default();
        for trace in &test_on {
            sum += Summary::of(
                &replay(spec.build(&parts).as_mut(), trace, &cost).expect("a good trace"),
            );
        }
        sum.tokens_per_second()
    };
    let (prior, trained) = (speed(Predictor::prior()), speed(trained));
    println!("{prior:.2} with the prior, {trained:.2} trained");
    assert!(trained > 0.995 * prior, "{trained:.2} trained, {prior:.2} with the prior");
}
