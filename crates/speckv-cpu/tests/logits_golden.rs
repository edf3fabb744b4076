//! Real models: logits, entropy and next-token probabilities against a float32 reference over the
//! dequantized weights, which was made outside this project (NumPy); and greedy text against
//! llama.cpp's.

#[path = "../../speckv-formats/tests/support/mod.rs"]
mod support;

use std::{num::NonZeroUsize, sync::Arc};

use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel},
    signals,
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use support::{MODELS, golden, model, tokens};

fn load(name: &str) -> Option<CpuModel> {
    let mut options = LoadOptions::new(Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap()));
    options.context = Some(1024);
    Some(CpuModel::load(Arc::new(model(name)?), &options, &mut |_| {}).unwrap())
}

/// Natural-log probabilities of a row of logits.
fn log_probabilities(row: &[f32]) -> Vec<f64> {
    let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - max).exp()).sum();
    row.iter().map(|&x| f64::from(x) - max - sum.ln()).collect()
}

/// Sums over all positions of a file.
#[derive(Debug, Default)]
struct Likeness {
    positions: usize,
    first_equal: usize,
    clear_misses: usize,
    next: usize,
    next_error: f64,
    entropy_error: f64,
}

#[test]
fn logits_are_like_those_of_the_float32_reference() {
    for (name, file) in MODELS {
        let Some(golden) = golden(file, "fp32") else { continue };
        let Some(model) = load(name) else { continue };
        let mut like = Likeness::default();
        let mut logits = Logits::new();
        for case in golden.as_array().unwrap() {
            let text = tokens(&case["tokens"]);
            let mut cache = model.new_cache().unwrap();
            let feed = Feed::new(&mut cache, &text, text.len());
            model.forward(&mut [feed], &mut logits).unwrap();
            for position in 0..text.len() {
                let row = logits.row(position);
                let signals::Best { token: first, signals, .. } = signals::read(row).unwrap();
                let expected = tokens(&case["top_ids"][position]);
                let top = |i: usize| case["top_logprobs"][position][i].as_f64().unwrap();
                like.positions += 1;
                like.first_equal += usize::from(first == expected[0]);
                like.clear_misses += usize::from(first != expected[0] && top(0) - top(1) > 0.5);
                let entropy = case["entropy_bits"][position].as_f64().unwrap();
                like.entropy_error += (f64::from(signals.entropy_bits) - entropy).abs();
                if let Some(expected) = case["logprob_next"][position].as_f64() {
                    let got = log_probabilities(row)[text[position + 1] as usize];
                    like.next += 1;
                    like.next_error += (got - expected).abs();
                }
            }
        }
        eprintln!("{name}: {like:?}");
        let (equal, positions) = (like.first_equal as f64, like.positions as f64);
        assert!(like.positions > 300, "{name}: {like:?}");
        assert!(equal / positions >= 0.97, "{name}: {like:?}");
        assert_eq!(like.clear_misses, 0, "{name}: {like:?}");
        assert!(like.next_error / like.next as f64 <= 0.05, "{name}: {like:?}");
        assert!(like.entropy_error / positions <= 0.1, "{name}: {like:?}");
    }
}

#[test]
fn greedy_text_is_like_that_of_llama_cpp() {
    for (name, file) in MODELS {
        let Some(golden) = golden(file, "llamacpp") else { continue };
        let Some(model) = load(name) else { continue };
        let (mut same, mut all) = (0, 0);
        let mut logits = Logits::new();
        for case in golden["greedy"].as_array().unwrap() {
            // Fed the peer's own text, so that a near-tie that falls the other way counts once and
            // not for all that follows.
            let (prompt, said) = (tokens(&case["prompt_tokens"]), tokens(&case["tokens"]));
            let text = [&prompt[..], &said[..said.len() - 1]].concat();
            let mut cache = model.new_cache().unwrap();
            let feed = Feed::new(&mut cache, &text, said.len());
            model.forward(&mut [feed], &mut logits).unwrap();
            let choices = (0..said.len()).map(|row| signals::argmax(logits.row(row)).unwrap());
            same += choices.zip(&said).filter(|(choice, said)| choice == *said).count();
            all += said.len();
        }
        eprintln!("{name}: {same} of {all} tokens as llama.cpp chose them");
        assert!(same as f64 >= 0.95 * all as f64, "{name}: {same} of {all}");
    }
}
