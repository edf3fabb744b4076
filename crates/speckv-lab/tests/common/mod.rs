//! Recordings of simulated models.
#![allow(dead_code, reason = "every test program uses its own part of this")]

use std::{ops::ControlFlow, sync::Arc};

use speckv::{
    controller::MAX_GAMMA,
    draft::NgramSettings,
    predictor::ModelShape,
    sim::{Difference, SimModel, SimSettings},
};
use speckv_lab::{
    recorder::{Depths, Recorder, Recording, Task},
    run_folder::{ModelFacts, Settings},
    trace_file::{FORMAT, PromptFacts},
    workload::Split,
};

pub(crate) const VOCAB: usize = 24;
pub(crate) const END: u32 = 5;

pub(crate) fn target() -> SimModel {
    // Every token before matters: a fault in a cache shows.
    SimModel::new(SimSettings {
        vocab_size: VOCAB,
        context_length: 600,
        seed: 4,
        ..SimSettings::default()
    })
}

pub(crate) fn recorder(gamma_max: usize) -> Recorder<SimModel, SimModel> {
    let target = target();
    let draft = target.draft(Difference::Share { agreement: 0.8 });
    let depths = Depths { gamma_max, ngram_max: 16, block_max: 0, gamma_limit: MAX_GAMMA };
    Recorder::new(Arc::new(target), Some(Arc::new(draft)), NgramSettings::default(), depths)
        .expect("a recorder")
}

pub(crate) fn facts(number: u32, max_tokens: usize) -> PromptFacts {
    PromptFacts {
        id: format!("sim-{number:02}"),
        task: "sim".into(),
        split: if number.is_multiple_of(2) { Split::Test } else { Split::Train },
        tokens: (0..14).map(|i| (i * 5 + number) % 7 + 6).collect(),
        max_tokens,
        end_tokens: vec![END],
    }
}

pub(crate) fn task(prompt: &PromptFacts) -> Task<'_> {
    Task {
        prompt_id: &prompt.id,
        task: &prompt.task,
        prompt: &prompt.tokens,
        max_tokens: prompt.max_tokens,
        end_tokens: &prompt.end_tokens,
    }
}

pub(crate) fn record_all(
    recorder: &mut Recorder<SimModel, SimModel>,
    prompt: &PromptFacts,
) -> Recording {
    let recording = recorder.record(&task(prompt), &mut |_| ControlFlow::Continue(()));
    recording.expect("simulated models do not fail").expect("not broken off")
}

pub(crate) fn run_settings(gamma_max: usize, max_tokens: usize) -> Settings {
    let model = |name: &str| ModelFacts {
        name: name.into(),
        sha256: "0".repeat(64),
        bytes: 1,
        shape: ModelShape { architecture: "sim".into(), layers: 1, hidden: 1, vocab_size: VOCAB },
        compression: "none".into(),
    };
    Settings {
        format: FORMAT,
        version: Settings::version(),
        target: model("target"),
        draft: Some(model("draft")),
        gamma_max,
        ngram_max: 16,
        block_max: 0,
        gamma_limit: MAX_GAMMA,
        compression: "asis".into(),
        draft_compression: "compact".into(),
        draft_head: "whole".into(),
        ngram: Settings::ngram_knobs(&NgramSettings::default()),
        max_tokens,
        threads: 1,
        target_compression: 0.7,
    }
}
