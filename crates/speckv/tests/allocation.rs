//! A step allocates nothing once its buffers have grown.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use speckv::{
    controller::{Controller, Fixed, Off},
    draft::{Drafter, ModelDrafter, NoDrafter},
    engine::{Engine, SequenceSettings},
    sampling::SamplingSettings,
    sim::{Difference, SimModel, SimSettings},
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

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations in `steps` steps of two sequences, after a first run over the same texts has grown every buffer.
fn allocations(gamma: usize, temperature: f32) -> usize {
    let target = SimModel::new(SimSettings { vocab_size: 300, ..SimSettings::default() });
    let drafter: Box<dyn Drafter> = if gamma == 0 {
        Box::new(NoDrafter::new())
    } else {
        Box::new(ModelDrafter::new(Arc::new(target.draft(Difference::Share { agreement: 0.8 })), 300))
    };
    let mut engine = Engine::new(Arc::new(target), drafter);
    let mut make = |seed| {
        let controller: Box<dyn Controller> = if gamma == 0 { Box::new(Off) } else { Box::new(Fixed::new(gamma)) };
        let sampling = SamplingSettings { temperature, seed, ..SamplingSettings::default() };
        engine
            .sequence(SequenceSettings {
                prompt: vec![1, 2, seed as u32],
                sampling,
                end_tokens: vec![0],
                max_tokens: 400,
                controller,
            })
            .unwrap()
    };
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
    for gamma in [0, 4] {
        assert_eq!(allocations(gamma, 0.0), 0, "greedy, gamma {gamma}");
        assert_eq!(allocations(gamma, 0.8), 0, "sampling, gamma {gamma}");
    }
}
