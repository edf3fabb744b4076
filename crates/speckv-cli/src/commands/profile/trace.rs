//! `speckv profile --trace DIR`: records what target, draft and look-up say at every position.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

use std::{
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use speckv::{
    controller::MAX_GAMMA,
    draft::{NgramSettings, parallel_depth},
};
use speckv_lab::{
    recorder::{LOOKUP_DEPTH, Recorder, RecordingError, Task},
    run_folder::{Origin, Run, RunFolder, RunFolderError, Settings},
    trace_file::{FORMAT, PromptFacts},
    workload::Prompt,
};

use super::choose;
use speckv_local::{
    backend::{AnyModel, LocalModel},
    calibration, controllers, cost_file, devices,
    draft_choice::DraftChoice,
    failure::{Failure, Outcome, chain},
    machine,
    model_source::ModelSource,
    pair::Pair,
    pair_settings::PairSettings,
    provenance,
    report::{Reporter, Unit},
    text::Conversation,
    units,
};

use crate::{answer, args::ProfileArgs, interrupt, model_facts, printer::Printer, settings};

pub(super) fn run(args: &ProfileArgs, trace: &Path, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let (target, draft) = PairSettings::models(
        args.model.as_ref(),
        args.draft.as_ref(),
        DraftChoice::Ngram,
        &source.catalogue,
    );
    if draft == DraftChoice::None {
        return Err(Failure::usage(
            "without a draft there is nothing to record",
            "give --draft MODEL, or --draft ngram for look-up only",
        ));
    }
    let prompts = choose(args)?;
    let cost = args.cost.as_deref().map(cost_file::read).transpose()?;
    let interrupt = interrupt::install();
    let threads = settings::capped_threads(args.threads, printer);

    let settings = PairSettings {
        context: args.ctx,
        devices: args.devices.choices(false),
        ..settings::pair_settings(target.clone(), draft.clone(), threads, &args.weights, args.cache)
    };
    let draft_head = settings.draft_head;
    let pair = Pair::load(
        &devices::of_pair(&settings, &source, &interrupt, printer)?,
        &settings,
        &source,
        &interrupt,
        printer,
    )?;
    let target_model = Arc::clone(pair.engine.target());
    let facts = |name: &str, path: &Path, model: &AnyModel| {
        model_facts::facts(name, path, model, &interrupt, printer)
    };
    let ngram = NgramSettings::default();
    let of_draft = |what: &dyn Fn(&AnyModel) -> String| {
        pair.draft.as_deref().map_or_else(|| "none".into(), what)
    };
    let settings = Settings {
        format: FORMAT,
        version: Settings::version(),
        target: facts(&target.to_string(), &pair.target_path, &target_model)?,
        draft: match (draft.model(), &pair.draft_path, &pair.draft) {
            (Some(name), Some(path), Some(model)) => Some(facts(&name.to_string(), path, model)?),
            _ => None,
        },
        gamma_max: args.gamma_max,
        ngram_max: LOOKUP_DEPTH,
        block_max: parallel_depth(&pair.masks),
        gamma_limit: MAX_GAMMA,
        compression: target_model.compression().to_string(),
        draft_compression: of_draft(&|model| model.compression().to_string()),
        draft_head: of_draft(&|_| draft_head.to_string()),
        ngram: Settings::ngram_knobs(&ngram),
        max_tokens: args.max_tokens,
        threads: threads.get(),
        target_compression: controllers::compression(&*target_model),
    };
    let resumed = RunFolder::resume(trace, &settings).map_err(|error| folder_failure(&error))?;
    let mut folder = match resumed {
        Some(folder) => folder,
        None => {
            let cost = match cost {
                Some(cost) => cost,
                None => calibration::costs(&pair, false, &interrupt, printer)?.model,
            };
            let origin = Origin {
                machine: machine::describe(),
                command: provenance::command(),
                cost: Some(cost),
            };
            RunFolder::create(trace, &Run { settings, origin })
                .map_err(|error| folder_failure(&error))?
        }
    };

    let depths = folder.run().settings.depths();
    let mut recorder = Recorder::new(target_model, pair.draft.clone(), ngram, depths)
        .and_then(|recorder| recorder.with_masks(pair.masks.clone()))
        .map_err(|error| recording_failure(&error))?;
    let began = Instant::now();
    let mut progress = printer.progress("recording", Unit::Tokens, Duration::from_secs(2));
    let per_prompt = 2 * args.max_tokens as u64;
    let total = per_prompt * prompts.len() as u64;
    let (mut done, mut recorded, mut tokens) = (0, 0, 0);
    let mut missing = Vec::new();
    for prompt in &prompts {
        let facts = prompt_facts(prompt, &pair, args.max_tokens)?;
        if folder.holds(&facts).map_err(|error| folder_failure(&error))? {
            done += per_prompt;
        } else {
            missing.push(facts);
        }
    }
    let resumed = prompts.len() - missing.len();
    if resumed > 0 {
        printer.note(&format!("{resumed} of {} prompts are recorded already", prompts.len()));
    }
    if !missing.is_empty() {
        folder.note_command(&provenance::command()).map_err(|error| folder_failure(&error))?;
    }
    for facts in missing {
        progress.at(done, total);
        let task = Task {
            prompt_id: &facts.id,
            task: &facts.task,
            prompt: &facts.tokens,
            max_tokens: facts.max_tokens,
            end_tokens: &facts.end_tokens,
        };
        let recording = recorder.record(&task, &mut |at| {
            progress.at(done + at as u64, total);
            if interrupt.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let Some(recording) = recording.map_err(|error| recording_failure(&error))? else {
            progress.finish();
            return Err(Failure::interrupted(
                format!(
                    "stopped with {} of {} prompts recorded",
                    resumed + recorded,
                    prompts.len()
                ),
                "the same command goes on with the prompts that are missing",
            ));
        };
        tokens += recording.trace.tokens.len();
        folder.save(facts, recording).map_err(|error| folder_failure(&error))?;
        recorded += 1;
        done += per_prompt;
    }
    progress.finish();
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        printer.json(&json!({
            "folder": trace.display().to_string(),
            "prompts": prompts.len(),
            "recorded": recorded,
            "tokens": tokens,
            "seconds": seconds,
        }))
    } else {
        let time = units::duration(began.elapsed());
        printer.data(&format!(
            "{recorded} prompts recorded in {time}, {resumed} were there: {} in all, {}\n",
            prompts.len(),
            trace.display()
        ))
    }
}

fn prompt_facts(prompt: &Prompt, pair: &Pair, max_tokens: usize) -> Outcome<PromptFacts> {
    let tokens =
        Conversation::new(prompt.system.as_deref()).prompt(&prompt.prompt, &pair.text)?.tokens;
    Ok(PromptFacts {
        id: prompt.id.clone(),
        task: prompt.task.clone(),
        split: prompt.split,
        tokens,
        max_tokens,
        end_tokens: pair.text.tokenizer().end_tokens().to_vec(),
    })
}

/// A folder's failure in the user's words.
pub(in crate::commands) fn folder_failure(error: &RunFolderError) -> Failure {
    Failure::from_error(error, Some(error.hint()), "")
}

fn recording_failure(error: &RecordingError) -> Failure {
    match error {
        RecordingError::Target(error) => answer::engine_failure(error),
        RecordingError::Context { .. } => Failure::new(
            chain(error),
            "give a longer --ctx, fewer --max-tokens, or other --tasks with shorter prompts",
        ),
        RecordingError::Draft(_) => Failure::new(
            chain(error),
            "if the draft's file is damaged, fetch it again; or give another --draft",
        ),
    }
}
