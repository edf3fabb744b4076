//! `speckv profile --grid DIR`: every gamma on every prompt, step by step.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

use std::{
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use speckv::token::Token;
use speckv_formats::tokenizer::StreamDecoder;
use speckv_lab::{
    grid::{
        BlockTask, GridError, GridFolder, GridRun, GridSettings, StepRow,
        folder::{BlockName, FORMAT},
        run_block,
    },
    run_folder::{ModelFacts, Origin, Settings},
    workload::Prompt,
};

use super::choose;
use speckv_local::{
    backend::{AnyModel, LocalModel},
    devices,
    draft_choice::{DraftChoice, DraftHead},
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    machine,
    model_source::ModelSource,
    pair::Pair,
    pair_settings::PairSettings,
    provenance,
    report::{Reporter, Unit},
    text::Conversation,
    units,
};

use crate::{
    answer,
    args::{ProfileArgs, WeightArgs},
    interrupt, model_facts,
    printer::Printer,
    settings,
};

pub(super) fn run(args: &ProfileArgs, path: &Path, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let (target, draft) = PairSettings::models(
        args.model.as_ref(),
        args.draft.as_ref(),
        DraftChoice::Ngram,
        &source.catalogue,
    );
    if draft == DraftChoice::None && args.gammas.0 != [0] {
        return Err(Failure::usage(
            "without a draft only --gammas 0 can be recorded",
            "give --draft MODEL or --draft ngram",
        ));
    }
    let prompts = choose(args)?;
    let interrupt = interrupt::install();
    let began = Instant::now();
    let compressions = if args.compressions.is_empty() {
        vec![args.weights.compression]
    } else {
        args.compressions.clone()
    };
    let mut all = Tally { prompts: prompts.len() * compressions.len(), ..Tally::default() };
    let mut folder = None;
    for &compression in &compressions {
        let threads = settings::capped_threads(args.threads, printer);
        let weights = WeightArgs { compression, ..args.weights.clone() };
        let settings = PairSettings {
            context: args.ctx,
            devices: args.devices.choices(false),
            ..settings::pair_settings(target.clone(), draft.clone(), threads, &weights, args.cache)
        };
        let mut pair = Pair::load(
            &devices::of_pair(&settings, &source, &interrupt, printer)?,
            &settings,
            &source,
            &interrupt,
            printer,
        )?;
        let mut here = match folder.take() {
            Some(folder) => folder,
            None => open(args, path, &settings, &pair, &interrupt, printer)?,
        };
        record(
            args,
            &compression.to_string(),
            &prompts,
            &mut here,
            &mut pair,
            &mut all,
            (&interrupt, printer),
        )?;
        folder = Some(here);
    }
    let rows = folder.map_or(Ok(0), |folder| folder.assemble()).map_err(|error| failure(&error))?;
    if args.json {
        return printer.json(&json!({
            "folder": path.display().to_string(),
            "prompts": all.prompts,
            "recorded": all.recorded,
            "steps": rows,
            "seconds": began.elapsed().as_secs_f64(),
        }));
    }
    printer.data(&format!(
        "{} prompts recorded in {}, {} were there: {rows} steps in {}\n",
        all.recorded,
        units::duration(began.elapsed()),
        all.prompts - all.recorded,
        path.join("steps.csv").display()
    ))
}

#[derive(Default)]
struct Tally {
    prompts: usize, // times compressions
    recorded: usize,
    before: usize, // done, there before included
}

/// The folder, begun now or before with the same settings.
fn open(
    args: &ProfileArgs,
    path: &Path,
    asked: &PairSettings,
    pair: &Pair,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Outcome<GridFolder> {
    let facts = |name: &str, path: &Path, model: &AnyModel| {
        model_facts::facts(name, path, model, interrupt, printer)
    };
    let settings = GridSettings {
        format: FORMAT,
        version: Settings::version(),
        target: ModelFacts {
            compression: provenance::weights_name("by row", asked.cache_type),
            ..facts(
                &asked.target.to_string(),
                &pair.target_path,
                &Arc::clone(pair.engine.target()),
            )?
        },
        draft: match (asked.draft.model(), &pair.draft_path, &pair.draft) {
            (Some(name), Some(path), Some(model)) => Some(facts(&name.to_string(), path, model)?),
            _ => None,
        },
        draft_compression: pair
            .draft
            .as_ref()
            .map_or_else(|| "none".into(), |draft| draft.compression().to_string()),
        draft_head: match asked.draft_head {
            DraftHead::Whole => None,
            DraftHead::First(tokens) => Some(tokens),
        },
        instruction_set: pair.engine.target().processor(),
        gammas: args.gammas.0.clone(),
        max_tokens: args.max_tokens,
        threads: asked.threads.get(),
        seed: args.seed,
    };
    let machine = machine::describe();
    if let Some(folder) = GridFolder::resume(path, &settings).map_err(|error| failure(&error))? {
        folder.check_machine(&machine).map_err(|error| failure(&error))?;
        return Ok(folder);
    }
    let origin = Origin { machine, command: provenance::command(), cost: None };
    GridFolder::create(path, &GridRun { settings, origin }).map_err(|error| failure(&error))
}

/// All prompts that are missing under one compression.
fn record(
    args: &ProfileArgs,
    compression: &str,
    prompts: &[Prompt],
    folder: &mut GridFolder,
    pair: &mut Pair,
    all: &mut Tally,
    (interrupt, printer): (&Interrupt, &Printer),
) -> Outcome<()> {
    let there = folder.blocks().map_err(|error| failure(&error))?;
    let mut missing: Vec<(&Prompt, BlockName, Vec<Token>)> = Vec::new();
    for prompt in prompts {
        let tokens =
            Conversation::new(prompt.system.as_deref()).prompt(&prompt.prompt, &pair.text)?.tokens;
        let (needed, context) = (
            tokens.len() + args.max_tokens,
            speckv::model::LanguageModel::context_length(&**pair.engine.target()),
        );
        if needed > context {
            return Err(answer::prompt_too_long(needed, context).about(&prompt.id));
        }
        let digest = provenance::digest_of_tokens(&tokens);
        let name =
            BlockName { compression: compression.into(), prompt_id: prompt.id.clone(), digest };
        if folder.holds(&name, &there).map_err(|error| failure(&error))? {
            all.before += 1;
        } else {
            missing.push((prompt, name, tokens));
        }
    }
    if missing.len() < prompts.len() {
        printer.note(&format!(
            "{compression}: {} of {} prompts are recorded already",
            prompts.len() - missing.len(),
            prompts.len()
        ));
    }
    if !missing.is_empty() {
        folder.note_command(&provenance::command()).map_err(|error| failure(&error))?;
    }
    let end_tokens = pair.text.tokenizer().end_tokens().to_vec();
    let per_prompt = (args.gammas.0.len() * args.max_tokens) as u64;
    let mut progress =
        printer.progress(&format!("recording {compression}"), Unit::Tokens, Duration::from_secs(2));
    let Pair { engine, text, .. } = pair;
    for (prompt, name, tokens) in missing {
        let row = StepRow {
            compression: compression.into(),
            task: prompt.task.clone(),
            prompt_id: prompt.id.clone(),
            split: prompt.split.to_string(),
            seed: args.seed,
            ..StepRow::default()
        };
        let task = BlockTask {
            row: &row,
            prompt: &tokens,
            gammas: &args.gammas.0,
            max_tokens: args.max_tokens,
            end_tokens: &end_tokens,
        };
        let mut pieces = || {
            let mut decoder = StreamDecoder::new(&**text.tokenizer());
            move |token| decoder.push(token)
        };
        let done = all.before as u64 * per_prompt;
        let total = all.prompts as u64 * per_prompt;
        let block = run_block(engine, &task, &mut pieces, &mut |at| {
            progress.at(done + at as u64, total);
            if interrupt.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let Some(block) =
            block.map_err(|error| answer::engine_failure(&error).about(&prompt.id))?
        else {
            progress.finish();
            return Err(Failure::interrupted(
                format!("stopped with {} of {} prompts recorded", all.before, all.prompts),
                "the same command goes on with the prompts that are missing",
            ));
        };
        folder.save(&name, &block).map_err(|error| failure(&error))?;
        all.recorded += 1;
        all.before += 1;
    }
    Ok(())
}

/// A grid's failure in the user's words.
pub(in crate::commands) fn failure(error: &GridError) -> Failure {
    Failure::new(chain(error), error.hint())
}
