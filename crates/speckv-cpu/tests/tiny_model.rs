//! Whole models on tiny random weights: against an independent reference, on every instruction set,
//! in every batch.

mod reference;

use std::{num::NonZeroUsize, sync::Arc};

use reference::Reference;
use speckv::{
    conformance::{check_foreign_cache, check_model},
    logits::Logits,
    model::{Cache, Feed, LanguageModel, ModelError},
};
use speckv_cpu::{
    kernels::Isa,
    model::{CacheType, CpuModel, LoadError, LoadOptions},
    pool::Pool,
};
use speckv_formats::{config::ConfigError, gguf::Gguf, quant::TensorType, tiny::Tiny};

fn options(threads: usize) -> LoadOptions {
    LoadOptions::new(Arc::new(Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()))
}

fn file(tiny: &Tiny) -> Arc<Gguf> {
    Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap())
}

fn load(file: &Arc<Gguf>, options: &LoadOptions) -> CpuModel {
    CpuModel::load(file, options, &mut |_| {}).unwrap()
}

/// Every family and head layout, with sizes that are multiples of no vector width where the type
/// allows.
fn shapes() -> Vec<Tiny> {
    let small = Tiny::default();
    let wide = Tiny { hidden: 256, feed_forward: 512, layers: 1, ..Tiny::default() };
    let gemma = Tiny { architecture: "gemma3", layers: 7, tied: true, ..small.clone() };
    let mut shapes = vec![
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
            ..gemma.clone()
        },
        Tiny { heads: 1, kv_heads: 1, window: 5, sharpness: 1.0, ..gemma },
        Tiny { architecture: "qwen2", biases: true, tied: true, kv_heads: 1, ..small.clone() },
        Tiny { biases: true, feed_forward_biases: true, ..small.clone() },
        Tiny {
            feed_forward_biases: true,
            feed_forward: 80,
            tensor_type: TensorType::F32,
            ..small.clone()
        },
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
    ];
    let types = TensorType::WRITTEN.into_iter().enumerate();
    shapes.extend(types.map(|(i, tensor_type)| {
        let architecture = ["llama", "qwen2"][i % 2];
        Tiny {
            architecture,
            tensor_type,
            biases: i % 2 == 1,
            tied: i % 3 == 0,
            seed: i as u64,
            ..wide.clone()
        }
    }));
    shapes
}

fn text(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * 37 + i * i * 11 + 5) % 256).collect()
}

fn logits(model: &CpuModel, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut logits = Logits::new();
    let mut cache = model.new_cache().unwrap();
    model.forward(&mut [Feed::new(&mut cache, tokens, tokens.len())], &mut logits).unwrap();
    (0..tokens.len()).map(|row| logits.row(row).to_vec()).collect()
}

#[test]
fn logits_are_near_those_of_the_reference() {
    for tiny in shapes() {
        let file = file(&tiny);
        let tokens = text(24);
        let got = logits(&load(&file, &options(2)), &tokens);
        let expected = Reference::new(&file).logits(&tokens);
        let exact =
            matches!(tiny.tensor_type, TensorType::F32 | TensorType::F16 | TensorType::BF16);
        for (position, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let size = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
            let error = got
                .iter()
                .zip(expected)
                .map(|(g, e)| (f64::from(*g) - e).powi(2))
                .sum::<f64>()
                .sqrt();
            // Half-precision keys and values cost some 1e-3; 8-bit activations on random weights a
            // few hundredths.
            let bound = if exact { 3e-3 } else { 6e-2 };
            assert!(
                error <= bound * size,
                "{tiny:?}, position {position}: relative error {}",
                error / size
            );
        }
    }
}

#[test]
fn every_model_conforms() {
    for tiny in shapes() {
        check_model(&load(&file(&tiny), &options(2)))
            .unwrap_or_else(|error| panic!("{tiny:?}: {error}"));
        if CacheType::Q8_0.takes(tiny.head_dim()) {
            let options = LoadOptions { cache_type: CacheType::Q8_0, ..options(2) };
            check_model(&load(&file(&tiny), &options))
                .unwrap_or_else(|error| panic!("{tiny:?}, q8_0: {error}"));
        }
    }
}

/// Heads of 32 and 64 values: what a cache of bytes can hold.
#[test]
fn a_cache_of_another_model_is_refused() {
    let tiny = Tiny { context_length: 64, head_dim: Some(32), ..Tiny::default() };
    let model = load(&file(&tiny), &options(2));
    let others = [
        Tiny { layers: tiny.layers + 1, ..tiny.clone() },
        Tiny { layers: tiny.layers - 1, ..tiny.clone() },
        Tiny { kv_heads: 1, ..tiny.clone() },
        Tiny { head_dim: Some(48), ..tiny.clone() },
        Tiny { context_length: 32, ..tiny.clone() },
        Tiny { context_length: 128, ..tiny.clone() },
        tiny.clone(), // the same file, loaded again
    ];
    for other in others {
        let loaded = load(&file(&other), &options(1));
        check_foreign_cache(&model, &loaded).unwrap_or_else(|broken| panic!("{other:?}: {broken}"));
        check_foreign_cache(&loaded, &model).unwrap_or_else(|broken| panic!("{other:?}: {broken}"));
    }
    let bytes = LoadOptions { cache_type: CacheType::Q8_0, ..options(1) };
    check_foreign_cache(&model, &load(&file(&tiny), &bytes)).unwrap();
}

fn byte_cache_shapes() -> [Tiny; 3] {
    let small = Tiny { tensor_type: TensorType::F32, sharpness: 1.5, ..Tiny::default() };
    [
        Tiny { heads: 2, ..small.clone() },
        Tiny { architecture: "qwen3", head_dim: Some(64), kv_heads: 1, ..small.clone() },
        Tiny { architecture: "gemma3", head_dim: Some(32), layers: 6, window: 20, ..small },
    ]
}

#[test]
fn a_cache_of_bytes_is_near_one_of_halves_and_takes_17_of_32_bytes() {
    for tiny in byte_cache_shapes() {
        let file = file(&tiny);
        let tokens = text(90);
        let [halves, bytes] = [CacheType::F16, CacheType::Q8_0].map(|cache_type| {
            let model = load(&file, &LoadOptions { cache_type, ..options(2) });
            assert_eq!(model.new_cache().unwrap().cache_type(), cache_type);
            (logits(&model, &tokens), model.position_bytes())
        });
        assert_eq!(bytes.1 * 32, halves.1 * 17);
        let square = |x: f64| x * x;
        let (mut error, mut size) = (0.0, 0.0);
        for (got, expected) in bytes.0.iter().flatten().zip(halves.0.iter().flatten()) {
            error += square(f64::from(*got) - f64::from(*expected));
            size += square(f64::from(*expected));
        }
        let relative = (error / size).sqrt();
        // 8 bits round a block by 1 / 254 of its peak at most: it must show, and it must be small.
        assert!(relative > 1e-5 && relative < 1.5e-2, "{tiny:?}: {relative}");
    }
}

#[test]
fn a_cache_of_bytes_gives_the_same_bits_token_by_token() {
    for tiny in byte_cache_shapes() {
        let model = load(&file(&tiny), &LoadOptions { cache_type: CacheType::Q8_0, ..options(2) });
        let tokens = text(70);
        let whole = logits(&model, &tokens);
        let mut cache = model.new_cache().unwrap();
        let mut logits = Logits::new();
        for (i, token) in tokens.iter().enumerate() {
            model.forward(&mut [Feed::new(&mut cache, &[*token], 1)], &mut logits).unwrap();
            assert_eq!(logits.row(0), whole[i], "{tiny:?}, position {i}");
        }
    }
}

#[test]
fn a_cache_that_cannot_hold_the_heads_is_refused_by_name() {
    let asked = LoadOptions { cache_type: CacheType::Q8_0, ..options(1) };
    let error =
        CpuModel::load(file(&Tiny::default()), &asked, &mut |_| {}).unwrap_err().to_string();
    assert!(
        error.contains("q8_0") && error.contains("16") && error.contains("f16 is supported"),
        "{error}"
    );
}

#[test]
fn positions_beyond_the_window_change_nothing_in_a_model_of_local_layers() {
    // Five layers of window 4 pass on what is at most 5 * 3 = 15 positions away.
    let file = file(&Tiny { architecture: "gemma3", layers: 5, window: 4, ..Tiny::default() });
    let model = load(&file, &options(2));
    let tokens = text(40);
    let mut other = tokens.clone();
    other[20] += 1;
    let (a, b) = (logits(&model, &tokens), logits(&model, &other));
    let changed: Vec<usize> = (0..40).filter(|&position| a[position] != b[position]).collect();
    assert_eq!(changed, (20..36).collect::<Vec<_>>());
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let caches = |tiny: &Tiny| {
        [CacheType::F16, CacheType::Q8_0]
            .into_iter()
            .filter(|cache| cache.takes(tiny.head_dim()))
            .collect::<Vec<_>>()
    };
    for (tiny, cache_type) in
        shapes().iter().flat_map(|tiny| caches(tiny).into_iter().map(move |cache| (tiny, cache)))
    {
        let file = file(tiny);
        let tokens = text(70);
        let run = |threads, isa| {
            let model =
                load(&file, &LoadOptions { isa: Some(isa), cache_type, ..options(threads) });
            assert_eq!(model.isa(), isa);
            let rows = logits(&model, &tokens);
            rows.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let expected = run(1, Isa::PORTABLE);
        for &isa in Isa::available() {
            for threads in [1, 2, 3] {
                assert!(
                    run(threads, isa) == expected,
                    "{tiny:?} on {isa} with {threads} threads, cache {cache_type}"
                );
            }
        }
    }
}

#[test]
fn a_prompt_longer_than_a_slice_equals_token_by_token() {
    let file = file(&Tiny { context_length: 700, layers: 1, ..Tiny::default() });
    let model = load(&file, &options(2));
    let tokens = text(600);
    let whole = logits(&model, &tokens);
    let mut cache = model.new_cache().unwrap();
    let mut logits = Logits::new();
    for (i, token) in tokens.iter().enumerate() {
        model.forward(&mut [Feed::new(&mut cache, &[*token], 1)], &mut logits).unwrap();
        assert_eq!(logits.row(0), whole[i], "position {i}");
    }
    assert_eq!(cache.len(), 600);
}

#[test]
fn a_head_with_a_gap_leaves_its_tokens_out_until_the_text_has_one() {
    let file = file(&Tiny { context_length: 512, ..Tiny::default() });
    let (asked, gap) = (60..250, 64..240); // whole groups of 16
    let with_gap = load(&file, &LoadOptions { head_gap: Some(asked), ..options(2) });
    let whole = load(&file, &options(2));
    assert_eq!(with_gap.vocab_size(), whole.vocab_size());
    assert_eq!(with_gap.head_size(), whole.vocab_size() - gap.len());
    assert!(with_gap.pass_bytes() < whole.pass_bytes());
    // Position 5 has a token of the gap: its own logits and those of the next 255 positions are
    // whole.
    let tokens: Vec<u32> = (0..300).map(|i| if i == 5 { 100 } else { i * 37 % 64 }).collect();
    let expected = logits(&whole, &tokens);
    let left_out = |position: usize| !(5..5 + 256).contains(&position);
    let check = |position: usize, got: &[f32]| {
        for (token, (got, whole)) in got.iter().zip(&expected[position]).enumerate() {
            let expected =
                if gap.contains(&token) && left_out(position) { f32::NEG_INFINITY } else { *whole };
            assert_eq!(got.to_bits(), expected.to_bits(), "position {position}, token {token}");
        }
    };
    for (position, got) in logits(&with_gap, &tokens).iter().enumerate() {
        check(position, got);
    }
    // What was forgotten is forgotten: the same text in pieces, with a token of the gap that is
    // taken back.
    let mut cache = with_gap.new_cache().unwrap();
    let mut rows = Logits::new();
    let mut read = |cache: &mut _, tokens: &[u32]| {
        with_gap.forward(&mut [Feed::new(cache, tokens, 1)], &mut rows).unwrap();
        rows.row(0).to_vec()
    };
    read(&mut cache, &[tokens[0], tokens[1], 200]);
    cache.truncate(2);
    check(3, &read(&mut cache, &tokens[2..4]));
    check(6, &read(&mut cache, &tokens[4..7]));
    check(299, &read(&mut cache, &tokens[7..]));
}

#[test]
fn a_full_context_is_refused_and_changes_nothing() {
    let file = file(&Tiny { context_length: 20, ..Tiny::default() });
    let model = load(&file, &options(1));
    let mut cache = model.new_cache().unwrap();
    let mut logits = Logits::new();
    model.forward(&mut [Feed::new(&mut cache, &text(20), 1)], &mut logits).unwrap();
    let full = model.forward(&mut [Feed::new(&mut cache, &[1], 1)], &mut logits);
    assert!(
        matches!(full, Err(ModelError::ContextFull { held: 20, fed: 1, context: 20 })),
        "{full:?}"
    );
    assert_eq!(cache.len(), 20);
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let load = |tiny: Tiny, context| {
        CpuModel::load(file(&tiny), &LoadOptions { context, ..options(1) }, &mut |_| {})
            .unwrap_err()
    };
    let architecture = load(Tiny { architecture: "mamba", ..Tiny::default() }, None);
    assert!(
        matches!(architecture, LoadError::Config(ConfigError::Architecture(name)) if name == "mamba")
    );
    let context = load(Tiny::default(), Some(100_000));
    assert!(matches!(context, LoadError::Context { most: 256, asked: 100_000, .. }));
    let heads = load(Tiny { kv_heads: 3, heads: 4, ..Tiny::default() }, None).to_string();
    assert!(heads.contains("attention.head_count_kv"), "{heads}");
    let small_heads = load(Tiny { heads: 8, kv_heads: 8, ..Tiny::default() }, None).to_string();
    assert!(small_heads.contains("attention.key_length"), "{small_heads}");
    let unbiased = load(Tiny { architecture: "qwen2", ..Tiny::default() }, None).to_string();
    assert!(
        unbiased.contains("blk.0.attn_q.bias is missing") && unbiased.contains("the family qwen2"),
        "{unbiased}"
    );
}

#[test]
fn layers_that_the_metadata_do_not_count_are_not_overlooked() {
    let mut bytes = Tiny { layers: 3, ..Tiny::default() }.to_bytes().unwrap();
    let key = b"llama.block_count";
    let place = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    assert_eq!(bytes[place], 3);
    bytes[place] = 2;
    let file = Arc::new(Gguf::from_bytes(bytes).unwrap());
    let error = CpuModel::load(&file, &options(1), &mut |_| {}).unwrap_err().to_string();
    assert!(
        error.contains("blk.2.") && error.contains("2 layers, as llama.block_count says"),
        "{error}"
    );
}

#[test]
fn pretended_positions_can_be_read_and_forgotten() {
    let model = load(&file(&Tiny::default()), &options(2));
    let mut cache = model.new_cache().unwrap();
    let mut out = Logits::new();
    assert!(cache.pretend(100) && cache.len() == 100);
    model.forward(&mut [Feed::new(&mut cache, &[1, 2, 3], 3)], &mut out).unwrap();
    assert!(
        cache.len() == 103 && (0..3).all(|row| out.row(row).iter().all(|logit| logit.is_finite()))
    );
    assert!(!cache.pretend(100_000) && cache.len() == 103);
    cache.truncate(0);
    let tokens = text(20);
    model.forward(&mut [Feed::new(&mut cache, &tokens, 20)], &mut out).unwrap();
    for (row, expected) in logits(&model, &tokens).iter().enumerate() {
        assert_eq!(out.row(row), expected, "a real position is written before it is read");
    }
}

#[test]
fn a_file_that_is_truncated_while_it_is_open_is_an_error_of_the_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, Tiny::default().to_bytes().unwrap()).unwrap();
    let model = load(&Arc::new(Gguf::open(&path).unwrap()), &options(1));
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    model.forward(&mut [Feed::new(&mut cache, &[5, 6], 1)], &mut output).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    let error = model.forward(&mut [Feed::new(&mut cache, &[7], 1)], &mut output).unwrap_err();
    assert!(error.to_string().contains("truncated"), "{error}");
}
