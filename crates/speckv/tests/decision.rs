//! A decision of the default controller allocates nothing.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
    sync::Arc,
};

use speckv::{
    controller::{Situation, Speckv, SpeckvOptions},
    cost::{CostModel, Samples, TimeSample, VerifySample},
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

/// Runs steps of drafting and observing; returns decisions (plans, judgements and observations),
/// and how often a second choice was to be verified.
fn decide(stepper: &mut Stepper<Speckv>, steps: usize) -> (usize, usize) {
    let (mut decisions, mut siblings) = (0, 0);
    for step in 0..steps {
        let here = Situation::alone(100 + step, 16);
        let situation = Situation { draft_behind: 1, parallel: 8 * (step / 7 % 2), ..here };
        let _ = black_box(stepper.plan(black_box(&situation))).expect("no step is under way");
        let mut position = 0;
        while stepper.wants_more() {
            let confidence = [0.97, 0.9, 0.99, 0.6][(step + position) % 4];
            let margin = 0.5 * confidence;
            let signals = Signals { confidence, entropy_bits: 1.0, margin, match_length: 0 };
            let drafted = Drafted { second: Some(2), ..Drafted::new(1, signals) };
            let _ = stepper.judge(drafted, false).expect("it wants more");
            position += 1;
            decisions += 1;
        }
        siblings += stepper.sibling(1).expect("a step under way").tokens.len();
        let kept = stepper.kept().len();
        let accepted = if step % 5 == 0 { kept / 2 } else { kept };
        // Where the draft is rejected, its second choice is right.
        let ending = Ending { accepted, token: Some(2), verified: None, branch: 0 };
        let _ = black_box(stepper.finish(&ending, Times::default())).expect("a step");
        decisions += 2;
    }
    (decisions, siblings)
}

/// Passes in which a row more takes next to nothing, so that second choices are worth one.
fn cost() -> CostModel {
    let verify = |rows| VerifySample { rows, context: 0, seconds: 1.0 + 0.005 * rows as f64 };
    let time = |seconds| vec![TimeSample { tokens: 1, context: 0, seconds }];
    let verify = (1..=17).map(verify).collect();
    let samples = Samples { draft: time(0.3), verify, catch_up: time(0.05), ..Samples::default() };
    CostModel::from_samples(&samples).expect("positive times")
}

fn controller() -> Speckv {
    let (facts, options) = (SessionFacts::default(), SpeckvOptions::default());
    Speckv::new(cost(), Arc::new(perceptrons()), facts, options)
}

#[test]
fn a_decision_allocates_nothing() {
    let mut stepper = Stepper::new(controller());
    decide(&mut stepper, 500); // the buffers of the step grow to the longest draft
    let before = COUNT.get();
    let (decisions, siblings) = decide(&mut stepper, 500);
    assert_eq!(COUNT.get() - before, 0);
    assert!(decisions > 1500, "{decisions}: it drafted");
    assert!(siblings > 0, "some second choices are worth a row");
}
