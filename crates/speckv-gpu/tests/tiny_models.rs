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
use speckv_gpu::{
    cache_type::CacheType,
    model::{GpuModel, LoadError, LoadOptions},
};
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

/// A model with heads of 32 values, whose keys and values can be bytes.
fn with_bytes() -> Tiny {
    Tiny { architecture: "qwen3", head_dim: Some(32), layers: 2, ..Tiny::default() }
}

fn load_with_bytes(tiny: &Tiny) -> Option<GpuModel> {
    let mut options = LoadOptions::new(device()?);
    options.cache_type = CacheType::Q8_0;
    Some(GpuModel::load(file(tiny), &options, &mut |_| {}).unwrap())
}

#[test]
fn a_cache_of_bytes_conforms_and_is_near_the_cpus() {
    let wide = Tiny { head_dim: Some(96), heads: 3, kv_heads: 1, layers: 1, ..with_bytes() };
    for tiny in [with_bytes(), wide] {
        let Some(model) = load_with_bytes(&tiny) else { return };
        check_model(&model).unwrap_or_else(|error| panic!("{tiny:?}: {error}"));
        let halves = load(&tiny).unwrap();
        assert_eq!(16 * model.position_bytes(), 9 * halves.position_bytes());
        let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
        let mut options = speckv_cpu::model::LoadOptions::new(pool);
        options.cache_type = speckv_cpu::model::CacheType::Q8_0;
        let on_cpu = CpuModel::load(file(&tiny), &options, &mut |_| {}).unwrap();
        let tokens = text(24);
        let got = logits(&model, &tokens);
        let of_cpu = logits(&on_cpu, &tokens);
        // Both round keys and values to bytes, with scales of other precision and in another order.
        let error = distance(&got, &of_cpu);
        assert!(error < 0.05, "{tiny:?}: relative error {error}");
        // What bytes cost against halves is what they cost on the CPU.
        let rounding = distance(&got, &logits(&halves, &tokens));
        let cpu_halves = logits(&self::on_cpu(&file(&tiny), Compression::AsIs), &tokens);
        let cpu_rounding = distance(&of_cpu, &cpu_halves);
        eprintln!("bytes against halves: {rounding}, on the CPU {cpu_rounding}; apart {error}");
        assert!(0.0 < rounding && rounding < 1.5 * cpu_rounding, "{tiny:?}: {rounding}");
    }
}

#[test]
fn a_head_with_a_gap_omits_its_tokens_until_the_text_has_one() {
    let Some(device) = device() else { return };
    let tiny = Tiny { context_length: 512, ..Tiny::default() };
    let load = |head_gap| {
        let mut options = LoadOptions::new(Arc::clone(&device));
        options.head_gap = head_gap;
        GpuModel::load(file(&tiny), &options, &mut |_| {}).unwrap()
    };
    let (whole, with_gap) = (load(None), load(Some(60..250)));
    let gap = 64..192; // whole cuts of 64
    assert_eq!(with_gap.head_size() + gap.len(), whole.head_size());
    assert!(with_gap.pass_bytes() < whole.pass_bytes());
    check_model(&with_gap).unwrap();
    // Position 5 has a token of the gap: its logits and those of the next 255 positions are whole.
    let tokens: Vec<u32> = (0..300).map(|i| if i == 5 { 100 } else { i * 37 % 64 }).collect();
    let expected = logits(&whole, &tokens);
    let check = |position: usize, got: &[f32]| {
        let omits = !(5..5 + 256).contains(&position);
        for (token, (got, whole)) in got.iter().zip(&expected[position]).enumerate() {
            let expected = if omits && gap.contains(&token) { f32::NEG_INFINITY } else { *whole };
            assert_eq!(got.to_bits(), expected.to_bits(), "position {position}, token {token}");
        }
    };
    for (position, got) in logits(&with_gap, &tokens).iter().enumerate() {
        check(position, got);
    }
    // The same text in pieces, whose rows take the places of earlier ones; a token of the gap that
    // is taken back leaves nothing.
    let (mut cache, mut output) = (with_gap.new_cache().unwrap(), with_gap.new_output());
    let mut read = |cache: &mut _, tokens: &[u32]| {
        with_gap.forward(&mut [Feed::new(cache, tokens, 1)], &mut output).unwrap();
        let vocab = with_gap.vocab_size();
        let best = output.best(0, vocab).unwrap().token;
        let row = output.logits(0).unwrap().to_vec();
        assert_eq!(best, speckv::signals::argmax(&row).unwrap());
        row
    };
    read(&mut cache, &[tokens[0], tokens[1], 180]);
    cache.truncate(2);
    check(3, &read(&mut cache, &tokens[2..4]));
    check(6, &read(&mut cache, &tokens[4..7]));
    check(299, &read(&mut cache, &tokens[7..]));
}

#[test]
fn heads_that_bytes_cannot_hold_are_refused() {
    let Some(device) = device() else { return };
    let mut options = LoadOptions::new(device);
    options.cache_type = CacheType::Q8_0;
    let tiny = Tiny { head_dim: Some(48), ..with_bytes() };
    let refused = GpuModel::load(file(&tiny), &options, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, LoadError::CacheType { head_dim: 48, .. }), "{refused}");
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
