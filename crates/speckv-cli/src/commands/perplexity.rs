//! `speckv perplexity`: how well a model predicts a text, and how far it is from a reference.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use speckv_cpu::pool::Pool;
use speckv_formats::{checkpoint::Checkpoint, tokenizer::Tokenizer};
use speckv_local::{
    backend::{AnyBackend, AnyModel, CacheType, CpuBackend, LocalModel, WeightOptions},
    devices,
    failure::{Failure, Outcome, chain},
    machine, memory,
    model_name::ModelName,
    model_source::ModelSource,
    pair,
    report::{Reporter, Unit},
    text,
};

use crate::{
    args::{KvChoice, PerplexityArgs},
    interrupt,
    perplexity::{self, MeasureError, Plan, Report, Side},
    printer::Printer,
    prompt,
};

/// Positions of a window where the user gives no number.
const WINDOW: usize = 512;

pub(super) fn run(args: &PerplexityArgs, printer: &Printer) -> Outcome<()> {
    let text = prompt::file_or_stdin(&args.text)?;
    let source = ModelSource::from_environment();
    let interrupt = interrupt::install();
    let default = ModelName::from(source.catalogue.default_pair()[0].as_str());
    let name = args.model.as_ref().unwrap_or(&default);
    let target_path = source.file(name, &interrupt, printer)?;
    let reference =
        args.reference.as_ref().or(args.reference_compression.is_some().then_some(name));
    if reference.is_none() && args.reference_kv.0 != CacheType::F16 {
        return Err(Failure::usage(
            "--reference-kv needs a reference",
            "give --reference MODEL, or --reference-compression TYPE",
        ));
    }
    let reference_path =
        reference.map(|name| source.file(name, &interrupt, printer)).transpose()?;
    let target_file = pair::open(&target_path)?;
    let reference_file = reference_path.as_deref().map(pair::open).transpose()?;
    let tokenizer = text::tokenizer(&target_file)?;
    if let Some(file) = &reference_file {
        same_vocabulary(&tokenizer, file)?;
    }

    let (tokens, bos) = tokens(&tokenizer, &text, args.tokens)?;
    let plan = plan(args, bos.is_some(), &target_file, reference_file.as_ref())?;
    if tokens.len() < 2 {
        return Err(Failure::new(
            format!("{} has {} tokens, expected at least 2", args.text.display(), tokens.len()),
            "give a longer text; a few thousand tokens make a useful interval",
        ));
    }

    let threads = args.threads.and_then(NonZeroUsize::new).unwrap_or_else(machine::threads);
    let need = |file, compression, kv: KvChoice, what| memory::MemoryNeed {
        file,
        compression,
        context: plan.window,
        cache_type: kv.0,
        what,
    };
    let target = need(&target_file, args.compression, args.kv, "model");
    let reference = reference_file.as_ref().map(|file| {
        need(file, args.reference_compression.unwrap_or_default(), args.reference_kv, "reference")
    });
    let backend = devices::of_model(args.device, threads, target, &interrupt, printer)?;
    let pool = host_threads(&backend, threads)?;
    let needs: Vec<memory::MemoryNeed<'_>> =
        [Some(target), reference].into_iter().flatten().collect();
    memory::check(&backend, &needs)?; // both before either is read
    let load = |memory::MemoryNeed { file, compression, context, cache_type, .. }| {
        let weights = WeightOptions { compression, cache_type, ..WeightOptions::default() };
        pair::load_model(&backend, file, context, false, &weights, printer)
    };
    let target = load(target)?;
    let reference = reference.map(load).transpose()?;

    let began = Instant::now();
    let mut progress = printer.progress("scoring", Unit::Tokens, Duration::from_secs(1));
    let rows = perplexity::measure(
        &*target,
        reference.as_deref(),
        &tokens,
        &plan,
        bos,
        &pool,
        &mut |done, total| {
            progress.at(done as u64, total as u64);
            !interrupt.is_raised()
        },
    );
    progress.finish();
    let rows = rows.map_err(|error| match error {
        MeasureError::Stopped { .. } => {
            Failure::interrupted(error, "--tokens N scores only the start of the text")
        }
        MeasureError::Model(_) => {
            Failure::new(chain(&error), "a smaller --window takes less memory")
        }
        MeasureError::NotNumbers { .. } => Failure::new(
            error,
            "the weights are damaged or wrongly converted: fetch the model again",
        ),
    })?;
    let side = |path: &Path, model: &AnyModel| Side {
        model: path.display().to_string(),
        weights: model.weight_type().name().to_owned(),
        kv: model.cache_type().name().to_owned(),
        pass_bytes: model.pass_bytes(),
        position_bytes: model.position_bytes(),
    };
    let reference =
        reference_path.as_deref().zip(reference.as_deref()).map(|(path, model)| side(path, model));
    let (text, seconds) = (args.text.display().to_string(), began.elapsed().as_secs_f64());
    let report = Report::new(
        text,
        tokens.len(),
        &plan,
        side(&target_path, &target),
        reference,
        &rows,
        seconds,
    );
    if args.json { printer.json(&report) } else { printer.data(&report.as_text()) }
}

/// Threads that compare logits: those of the models where these are on the processor.
fn host_threads(backend: &AnyBackend, threads: NonZeroUsize) -> Outcome<Arc<Pool>> {
    match backend.pool() {
        Some(pool) => Ok(Arc::clone(pool)),
        None => Ok(Arc::clone(CpuBackend::new(threads)?.pool())),
    }
}

/// The text's tokens, and the token that the model begins a text with, if it does.
fn tokens(
    tokenizer: &Tokenizer,
    text: &str,
    most: Option<usize>,
) -> Outcome<(Vec<u32>, Option<u32>)> {
    let encode = |text: &str, add_special| {
        tokenizer.encode(text, false, add_special).map_err(|error| {
            Failure::from_error(
                &error,
                error.hint(),
                "change the text to what the vocabulary can spell",
            )
        })
    };
    let mut tokens = encode(text, false)?;
    tokens.truncate(most.unwrap_or(usize::MAX));
    let bos = tokenizer
        .bos()
        .filter(|bos| encode("", true).is_ok_and(|tokens| tokens.first() == Some(bos)));
    Ok((tokens, bos))
}

/// How the text is cut.
fn plan(
    args: &PerplexityArgs,
    begins: bool,
    target: &Checkpoint,
    reference: Option<&Checkpoint>,
) -> Outcome<Plan> {
    let mut longest = usize::MAX;
    for file in std::iter::once(target).chain(reference) {
        let config = file.config().map_err(|error| {
            Failure::new(chain(&error), "`speckv inspect MODEL` shows what the model holds")
        })?;
        longest = longest.min(config.context_length);
    }
    let window = args.window.unwrap_or(WINDOW.min(longest));
    if window > longest {
        return Err(Failure::usage(
            format!("--window {window} does not fit: the models were made for {longest} tokens"),
            format!("give at most --window {longest}"),
        ));
    }
    let stride = args.stride.unwrap_or(window / 2);
    let most = window - 1 - usize::from(begins);
    if stride > most || stride == 0 {
        return Err(Failure::usage(
            format!("--stride {stride} leaves tokens of a window of {window} without context"),
            format!("give at most --stride {most}"),
        ));
    }
    Ok(Plan { window, stride, begins })
}

fn same_vocabulary(target: &Tokenizer, reference: &Checkpoint) -> Outcome<()> {
    let Some(difference) = target.first_difference(&text::tokenizer(reference)?) else {
        return Ok(());
    };
    let shown = |text: &Option<String>| {
        text.as_ref().map_or("absent".to_owned(), |text| format!("{text:?}"))
    };
    Err(Failure::new(
        format!(
            "model and reference have different vocabularies: token {} is {} in one and {} in the \
             other",
            difference.token,
            shown(&difference.ours),
            shown(&difference.theirs)
        ),
        "compare a model with another compression of itself, or with a larger one of its family",
    ))
}
