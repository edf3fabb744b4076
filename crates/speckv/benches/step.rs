//! What a step spends outside the models: signals, sampling, decisions. Run alone: `cargo bench -p speckv`.

use std::{hint::black_box, sync::Arc};

use divan::Bencher;
use speckv::{
    controller::{Controller, Situation, Speckv, SpeckvOptions, Verdict},
    cost::{CostModel, SharedPass},
    predictor::{Predictor, SessionFacts},
    record::{Before, Drafted, Last, Outcome, StepRecord},
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
    let noise = |i: usize| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 23) as f32 - 1.0;
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
    let (mut row, mut distribution) = (logits(), Distribution::new());
    bencher.bench_local(|| {
        chain.fill(&mut row, &[], &mut distribution).unwrap();
        distribution.draw(black_box(0.7))
    });
}

/// One step of the controller: plan, judge each of up to 16 positions, observe.
#[divan::bench]
fn speckv_step(bencher: Bencher) {
    let mut controller = Speckv::new(
        CostModel::uncalibrated(),
        Arc::new(Predictor::prior()),
        SessionFacts::default(),
        SpeckvOptions::default(),
    );
    let (mut record, mut signals) = (StepRecord::default(), Vec::with_capacity(32));
    let mut step = 0;
    bencher.bench_local(|| {
        step += 1;
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
        signals.clear();
        let mut verified = 0;
        for position in 0..plan.gamma {
            let confidence = [0.97, 0.9, 0.99, 0.6][(step + position) % 4];
            let newest = Signals { confidence, entropy_bits: 1.0, margin: 0.5, match_length: 0 };
            signals.push(newest);
            record.drafted.push(Drafted { token: 1, signals: newest });
            let verdict = controller.judge(black_box(&signals));
            verified += usize::from(verdict != Verdict::Drop);
            if verdict != Verdict::Continue {
                break;
            }
        }
        let accepted = if step % 5 == 0 { verified / 2 } else { verified };
        let last = if accepted == verified { Last::Bonus } else { Last::Recovered };
        record.outcome = Outcome { verified, accepted, last, produced: accepted + 1, ended: false };
        controller.observe(black_box(&record));
    });
}
