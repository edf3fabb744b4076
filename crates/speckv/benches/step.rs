//! What a step spends outside the models: signals, sampling, decisions. Run alone: `cargo bench -p
//! speckv`.

use std::{hint::black_box, sync::Arc, time::Duration};

use divan::Bencher;
use speckv::{
    controller::{Controller, Situation, Speckv, SpeckvOptions},
    cost::CostModel,
    draft::{Ask, Drafter, NgramDrafter},
    predictor::{ModelShape, Predictor, SessionFacts},
    record::{Drafted, Source, Times},
    sampling::{Chain, Distribution, SamplingSettings},
    signals::{self, Signals},
    step::{Ending, Stepper},
    token::Token,
};

/// The vocabulary of the default pair.
const VOCAB: usize = 151_936;

fn main() {
    divan::main();
}

/// Logits of which few stand out, as a language model's do.
fn logits() -> Vec<f32> {
    let noise = |i: usize| {
        ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..VOCAB).map(|i| 20.0 * noise(i).powi(3)).collect()
}

#[divan::bench]
fn read_signals(bencher: Bencher) {
    let logits = logits();
    bencher.bench_local(|| signals::read(black_box(&logits)).unwrap());
}

#[divan::bench]
fn argmax(bencher: Bencher) {
    let logits = logits();
    bencher.bench_local(|| signals::argmax(black_box(&logits)).unwrap());
}

#[divan::bench(args = ["none", "top-k 40", "top-p 0.95", "min-p 0.05"])]
fn distribution(bencher: Bencher, filter: &str) {
    let plain = SamplingSettings { temperature: 0.8, ..SamplingSettings::default() };
    let settings = match filter {
        "top-k 40" => SamplingSettings { top_k: 40, ..plain },
        "top-p 0.95" => SamplingSettings { top_p: 0.95, ..plain },
        "min-p 0.05" => SamplingSettings { min_p: 0.05, ..plain },
        _ => plain,
    };
    let mut chain = Chain::new(settings).unwrap();
    let (row, mut distribution) = (logits(), Distribution::new());
    bencher.bench_local(|| {
        chain.fill(&row, &[], &mut distribution).unwrap();
        distribution.draw(black_box(0.7))
    });
}

/// The default controller with the weights that the default pair gets.
fn shipped() -> Speckv {
    let shape = |layers, hidden| ModelShape {
        architecture: "qwen2".into(),
        layers,
        hidden,
        vocab_size: VOCAB,
    };
    let weights = Predictor::shipped(&shape(28, 1536), Some(&shape(24, 896)))
        .expect("the default pair has weights");
    controller(weights)
}

fn controller(weights: Arc<Predictor>) -> Speckv {
    Speckv::new(
        CostModel::uncalibrated(),
        weights,
        SessionFacts::default(),
        SpeckvOptions::default(),
    )
}

/// Steps of the default controller on signals that repeat.
struct Walk {
    stepper: Stepper<Speckv>,
    step: usize,
}

impl Walk {
    fn new(controller: Speckv) -> Self {
        Walk { stepper: Stepper::new(controller), step: 0 }
    }

    /// Plans, judges each of up to 16 positions, and asks where a second choice is verified.
    fn decide(&mut self) {
        self.step += 1;
        let situation =
            Situation { draft_behind: 1, ..Situation::alone(100 + self.step % 1000, 16) };
        self.stepper.plan(black_box(&situation)).expect("no step is under way");
        let mut position = 0;
        while self.stepper.wants_more() {
            let confidence = [0.97, 0.9, 0.99, 0.6][(self.step + position) % 4];
            let signals = Signals { confidence, entropy_bits: 1.0, margin: 0.5, match_length: 0 };
            let drafted = Drafted { second: Some(2), ..Drafted::new(1, signals) };
            self.stepper.judge(black_box(drafted), false).expect("in order");
            position += 1;
        }
        self.stepper.sibling(1).expect("in order");
    }

    /// Ends the step with times near what the cost model expects, so that it has something to
    /// learn.
    fn finish(&mut self) {
        let verified = self.stepper.kept().len();
        let accepted = if self.step.is_multiple_of(5) { verified / 2 } else { verified };
        let millis = |count: usize, each: u64| Duration::from_micros(count as u64 * each);
        let drafted = self.stepper.record().drafted.len();
        let (draft, verify) =
            (millis(drafted, 17_000), millis(1, 50_000) + millis(verified, 6_300));
        let total = draft + verify + millis(1, 100);
        let ending = Ending { accepted, token: Some(2), verified: None, branch: 0 };
        self.stepper.commit(&ending).expect("an outcome");
        self.stepper.observe(Times { draft, verify, total, ..Times::default() }).expect("a step");
    }

    /// After the first step with three drafted tokens. Each step is observed: a draft that has
    /// proved nothing stays short.
    fn three_drafted() -> Self {
        let mut walk = Walk::new(shipped());
        while walk.stepper.record().drafted.len() < 3 {
            walk.decide();
            walk.finish();
        }
        walk
    }
}

/// What a step waits for: plan, a judgement per position, and whether a second choice is verified.
#[divan::bench]
fn speckv_decision(bencher: Bencher) {
    let mut walk = Walk::three_drafted();
    bencher.bench_local(|| {
        walk.decide();
        walk.stepper.abandon();
    });
}

/// Learning from a step: predictor, balances, costs.
#[divan::bench]
fn speckv_observe(bencher: Bencher) {
    let walk = Walk::three_drafted();
    let mut controller = walk.stepper.controller().clone();
    bencher.bench_local(|| controller.observe(black_box(walk.stepper.record())));
}

/// The cost model's part of it.
#[divan::bench]
fn cost_observe(bencher: Bencher) {
    let (walk, mut cost) = (Walk::three_drafted(), CostModel::uncalibrated());
    bencher.bench_local(|| cost.observe(black_box(walk.stepper.record())));
}

/// One whole step of the controller, by the weights of a pair that was trained for and by the
/// prior.
#[divan::bench(args = ["shipped", "prior"])]
fn speckv_step(bencher: Bencher, weights: &str) {
    let mut walk = Walk::new(match weights {
        "shipped" => shipped(),
        _ => controller(Arc::new(Predictor::prior())),
    });
    bencher.bench_local(|| {
        walk.decide();
        walk.finish();
    });
}

/// Tokens of a text that is looked up in, and of the earlier answers beside it.
const TEXT: usize = 4096;
const EARLIER: usize = 131_072;

/// A text: a piece of 97 tokens again and again, one of 40 different tokens in no order, or tokens
/// as frequent as words are.
fn text(kind: &str, seed: u64, len: usize) -> Vec<Token> {
    let uniform = |i: u64| {
        let mixed = (i ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 40) as f64 / (1_u64 << 24) as f64
    };
    let token = |i: u64| match kind {
        "loop" => (i % 97) as Token,
        "few tokens" => (uniform(i) * 40.0) as Token,
        _ => (uniform(i) * 50_000_f64.ln()).exp() as Token,
    };
    (0..len as u64).map(token).collect()
}

const TEXTS: [&str; 3] = ["loop", "few tokens", "prose"];

/// A drafter that has read a text, with earlier answers of its scope or without.
fn look_up(kind: &str, earlier: usize) -> (NgramDrafter, speckv::draft::Slot, Vec<Token>) {
    let mut drafter = NgramDrafter::default();
    drafter.memory_mut().expect("look-up has one").set_limit(4 * EARLIER);
    let slot = drafter.open().expect("a slot");
    drafter.set_scope(slot, Some(1));
    for answer in 0..earlier / 512 {
        drafter.remember(slot, &text(kind, 1 + answer as u64, 511));
    }
    let tokens = text(kind, 0, TEXT);
    drafter.lookup(slot, &tokens);
    (drafter, slot, tokens)
}

/// One step of look-up: what it offers, and four tokens one after the other.
fn look_up_step(bencher: Bencher, kind: &str, earlier: usize) {
    let (mut drafter, slot, mut tokens) = look_up(kind, earlier);
    let mut chain = Chain::new(SamplingSettings::default()).expect("settings");
    let mut distribution = Distribution::new();
    bencher.bench_local(|| {
        black_box(drafter.lookup(slot, &tokens));
        for drafted in 0..4 {
            let (chain, distribution) = (&mut chain, &mut distribution);
            let (source, tokens_so_far) = (Source::NGRAM, &tokens[..]);
            let mut asks = [Ask {
                slot,
                source,
                tokens: tokens_so_far,
                drafted,
                more: 1,
                ahead: 1,
                chain,
                uniform: 0.0,
                distribution,
                proposal: None,
            }];
            drafter.propose(&mut asks).expect("an open slot");
            let [Ask { proposal, .. }] = asks;
            tokens.push(proposal.map_or(7, |proposal| proposal.token));
        }
        tokens.truncate(TEXT);
        drafter.truncate(slot, TEXT - 1);
    });
}

#[divan::bench(args = TEXTS)]
fn look_up_of_the_text(bencher: Bencher, kind: &str) {
    look_up_step(bencher, kind, 0);
}

#[divan::bench(args = TEXTS)]
fn look_up_of_earlier_answers(bencher: Bencher, kind: &str) {
    look_up_step(bencher, kind, EARLIER);
}

/// Reading a text of 4,096 tokens into the index.
#[divan::bench(args = TEXTS)]
fn look_up_reads(bencher: Bencher, kind: &str) {
    let tokens = text(kind, 0, TEXT);
    bencher.bench_local(|| {
        let mut drafter = NgramDrafter::default();
        let slot = drafter.open().expect("a slot");
        drafter.lookup(slot, black_box(&tokens))
    });
}
