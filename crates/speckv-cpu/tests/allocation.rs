//! A step of a real model with look-up, a draft model and the default controller allocates nothing
//! once its buffers have grown, on any thread.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use speckv::{
    controller::{Speckv, SpeckvOptions},
    cost::CostModel,
    draft::{Both, ModelDrafter, NgramDrafter, NgramSettings},
    engine::{Clock, Engine, SequenceSettings, VirtualTime},
    model::LanguageModel,
    predictor::{Predictor, SessionFacts},
    sampling::SamplingSettings,
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::{gguf::Gguf, quant::TensorType, tiny::Tiny};

static COUNT: AtomicUsize = AtomicUsize::new(0);
const RUNS: usize = 8;

/// Counts what all threads allocate: passes are computed by several. This file has one test, so
/// that nothing else allocates meanwhile.
struct Counting;

// SAFETY: everything is handed to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn model(tiny: &Tiny, pool: &Arc<Pool>) -> Arc<CpuModel> {
    let file = Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap());
    Arc::new(CpuModel::load(&file, &LoadOptions::new(Arc::clone(pool)), &mut |_| {}).unwrap())
}

/// Allocations of each of a few runs of one sequence, and tokens drafted in all of them. Greedy
/// runs say the same text, and the first grows every buffer; sampled ones say another each time,
/// and some grow them a little more (the look-up's table, for one, where places that were given up
/// stand in its way).
fn runs(temperature: f32) -> (Vec<usize>, usize) {
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    let tiny = Tiny { context_length: 512, ..Tiny::default() };
    let target = model(&tiny, &pool);
    // The same weights with less precision agree mostly, and now and then they do not.
    let draft = model(&Tiny { tensor_type: TensorType::Q5_0, ..tiny }, &pool);
    let vocab_size = target.vocab_size();
    let drafter = Both::new(
        NgramDrafter::new(NgramSettings::default()),
        ModelDrafter::new(draft, vocab_size),
    );
    let mut engine = Engine::new(target, Box::new(drafter));
    // A clock that stands still leaves costs at their defaults, by which drafting pays; a draft as
    // slow as its target would soon be turned off.
    engine.set_clock(Clock::Virtual(VirtualTime::default()));
    let prompt: Vec<u32> = (0..60).map(|i| i * 7 % 20).collect();
    let prior = Arc::new(Predictor::prior());
    let (facts, options) = (SessionFacts::default(), SpeckvOptions::default());
    let controller = Speckv::new(CostModel::uncalibrated(), prior, facts, options);
    let mut sequence = engine
        .sequence(SequenceSettings {
            controller: Box::new(controller),
            prompt: prompt.clone(),
            sampling: SamplingSettings { temperature, seed: 5, ..SamplingSettings::default() },
            end_tokens: vec![],
            max_tokens: 200,
        })
        .unwrap();
    let mut counts = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        sequence.rewind(prompt.len());
        let before = COUNT.load(Ordering::Relaxed);
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).unwrap();
        }
        counts.push(COUNT.load(Ordering::Relaxed) - before);
    }
    (counts, sequence.totals().drafted)
}

#[test]
fn a_step_of_a_real_pair_allocates_nothing_once_its_buffers_have_grown() {
    for temperature in [0.0, 0.8] {
        let (counts, drafted) = runs(temperature);
        assert!(drafted > 100, "the test means steps that draft, got {drafted} tokens");
        let grown = if temperature == 0.0 { 1 } else { RUNS - 2 };
        assert!(
            counts[grown..].iter().all(|&count| count == 0),
            "temperature {temperature}: {counts:?} allocations"
        );
    }
}
