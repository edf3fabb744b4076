//! Ends, budgets, errors, rewinding, and what the records say.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use speckv::{
    conformance::decode_plainly,
    controller::{
        Controller, Fixed, MAX_GAMMA, Off, Plan, Situation, Speckv, SpeckvOptions, Verdict,
    },
    cost::{CostModel, Samples, TimeSample, VerifySample},
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NoDrafter},
    engine::{
        Clock, Engine, EngineError, FinishReason, Prefill, Sequence, SequenceSettings, VirtualTime,
    },
    logits::Logits,
    model::{Feed, LanguageModel, ModelError},
    predictor::{Predictor, SessionFacts},
    record::{Last, StepRecord},
    sampling::SamplingSettings,
    signals::Signals,
    sim::{Difference, SimCache, SimCost, SimModel, SimSettings},
    token::Token,
};

mod costs;
mod ends;
mod errors;
mod turns;

const PROMPT: [Token; 3] = [1, 2, 3];

fn sim(context_length: usize) -> SimModel {
    SimModel::new(SimSettings { context_length, seed: 2, ..SimSettings::default() })
}

/// A perfect draft.
fn drafter(target: &SimModel) -> Box<dyn Drafter> {
    Box::new(ModelDrafter::new(Arc::new(target.draft(Difference::Blend { weight: 0.0 })), 32))
}

fn engine(target: &SimModel) -> Engine<SimModel> {
    Engine::new(Arc::new(target.clone()), drafter(target))
}

fn settings(
    max_tokens: usize,
    end_tokens: Vec<Token>,
    controller: impl Controller + 'static,
) -> SequenceSettings {
    let sampling = SamplingSettings::default();
    SequenceSettings {
        prompt: PROMPT.to_vec(),
        sampling,
        end_tokens,
        max_tokens,
        controller: Box::new(controller),
    }
}

fn finish<M: LanguageModel>(engine: &mut Engine<M>, sequence: &mut Sequence<M>) -> Vec<StepRecord> {
    let mut records = Vec::new();
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut *sequence]).unwrap();
        records.push(sequence.record().clone());
    }
    records
}
