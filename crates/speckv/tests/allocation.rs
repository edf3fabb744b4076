//! A step allocates nothing once its buffers have grown, and a sequence that rests gives them back.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use speckv::{
    controller::{Beside, Controller, Fixed, Off, Plan, Situation},
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NoDrafter},
    engine::{Engine, Sequence, SequenceSettings},
    record::Source,
    sampling::SamplingSettings,
    sim::{Difference, SimModel, SimSettings},
};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// Counts what this thread allocates, and the bytes of it that it has not given back.
struct Counting;

impl Counting {
    fn note(allocations: usize, bytes: isize) {
        COUNT.with(|count| count.set(count.get() + allocations));
        HELD.with(|held| held.set(held.get() + bytes));
    }
}

// SAFETY: everything is handed to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::note(1, layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Counting::note(0, -(layout.size() as isize));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::note(1, size as isize - layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tokens of the vocabulary.
const VOCAB: usize = 300;

fn engine(source: Option<Source>) -> Engine<SimModel> {
    let target = SimModel::new(SimSettings { vocab_size: VOCAB, ..SimSettings::default() });
    let draft = Arc::new(target.draft(Difference::Share { agreement: 0.8 }));
    let model = ModelDrafter::new(draft, VOCAB).with_masks(vec![7]).unwrap();
    let drafter: Box<dyn Drafter> = match source {
        Some(Source::NGRAM) => Box::new(Both::new(NgramDrafter::default(), model)),
        Some(_) => Box::new(model),
        None => Box::new(NoDrafter::new()),
    };
    Engine::new(Arc::new(target), drafter)
}

/// Drafts with the model, and has look-up say tokens beside it.
struct WithBranch(usize);

impl Controller for WithBranch {
    fn name(&self) -> String {
        "with-branch".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan::model(self.0)
    }

    fn beside(&mut self) -> usize {
        4
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        beside.available
    }
}

fn sequence(
    engine: &mut Engine<SimModel>,
    (gamma, source): (usize, Option<Source>),
    temperature: f32,
    seed: u64,
) -> Sequence<SimModel> {
    let controller: Box<dyn Controller> = match source {
        Some(Source::NGRAM) => Box::new(WithBranch(gamma)),
        Some(source) => Box::new(Fixed::from_source(gamma, source)),
        None => Box::new(Off),
    };
    let sampling = SamplingSettings { temperature, seed, ..SamplingSettings::default() };
    let prompt = vec![1, 2, seed as u32];
    engine
        .sequence(SequenceSettings {
            prompt,
            sampling,
            end_tokens: vec![0],
            max_tokens: 400,
            controller,
        })
        .unwrap()
}

/// Allocations in sixty steps of two sequences, after two runs over the same texts have grown every
/// buffer.
fn allocations(source: Option<Source>, temperature: f32) -> usize {
    let mut engine = engine(source);
    let mut make = |seed| sequence(&mut engine, (4, source), temperature, seed);
    let mut sequences = [make(3), make(4)];
    let mut count = 0;
    for _ in 0..3 {
        for sequence in &mut sequences {
            sequence.rewind(3);
        }
        let [a, b] = &mut sequences;
        let mut both = [a, b];
        let before = COUNT.get();
        for _ in 0..60 {
            engine.step(&mut both).unwrap();
        }
        count = COUNT.get() - before;
    }
    count
}

#[test]
fn a_step_allocates_nothing_once_its_buffers_have_grown() {
    for source in [None, Some(Source::MODEL), Some(Source::PARALLEL), Some(Source::NGRAM)] {
        assert_eq!(allocations(source, 0.0), 0, "greedy, {source:?}");
        // Sampled texts differ from run to run, and so does the size of look-up's index.
        if source != Some(Source::NGRAM) {
            assert_eq!(allocations(source, 0.8), 0, "sampling, {source:?}");
        }
    }
}

#[test]
fn a_sequence_that_rests_gives_back_its_distributions_and_goes_on_as_if_it_had_not() {
    const GAMMA: usize = 8;
    let source = Some(Source::MODEL);
    let mut engine = engine(source);
    let mut make = || sequence(&mut engine, (GAMMA, source), 0.8, 3);
    let (mut resting, mut other) = (make(), make());
    for _ in 0..20 {
        engine.step(&mut [&mut resting, &mut other]).unwrap();
    }
    let before = HELD.get();
    resting.release();
    let given_back = before - HELD.get();
    assert!(given_back >= (GAMMA * VOCAB * size_of::<f32>()) as isize, "{given_back} bytes");
    for _ in 0..20 {
        engine.step(&mut [&mut resting, &mut other]).unwrap();
    }
    assert_eq!(resting.tokens(), other.tokens());
}
