//! `speckv bench --curve`: what passes cost.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use speckv_formats::{
    checkpoint::Checkpoint,
    synthetic::{self, Synthetic},
};
use speckv_local::{
    backend::{AnyBackend, AnyModel, LocalModel, WeightOptions},
    devices,
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    memory::MemoryNeed,
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
    settings,
};

/// Rounds where the user gives no number: medians with quartiles that mean something.
const ROUNDS: usize = 9;

/// Timed loads; one before them, untimed, makes sure that the system holds the file in memory.
const LOADS: usize = 3;

/// Longest context of a shape without weights.
const SYNTHETIC_CONTEXT: usize = 32_768;

/// What is measured: where it comes from, and what a report says of it.
struct Measured {
    file: Checkpoint,
    name: String,
    sha256: Option<String>,
}

impl Measured {
    /// The model's file, or a shape that [`Synthetic`] knows.
    fn open(model: &ModelName, interrupt: &Interrupt, printer: &Printer) -> Outcome<Self> {
        if let Some(name) = model.as_str().filter(|name| name.starts_with(synthetic::PREFIX)) {
            let shape = Synthetic::named(name).ok_or_else(|| {
                let names =
                    Synthetic::ALL.map(|shape| format!("{}{}", synthetic::PREFIX, shape.name));
                Failure::usage(
                    format!("{name:?} is no shape"),
                    format!("the shapes are {}", names.join(", ")),
                )
            })?;
            let file = shape
                .checkpoint(SYNTHETIC_CONTEXT)
                .map_err(|error| Failure::bug(format!("a shape that cannot be made: {error}")))?;
            return Ok(Measured { file, name: name.to_owned(), sha256: None });
        }
        let path = ModelSource::from_environment().file(model, interrupt, printer)?;
        let name = provenance::shown_name(&path.display().to_string());
        let sha256 = Some(provenance::checksum(&path, interrupt, printer)?.0);
        Ok(Measured { file: pair::open(&path)?, name, sha256 })
    }
}

pub(super) fn run(model: &ModelName, args: &BenchArgs, printer: &Printer) -> Outcome<()> {
    let interrupt = interrupt::install();
    let Measured { file, name, sha256 } = Measured::open(model, &interrupt, printer)?;
    let config = file.config().map_err(|error| {
        Failure::new(chain(&error), "`speckv inspect MODEL` shows what the file holds").about(&name)
    })?;
    let mut plan = plan(args, config.context_length)?;
    let threads = settings::capped_threads(args.threads, printer);
    let &[compression] = args.compression.as_slice() else {
        return Err(Failure::usage(
            "--curve measures one compression at a time",
            "give --compression one value",
        ));
    };
    let cache_type = args.cache.kv.0;
    let context = plan.positions();
    let need = MemoryNeed { file: &file, compression, context, cache_type, what: "model" };
    let backend = devices::of_model(args.devices.device, threads, need, &interrupt, printer)?;
    let weights = WeightOptions { compression, cache_type, ..WeightOptions::default() };
    let (model, load_seconds) = load(&file, &backend, context, &weights, &interrupt, printer)?;
    // A server's caches hold half a gigabyte: a read that they serve says nothing about a pass that
    // they do not.
    plan.buffer_bytes =
        args.buffer.map_or(model.pass_bytes() as usize, |megabytes| megabytes * 1_000_000);

    let memory = curve::read_buffer::of_device(&backend, plan.buffer_bytes)?;
    plan.buffer_bytes = memory.byte_len();
    let mut progress = printer.progress("measuring", Unit::Items, Duration::from_secs(2));
    let samples = curve::measure(&*model, &*memory, &plan, &mut |done, total| {
        progress.at(done, total);
        !interrupt.is_raised()
    });
    progress.finish();
    let samples = samples.map_err(|error| match error {
        MeasureError::Stopped { .. } => {
            Failure::interrupted(error, "fewer --rounds take less time")
        }
        MeasureError::Model(_) => {
            Failure::new(chain(&error), "a shorter --context needs less memory")
        }
    })?;
    let subject = Subject {
        model: name,
        sha256,
        origin: provenance::Origin::here(),
        tensor_type: model.weight_type().name().to_owned(),
        instruction_set: model.processor(),
        threads: model.threads(),
        pass_bytes: model.pass_bytes(),
        multiply_adds: model.multiply_adds(),
        kv: model.cache_type().name().to_owned(),
        position_bytes: model.position_bytes(),
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
    file: &Checkpoint,
    backend: &AnyBackend,
    context: usize,
    weights: &WeightOptions,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Outcome<(Arc<AnyModel>, Vec<f64>)> {
    let once = || {
        let start = Instant::now();
        let model = pair::load_model(backend, file, context, false, weights, printer)?;
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
