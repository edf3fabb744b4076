//! Sampling with a draft gives every family's own distribution: a chi-square test over the exact
//! joint distribution of two tokens.
//!
//! Significance is one in a million per test. Power, asserted below: a total variation distance of
//! 0.1 is found with probability 0.99.

#[path = "support/families.rs"]
mod reference;

use std::{num::NonZeroUsize, sync::Arc};

use reference::{folder, reference};
use serde_json::Value;
use speckv::{
    conformance::{joint_distribution, statistics::GoodnessOfFit},
    controller::Fixed,
    draft::{Drafter, ModelDrafter},
    engine::{Engine, SequenceSettings},
    model::LanguageModel,
    sampling::{Randomness, SamplingSettings},
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::compression::Compression;

const PROMPT: [u32; 6] = [5, 17, 40, 2, 5, 17];
const DEPTH: usize = 2;
const SAMPLES: u64 = 2500;

/// Few outcomes, so that few samples say much about each.
fn sampling() -> SamplingSettings {
    SamplingSettings { temperature: 1.0, top_k: 4, ..SamplingSettings::default() }
}

fn load(model: &Value, compression: Compression) -> Arc<CpuModel> {
    let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
    let context = model["context"].as_u64().map(|context| context as usize);
    let options = LoadOptions { context, compression, ..LoadOptions::new(pool) };
    let (_place, checkpoint) = folder(model);
    Arc::new(CpuModel::load(&checkpoint, &options, &mut |_| {}).unwrap())
}

/// Counts the first tokens of many texts; also how many drafted tokens were accepted and how many
/// were not.
fn sample(target: &Arc<CpuModel>, draft: Arc<CpuModel>) -> (GoodnessOfFit, [usize; 2]) {
    let vocab = target.vocab_size();
    let expected = joint_distribution(&**target, &PROMPT, &sampling(), DEPTH).unwrap();
    let drafter: Box<dyn Drafter> = Box::new(ModelDrafter::new(draft, vocab));
    let mut engine = Engine::new(Arc::clone(target), drafter);
    let settings = SequenceSettings {
        prompt: PROMPT.to_vec(),
        sampling: sampling(),
        end_tokens: vec![],
        max_tokens: DEPTH + 4,
        controller: Box::new(Fixed::new(2)),
    };
    let mut sequence = engine.sequence(settings).unwrap();
    let (mut fit, mut drafts) = (GoodnessOfFit::new(expected), [0, 0]);
    for seed in 0..SAMPLES {
        sequence.rewind(PROMPT.len());
        *sequence.randomness_mut() = Randomness::new(seed);
        while sequence.generated() < DEPTH {
            engine.step(&mut [&mut sequence]).unwrap();
            let record = sequence.record();
            drafts[0] += record.outcome.accepted;
            drafts[1] += record.drafted.len() - record.outcome.accepted;
        }
        let made = &sequence.tokens()[PROMPT.len()..PROMPT.len() + DEPTH];
        fit.add(made.iter().fold(0, |cell, &token| cell * vocab + token as usize));
    }
    (fit, drafts)
}

#[test]
fn samples_of_every_family_have_the_targets_distribution() {
    let reference = reference();
    let models = reference["models"].as_array().unwrap();
    for (number, model) in models.iter().enumerate() {
        let label = &model["label"];
        let target = load(model, Compression::AsIs);
        let other = &models[(number + 1) % models.len()];
        let drafts = [
            ("its own copy in 4 bits", load(model, "q4_0".parse().unwrap())),
            ("another model", load(other, Compression::AsIs)),
        ];
        let mut counts = [0, 0];
        for (kind, draft) in drafts {
            let (fit, drafted) = sample(&target, draft);
            fit.check().unwrap_or_else(|error| panic!("{label}, draft {kind}: {error}"));
            let distance = fit.detectable_distance();
            eprintln!("{label}, draft {kind}: {drafted:?}, finds a distance of {distance:.3}");
            assert!(distance < 0.1, "{label}: {distance}");
            counts = [counts[0] + drafted[0], counts[1] + drafted[1]];
        }
        let [accepted, rejected] = counts;
        assert!(accepted > 500 && rejected > 500, "{label}: {accepted} and {rejected}");
    }
}
