//! `speckv bench --curve`: what passes cost.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use speckv_cpu::model::CpuModel;
use speckv_local::{
    backend::{CpuBackend, WeightOptions},
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    machine,
    model_name::ModelName,
    model_source::ModelSource,
    pair, provenance,
    report::{Reporter, Unit},
};

use crate::{
    args::BenchArgs,
    curve::{self, MeasureError, Plan, Report, Subject, plan::MOST_ROWS},
    interrupt,
    printer::Printer,
};

/// Rounds where the user gives no number: medians with quartiles that mean something.
const ROUNDS: usize = 9;

/// Timed loads; one before them, untimed, makes sure that the system holds the file in memory.
const LOADS: usize = 3;

pub(super) fn run(model: &ModelName, args: &BenchArgs, printer: &Printer) -> Outcome<()> {
    let interrupt = interrupt::install();
    let path = ModelSource::from_environment().file(model, &interrupt, printer)?;
    let config = pair::open(&path)?.config().map_err(|error| {
        Failure::new(chain(&error), "`speckv inspect MODEL` shows what the file holds")
            .about(path.display())
    })?;
    let mut plan = plan(args, config.context_length)?;
    let threads = args.threads.and_then(NonZeroUsize::new).unwrap_or_else(machine::threads);
    let backend = CpuBackend::new(threads)?;
    let &[compression] = args.compression.as_slice() else {
        return Err(Failure::usage(
            "--curve measures one compression at a time",
            "give --compression one value",
        ));
    };
    let weights =
        WeightOptions { compression, cache_type: args.cache.kv.0, ..WeightOptions::default() };
    let (model, load_seconds) =
        load(&path, &backend, plan.positions(), &weights, &interrupt, printer)?;
    // A server's caches hold half a gigabyte: a read that they serve says nothing about a pass that
    // they do not.
    plan.buffer_bytes =
        args.buffer.map_or(model.pass_bytes() as usize, |megabytes| megabytes * 1_000_000);

    let mut progress = printer.progress("measuring", Unit::Items, Duration::from_secs(2));
    let samples = curve::measure(&*model, backend.pool(), &plan, &mut |done, total| {
        progress.at(done, total);
        !interrupt.is_raised()
    });
    progress.finish();
    let samples = samples.map_err(|error| match error {
        MeasureError::Stopped { .. } => {
            Failure::interrupted(error, "fewer --rounds take less time")
        }
        MeasureError::Buffer { .. } => {
            Failure::new(error, "give a smaller --buffer, but one far larger than the caches")
        }
        MeasureError::Model(_) => {
            Failure::new(chain(&error), "a shorter --context needs less memory")
        }
    })?;
    let subject = Subject {
        model: provenance::shown_name(&path.display().to_string()),
        sha256: provenance::checksum(&path, &interrupt, printer)?.0,
        origin: provenance::Origin::here(),
        tensor_type: model.weight_type().name().to_owned(),
        instruction_set: model.isa().name().to_owned(),
        threads: model.threads(),
        pass_bytes: model.pass_bytes(),
        multiply_adds: model.multiply_adds(),
        kv: model.cache_type().name().to_owned(),
        position_bytes: model.position_bytes() as u64,
    };
    let report = Report::new(subject, &plan, load_seconds, samples);
    if args.json { printer.json(&report) } else { printer.data(&report.as_text()) }
}

/// The lengths asked for, or those of the defaults that a model made for `longest` tokens can hold.
fn plan(args: &BenchArgs, longest: usize) -> Outcome<Plan> {
    let lengths = |asked: &Option<Vec<usize>>, defaults: [usize; 2], room: usize, option: &str| {
        let most = longest.saturating_sub(room);
        match asked {
            Some(asked) => match asked.iter().find(|&&length| length > most) {
                Some(length) => Err(Failure::usage(
                    format!(
                        "{option} {length} does not fit: the model was made for {longest} tokens"
                    ),
                    format!("give at most {option} {most}"),
                )),
                None => Ok(asked.clone()),
            },
            None => {
                let fitting: Vec<usize> =
                    defaults.into_iter().filter(|&length| length <= most).collect();
                Ok(if fitting.is_empty() { vec![most.max(1)] } else { fitting })
            }
        }
    };
    Ok(Plan {
        contexts: lengths(&args.context, [128, 2048], MOST_ROWS, "--context")?,
        prompts: lengths(&args.prompt, [128, 512], 0, "--prompt")?,
        rounds: args.rounds.unwrap_or(ROUNDS),
        buffer_bytes: 0, // known when the model is there
    })
}

/// Loads the model again and again: the last one, and the seconds of all but the first.
fn load(
    path: &Path,
    backend: &CpuBackend,
    context: usize,
    weights: &WeightOptions,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Outcome<(Arc<CpuModel>, Vec<f64>)> {
    let once = || {
        let start = Instant::now();
        let model =
            pair::load_model(backend, &pair::open(path)?, context, false, weights, printer)?;
        Ok((model, start.elapsed().as_secs_f64()))
    };
    let mut seconds = Vec::new();
    let (mut model, _) = once()?;
    for _ in 0..LOADS {
        if interrupt.is_raised() {
            return Err(Failure::interrupted("stopped while loading", "run it again for a result"));
        }
        drop(model); // two at a time might not fit
        let (next, time) = once()?;
        model = next;
        seconds.push(time);
    }
    Ok((model, seconds))
}
