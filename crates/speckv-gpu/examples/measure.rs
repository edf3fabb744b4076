//! Measures a model on a GPU: `measure [--gpu N] [--rounds N] MODEL..`, where a model is a file, a
//! folder, or one of the shapes without weights: `synthetic:1.5b`, `7b`, `14b`, `32b`.
//!
//! Prints one JSON object: the adapter, its read rate, what the self-test found, and per model the
//! milliseconds of passes over 1 to 17 rows and of prompts, every sample.

use std::{error::Error, path::Path, sync::Arc, time::Instant};

use serde_json::{Value, json};
use speckv::model::{Cache, Feed, LanguageModel};
use speckv_formats::{
    checkpoint::Checkpoint, quant::TensorType, quant::WeightType, synthetic::Synthetic,
};
use speckv_gpu::{
    device::{Adapter, Device},
    model::{GpuModel, LoadOptions},
    read_rate::read_rate,
    self_test::check_format,
};

/// Longest context of the measurements.
const CONTEXT: usize = 4096;
/// Positions before the passes that are timed.
const POSITIONS: [usize; 2] = [128, 2048];
/// Most rows of a pass: a draft of 16 tokens.
const MOST_ROWS: usize = 17;
/// Rows of a prompt.
const PROMPT: usize = 256;

struct Options {
    gpu: usize,
    rounds: usize,
    models: Vec<String>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { gpu: 0, rounds: 9, models: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<usize, Box<dyn Error>> {
            Ok(words.next().ok_or(format!("{word} needs a number"))?.parse()?)
        };
        match word.as_str() {
            "--gpu" => options.gpu = number()?,
            "--rounds" => options.rounds = number()?,
            _ => options.models.push(word),
        }
    }
    Ok(options)
}

/// The model's file, or a shape in memory.
fn open(name: &str) -> Result<Checkpoint, Box<dyn Error>> {
    match Synthetic::named(name) {
        Some(shape) => Ok(shape.checkpoint(CONTEXT)?),
        None => Ok(Checkpoint::open(Path::new(name))?),
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn measure(name: &str, device: &Arc<Device>, rounds: usize) -> Result<Value, Box<dyn Error>> {
    let file = open(name)?;
    let mut load = LoadOptions::new(Arc::clone(device));
    load.context = Some(CONTEXT.min(file.config()?.context_length));
    let start = Instant::now();
    let model = GpuModel::load(file, &load, &mut |_| {})?;
    let load_seconds = start.elapsed().as_secs_f64();
    let most = model.context_length() - PROMPT.max(MOST_ROWS);
    let (mut cache, mut output) = (model.new_cache()?, model.new_output());
    let tokens: Vec<u32> = (0..PROMPT as u32).map(|i| (i * 7919 + 13) % 1000).collect();
    let mut time = |positions: usize, count: usize, rows: usize| -> Result<f64, Box<dyn Error>> {
        cache.truncate(positions);
        if cache.len() < positions && !cache.pretend(positions) {
            return Err(format!("no room for {positions} positions").into());
        }
        let start = Instant::now();
        model.forward(&mut [Feed::new(&mut cache, &tokens[..count], rows)], &mut output)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let mut passes = Vec::new();
    for positions in POSITIONS.map(|positions| positions.min(most)) {
        let mut samples = vec![Vec::new(); MOST_ROWS];
        for round in 0..=rounds {
            for (n, samples) in samples.iter_mut().enumerate() {
                let ms = time(positions, n + 1, n + 1)?;
                // The first round compiles kernels.
                if round > 0 {
                    samples.push(ms);
                }
            }
        }
        let medians: Vec<f64> = samples.iter().map(|samples| median(samples)).collect();
        passes.push(json!({ "positions": positions, "median_ms": medians, "ms": samples }));
    }
    time(0, PROMPT, 1)?;
    let prompt = (0..3).map(|_| time(0, PROMPT, 1)).collect::<Result<Vec<_>, _>>()?;
    let one = passes[0]["median_ms"][0].as_f64().unwrap_or(f64::NAN);
    Ok(json!({
        "model": name,
        "load_seconds": load_seconds,
        "pass_bytes": model.pass_bytes(),
        "bytes_per_second_at_1": model.pass_bytes() as f64 / (one / 1e3),
        "passes": passes,
        "prompt_rows": PROMPT,
        "prompt_ms": prompt,
        "prompt_tokens_per_second": PROMPT as f64 / (median(&prompt) / 1e3),
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let device = Device::open(Adapter::number(options.gpu)?)?;
    let adapter = device.adapter();
    let mut reports = Vec::new();
    for weight_type in [TensorType::Q4K, TensorType::Q6K, TensorType::Q4_1, TensorType::F16] {
        let report = check_format(&device, WeightType::File(weight_type))?;
        device.note(report.clone());
        reports.push(report);
    }
    let rate = read_rate(&device)?;
    let mut models = Vec::new();
    for name in &options.models {
        eprintln!("measuring {name}");
        models.push(measure(name, &device, options.rounds)?);
    }
    let report = json!({
        "adapter": adapter.identity(),
        "memory_bytes": adapter.memory(),
        "read_bytes_per_second": rate,
        "read_bytes_per_second_after": read_rate(&device)?,
        "self_test": reports,
        "models": models,
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
