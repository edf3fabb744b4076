//! A device that goes on from its own likeliest tokens gives the tokens of single passes.

mod support;

#[path = "../../speckv-formats/tests/support/mod.rs"]
mod files;

use std::sync::Arc;

use speckv::{
    conformance::{check_drafter, check_model, decode_plainly},
    controller::Fixed,
    draft::ModelDrafter,
    engine::{Engine, SequenceSettings},
    model::{Cache, Feed, LanguageModel, PassOutput},
    sampling::SamplingSettings,
};
use speckv_formats::{compression::Compression, gguf::Gguf, quant::TensorType, tiny::Tiny};
use speckv_gpu::{
    cache_type::CacheType,
    model::{GpuModel, LoadOptions},
};
use support::device;

/// Tokens that one submission makes of a single sequence at most.
const LIMIT: usize = 32;

fn load(tiny: &Tiny, change: impl FnOnce(&mut LoadOptions)) -> Option<GpuModel> {
    let file = Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap());
    let mut options = LoadOptions { embedding: true, ..LoadOptions::new(device()?) };
    change(&mut options);
    Some(GpuModel::load(file, &options, &mut |_| {}).unwrap())
}

fn wide(tensor_type: TensorType, tied: bool) -> Tiny {
    Tiny { hidden: 256, feed_forward: 256, layers: 1, tensor_type, tied, ..Tiny::default() }
}

/// The tokens of one continuation.
fn continued(model: &GpuModel, prompt: &[u32], count: usize) -> Vec<u32> {
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    let feeds = &mut [Feed::new(&mut cache, prompt, 1)];
    let vocab = model.vocab_size();
    let made = model.continue_greedily(feeds, count, vocab, &mut output).unwrap();
    assert_eq!(cache.len(), prompt.len() + made - 1);
    (0..made).map(|row| output.best(row, vocab).unwrap().token).collect()
}

#[test]
fn embeddings_of_every_weight_type_are_gathered_with_the_bits_of_the_file() {
    let prompt = [72, 101, 108, 108, 111];
    for (number, tensor_type) in TensorType::WRITTEN.into_iter().enumerate() {
        for tied in [true, false] {
            let tiny = Tiny { seed: number as u64, ..wide(tensor_type, tied) };
            let Some(model) = load(&tiny, |_| ()) else { return };
            // The device has compared the embeddings with those of the file.
            assert_eq!(model.continuation_limit(1), LIMIT, "{tensor_type}, tied: {tied}");
            let expected = decode_plainly(&model, &prompt, 12).unwrap();
            assert_eq!(continued(&model, &prompt, 12), expected, "{tensor_type}, tied: {tied}");
        }
    }
}

#[test]
fn models_that_go_on_conform() {
    let sharp = Tiny { layers: 2, biases: true, architecture: "qwen2", ..Tiny::default() };
    let gemma = Tiny { architecture: "gemma3", layers: 7, tied: true, window: 5, ..sharp.clone() };
    let odd = Tiny {
        hidden: 48,
        heads: 3,
        kv_heads: 3,
        feed_forward: 40,
        tensor_type: TensorType::F32,
        layers: 1,
        ..Tiny::default()
    };
    let several_parts = Tiny { vocab_size: 9000, layers: 1, ..Tiny::default() };
    for tiny in [sharp, gemma, odd, several_parts, wide(TensorType::Q4K, false)] {
        let Some(model) = load(&tiny, |_| ()) else { return };
        assert_eq!(model.continuation_limit(3), LIMIT / 3, "{tiny:?}");
        check_model(&model).unwrap_or_else(|error| panic!("{tiny:?}: {error}"));
        let vocab = model.vocab_size();
        check_drafter(&mut ModelDrafter::new(Arc::new(model), vocab), vocab).unwrap();
    }
}

#[test]
fn a_cache_of_bytes_and_a_head_with_a_gap_conform() {
    let bytes = Tiny { architecture: "qwen3", head_dim: Some(32), ..Tiny::default() };
    let Some(model) = load(&bytes, |options| options.cache_type = CacheType::Q8_0) else { return };
    check_model(&model).unwrap();
    let tiny = Tiny { context_length: 512, ..Tiny::default() };
    let model = load(&tiny, |options| options.head_gap = Some(60..250)).unwrap();
    check_model(&model).unwrap();
    let common: Vec<u32> = (0..20).map(|i| i * 37 % 64).collect();
    let expected = decode_plainly(&model, &common, 16).unwrap();
    assert_eq!(continued(&model, &common, 16), expected);
    // After a token of the gap any token may follow: the host looks at each.
    assert_eq!(continued(&model, &[1, 2, 100, 3], 16).len(), 1);
}

#[test]
fn a_continuation_crosses_chunks_of_positions_and_growing_caches() {
    let tiny = Tiny { layers: 1, context_length: 700, ..Tiny::default() };
    let Some(model) = load(&tiny, |_| ()) else { return };
    let text: Vec<u32> = (0..700).map(|i| (i * 37 + i * i * 11 + 5) % 256).collect();
    for held in [120, 250, 500, 680, 690] {
        let expected = decode_plainly(&model, &text[..held], 20.min(700 - held + 1)).unwrap();
        let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
        model.forward(&mut [Feed::new(&mut cache, &text[..held - 2], 0)], &mut output).unwrap();
        let feeds = &mut [Feed::new(&mut cache, &text[held - 2..held], 1)];
        let vocab = model.vocab_size();
        let made = model.continue_greedily(feeds, 20, vocab, &mut output).unwrap();
        let got: Vec<u32> = (0..made).map(|row| output.best(row, vocab).unwrap().token).collect();
        assert_eq!(got, expected, "{held} tokens before");
    }
}

#[test]
fn without_the_embedding_on_the_device_each_token_has_a_pass() {
    let untied = wide(TensorType::Q8_0, false);
    let Some(model) = load(&untied, |options| options.embedding = false) else { return };
    assert_eq!(model.continuation_limit(1), 1);
    assert_eq!(continued(&model, &[1, 2, 3], 9).len(), 1);
    // A head that is the embedding takes no memory of its own.
    let tied = load(&wide(TensorType::Q8_0, true), |options| options.embedding = false).unwrap();
    assert_eq!(tied.continuation_limit(1), LIMIT);
}

#[test]
fn a_real_model_goes_on_as_in_single_passes_and_is_right_for_itself() {
    let Some(device) = device() else { return };
    let Some(file) = files::model("smollm2-135m") else { return };
    let (file, prompt) = (Arc::new(file), [504, 3575, 282, 4649, 314]); // The capital of France is
    for compression in [Compression::AsIs, Compression::Type(TensorType::Q4_0)] {
        let mut options = LoadOptions { embedding: true, ..LoadOptions::new(Arc::clone(&device)) };
        (options.context, options.compression) = (Some(256), compression);
        let model = Arc::new(GpuModel::load(Arc::clone(&file), &options, &mut |_| {}).unwrap());
        assert_eq!(model.continuation_limit(1), LIMIT, "{compression}");
        let expected = decode_plainly(&*model, &prompt, 12).unwrap();
        assert_eq!(continued(&model, &prompt, 12), expected, "{compression}");
        let drafter = ModelDrafter::new(Arc::clone(&model), model.vocab_size());
        let mut engine = Engine::new(Arc::clone(&model), Box::new(drafter));
        let settings = SequenceSettings {
            prompt: prompt.to_vec(),
            sampling: SamplingSettings::default(),
            end_tokens: vec![],
            max_tokens: 12,
            controller: Box::new(Fixed::new(5)),
        };
        let mut sequence = engine.sequence(settings).unwrap();
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).unwrap();
        }
        assert_eq!(sequence.tokens()[prompt.len()..], expected, "{compression}");
        let totals = sequence.totals();
        assert_eq!((totals.drafted, totals.accepted), (10, 10), "{compression}");
    }
}
