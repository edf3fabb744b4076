//! Speculation under load, in simulated time: one, two, ... sixteen sequences share the engine, and
//! gamma follows.

use std::{sync::Arc, time::Duration};

use speckv::{
    controller::{Controller, Fixed, Off, Speckv, SpeckvOptions},
    cost::{CostModel, Samples, TimeSample, VerifySample},
    draft::{Both, ModelDrafter, NgramDrafter},
    engine::{Clock, Engine, ReadLimits, Sequence, SequenceSettings},
    predictor::{Predictor, SessionFacts},
    sampling::SamplingSettings,
    sim::{Difference, SimCost, SimModel, SimSettings},
    token::Token,
};

const ANSWER: usize = 150;

/// Passes of the target: t(n) = 40 + `row` n milliseconds; of the draft a fifth of that.
fn milliseconds(pass: f64, row: f64) -> SimCost {
    SimCost {
        pass: Duration::from_secs_f64(pass / 1000.0),
        token: Duration::from_secs_f64(row / 1000.0),
    }
}

fn costs(row: f64) -> CostModel {
    let verify = (1..=17).map(|n| VerifySample {
        rows: n,
        context: 0,
        seconds: (40.0 + row * n as f64) / 1000.0,
    });
    let samples = Samples {
        draft: vec![TimeSample { tokens: 1, context: 0, seconds: (8.0 + 0.2 * row) / 1000.0 }],
        verify: verify.collect(),
        catch_up: vec![TimeSample { tokens: 100, context: 0, seconds: 0.1 }],
        ..Samples::default()
    };
    CostModel::from_samples(&samples).expect("good samples")
}

struct Outcome {
    tokens_per_second: f64,
    gamma: f64,
    texts: Vec<Vec<Token>>,
}

fn serve(
    count: usize,
    row: f64,
    agreement: f64,
    controller: &dyn Fn() -> Box<dyn Controller>,
) -> Outcome {
    let settings = SimSettings { seed: 7, ..SimSettings::default() };
    let target = SimModel::new(settings).costing(milliseconds(40.0, row));
    let draft = target.draft(Difference::Share { agreement }).costing(milliseconds(8.0, 0.2 * row));
    let time = target.time().clone();
    let mut engine =
        Engine::new(Arc::new(target), Box::new(ModelDrafter::new(Arc::new(draft), 32)));
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
        Box::new(Speckv::new(
            costs(row),
            predictor,
            SessionFacts::default(),
            SpeckvOptions::default(),
        ))
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
        println!(
            "{count} sequences: {ratio:.2} x off (fixed 4: {of_fixed:.2}), gamma {:.2}",
            own.gamma
        );
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
        println!(
            "{count} sequences with a worthless draft: {ratio:.3} x off, gamma {:.2}",
            own.gamma
        );
        assert!(ratio > 0.9, "{count} sequences: {ratio:.3} x off, gamma {:.2}", own.gamma);
    }
}

/// Milliseconds of a pass and of each of its rows, of target and draft: about those of
/// Qwen2.5-Coder 1.5B and 0.5B on two cores of an AMD Zen 5.
const TARGET: (f64, f64) = (21.5, 2.1);
const DRAFT: (f64, f64) = (6.0, 0.65);

/// `clients` ask for one answer of `answer` tokens after the other, each as soon as its last one is
/// complete. Target and draft read the prompts of 60 to 340 tokens in chunks, as in the server, and
/// look-up finds what a text without meaning has of repetition. Tokens per second, the prompts'
/// time included.
fn serve_prompts(
    clients: usize,
    answer: usize,
    agreement: f64,
    controller: &dyn Fn() -> Box<dyn Controller>,
) -> f64 {
    let settings = SimSettings { seed: 11, ..SimSettings::default() };
    let target = SimModel::new(settings).costing(milliseconds(TARGET.0, TARGET.1));
    let draft =
        target.draft(Difference::Share { agreement }).costing(milliseconds(DRAFT.0, DRAFT.1));
    let time = target.time().clone();
    let drafter = Both::new(NgramDrafter::default(), ModelDrafter::new(Arc::new(draft), 32));
    let mut engine = Engine::new(Arc::new(target), Box::new(drafter));
    engine.set_clock(Clock::Virtual(time.clone()));
    let all = 3 * clients.max(4);
    let mut begun = 0;
    let mut running: Vec<Sequence<SimModel>> = Vec::new();
    while begun < all || !running.is_empty() {
        while running.len() < clients && begun < all {
            let length = 60 + 40 * (begun * 5 % 8);
            let settings = SequenceSettings {
                prompt: (0..length)
                    .map(|i| ((i * 7 + begun * 13 + i * i / 3) % 32) as Token)
                    .collect(),
                sampling: SamplingSettings::default(),
                end_tokens: vec![],
                max_tokens: answer,
                controller: controller(),
            };
            running.push(engine.sequence(settings).expect("a sequence"));
            begun += 1;
        }
        let readers = running.iter().filter(|sequence| sequence.unread() > 0).count();
        let budget = if readers < running.len() { 32 } else { 256 };
        let draft = if running.len() > 1 { (4 * 32 / running.len()).max(8) } else { 256 };
        for sequence in &mut running {
            sequence.set_read_limits(ReadLimits { target: budget / readers.max(1), draft });
        }
        let mut slice: Vec<_> = running.iter_mut().collect();
        engine.step(&mut slice).expect("a step");
        for index in (0..running.len()).rev() {
            if running[index].finish_reason().is_some() {
                engine.close(running.remove(index));
            }
        }
    }
    (all * answer) as f64 / time.now().as_secs_f64()
}

/// `speckv` to `off` in [`serve_prompts`], with costs as calibration finds them.
fn ratio_with_prompts(clients: usize, answer: usize, agreement: f64) -> f64 {
    let line = |(pass, row): (f64, f64), rows: usize| (pass + row * rows as f64) / 1000.0;
    let samples = Samples {
        draft: vec![TimeSample { tokens: 1, context: 0, seconds: line(DRAFT, 1) }],
        verify: (1..=17)
            .map(|rows| VerifySample { rows, context: 0, seconds: line(TARGET, rows) })
            .collect(),
        catch_up: vec![TimeSample { tokens: 32, context: 0, seconds: line(DRAFT, 32) }],
        ..Samples::default()
    };
    let costs = CostModel::from_samples(&samples).expect("good samples");
    let own = serve_prompts(clients, answer, agreement, &|| {
        let predictor = Arc::new(Predictor::prior());
        Box::new(Speckv::new(
            costs.clone(),
            predictor,
            SessionFacts::default(),
            SpeckvOptions::default(),
        ))
    });
    let ratio = own / serve_prompts(clients, answer, agreement, &|| Box::new(Off));
    println!("{answer} tokens, agreement {agreement}, {clients} clients: {ratio:.3} x off");
    ratio
}

#[test]
fn short_answers_to_prompts_that_the_draft_has_to_read_gain_where_one_waits_and_lose_little_where_many_do()
 {
    for (agreement, alone) in [(0.5, 0.97), (0.75, 1.1), (0.9, 1.2)] {
        let ratio = ratio_with_prompts(1, 64, agreement);
        assert!(ratio > alone, "one client, agreement {agreement}: {ratio:.3} x off");
        for clients in [2, 4, 8, 16] {
            let ratio = ratio_with_prompts(clients, 64, agreement);
            let least = if clients == 2 { 0.95 } else { 0.98 };
            assert!(ratio > least, "{clients} clients, agreement {agreement}: {ratio:.3} x off");
        }
    }
}

#[test]
fn long_answers_gain_for_one_and_for_two_and_no_crowd_reads_prompts_in_vain() {
    let ratios = [1, 2, 4, 8, 16].map(|clients| ratio_with_prompts(clients, 256, 0.8));
    assert!(ratios[0] > 1.25 && ratios[1] > 1.05, "{ratios:.3?}");
    assert!(ratios[2..].iter().all(|&ratio| ratio > 0.97), "{ratios:.3?}");
}
