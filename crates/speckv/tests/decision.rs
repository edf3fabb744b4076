//! A decision of the speckv controller allocates nothing and is quick.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
    sync::Arc,
};

use speckv::{
    controller::{Controller, Situation, Speckv, SpeckvOptions, Verdict},
    cost::{CostModel, SharedPass},
    predictor::{FEATURES, HIDDEN, Head, Mlp, Predictor, Question, SessionFacts},
    record::{Before, Drafted, Last, Outcome, Source, StepRecord, Times},
    signals::Signals,
};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Counts what this thread allocates.
struct Counting;

// SAFETY: everything is handed to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The prior with perceptrons in place of its model heads: the dearest predictor there is.
fn perceptrons() -> Predictor {
    let mut predictor = Predictor::prior();
    for question in Question::ALL {
        let mlp = Mlp {
            hidden: (0..HIDDEN * FEATURES).map(|i| ((i * 7 % 13) as f32 - 6.0) / 40.0).collect(),
            hidden_bias: vec![0.1; HIDDEN],
            output: (0..HIDDEN).map(|i| (i as f32 - 7.0) / 20.0).collect(),
            output_bias: 1.5,
        };
        predictor.set_head(Source::Model, question, Head::Mlp(mlp));
    }
    predictor
}

/// Runs steps of drafting and observing; returns decisions (plans, judgements and observations).
fn decide(
    controller: &mut Speckv,
    record: &mut StepRecord,
    signals: &mut Vec<Signals>,
    steps: usize,
) -> usize {
    let mut decisions = 0;
    for step in 0..steps {
        let situation = Situation {
            context: 100 + step,
            gamma_limit: 16,
            remaining: 1 << 20,
            draft_behind: 1,
            has_model: true,
            lookup: None,
            pass: SharedPass::ALONE,
        };
        let plan = black_box(controller.plan(black_box(&situation)));
        record.before =
            Before { step, context: situation.context, draft_behind: 1, gamma_limit: 16, plan };
        record.drafted.clear();
        signals.clear();
        let mut verified = 0;
        for position in 0..plan.gamma {
            let confidence = [0.97, 0.9, 0.99, 0.6][(step + position) % 4];
            let newest = Signals { confidence, entropy_bits: 1.0, margin: 0.5, match_length: 0 };
            signals.push(newest);
            record.drafted.push(Drafted { token: 1, signals: newest });
            let verdict = black_box(controller.judge(black_box(signals)));
            verified += usize::from(verdict != Verdict::Drop);
            decisions += 1;
            if verdict != Verdict::Continue {
                break;
            }
        }
        let accepted = if step % 5 == 0 { verified / 2 } else { verified };
        let last = if accepted == verified { Last::Bonus } else { Last::Recovered };
        record.outcome = Outcome { verified, accepted, last, produced: accepted + 1, ended: false };
        controller.observe(black_box(record));
        decisions += 2;
    }
    decisions
}

fn controller() -> Speckv {
    let predictor = Arc::new(perceptrons());
    Speckv::new(
        CostModel::uncalibrated(),
        predictor,
        SessionFacts::default(),
        SpeckvOptions::default(),
    )
}

fn buffers() -> (StepRecord, Vec<Signals>) {
    let record = StepRecord {
        drafted: Vec::with_capacity(32),
        times: Times::default(),
        ..StepRecord::default()
    };
    (record, Vec::with_capacity(32))
}

#[test]
fn a_decision_allocates_nothing() {
    let (mut controller, (mut record, mut signals)) = (controller(), buffers());
    let before = COUNT.get();
    let decisions = decide(&mut controller, &mut record, &mut signals, 500);
    assert_eq!(COUNT.get() - before, 0);
    assert!(decisions > 1500, "{decisions}: it drafted");
}
