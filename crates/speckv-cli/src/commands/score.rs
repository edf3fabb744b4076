//! `speckv score`: what a model expects after each of some tokens.

use serde::Serialize;
use serde_json::json;
use speckv::{
    model::{Feed, LanguageModel, PassOutput},
    token::Token,
};

use super::tokenize;
use speckv_local::{
    backend::{CacheType, WeightOptions},
    devices,
    failure::{Failure, Outcome, chain},
    memory::MemoryNeed,
    model_source::ModelSource,
    pair, text,
};

use crate::{args::ScoreArgs, interrupt, printer::Printer, settings};

/// Likeliest tokens shown per position.
const TOP: usize = 10;

/// Positions per pass: their logits are in memory together.
const CHUNK: usize = 32;

/// What the model expects after one position.
#[derive(Debug, Serialize)]
struct Position {
    /// Number of the position, from 0; the model has read the tokens up to here.
    position: usize,
    /// The token there.
    token: Token,
    /// Likeliest next tokens, best first.
    top: Vec<Expected>,
    /// Entropy of the whole distribution in bits.
    entropy_bits: f64,
    /// Natural-log probability of the token that really follows, if one does.
    logprob_next: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Expected {
    token: Token,
    piece: String,
    logprob: f64,
}

pub(super) fn run(args: &ScoreArgs, printer: &Printer) -> Outcome<()> {
    let ids = args.ids.as_ref().map(|ids| ids.0.as_slice()).unwrap_or_default();
    let interrupt = interrupt::install();
    let path = ModelSource::from_environment().file(&args.model, &interrupt, printer)?;
    let file = pair::open(&path)?;
    let tokenizer = text::tokenizer(&file)?;
    tokenize::check(&tokenizer, ids)?;
    let threads = settings::capped_threads(args.threads, printer);
    let weights = WeightOptions::default();
    let need = MemoryNeed {
        file: &file,
        compression: weights.compression,
        context: ids.len(),
        cache_type: CacheType::F16,
        what: "model",
    };
    let backend = devices::of_model(args.device, threads, need, &interrupt, printer)?;
    let model = pair::load_model(&backend, &file, ids.len(), false, &weights, printer)?;

    let failure = |error: speckv::model::ModelError| {
        Failure::new(
            chain(&error),
            "a shorter list of ids takes less memory; if the model file is damaged, fetch it again",
        )
    };
    let mut cache = model.new_cache().map_err(failure)?;
    let mut output = model.new_output();
    let mut positions = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        let rows = chunk.len();
        model.forward(&mut [Feed::new(&mut cache, chunk, rows)], &mut output).map_err(failure)?;
        for (row, &token) in chunk.iter().enumerate() {
            let position = positions.len();
            let next = ids.get(position + 1).copied();
            let scores =
                Scores::of(output.logits(row).map_err(failure)?, next).ok_or_else(|| {
                    let message =
                        format!("the model's logits are not numbers at position {position}");
                    Failure::new(
                        message,
                        "the weights are damaged or wrongly converted: fetch the model file again",
                    )
                })?;
            let expected = |(token, logprob)| Expected {
                token,
                piece: tokenize::piece(&tokenizer, token),
                logprob,
            };
            positions.push(Position {
                position,
                token,
                top: scores.top.into_iter().map(expected).collect(),
                entropy_bits: scores.entropy_bits,
                logprob_next: scores.logprob_next,
            });
        }
    }
    if args.json {
        return printer.json(&json!({ "positions": positions }));
    }
    for position in &positions {
        let piece = tokenize::piece(&tokenizer, position.token);
        printer.data(&format!(
            "{} after {} {piece:?}: entropy {:.3} bits\n",
            position.position, position.token, position.entropy_bits
        ))?;
        for expected in &position.top {
            let Expected { token, piece, logprob } = expected;
            printer.data(&format!("  {logprob:9.4}  {token:6}  {piece:?}\n"))?;
        }
    }
    Ok(())
}

struct Scores {
    top: Vec<(Token, f64)>,
    entropy_bits: f64,
    logprob_next: Option<f64>,
}

impl Scores {
    /// Softmax of one row in double precision: `ln p = x - m - ln sum e^(x - m)`. `None` if the row
    /// is not numbers.
    fn of(logits: &[f32], next: Option<Token>) -> Option<Self> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !largest.is_finite() || logits.iter().any(|x| x.is_nan()) {
            return None;
        }
        let sum: f64 = logits.iter().map(|&x| (f64::from(x) - f64::from(largest)).exp()).sum();
        let logprob = |x: f32| f64::from(x) - f64::from(largest) - sum.ln();
        let entropy: f64 = logits
            .iter()
            .map(|&x| logprob(x))
            // 0 ln 0 = 0
            .filter(|logprob| logprob.is_finite())
            .map(|logprob| -logprob.exp() * logprob)
            .sum();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        let best_first = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
        if order.len() > TOP {
            order.select_nth_unstable_by(TOP, best_first);
            order.truncate(TOP);
        }
        order.sort_unstable_by(best_first);
        Some(Scores {
            top: order.into_iter().map(|token| (token as Token, logprob(logits[token]))).collect(),
            entropy_bits: entropy / std::f64::consts::LN_2,
            logprob_next: next.and_then(|next| logits.get(next as usize)).map(|&x| logprob(x)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_log_probabilities_best_first() {
        // Weights 1, 2, 4, 1 of 8: entropy = 1/8 * 3 + 1/4 * 2 + 1/2 * 1 + 1/8 * 3 = 1.75 bits.
        let scores = Scores::of(&[0.0, 2_f32.ln(), 4_f32.ln(), 0.0], Some(1)).expect("numbers");
        assert_eq!(scores.top.iter().map(|&(token, _)| token).collect::<Vec<_>>(), [2, 1, 0, 3]);
        assert!((scores.top[0].1 - 0.5_f64.ln()).abs() < 1e-6);
        assert!((scores.entropy_bits - 1.75).abs() < 1e-6);
        assert!((scores.logprob_next.expect("a next token") - 0.25_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn impossible_tokens_add_nothing_and_nonsense_is_refused() {
        let scores = Scores::of(&[0.0, f32::NEG_INFINITY, 0.0], None).expect("numbers");
        assert!((scores.entropy_bits - 1.0).abs() < 1e-9);
        for logits in [&[f32::NAN, 0.0][..], &[f32::NEG_INFINITY], &[f32::INFINITY, 0.0], &[]] {
            assert!(Scores::of(logits, None).is_none());
        }
    }
}
