//! A step allocates nothing once its buffers have grown, and a sequence that rests gives them back.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use speckv::{
    controller::{Beside, Controller, Fixed, Off, Plan, Situation, Speckv, SpeckvOptions},
    cost::CostModel,
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NoDrafter},
    engine::{Clock, Engine, Sequence, SequenceSettings},
    predictor::{Predictor, SessionFacts},
    record::Source,
    sampling::{Randomness, SamplingSettings},
    signals::Signals,
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

/// Drafts from a source of the model, and has the second choice of a token verified.
struct WithSibling(usize, Source);

impl Controller for WithSibling {
    fn name(&self) -> String {
        "with-sibling".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan { gamma: self.0, source: self.1 }
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        Some(signals.len() / 2)
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
        Some(source) if gamma % 2 == 1 => Box::new(WithSibling(gamma, source)),
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
fn allocations(gamma: usize, source: Option<Source>, temperature: f32) -> usize {
    let mut engine = engine(source);
    let mut make = |seed| sequence(&mut engine, (gamma, source), temperature, seed);
    let mut sequences = [make(3), make(4)];
    let mut count = 0;
    for _ in 0..3 {
        for sequence in &mut sequences {
            sequence.rewind(3);
            *sequence.randomness_mut() = Randomness::new(5);
        }
        let [a, b] = &mut sequences;
        let mut both = [a, b];
        let before = COUNT.get();
        for _ in 0..60 {
            engine.step(&mut both).unwrap();
        }
        count = COUNT.get() - before;
    }
    let siblings = |sequence: &Sequence<SimModel>| sequence.totals().siblings;
    let drafts = matches!(source, Some(Source::MODEL | Source::PARALLEL));
    assert_eq!(siblings(&sequences[0]) > 0, drafts && gamma % 2 == 1, "siblings of odd gammas");
    count
}

#[test]
fn a_step_allocates_nothing_once_its_buffers_have_grown() {
    for source in [None, Some(Source::MODEL), Some(Source::PARALLEL), Some(Source::NGRAM)] {
        for gamma in [4, 5] {
            assert_eq!(allocations(gamma, source, 0.0), 0, "greedy, {source:?}, {gamma}");
            assert_eq!(allocations(gamma, source, 0.8), 0, "sampling, {source:?}, {gamma}");
        }
    }
}

/// The default controller, which chooses among all sources by the weights of no pair.
fn speckv() -> Box<dyn Controller> {
    let (cost, prior) = (CostModel::uncalibrated(), Arc::new(Predictor::prior()));
    Box::new(Speckv::new(cost, prior, SessionFacts::default(), SpeckvOptions::default()))
}

#[test]
fn with_all_sources_a_step_allocates_nothing() {
    let mut engine = engine(Some(Source::NGRAM));
    engine.lookup_memory_mut().expect("look-up has one").set_limit(10_000);
    // Passes of no time teach nothing of costs, so that rounds have the same steps.
    engine.set_clock(Clock::Virtual(engine.target().time().clone()));
    let settings = |seed: u32| SequenceSettings {
        prompt: vec![1, 2, seed, 1, 2],
        sampling: SamplingSettings::default(),
        end_tokens: vec![0],
        max_tokens: 400,
        controller: speckv(),
    };
    let mut sequences = [3, 4].map(|seed| engine.sequence(settings(seed)).expect("a sequence"));
    let (mut count, mut sources, mut branches) = (0, [0; 3], 0);
    for round in 0..5 {
        if round == 4 {
            engine.set_clock(Clock::system());
        }
        for sequence in &mut sequences {
            engine.set_scope(sequence, Some(1));
            sequence.rewind(5);
            sequence.set_controller(speckv()); // one that has learned nothing yet
        }
        let before = COUNT.get();
        for _ in 0..60 {
            let [a, b] = &mut sequences;
            engine.step(&mut [a, b]).expect("a step");
            if round < 4 {
                continue;
            }
            for sequence in &sequences {
                let record = sequence.record();
                let drafts = usize::from(!record.drafted.is_empty());
                sources[record.before.plan.source.index()] += drafts;
                branches += usize::from(!record.branch.tokens.is_empty());
            }
        }
        if round == 3 {
            count = COUNT.get() - before;
        }
        if round == 0 {
            // Of the second text only: what the first one says is then not known beforehand.
            engine.remember(&sequences[1]);
        }
    }
    assert_eq!(count, 0, "allocations");
    let [model, look_up, parallel] = sources;
    assert!(model + parallel > 0 && look_up > 0 && branches > 0, "{sources:?} {branches}");
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
