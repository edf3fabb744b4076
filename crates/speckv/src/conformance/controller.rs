//! What a controller must hold.

use std::sync::Arc;

use super::{decode_plainly, ensure, joint_distribution, statistics::GoodnessOfFit, text};
use crate::{
    controller::{Controller, Situation},
    cost::SharedPass,
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NoDrafter},
    engine::{Clock, Engine, Sequence, SequenceSettings},
    sampling::{Randomness, SamplingSettings},
    sim::{Difference, SimCost, SimModel, SimSettings},
};

/// Samples of the distribution test: with the 125 outcomes of three tokens out of five, a total
/// variation distance of 0.06 is found with probability 0.99 (see
/// [`GoodnessOfFit::detectable_distance`]).
const SAMPLES: u64 = 12_000;

/// Checks that a controller changes nothing but the time: greedy output is that of plain decoding,
/// sampled output has the target's distribution, and no step drafts more than it may. `make` gives
/// a new controller in its first state.
///
/// # Errors
/// The first truth that does not hold.
pub fn check_controller(make: &dyn Fn() -> Box<dyn Controller>) -> Result<(), String> {
    let name = make().name();
    ensure(!name.is_empty() && name == make().name(), || {
        format!("the name {name:?} is empty or changes")
    })?;
    every_situation_has_a_plan(make().as_mut());
    greedy_output_is_plain(make)?;
    sampled_output_is_the_targets(make)
}

/// Situations that are rare in a text must not panic.
fn every_situation_has_a_plan(controller: &mut dyn Controller) {
    for gamma_limit in [0, 1, 16, usize::MAX] {
        let crowd = SharedPass {
            sequences: 64,
            rows: 100_000,
            drafted_beside: 100_000,
            drafting_beside: 63,
        };
        for (has_model, draft_behind, pass) in
            [(false, 0, SharedPass::ALONE), (true, 0, SharedPass::ALONE), (true, 100_000, crowd)]
        {
            for context in [1, 100_000] {
                for remaining in [1, gamma_limit.saturating_add(1), usize::MAX] {
                    let lookup = None;
                    for parallel in [0, 8] {
                        controller.plan(&Situation {
                            context,
                            gamma_limit,
                            remaining,
                            draft_behind,
                            has_model,
                            parallel,
                            lookup,
                            pass,
                        });
                    }
                }
            }
        }
    }
}

fn drafters(target: &SimModel, difference: Difference) -> Vec<(&'static str, Box<dyn Drafter>)> {
    let draft = || target.draft(difference).costing(cost(8, 1));
    let model = || ModelDrafter::new(Arc::new(draft()), target_vocab(target));
    // A draft that proposes several tokens in one pass too.
    let parallel = || {
        let model = ModelDrafter::new(Arc::new(draft().with_mask(0)), target_vocab(target));
        model.with_masks(vec![0]).unwrap_or_else(|error| unreachable!("{error}"))
    };
    vec![
        ("no drafter", Box::new(NoDrafter::new())),
        ("n-gram", Box::new(NgramDrafter::default())),
        ("model", Box::new(model())),
        ("parallel model", Box::new(parallel())),
        ("both", Box::new(Both::new(NgramDrafter::default(), model()))),
        ("all sources", Box::new(Both::new(NgramDrafter::default(), parallel()))),
    ]
}

fn target_vocab(target: &SimModel) -> usize {
    crate::model::LanguageModel::vocab_size(target)
}

fn cost(pass: u64, token: u64) -> SimCost {
    SimCost {
        pass: std::time::Duration::from_millis(pass),
        token: std::time::Duration::from_millis(token),
    }
}

fn greedy_output_is_plain(make: &dyn Fn() -> Box<dyn Controller>) -> Result<(), String> {
    const COUNT: usize = 120;
    for (seed, order) in [(1, usize::MAX), (2, 2), (3, 3)] {
        let settings = SimSettings {
            vocab_size: 12,
            context_length: 400,
            order,
            seed,
            ..SimSettings::default()
        };
        let target = SimModel::new(settings).costing(cost(40, 4));
        let prompt = text(12, 9, seed);
        let expected = decode_plainly(&target, &prompt, COUNT)?;
        for agreement in [0.0, 0.5, 0.9, 1.0] {
            for (drafter_name, drafter) in drafters(&target, Difference::Share { agreement }) {
                let mut engine = Engine::new(Arc::new(target.clone()), drafter);
                engine.set_clock(Clock::Virtual(target.time().clone()));
                let words = |error: String| {
                    format!("greedy, {drafter_name}, agreement {agreement}, model {seed}: {error}")
                };
                let sampling = SamplingSettings::default();
                let settings = SequenceSettings {
                    prompt: prompt.clone(),
                    sampling,
                    end_tokens: vec![],
                    max_tokens: COUNT,
                    controller: make(),
                };
                let mut sequence =
                    engine.sequence(settings).map_err(|error| words(error.to_string()))?;
                while sequence.finish_reason().is_none() {
                    engine.step(&mut [&mut sequence]).map_err(|error| words(error.to_string()))?;
                    within_limits(&sequence).map_err(words)?;
                }
                let got = &sequence.tokens()[prompt.len()..];
                if got != expected {
                    let at = got.iter().zip(&expected).take_while(|(a, b)| a == b).count();
                    return Err(words(format!("output differs from plain decoding at token {at}")));
                }
            }
        }
    }
    Ok(())
}

fn within_limits(sequence: &Sequence<SimModel>) -> Result<(), String> {
    let record = sequence.record();
    let most = record.before.plan.gamma.min(record.before.gamma_limit);
    ensure(record.drafted.len() <= most, || {
        format!("{} tokens drafted, at most {most} planned", record.drafted.len())
    })?;
    let outcome = record.outcome;
    ensure(
        outcome.accepted <= outcome.verified && outcome.verified <= record.drafted.len(),
        || format!("{outcome:?}"),
    )?;
    ensure(outcome.produced == record.tokens.len() && outcome.produced >= 1, || {
        format!("{outcome:?}")
    })
}

fn sampled_output_is_the_targets(make: &dyn Fn() -> Box<dyn Controller>) -> Result<(), String> {
    const VOCAB: usize = 5;
    const DEPTH: usize = 3;
    let settings = SimSettings {
        vocab_size: VOCAB,
        order: 2,
        sharpness: 1.2,
        seed: 5,
        ..SimSettings::default()
    };
    let target = SimModel::new(settings).costing(cost(40, 4));
    let prompt = [0, 1, 2, 0, 1, 3, 0, 1, 2, 0, 1];
    let sampling = SamplingSettings { temperature: 1.0, ..SamplingSettings::default() };
    let expected = joint_distribution(&target, &prompt, &sampling, DEPTH)?;
    for difference in [Difference::Blend { weight: 0.4 }, Difference::Opposed] {
        for (drafter_name, drafter) in drafters(&target, difference) {
            let words =
                |error: String| format!("sampling, {drafter_name}, {difference:?}: {error}");
            let mut engine = Engine::new(Arc::new(target.clone()), drafter);
            engine.set_clock(Clock::Virtual(target.time().clone()));
            let settings = SequenceSettings {
                prompt: prompt.to_vec(),
                sampling: sampling.clone(),
                end_tokens: vec![],
                max_tokens: DEPTH + 4,
                controller: make(),
            };
            let mut sequence =
                engine.sequence(settings).map_err(|error| words(error.to_string()))?;
            let mut fit = GoodnessOfFit::new(expected.clone());
            for seed in 0..SAMPLES {
                sequence.rewind(prompt.len());
                *sequence.randomness_mut() = Randomness::new(seed);
                while sequence.generated() < DEPTH {
                    engine.step(&mut [&mut sequence]).map_err(|error| words(error.to_string()))?;
                }
                let made = &sequence.tokens()[prompt.len()..prompt.len() + DEPTH];
                fit.add(made.iter().fold(0, |cell, &token| cell * VOCAB + token as usize));
            }
            fit.check().map_err(words)?;
        }
    }
    Ok(())
}
