//! Times a constraint along an answer: `mask_times MODEL SCHEMA ANSWER`, all of them files.
//!
//! For each token of the answer it measures what a step of plain constrained decoding asks: the
//! forced token, and all allowed tokens where none is forced. Prints one JSON object.

use std::{error::Error, path::Path, time::Instant};

use speckv::sampling::TokenSet;
use speckv_grammar::GrammarSource;
use speckv_local::{pair, text::ModelText};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, schema, answer] = &arguments[..] else {
        return Err("expected MODEL SCHEMA ANSWER".into());
    };
    let file = pair::open(Path::new(model)).map_err(|failure| failure.message().to_owned())?;
    let text = ModelText::of(&file).map_err(|failure| failure.message().to_owned())?;
    let schema = serde_json::from_str(&std::fs::read_to_string(schema)?)?;
    let answer = std::fs::read_to_string(answer)?;
    let start = Instant::now();
    let grammars = text.grammars()?;
    let vocabulary = start.elapsed();
    let start = Instant::now();
    let grammar = grammars.compile(&GrammarSource::JsonSchema(schema))?;
    let compiling = start.elapsed();
    let mut constraint = grammar.constraint();
    let tokens = text.tokenizer().encode(&answer, false, false)?;
    let (mut set, mut forced, mut micros) = (TokenSet::default(), 0, Vec::new());
    for &token in &tokens {
        let start = Instant::now();
        let known = constraint.forced()?;
        if known.is_none() {
            constraint.allowed(&mut set)?;
        }
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        forced += usize::from(known.is_some());
        constraint.advance(token)?;
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share).round() as usize];
    let report = serde_json::json!({
        "tokens": tokens.len(), "forced": forced, "p50_us": at(0.5), "p99_us": at(0.99),
        "mean_us": micros.iter().sum::<f64>() / micros.len() as f64,
        "vocabulary_ms": vocabulary.as_secs_f64() * 1e3,
        "compile_ms": compiling.as_secs_f64() * 1e3,
    });
    println!("{report}");
    Ok(())
}
