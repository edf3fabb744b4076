//! Folders in the 4 bits of bitsandbytes: against its own numbers, against the same model as NF4,
//! and damaged.

#[path = "support/safetensors.rs"]
mod safetensors;

use std::{error::Error, num::NonZeroUsize, path::Path, sync::Arc};

use proptest::prelude::*;
use safetensors::{Entry, read, write};
use serde_json::{Value, json};
use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel},
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions, packed_bytes},
    pool::Pool,
};
use speckv_formats::{
    checkpoint::{Checkpoint, CheckpointError, Stored},
    compression::Compression,
    quant::{Rows, TensorType, WeightType},
    tiny::Tiny,
};
use tempfile::TempDir;

/// A tensor in GGUF and in folders.
const GATE: (&str, &str) = ("blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight");

fn open(config: &Value, tensors: &[Entry]) -> Result<(TempDir, Checkpoint), CheckpointError> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), write(tensors)).unwrap();
    let checkpoint = Checkpoint::open(folder.path())?;
    Ok((folder, checkpoint))
}

fn load(checkpoint: &Checkpoint, compression: Compression) -> CpuModel {
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    let options = LoadOptions { compression, ..LoadOptions::new(pool) };
    CpuModel::load(checkpoint, &options, &mut |_| {}).unwrap()
}

fn logits(model: &CpuModel, tokens: &[u32]) -> Vec<f32> {
    let mut logits = Logits::new();
    let mut cache = model.new_cache().unwrap();
    model.forward(&mut [Feed::new(&mut cache, tokens, 1)], &mut logits).unwrap();
    logits.row(0).to_vec()
}

/// All values of a matrix, row by row.
fn values(stored: &Stored<'_>) -> Vec<f32> {
    let &[columns, rows] = stored.shape() else { panic!("a matrix") };
    let mut values = vec![0.0; rows * columns];
    for (row, values) in values.chunks_mut(columns).enumerate() {
        stored.read(row, values).unwrap();
    }
    values
}

#[test]
fn values_are_those_of_the_bitsandbytes_library() {
    // Made by `transformers/four_bits.py`.
    let tensors = read(include_bytes!("transformers/four_bits/cases.safetensors"));
    let config: Value =
        serde_json::from_slice(include_bytes!("transformers/four_bits/config.json")).unwrap();
    let names: Vec<&str> =
        tensors.iter().filter_map(|tensor| tensor.name.strip_suffix(".values")).collect();
    assert_eq!(names.len(), 7);
    for name in names {
        let spelled = |tensor: &Entry| {
            let end = tensor.name.strip_prefix(name)?.strip_prefix(".weight")?;
            Some(Entry { name: format!("{}{end}", GATE.1), ..tensor.clone() })
        };
        let matrix: Vec<Entry> = tensors.iter().filter_map(spelled).collect();
        assert!(matrix.len() >= 4, "{name}");
        let (_folder, checkpoint) = open(&config, &matrix).unwrap();
        let stored = checkpoint.stored(GATE.0).unwrap();
        let expected =
            tensors.iter().find(|tensor| tensor.name == format!("{name}.values")).unwrap();
        let expected: Vec<f32> =
            expected.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let got = values(&stored);
        let kept = &got[got.len() - expected.len()..];
        for (got, expected) in kept.iter().zip(&expected) {
            assert!(
                (got - expected).abs() <= 1e-6 * expected.abs(),
                "{name}: {got} for {expected}"
            );
        }
        assert!(
            expected.iter().any(|value| *value > 0.01)
                && expected.iter().any(|value| *value < -0.01),
            "{name}"
        );
        // What the kernel can take, stays.
        let stays = stored.weight_type() == WeightType::Nf4;
        assert_eq!(stays, name == "nf4", "{name}");
        assert_eq!(stored.kind(), if name.starts_with("nf4") { "NF4" } else { "FP4" });
    }
}

#[test]
fn a_model_that_transformers_saved_says_what_its_weights_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transformers/four_bits");
    let reference: Value =
        serde_json::from_slice(&std::fs::read(path.join("logits.json")).unwrap()).unwrap();
    let tokens: Vec<u32> = reference["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token.as_u64().unwrap() as u32)
        .collect();
    let expected: Vec<f64> =
        reference["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let size = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    // Keys and values in half precision cost some 1e-3. NF4 is multiplied in integers: its levels
    // and the activations are rounded to 8 bits.
    for (compression, most) in [(Compression::Fp16, 2e-3), (Compression::AsIs, 0.05)] {
        let model = load(&checkpoint, compression);
        let got = logits(&model, &tokens);
        let error =
            got.iter().zip(&expected).map(|(g, e)| (f64::from(*g) - e).powi(2)).sum::<f64>().sqrt()
                / size;
        eprintln!("{compression}: relative error {error:.1e}");
        assert!(error < most, "{compression}: relative error {error}");
    }
    let layers: usize = checkpoint
        .contents()
        .filter(|stored| stored.kind() == "NF4")
        .map(|stored| stored.elements())
        .sum();
    assert_eq!(layers, 64 * (4 * 16 + 2 * 16 + 4 * 16 + 3 * 64));
    let head = checkpoint.stored("token_embd.weight").unwrap();
    // 4 bits, and half a float per 64.
    assert_eq!(
        packed_bytes(&checkpoint, Compression::AsIs),
        (layers * 34 / 64 + head.byte_len()) as u64
    );
    assert_eq!(load(&checkpoint, Compression::AsIs).weight_type(), WeightType::Nf4);
}

/// A model whose matrices have rows of whole blocks.
fn tiny() -> Tiny {
    Tiny {
        hidden: 64,
        heads: 4,
        kv_heads: 2,
        feed_forward: 128,
        tensor_type: TensorType::F32,
        ..Tiny::default()
    }
}

#[test]
fn a_folder_in_nf4_is_the_model_that_loading_as_nf4_makes() {
    let tokens: Vec<u32> = (0..20).map(|i| (i * 31 + 7) % 250).collect();
    let plain = TempDir::new().unwrap();
    tiny().write_folder(plain.path(), 1).unwrap();
    let expected =
        logits(&load(&Checkpoint::open(plain.path()).unwrap(), Compression::Nf4), &tokens);
    // In four files, a matrix and its companions part.
    for shards in [1, 4] {
        let folder = TempDir::new().unwrap();
        tiny().write_nf4_folder(folder.path(), shards).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(
            logits(&load(&checkpoint, Compression::Nf4), &tokens),
            expected,
            "{shards} files"
        );
        let [a, b] = [Compression::Nf4, Compression::Int8]
            .map(|compression| packed_bytes(&checkpoint, compression));
        assert!(a < b);
    }
}

/// The files of a small model in NF4.
fn small() -> (Value, Vec<Entry>) {
    let folder = TempDir::new().unwrap();
    Tiny { layers: 1, ..tiny() }.write_nf4_folder(folder.path(), 1).unwrap();
    let read_file = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    (
        serde_json::from_slice(&read_file("config.json")).unwrap(),
        read(&read_file("model.safetensors")),
    )
}

fn part<'a>(tensors: &'a mut [Entry], end: &str) -> &'a mut Entry {
    tensors.iter_mut().find(|tensor| tensor.name.strip_prefix(GATE.1) == Some(end)).unwrap()
}

const STATE: &str = ".quant_state.bitsandbytes__nf4";

#[test]
fn what_is_wrong_with_a_matrix_is_named() {
    let (config, tensors) = small();
    let refusal = |damage: &dyn Fn(&mut Vec<Entry>)| {
        let mut tensors = tensors.clone();
        damage(&mut tensors);
        let error = open(&config, &tensors).expect_err("it is refused");
        assert!(error.hint().is_some());
        format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default())
    };
    let without = |end: &'static str| {
        refusal(&|tensors| tensors.retain(|tensor| tensor.name.strip_prefix(GATE.1) != Some(end)))
    };
    let shorter = |end: &'static str, by: usize| {
        refusal(&|tensors| {
            let tensor = part(tensors, end);
            tensor.bytes.truncate(tensor.bytes.len() - by);
            tensor.shape = vec![tensor.bytes.len() / if tensor.dtype == "U8" { 1 } else { 4 }];
        })
    };
    let state = |key: &'static str, value: Value| {
        refusal(&|tensors| {
            let tensor = part(tensors, STATE);
            let mut state: Value = serde_json::from_slice(&tensor.bytes).unwrap();
            state[key] = value.clone();
            tensor.bytes = state.to_string().into_bytes();
            tensor.shape = vec![tensor.bytes.len()];
        })
    };
    let retyped = |end: &'static str, dtype: &'static str| {
        refusal(&|tensors| part(tensors, end).dtype = dtype.to_owned())
    };
    let cases = [
        (without(""), vec!["codes", "got none"]),
        (without(".absmax"), vec!["gate_proj.weight.absmax", "companion", "got none"]),
        (without(".quant_map"), vec!["gate_proj.weight.quant_map", "companion"]),
        (without(STATE), vec!["gate_proj.weight.quant_state.bitsandbytes__nf4", "got none"]),
        (
            refusal(&|tensors| {
                tensors.retain(|tensor| tensor.name.strip_prefix(GATE.1).is_none_or(str::is_empty));
            }),
            vec!["gate_proj.weight:", "bitsandbytes' 4 bits with their quant_state", "got U8"],
        ),
        (
            shorter("", 1),
            vec!["gate_proj.weight:", "4096 bytes for the shape [128, 64]", "4095 bytes"],
        ),
        (shorter(".absmax", 4), vec!["absmax", "F32 with 128 elements", "508 bytes"]),
        (shorter(".quant_map", 4), vec!["quant_map", "F32 with 16 elements"]),
        (shorter(STATE, 1), vec!["JSON"]),
        (retyped(".absmax", "I32"), vec!["absmax", "F32 with 128 elements", "I32"]),
        (retyped(STATE, "I8"), vec!["JSON as U8", "I8"]),
        (state("quant_type", json!("fp4")), vec!["quant_type of \"nf4\"", "\"fp4\""]),
        (state("quant_type", json!("int8")), vec!["\"int8\""]),
        (state("blocksize", json!(0)), vec!["at least 1"]),
        (state("blocksize", json!(-64)), vec!["bitsandbytes' JSON"]),
        (state("blocksize", json!(128)), vec!["absmax", "F32 with 64 elements", "512 bytes"]),
        (state("shape", json!([64, 64])), vec!["2048 bytes for the shape [64, 64]"]),
        (state("shape", json!([128, 0])), vec!["the shape of a matrix", "[128, 0]"]),
        (state("shape", json!([8192])), vec!["the shape of a matrix"]),
        (state("shape", json!([u64::MAX, u64::MAX])), vec!["the shape of a matrix"]),
        (state("shape", Value::Null), vec!["bitsandbytes' JSON"]),
        (state("nested_blocksize", json!(256)), vec!["absmax", "U8 with 128 elements"]),
        (state("nested_offset", json!(0.5)), vec!["absmax", "U8 with 128 elements"]),
        (
            refusal(&|tensors| {
                part(tensors, ".quant_map").bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes())
            }),
            vec!["quant_map", "finite", "NaN"],
        ),
        (
            refusal(&|tensors| {
                let mut fp4 = part(tensors, STATE).clone();
                fp4.name = fp4.name.replace("nf4", "fp4");
                tensors.push(fp4);
            }),
            vec!["one quant_state", "one for nf4 and one for fp4"],
        ),
        (
            refusal(&|tensors| {
                let absmax = part(tensors, ".absmax");
                (absmax.dtype, absmax.shape) = ("U8".into(), vec![128]);
                absmax.bytes.truncate(128);
            }),
            vec!["nested_blocksize and nested_offset", "got none and none"],
        ),
        (
            refusal(&|tensors| {
                let mut stray = part(tensors, ".absmax").clone();
                stray.name = "model.norm.weight.absmax".into();
                tensors.push(stray);
            }),
            vec!["model.norm.weight", "quant_state"],
        ),
        (
            refusal(&|tensors| {
                let scb = Entry {
                    name: "model.layers.0.mlp.gate_proj.SCB".into(),
                    ..part(tensors, ".absmax").clone()
                };
                tensors.push(scb);
            }),
            vec!["gate_proj.SCB"],
        ),
    ];
    for (text, words) in cases {
        assert!(text.contains("model.safetensors"), "{text:?}");
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
    }
}

#[test]
fn a_scale_that_the_kernel_cannot_hold_is_refused_at_loading() {
    let (config, mut tensors) = small();
    part(&mut tensors, ".absmax").bytes[8..12].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let (_folder, checkpoint) = open(&config, &tensors).unwrap();
    for compression in [Compression::AsIs, Compression::Fp16, Compression::Int8] {
        let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
        let options = LoadOptions { compression, ..LoadOptions::new(pool) };
        let error = CpuModel::load(&checkpoint, &options, &mut |_| {}).expect_err("it is refused");
        let cause = error.source().and_then(Error::source).or(error.source()).unwrap().to_string();
        assert!(cause.contains("expected numbers between"), "{compression}: {error}: {cause}");
    }
}

/// Opens, and reads all that can be read.
fn survives(config: &Value, tensors: &[Entry]) {
    let Ok((_folder, checkpoint)) = open(config, tensors) else { return };
    for stored in checkpoint.contents().filter(|stored| stored.shape().len() == 2) {
        values(&stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_quant_state_never_panics(at in 0usize..80, byte in any::<u8>(), cut in 0usize..90) {
        let (config, mut tensors) = small();
        let tensor = part(&mut tensors, STATE);
        let at = at % tensor.bytes.len();
        tensor.bytes[at] = byte;
        tensor.bytes.truncate(tensor.bytes.len() - cut / 30);
        tensor.shape = vec![tensor.bytes.len()];
        survives(&config, &tensors);
    }

    #[test]
    fn arbitrary_numbers_in_a_quant_state_never_panic(
        block in prop_oneof![any::<u64>(), 0..200u64],
        shape in proptest::collection::vec(prop_oneof![any::<u64>(), 0..200u64], 0..4),
        nested in proptest::option::of((prop_oneof![any::<u64>(), 0..200u64], any::<f32>())),
    ) {
        let (config, mut tensors) = small();
        let mut state = json!({"quant_type": "nf4", "blocksize": block, "dtype": "float32", "shape": shape});
        if let Some((size, offset)) = nested {
            (state["nested_blocksize"], state["nested_offset"]) = (json!(size), json!(offset));
        }
        let tensor = part(&mut tensors, STATE);
        tensor.bytes = state.to_string().into_bytes();
        tensor.shape = vec![tensor.bytes.len()];
        survives(&config, &tensors);
    }

    #[test]
    fn tensors_that_are_gone_cut_or_of_another_type_never_panic(
        which in any::<prop::sample::Index>(), len in 0usize..600, dtype in prop::sample::select(vec!["U8", "I8", "F32", "BF16", "X"]),
        gone in any::<bool>(),
    ) {
        let (config, mut tensors) = small();
        let which = which.index(tensors.len());
        if gone {
            tensors.remove(which);
        } else {
            tensors[which].bytes.resize(len, 7);
            tensors[which].dtype = dtype.to_owned();
        }
        survives(&config, &tensors);
    }
}
