//! `speckv profile --trace`: records what target, draft and look-up say on a workload.

use std::{
    fs::File,
    io::Read,
    num::NonZeroUsize,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use sha2::{Digest, Sha256};
use speckv::{draft::NgramSettings, engine::MAX_GAMMA, model::LanguageModel, predictor::ModelShape};
use speckv_cpu::model::{CacheType, CpuModel};
use speckv_lab::{
    recorder::{Depths, Recorder, RecordingError, Task},
    run_folder::{ModelFacts, Origin, Run, RunFolder, RunFolderError, Settings},
    trace_file::{FORMAT, PromptFacts},
    workload::{Prompt, Workload, WorkloadError},
};

use crate::{
    answer,
    args::{DraftChoice, ProfileArgs},
    calibration, controllers,
    conversation::Conversation,
    cost_file,
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    machine,
    obtain::Shelf,
    pair::Pair,
    printer::Printer,
    progress::Unit,
    settings::{PairSettings, cores},
    units,
};

pub(super) fn run(args: &ProfileArgs, printer: &Printer) -> Outcome<()> {
    let shelf = Shelf::from_environment()?;
    let (target, draft) =
        PairSettings::models(args.model.as_ref(), args.draft.as_ref(), DraftChoice::Ngram, &shelf.catalogue);
    if draft == DraftChoice::None {
        return Err(Failure::usage(
            "without a draft there is nothing to record",
            "give --draft MODEL, or --draft ngram for look-up only",
        ));
    }
    let prompts = choose(args)?;
    let cost = args.cost.as_deref().map(cost_file::read).transpose()?;
    let interrupt = Interrupt::install();
    let threads = args.threads.and_then(NonZeroUsize::new).unwrap_or_else(cores);

    let settings = PairSettings {
        target: target.clone(),
        draft: draft.clone(),
        threads,
        context: None,
        draft_head: None,
        cache_type: CacheType::F16,
    };
    let pair = Pair::load(&settings, &shelf, &interrupt, printer)?;
    let target_model = Arc::clone(pair.engine.target());
    let facts = |name: &str, path: &Path, model: &CpuModel| -> Outcome<ModelFacts> {
        let (sha256, bytes) = checksum(path, &interrupt, printer)?;
        let compression = model.file_type().name().into();
        Ok(ModelFacts { name: shown_name(name), sha256, bytes, shape: shape(model), compression })
    };
    let ngram = NgramSettings::default();
    let settings = Settings {
        format: FORMAT,
        version: Settings::version(),
        target: facts(&target, &pair.target_path, &target_model)?,
        draft: match (draft.model(), &pair.draft_path, &pair.draft) {
            (Some(name), Some(path), Some(model)) => Some(facts(name, path, model)?),
            _ => None,
        },
        gamma_max: args.gamma_max,
        ngram_max: MAX_GAMMA,
        ngram: Settings::ngram_knobs(&ngram),
        max_tokens: args.max_tokens,
        threads: threads.get(),
        target_compression: controllers::compression(&target_model),
    };
    let resumed = RunFolder::resume(&args.trace, &settings).map_err(|error| folder_failure(&error))?;
    let folder = match resumed {
        Some(folder) => folder,
        None => {
            let command = std::iter::once("speckv".to_owned()).chain(std::env::args().skip(1)).collect();
            let cost = match cost {
                Some(cost) => cost,
                None => calibration::costs(&pair, false, &interrupt, printer)?.model,
            };
            let origin = Origin { machine: machine::describe(), command, cost: Some(cost) };
            RunFolder::create(&args.trace, &Run { settings, origin }).map_err(|error| folder_failure(&error))?
        }
    };

    let depths = Depths { gamma_max: args.gamma_max, ngram_max: MAX_GAMMA };
    let mut recorder =
        Recorder::new(target_model, pair.draft.clone(), ngram, depths).map_err(|error| recording_failure(&error))?;
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
                format!("stopped with {} of {} prompts recorded", resumed + recorded, prompts.len()),
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
            "folder": args.trace.display().to_string(),
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
            args.trace.display()
        ))
    }
}

/// The prompts that the options name, in the workload's order.
fn choose(args: &ProfileArgs) -> Outcome<Vec<Prompt>> {
    let workload = match &args.workload {
        Some(folder) => Workload::from_dir(folder),
        None => Workload::builtin(),
    };
    let workload = workload.map_err(|error: WorkloadError| {
        Failure::new(chain(&error), "a workload is a folder of *.jsonl files; see workloads/README.md")
    })?;
    if let Some(unknown) = args.tasks.iter().find(|task| !workload.tasks().contains(&task.as_str())) {
        return Err(Failure::usage(
            format!("the workload has no task {unknown:?}"),
            format!("its tasks are {}", workload.tasks().join(", ")),
        ));
    }
    let mut chosen = Vec::new();
    for task in workload.tasks() {
        if args.tasks.is_empty() || args.tasks.iter().any(|wanted| wanted == task) {
            let of_task =
                workload.prompts().iter().filter(|prompt| prompt.task == task && args.split.takes(prompt.split));
            chosen.extend(of_task.take(args.prompts_per_task.unwrap_or(usize::MAX)).cloned());
        }
    }
    if chosen.is_empty() {
        return Err(Failure::usage("no prompt of the workload is chosen", "give other --tasks or another --split"));
    }
    Ok(chosen)
}

fn prompt_facts(prompt: &Prompt, pair: &Pair, max_tokens: usize) -> Outcome<PromptFacts> {
    let tokens = Conversation::new(prompt.system.as_deref()).prompt(&prompt.prompt, pair)?.tokens;
    Ok(PromptFacts {
        id: prompt.id.clone(),
        task: prompt.task.clone(),
        split: prompt.split,
        tokens,
        max_tokens,
        end_tokens: pair.tokenizer.end_tokens().to_vec(),
    })
}

/// A path's file name: where a file lies says nothing about it.
fn shown_name(name: &str) -> String {
    Path::new(name).file_name().map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What a model is recognised by.
fn shape(model: &CpuModel) -> ModelShape {
    let config = model.config();
    ModelShape {
        architecture: config.architecture.clone(),
        layers: config.layers,
        hidden: config.hidden,
        vocab_size: model.vocab_size(),
    }
}

/// SHA-256 and size of a file.
fn checksum(path: &Path, interrupt: &Interrupt, printer: &Printer) -> Outcome<(String, u64)> {
    let io = |error| Failure::io("read", path, &error);
    let mut file = File::open(path).map_err(io)?;
    let total = file.metadata().map_err(io)?.len();
    let mut progress = printer.progress("checksum", Unit::Bytes, Duration::from_secs(2));
    let (mut hasher, mut buffer, mut read) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let count = file.read(&mut buffer).map_err(io)?;
        if count == 0 {
            break;
        }
        if interrupt.is_raised() {
            return Err(Failure::interrupted("stopped before anything was recorded", "the same command begins again"));
        }
        hasher.update(&buffer[..count]);
        read += count as u64;
        progress.at(read, total);
    }
    let digits = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((digits, read))
}

/// A folder's failure in the user's words.
pub(super) fn folder_failure(error: &RunFolderError) -> Failure {
    Failure::from_error(error, Some(error.hint()), "")
}

fn recording_failure(error: &RecordingError) -> Failure {
    match error {
        RecordingError::Target(error) => answer::engine_failure(error),
        RecordingError::Context { .. } => {
            Failure::new(chain(error), "give fewer --max-tokens, or other --tasks with shorter prompts")
        }
        RecordingError::Draft(_) => {
            Failure::new(chain(error), "if the draft's file is damaged, fetch it again; or give another --draft")
        }
    }
}
