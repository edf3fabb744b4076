//! Streams a text from a model file: tokens from the engine, text as it is made.
//!
//! `cargo run --release -p speckv-cpu --example stream_text -- MODEL.gguf "Once upon a time"`

use std::{
    env,
    error::Error,
    io::{self, Write},
    path::Path,
    sync::Arc,
    thread,
};

use speckv::{
    controller::{Speckv, SpeckvOptions},
    cost::CostModel,
    draft::{NgramDrafter, NgramSettings},
    engine::{Engine, SequenceSettings},
    predictor::{Predictor, SessionFacts},
    sampling::SamplingSettings,
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::{checkpoint::Checkpoint, tokenizer::StreamDecoder};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().ok_or("expected the path of a model file, got none")?;
    let prompt = arguments.next().unwrap_or_else(|| "1, 2, 3, 4, 5, 1, 2, 3,".into());

    // The file gives blueprint, weights and tokenizer.
    let file = Checkpoint::open(Path::new(&path))?;
    let tokenizer = file.tokenizer()?;
    let pool = Arc::new(Pool::new(thread::available_parallelism()?)?);
    let options = LoadOptions { context: Some(1024), ..LoadOptions::new(pool) };
    let model = Arc::new(CpuModel::load(&file, &options, &mut |_| {})?);

    // Without a draft model, look-up in the text drafts where the default controller expects a
    // gain.
    let drafter = NgramDrafter::new(NgramSettings::default());
    let mut engine = Engine::new(model, Box::new(drafter));
    let controller = Speckv::new(
        CostModel::uncalibrated(), // refined while it decodes
        Arc::new(Predictor::prior()),
        SessionFacts::default(),
        SpeckvOptions::default(),
    );
    let mut sequence = engine.sequence(SequenceSettings {
        prompt: tokenizer.encode(&prompt, true, true)?,
        sampling: SamplingSettings::default(),
        end_tokens: tokenizer.end_tokens().to_vec(),
        max_tokens: 64,
        controller: Box::new(controller),
    })?;

    // Generation is an iterator of tokens; the decoder turns them into text, character by
    // character.
    let mut text = StreamDecoder::continuing(&tokenizer);
    let mut out = io::stdout().lock();
    write!(out, "{prompt}")?;
    for token in engine.generate(&mut sequence) {
        write!(out, "{}", text.push(token?))?;
        out.flush()?;
    }
    writeln!(out, "{}", text.finish())?;

    let totals = sequence.totals();
    eprintln!(
        "{} tokens in {} steps, {:.1} tokens/s",
        totals.produced,
        totals.steps,
        totals.tokens_per_second().unwrap_or(0.0)
    );
    Ok(())
}
