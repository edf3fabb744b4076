//! Answers a few prompts on a GPU, plainly and with drafts: `speculate [--gpu N] [--tokens N] MODEL
//! [DRAFT]`. Without a draft model, the text itself is looked up.
//!
//! Prints one JSON object: for each number of draft tokens from 0 to 16, the tokens per second, the
//! tokens that were accepted, and the answers that differ from plain decoding, which must be none.
//! Leaves with status 1 if there is one.

use std::{error::Error, path::Path, process::ExitCode, sync::Arc, time::Instant};

use serde_json::{Value, json};
use speckv::{
    controller::Fixed,
    draft::{Drafter, ModelDrafter, NgramDrafter, NgramSettings},
    engine::{Engine, SequenceSettings},
    model::LanguageModel,
    sampling::SamplingSettings,
    token::Token,
};
use speckv_formats::checkpoint::Checkpoint;
use speckv_gpu::{
    device::{Adapter, Device},
    model::{GpuModel, LoadOptions},
};

/// Longest text.
const CONTEXT: usize = 1024;
/// Draft tokens per step.
const GAMMAS: [usize; 8] = [0, 1, 2, 3, 4, 6, 8, 16];

/// Texts to continue: a list, code, and prose.
const PROMPTS: [&str; 3] = [
    "The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday. \
     Again, the days of the week are Monday, Tuesday,",
    "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return a - b\n\n\n\
     def multiply(",
    "The sea was calm that morning, and the fishermen",
];

struct Options {
    gpu: usize,
    tokens: usize,
    models: Vec<String>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { gpu: 0, tokens: 64, models: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<usize, Box<dyn Error>> {
            Ok(words.next().ok_or(format!("{word} needs a number"))?.parse()?)
        };
        match word.as_str() {
            "--gpu" => options.gpu = number()?,
            "--tokens" => options.tokens = number()?,
            _ => options.models.push(word),
        }
    }
    if options.models.is_empty() {
        return Err("expected a model's file and, if there is one, a draft's".into());
    }
    Ok(options)
}

fn load(file: &Checkpoint, device: &Arc<Device>) -> Result<Arc<GpuModel>, Box<dyn Error>> {
    let mut load = LoadOptions::new(Arc::clone(device));
    load.context = Some(CONTEXT.min(file.config()?.context_length));
    Ok(Arc::new(GpuModel::load(file.clone(), &load, &mut |_| {})?))
}

/// What came of the prompts with so many draft tokens per step.
struct Answers {
    tokens: Vec<Vec<Token>>,
    accepted: usize,
    steps: usize,
    seconds: f64,
}

fn answers(
    target: &Arc<GpuModel>,
    draft: Option<&Arc<GpuModel>>,
    prompts: &[Vec<Token>],
    gamma: usize,
    count: usize,
) -> Result<Answers, Box<dyn Error>> {
    let mut found = Answers { tokens: Vec::new(), accepted: 0, steps: 0, seconds: 0.0 };
    for prompt in prompts {
        let drafter: Box<dyn Drafter> = match draft {
            Some(draft) => Box::new(ModelDrafter::new(Arc::clone(draft), target.vocab_size())),
            None => Box::new(NgramDrafter::new(NgramSettings::default())),
        };
        let mut engine = Engine::new(Arc::clone(target), drafter);
        let mut sequence = engine.sequence(SequenceSettings {
            prompt: prompt.clone(),
            sampling: SamplingSettings::default(),
            end_tokens: Vec::new(),
            max_tokens: count,
            controller: Box::new(Fixed::new(gamma)),
        })?;
        // The prompt and the first token are read before the clock starts.
        engine.step(&mut [&mut sequence])?;
        let (start, first) = (Instant::now(), sequence.generated());
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence])?;
            found.accepted += sequence.record().outcome.accepted;
            found.steps += 1;
        }
        found.seconds += start.elapsed().as_secs_f64() / (sequence.generated() - first) as f64;
        found.tokens.push(sequence.tokens()[prompt.len()..].to_vec());
    }
    Ok(found)
}

fn run() -> Result<(Value, usize), Box<dyn Error>> {
    let options = options()?;
    let device = Device::open(Adapter::number(options.gpu)?)?;
    let files = options.models.iter().map(|model| Checkpoint::open(Path::new(model)));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let tokenizer = files[0].tokenizer()?;
    let prompts = PROMPTS.iter().map(|text| tokenizer.encode(text, false, true));
    let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
    let target = load(&files[0], &device)?;
    let draft = files.get(1).map(|file| load(file, &device)).transpose()?;
    let (mut rows, mut mismatches) = (Vec::new(), 0);
    let mut plain: Vec<Vec<Token>> = Vec::new();
    for gamma in GAMMAS {
        // The first time compiles kernels.
        answers(&target, draft.as_ref(), &prompts[..1], gamma, options.tokens.min(16))?;
        let found = answers(&target, draft.as_ref(), &prompts, gamma, options.tokens)?;
        if gamma == 0 {
            plain.clone_from(&found.tokens);
        }
        let different = found.tokens.iter().zip(&plain).filter(|(got, plain)| got != plain).count();
        mismatches += different;
        let speed = prompts.len() as f64 / found.seconds;
        eprintln!("gamma {gamma:2}: {speed:8.1} tokens per second, {different} answers differ");
        rows.push(json!({
            "gamma": gamma,
            "tokens_per_second": speed,
            "accepted": found.accepted,
            "steps": found.steps,
            "answers_that_differ": different,
        }));
    }
    let report = json!({
        "adapter": device.adapter().identity(),
        "models": options.models,
        "answers": prompts.len(),
        "tokens": options.tokens,
        "gammas": rows,
        "text": tokenizer.decode(&plain[0], true),
    });
    Ok((report, mismatches))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (report, mismatches) = run()?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(if mismatches == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
