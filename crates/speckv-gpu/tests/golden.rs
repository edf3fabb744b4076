//! A real model: logits, entropy and next-token probabilities against a float32 reference over the
//! dequantized weights, within the tolerances of the CPU backend.
//!
//! Both backends round activations to 8 bits per block of 32. Sums in another order move some of
//! them by a step, so that after a few layers the two backends' roundings are independent draws of
//! the same size. The mean error of the next token's log-probability is therefore compared with
//! the CPU's own on the same positions, by its standard error, besides the CPU's fixed tolerance;
//! and with exact activations, which a target in half precision has, hardly any error is left.

mod support;

#[path = "../../speckv-formats/tests/support/mod.rs"]
mod files;

use std::{num::NonZeroUsize, sync::Arc};

use files::{MODELS, golden, model, tokens};
use speckv::{
    model::{Feed, LanguageModel, PassOutput},
    signals,
};
use speckv_cpu::{model::CpuModel, pool::Pool};
use speckv_formats::compression::Compression;
use speckv_gpu::{
    device::Kind,
    model::{GpuModel, LoadOptions},
};
use support::device;

/// Natural-log probabilities of a row of logits.
fn log_probabilities(row: &[f32]) -> Vec<f64> {
    let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - max).exp()).sum();
    row.iter().map(|&x| f64::from(x) - max - sum.ln()).collect()
}

/// Largest mean difference of the next token's log-probability: that of the CPU backend's test.
const NEXT_ERROR: f64 = 0.05;

/// What a model says at all positions of a file, beside the reference.
#[derive(Debug, Default)]
struct Likeness {
    positions: usize,
    first_equal: usize,
    clear_misses: usize,
    /// Absolute error of the next token's log-probability, by position.
    next_errors: Vec<f64>,
    entropy_error: f64,
}

impl Likeness {
    /// Of a model on the first `cases` texts of a golden file.
    fn of<M: LanguageModel>(model: &M, golden: &serde_json::Value, cases: usize) -> Self {
        let mut like = Likeness::default();
        let mut output = model.new_output();
        for case in golden.as_array().unwrap().iter().take(cases) {
            let text = tokens(&case["tokens"]);
            let mut cache = model.new_cache().unwrap();
            model.forward(&mut [Feed::new(&mut cache, &text, text.len())], &mut output).unwrap();
            for position in 0..text.len() {
                let best = output.best(position, model.vocab_size()).unwrap();
                let row = output.logits(position).unwrap();
                assert_eq!(best.token, signals::argmax(row).unwrap());
                let expected = tokens(&case["top_ids"][position]);
                let top = |i: usize| case["top_logprobs"][position][i].as_f64().unwrap();
                like.positions += 1;
                like.first_equal += usize::from(best.token == expected[0]);
                like.clear_misses +=
                    usize::from(best.token != expected[0] && top(0) - top(1) > 0.5);
                let entropy = case["entropy_bits"][position].as_f64().unwrap();
                like.entropy_error += (f64::from(best.signals.entropy_bits) - entropy).abs();
                if let Some(expected) = case["logprob_next"][position].as_f64() {
                    let got = log_probabilities(row)[text[position + 1] as usize];
                    like.next_errors.push((got - expected).abs());
                }
            }
        }
        like
    }

    fn next_error(&self) -> f64 {
        mean(&self.next_errors)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Mean of the differences of two lists of errors, and its standard error.
fn paired(a: &[f64], b: &[f64]) -> (f64, f64) {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let (mean, count) = (mean(&differences), differences.len() as f64);
    let squares: f64 = differences.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

fn on_cpu(name: &str) -> CpuModel {
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    let mut options = speckv_cpu::model::LoadOptions::new(pool);
    options.context = Some(1024);
    CpuModel::load(Arc::new(model(name).unwrap()), &options, &mut |_| {}).unwrap()
}

#[test]
fn logits_are_like_those_of_the_float32_reference() {
    let Some(device) = device() else { return };
    // A software adapter reads the smallest model only.
    let count = if device.adapter().kind() == Kind::Software { 1 } else { MODELS.len() };
    for (name, file) in &MODELS[..count] {
        let Some(golden) = golden(file, "fp32") else { continue };
        let Some(file) = model(name) else { continue };
        let file = Arc::new(file);
        let load = |compression| {
            let mut options = LoadOptions::new(Arc::clone(&device));
            (options.context, options.compression) = (Some(1024), compression);
            GpuModel::load(Arc::clone(&file), &options, &mut |_| {}).unwrap()
        };
        let like = Likeness::of(&load(Compression::AsIs), &golden, usize::MAX);
        let cpu = Likeness::of(&on_cpu(name), &golden, usize::MAX);
        let (more, error) = paired(&like.next_errors, &cpu.next_errors);
        let exact = Likeness::of(&load(Compression::Fp16), &golden, 2);
        eprintln!(
            "{name}: next token {:.4}, on the CPU {:.4}, paired difference {more:.4} +- {error:.4}, \
             with exact activations {:.4}",
            like.next_error(),
            cpu.next_error(),
            exact.next_error()
        );
        let (equal, positions) = (like.first_equal as f64, like.positions as f64);
        assert!(like.positions > 300, "{name}: {like:?}");
        assert!(equal / positions >= 0.97, "{name}: {like:?}");
        assert_eq!(like.clear_misses, 0, "{name}: {like:?}");
        assert!(like.entropy_error / positions <= 0.1, "{name}: {like:?}");
        let within = like.next_error() <= NEXT_ERROR || more <= 2.0 * error;
        assert!(within, "{name}: {} against {}", like.next_error(), cpu.next_error());
        assert!(exact.next_error() <= NEXT_ERROR / 5.0, "{name}: {}", exact.next_error());
        assert_eq!(exact.clear_misses, 0, "{name}: {exact:?}");
    }
}
