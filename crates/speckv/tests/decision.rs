//! A decision of the default controller allocates nothing.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
    sync::Arc,
};

use speckv::{
    controller::{Situation, Speckv, SpeckvOptions},
    cost::CostModel,
    predictor::{FEATURES, HIDDEN, Head, Mlp, Predictor, Question, SessionFacts},
    record::{Drafted, Source, Times},
    signals::Signals,
    step::{Ending, Stepper},
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
        // SAFETY: the arguments are this function's own, whose contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the arguments are this function's own, whose contract is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The prior with perceptrons in place of its model heads: the most expensive predictor there is.
fn perceptrons() -> Predictor {
    let mut predictor = Predictor::prior();
    for question in Question::ALL {
        let mlp = Mlp {
            hidden: (0..HIDDEN * FEATURES).map(|i| ((i * 7 % 13) as f32 - 6.0) / 40.0).collect(),
            hidden_bias: vec![0.1; HIDDEN],
            output: (0..HIDDEN).map(|i| (i as f32 - 7.0) / 20.0).collect(),
            output_bias: 1.5,
        };
        predictor.set_head(Source::MODEL, question, Head::Mlp(mlp));
    }
    predictor
}

/// Runs steps of drafting and observing; returns decisions (plans, judgements and observations).
fn decide(stepper: &mut Stepper<Speckv>, steps: usize) -> usize {
    let mut decisions = 0;
    for step in 0..steps {
        let here = Situation::alone(100 + step, 16);
        let situation = Situation { draft_behind: 1, parallel: 8 * (step / 7 % 2), ..here };
        let _ = black_box(stepper.plan(black_box(&situation))).expect("no step is under way");
        let mut position = 0;
        while stepper.wants_more() {
            let confidence = [0.97, 0.9, 0.99, 0.6][(step + position) % 4];
            let signals = Signals { confidence, entropy_bits: 1.0, margin: 0.5, match_length: 0 };
            let _ = stepper.judge(Drafted::new(1, signals), false).expect("it wants more");
            position += 1;
            decisions += 1;
        }
        let kept = stepper.kept().len();
        let accepted = if step % 5 == 0 { kept / 2 } else { kept };
        let ending = Ending { accepted, token: Some(1), verified: None, branch: 0 };
        let _ = black_box(stepper.finish(&ending, Times::default())).expect("a step");
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

#[test]
fn a_decision_allocates_nothing() {
    let mut stepper = Stepper::new(controller());
    decide(&mut stepper, 500); // the buffers of the step grow to the longest draft
    let before = COUNT.get();
    let decisions = decide(&mut stepper, 500);
    assert_eq!(COUNT.get() - before, 0);
    assert!(decisions > 1500, "{decisions}: it drafted");
}
