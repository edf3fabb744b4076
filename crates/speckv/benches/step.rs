//! What a step spends outside the models: signals, sampling, decisions. Run alone: `cargo bench -p
//! speckv`.

use std::{hint::black_box, sync::Arc, time::Duration};

use divan::Bencher;
use speckv::{
    controller::{Controller, Situation, Speckv, SpeckvOptions, Verdict},
    cost::{CostModel, SharedPass},
    predictor::{ModelShape, Predictor, SessionFacts},
    record::{Before, Drafted, Last, Outcome, StepRecord, Times},
    sampling::{Chain, Distribution, SamplingSettings},
    signals::{self, Signals},
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

/// A step under way: plans, and judges each of up to 16 positions.
#[derive(Default)]
struct Walk {
    step: usize,
    signals: Vec<Signals>,
    record: StepRecord,
}

impl Walk {
    fn decide(&mut self, controller: &mut Speckv) {
        self.step += 1;
        let (step, record) = (self.step, &mut self.record);
        let context = 100 + step % 1000;
        let situation = Situation {
            context,
            gamma_limit: 16,
            remaining: 1 << 20,
            draft_behind: 1,
            has_model: true,
            lookup: None,
            pass: SharedPass::ALONE,
        };
        let plan = controller.plan(black_box(&situation));
        record.before = Before { step, context, draft_behind: 1, gamma_limit: 16, plan };
        record.drafted.clear();
        self.signals.clear();
        let mut verified = 0;
        for position in 0..plan.gamma {
            let confidence = [0.97, 0.9, 0.99, 0.6][(step + position) % 4];
            let newest = Signals { confidence, entropy_bits: 1.0, margin: 0.5, match_length: 0 };
            self.signals.push(newest);
            record.drafted.push(Drafted { token: 1, signals: newest });
            let verdict = controller.judge(black_box(&self.signals));
            verified += usize::from(verdict != Verdict::Drop);
            if verdict != Verdict::Continue {
                break;
            }
        }
        let accepted = if step.is_multiple_of(5) { verified / 2 } else { verified };
        let last = if accepted == verified { Last::Bonus } else { Last::Recovered };
        record.outcome = Outcome { verified, accepted, last, produced: accepted + 1, ended: false };
        // Times near what the cost model expects, so that it has something to learn.
        let millis = |count: usize, each: u64| Duration::from_micros(count as u64 * each);
        let (draft, verify) =
            (millis(record.drafted.len(), 17_000), millis(1, 50_000) + millis(verified, 6_300));
        record.times =
            Times { draft, verify, total: draft + verify + millis(1, 100), ..Times::default() };
    }
}

/// What a step waits for: plan, and a judgement per position.
#[divan::bench]
fn speckv_decision(bencher: Bencher) {
    let (mut controller, mut walk) = three_drafted();
    bencher.bench_local(|| walk.decide(&mut controller));
}

/// A controller after its first step with three drafted tokens. Each step is observed: a draft that
/// has proved nothing stays short.
fn three_drafted() -> (Speckv, Walk) {
    let (mut controller, mut walk) = (shipped(), Walk::default());
    while walk.record.drafted.len() < 3 {
        walk.decide(&mut controller);
        controller.observe(&walk.record);
    }
    (controller, walk)
}

/// Learning from a step: predictor, ledgers, costs.
#[divan::bench]
fn speckv_observe(bencher: Bencher) {
    let (mut controller, walk) = three_drafted();
    bencher.bench_local(|| controller.observe(black_box(&walk.record)));
}

/// The cost model's part of it.
#[divan::bench]
fn cost_observe(bencher: Bencher) {
    let ((_, walk), mut cost) = (three_drafted(), CostModel::uncalibrated());
    bencher.bench_local(|| cost.observe(black_box(&walk.record)));
}

/// One whole step of the controller, by the weights of a pair that was trained for and by the
/// prior.
#[divan::bench(args = ["shipped", "prior"])]
fn speckv_step(bencher: Bencher, weights: &str) {
    let mut controller =
        if weights == "shipped" { shipped() } else { controller(Arc::new(Predictor::prior())) };
    let mut walk = Walk { signals: Vec::with_capacity(32), ..Walk::default() };
    bencher.bench_local(|| {
        walk.decide(&mut controller);
        controller.observe(black_box(&walk.record));
    });
}
