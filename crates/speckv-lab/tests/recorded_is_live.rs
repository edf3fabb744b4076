//! A controller that is replayed over a recorded, written and re-read trace takes the very steps
//! that it takes live, on tiny models on the CPU.

use std::{num::NonZeroUsize, ops::ControlFlow, sync::Arc};

use speckv::{
    controller::{Controller, Drafting, MAX_GAMMA, Off, Plan, Situation},
    cost::CostModel,
    draft::{Both, ModelDrafter, NgramDrafter, NgramSettings},
    engine::{Clock, Engine, SequenceSettings, VirtualTime},
    model::LanguageModel,
    record::{Source, StepRecord},
    sampling::SamplingSettings,
    signals::Signals,
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::{gguf::Gguf, tiny::Tiny};
use speckv_lab::{
    recorder::{Depths, Recorder, Task},
    replay::replay,
    run_folder::{Origin, Run, RunFolder, Settings},
    trace_file::PromptFacts,
    workload::Split,
};
use speckv_local::controllers::{ControllerParts, ControllerSpec};

mod common;

const MAX_TOKENS: usize = 90;
const END: u32 = 258;
/// Tokens that stand for what is not known yet: any tokens will do, since the draft is a real one.
const MASKS: [u32; 5] = [1, 2, 3, 4, 5];

fn load(tiny: &Tiny) -> Arc<CpuModel> {
    let file =
        Arc::new(Gguf::from_bytes(tiny.to_bytes().expect("a tiny model")).expect("a GGUF file"));
    let pool = Arc::new(Pool::new(NonZeroUsize::MIN).expect("a thread"));
    Arc::new(CpuModel::load(&file, &LoadOptions::new(pool), &mut |_| {}).expect("loads"))
}

/// Ordinary sharpness makes texts that repeat soon, so that look-up finds something; the draft is
/// the target with a little less precision.
fn models() -> (Arc<CpuModel>, Arc<CpuModel>) {
    let target =
        Tiny { tensor_type: speckv_formats::quant::TensorType::F32, seed: 3, ..Tiny::default() };
    let draft = Tiny { tensor_type: speckv_formats::quant::TensorType::Q4_0, ..target.clone() };
    (load(&target), load(&draft))
}

fn live(
    target: &Arc<CpuModel>,
    draft: &Arc<CpuModel>,
    prompt: &PromptFacts,
    controller: Box<dyn Controller>,
) -> Vec<StepRecord> {
    let model = ModelDrafter::new(Arc::clone(draft), target.vocab_size())
        .with_masks(MASKS.to_vec())
        .expect("tokens of the model");
    let mut engine =
        Engine::new(Arc::clone(target), Box::new(Both::new(NgramDrafter::default(), model)));
    engine.set_clock(Clock::Virtual(VirtualTime::new())); // stands still: no times are learned from
    let settings = SequenceSettings {
        prompt: prompt.tokens.clone(),
        sampling: SamplingSettings::default(),
        end_tokens: prompt.end_tokens.clone(),
        max_tokens: prompt.max_tokens,
        controller,
    };
    let mut sequence = engine.sequence(settings).expect("good settings");
    engine.prefill_draft(&mut sequence).expect("tiny models do not fail");
    let mut records = Vec::new();
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).expect("tiny models do not fail");
        records.push(sequence.record().clone());
    }
    records
}

/// Drafts from one source, and has the second choice of the least sure token verified.
struct WithSibling(Source);

impl Controller for WithSibling {
    fn name(&self) -> String {
        "with-sibling".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        Plan { gamma: 1 + situation.context % 5, source: self.0 }
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        let margin = |place: &usize| signals[*place].margin;
        (0..signals.len()).min_by(|a, b| margin(a).total_cmp(&margin(b)))
    }
}

/// A text of bytes as a prompt.
fn prompt(number: usize, text: &str) -> PromptFacts {
    PromptFacts {
        id: format!("tiny-{number:02}"),
        task: "tiny".into(),
        split: Split::Train,
        tokens: text.bytes().map(u32::from).collect(),
        max_tokens: MAX_TOKENS,
        end_tokens: vec![END],
    }
}

#[test]
fn siblings_on_a_real_model_change_no_token() {
    let (target, draft) = models();
    let (mut siblings, mut accepted) = (0, 0);
    for (number, text) in ["the other one and the thing", "an in and out"].iter().enumerate() {
        let prompt = prompt(number, text);
        let tokens = |records: &[StepRecord]| -> Vec<u32> {
            records.iter().flat_map(|record| record.tokens.clone()).collect()
        };
        let plain = tokens(&live(&target, &draft, &prompt, Box::new(Off)));
        for source in [Source::MODEL, Source::PARALLEL] {
            let records = live(&target, &draft, &prompt, Box::new(WithSibling(source)));
            assert_eq!(tokens(&records), plain, "{source}, {text}");
            siblings += records.iter().filter(|record| record.branch.sibling).count();
            accepted += records.iter().map(|record| record.branch.accepted).sum::<usize>();
        }
    }
    assert!(siblings > 40 && accepted > 0, "{accepted} of {siblings} accepted");
}

#[test]
fn a_replayed_controller_takes_its_live_steps_on_a_real_model() {
    let (target, draft) = models();
    let depths = Depths { gamma_max: 16, ngram_max: 16, block_max: 6, gamma_limit: MAX_GAMMA };
    let mut recorder = Recorder::new(
        Arc::clone(&target),
        Some(Arc::clone(&draft)),
        NgramSettings::default(),
        depths,
    )
    .and_then(|recorder| recorder.with_masks(MASKS.to_vec()))
    .expect("greedy");
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { block_max: 6, ..common::run_settings(16, MAX_TOKENS) };
    let run = RunFolder::create(folder.path(), &Run { settings, origin: Origin::default() })
        .expect("a new recording");
    let prompts: Vec<PromptFacts> =
        ["the other one and the thing", "an in and out", "they are there"]
            .iter()
            .enumerate()
            .map(|(number, text)| prompt(number, text))
            .collect();
    for prompt in &prompts {
        let task = Task {
            prompt_id: &prompt.id,
            task: &prompt.task,
            prompt: &prompt.tokens,
            max_tokens: prompt.max_tokens,
            end_tokens: &prompt.end_tokens,
        };
        let recording = recorder
            .record(&task, &mut |_| ControlFlow::Continue(()))
            .expect("records")
            .expect("whole");
        run.save(prompt.clone(), recording).expect("writes");
    }
    let files = run.load().expect("reads");
    let (mut drafted, mut accepted) = ([0; 3], 0);
    for (prompt, file) in prompts.iter().zip(&files) {
        for name in [
            "speckv",
            "speckv:siblings=off",
            "off",
            "fixed:3",
            "chain+fixed:5",
            "confidence:0.4",
            "entropy:adaedl",
            "heuristic",
            "fixed:4@parallel",
            "fixed:16@parallel",
            "speckv@parallel",
        ] {
            let (spec, drafting) = match name.split_once('@') {
                Some((spec, _)) => (spec, Drafting::Parallel),
                None => (name, Drafting::Both),
            };
            let spec: ControllerSpec = spec.parse().expect("known");
            let build = || drafting.restrict(spec.build(&ControllerParts::default()));
            let (live, mut controller) = (live(&target, &draft, prompt, build()), build());
            let replayed =
                replay(controller.as_mut(), &file.recording.trace, &CostModel::uncalibrated())
                    .expect("a good trace");
            for (live, replayed) in live.iter().zip(&replayed) {
                let of = |record: &StepRecord| {
                    let (drafted, branch) = (record.drafted.clone(), record.branch.clone());
                    (record.before, drafted, branch, record.outcome, record.tokens.clone())
                };
                assert_eq!(of(live), of(replayed), "{name}, {}", prompt.id);
                drafted[live.before.plan.source.index()] += live.drafted.len();
                accepted += live.outcome.accepted;
            }
            assert_eq!(live.len(), replayed.len(), "{name}, {}", prompt.id);
        }
    }
    let all: usize = drafted.iter().sum();
    assert!(drafted.iter().all(|&count| count > 0), "all sources draft: {drafted:?}");
    assert!(
        accepted > 0 && accepted < all,
        "some are accepted and some are not: {accepted} of {all}"
    );
}
