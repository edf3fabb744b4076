//! Whole models on tiny random weights: the conformance suite, and logits near those of the CPU
//! backend, in every family and weight format.

mod support;

use std::{num::NonZeroUsize, sync::Arc};

use speckv::{
    conformance::check_model,
    model::{Cache, Feed, LanguageModel, PassOutput},
};
use speckv_cpu::{model::CpuModel, pool::Pool};
use speckv_formats::{compression::Compression, gguf::Gguf, quant::TensorType, tiny::Tiny};
use speckv_gpu::model::{GpuModel, LoadError, LoadOptions};
use support::device;

fn file(tiny: &Tiny) -> Arc<Gguf> {
    Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap())
}

fn load(tiny: &Tiny) -> Option<GpuModel> {
    Some(GpuModel::load(file(tiny), &LoadOptions::new(device()?), &mut |_| {}).unwrap())
}

fn on_cpu(file: &Arc<Gguf>, compression: Compression) -> CpuModel {
    let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
    let mut options = speckv_cpu::model::LoadOptions::new(pool);
    options.compression = compression;
    CpuModel::load(file, &options, &mut |_| {}).unwrap()
}

/// Every family, head layout and size that is no multiple of anything.
fn families() -> Vec<Tiny> {
    let small = Tiny { layers: 1, ..Tiny::default() };
    let gemma = Tiny { architecture: "gemma3", layers: 7, tied: true, ..small.clone() };
    vec![
        Tiny { layers: 2, ..small.clone() },
        Tiny { architecture: "qwen2", biases: true, tied: true, kv_heads: 1, ..small.clone() },
        Tiny { architecture: "qwen3", head_dim: Some(32), ..small.clone() },
        Tiny {
            architecture: "qwen3",
            head_dim: Some(48),
            kv_heads: 1,
            tensor_type: TensorType::F16,
            ..small.clone()
        },
        Tiny {
            head_dim: Some(64),
            kv_heads: 1,
            heads: 2,
            tensor_type: TensorType::BF16,
            layers: 1,
            ..gemma.clone()
        },
        Tiny { heads: 1, kv_heads: 1, window: 5, sharpness: 1.0, ..gemma },
        Tiny { rope_factors: true, kv_heads: 4, vocab_size: 300, ..small.clone() },
        Tiny {
            hidden: 48,
            heads: 3,
            kv_heads: 3,
            feed_forward: 40,
            tensor_type: TensorType::F32,
            ..small.clone()
        },
        Tiny {
            architecture: "qwen2",
            hidden: 224,
            heads: 14,
            kv_heads: 1,
            feed_forward: 32,
            biases: true,
            ..small
        },
    ]
}

/// Every weight format.
fn formats() -> Vec<Tiny> {
    let wide = Tiny { hidden: 256, feed_forward: 512, layers: 1, ..Tiny::default() };
    let types = TensorType::WRITTEN.into_iter().enumerate();
    types
        .map(|(i, tensor_type)| Tiny {
            tensor_type,
            tied: i % 3 == 0,
            seed: i as u64,
            ..wide.clone()
        })
        .collect()
}

fn text(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * 37 + i * i * 11 + 5) % 256).collect()
}

fn logits<M: LanguageModel>(model: &M, tokens: &[u32]) -> Vec<Vec<f32>> {
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    model.forward(&mut [Feed::new(&mut cache, tokens, tokens.len())], &mut output).unwrap();
    (0..tokens.len()).map(|row| output.logits(row).unwrap().to_vec()).collect()
}

/// Largest root of the mean squared error of a row, over the row's own size.
fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let rows = a.iter().zip(b).map(|(a, b)| {
        let size: f64 = b.iter().map(|x| f64::from(*x).powi(2)).sum();
        let error: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (error / size).sqrt()
    });
    rows.fold(0.0, f64::max)
}

#[test]
fn models_of_every_family_conform() {
    // One of each family, and the one whose sizes are no multiple of anything.
    for tiny in [0, 1, 3, 5, 7].map(|number| families().swap_remove(number)) {
        let Some(model) = load(&tiny) else { return };
        check_model(&model).unwrap_or_else(|error| panic!("{tiny:?}: {error}"));
        eprintln!("{} conforms", tiny.architecture);
    }
}

#[test]
fn logits_are_those_of_the_cpu_in_every_family_and_format() {
    for tiny in families().into_iter().chain(formats()) {
        let Some(model) = load(&tiny) else { return };
        let tokens = text(24);
        let expected = logits(&on_cpu(&file(&tiny), Compression::AsIs), &tokens);
        // Both backends round activations to the same integers, but for ties and sums in another
        // order, which move a few of them by one.
        let error = distance(&logits(&model, &tokens), &expected);
        assert!(error < 0.02, "{tiny:?}: relative error {error}");
    }
}

#[test]
fn compressions_are_those_of_the_cpu() {
    let tiny =
        Tiny { hidden: 128, feed_forward: 192, tensor_type: TensorType::F16, ..Tiny::default() };
    for compression in [Compression::Nf4, Compression::Int8, Compression::Compact] {
        let Some(device) = device() else { return };
        let mut options = LoadOptions::new(device);
        options.compression = compression;
        let model = GpuModel::load(file(&tiny), &options, &mut |_| {}).unwrap();
        let tokens = text(12);
        let expected = logits(&on_cpu(&file(&tiny), compression), &tokens);
        let error = distance(&logits(&model, &tokens), &expected);
        assert!(error < 0.02, "{compression}: relative error {error}");
    }
}

#[test]
fn long_texts_cross_chunks_slices_and_growing_caches() {
    // More positions than a chunk of attention, a slice and the first room of a cache take.
    let tiny = Tiny { layers: 1, context_length: 700, ..Tiny::default() };
    let Some(model) = load(&tiny) else { return };
    let tokens = text(600);
    let all = logits(&model, &tokens);
    let expected = logits(&on_cpu(&file(&tiny), Compression::AsIs), &tokens);
    let error = distance(&all, &expected);
    assert!(error < 0.03, "relative error {error}");
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    for piece in tokens.chunks(97) {
        let rows = piece.len().min(3);
        model.forward(&mut [Feed::new(&mut cache, piece, rows)], &mut output).unwrap();
        let end = cache.len();
        for row in 0..rows {
            let (got, whole) = (output.logits(row).unwrap(), &all[end - rows + row]);
            let same = got.iter().zip(whole).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "position {} in pieces of 97", end - rows + row);
        }
    }
}

#[test]
fn a_context_that_the_model_does_not_have_is_refused() {
    let Some(device) = device() else { return };
    let mut options = LoadOptions::new(device);
    options.context = Some(1000);
    let refused = GpuModel::load(file(&Tiny::default()), &options, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, LoadError::Context { most: 256, asked: 1000, .. }), "{refused}");
}

#[test]
fn loading_reports_progress_up_to_the_total() {
    let Some(device) = device() else { return };
    let mut seen = Vec::new();
    let tiny = Tiny::default();
    GpuModel::load(file(&tiny), &LoadOptions::new(device), &mut |at| seen.push(at)).unwrap();
    assert!(seen.is_sorted_by_key(|progress| progress.done));
    let last = seen.last().unwrap();
    assert!(last.done == last.total && last.total > 0, "{last:?}");
}
