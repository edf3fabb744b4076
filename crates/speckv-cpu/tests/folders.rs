//! Hugging Face folders: against the `transformers` library, against the same model as GGUF, whole,
//! in shards, and damaged.

#[path = "support/reference_weights.rs"]
mod reference_weights;
#[path = "support/safetensors.rs"]
mod safetensors;

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use reference_weights::weights;
use safetensors::{Entry, write};
use serde_json::{Value, json};
use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel},
};
use speckv_cpu::{
    model::{CpuModel, LoadError, LoadOptions},
    pool::Pool,
};
use speckv_formats::{
    checkpoint::{Checkpoint, CheckpointError},
    gguf::Gguf,
    quant::TensorType,
    tiny::Tiny,
};
use tempfile::TempDir;

fn load(file: impl Into<Checkpoint>) -> Result<CpuModel, LoadError> {
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    CpuModel::load(file, &LoadOptions::new(pool), &mut |_| {})
}

fn logits(model: &CpuModel, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut logits = Logits::new();
    let mut cache = model.new_cache().unwrap();
    model.forward(&mut [Feed::new(&mut cache, tokens, tokens.len())], &mut logits).unwrap();
    (0..tokens.len()).map(|row| logits.row(row).to_vec()).collect()
}

fn bytes(dtype: &str, values: &[f32]) -> Vec<u8> {
    let two = |to: &dyn Fn(f32) -> (u16, f32)| {
        let exact = |&x: &f32| {
            let (bits, back) = to(x);
            assert_eq!(back, x, "{dtype} holds it exactly");
            bits.to_le_bytes()
        };
        values.iter().flat_map(exact).collect()
    };
    match dtype {
        "F32" => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        "F16" => two(&|x| (half::f16::from_f32(x).to_bits(), half::f16::from_f32(x).to_f32())),
        _ => two(&|x| (half::bf16::from_f32(x).to_bits(), half::bf16::from_f32(x).to_f32())),
    }
}

/// Writes one of the reference's models.
fn write_reference(folder: &Path, model: &Value, dtype: &'static str) {
    std::fs::write(folder.join("config.json"), model["config"].to_string()).unwrap();
    let layers = model["config"]["num_hidden_layers"].as_u64().unwrap();
    let gemma = model["label"].as_str().unwrap().contains("gemma3");
    let mut tensors = Vec::new();
    for (pattern, shape) in model["tensors"].as_object().unwrap() {
        let copies = if pattern.contains("layers.0.") { layers } else { 1 };
        for layer in 0..copies {
            let name = pattern.replace("layers.0.", &format!("layers.{layer}."));
            let shape: Vec<usize> = shape
                .as_array()
                .unwrap()
                .iter()
                .map(|size| size.as_u64().unwrap() as usize)
                .collect();
            let mut values = weights(&name, &shape);
            if name.ends_with("norm.weight") && !gemma {
                values.iter_mut().for_each(|value| *value += 1.0);
            }
            let bytes = bytes(dtype, &values);
            tensors.push(Entry { name, shape, dtype: dtype.to_owned(), bytes });
        }
    }
    std::fs::write(folder.join("model.safetensors"), write(&tensors)).unwrap();
}

#[test]
fn logits_are_those_of_the_transformers_library() {
    // Made by the program beside it.
    let reference: Value = serde_json::from_str(include_str!("transformers/logits.json")).unwrap();
    let numbers = |value: &Value| -> Vec<usize> {
        value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
    };
    let tokens: Vec<u32> =
        numbers(&reference["tokens"]).into_iter().map(|token| token as u32).collect();
    let positions = numbers(&reference["positions"]);
    let models = reference["models"].as_array().unwrap();
    assert_eq!(models.len(), 7);
    for model in models {
        for dtype in ["F32", "F16", "BF16"] {
            let folder = TempDir::new().unwrap();
            write_reference(folder.path(), model, dtype);
            let loaded = load(Checkpoint::open(folder.path()).unwrap()).unwrap();
            let got = logits(&loaded, &tokens);
            for (place, &position) in positions.iter().enumerate() {
                let expected: Vec<f64> = model["logits"][place]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|x| x.as_f64().unwrap())
                    .collect();
                let size = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
                let error = got[position]
                    .iter()
                    .zip(&expected)
                    .map(|(g, e)| (f64::from(*g) - e).powi(2))
                    .sum::<f64>()
                    .sqrt();
                let label = &model["label"];
                eprintln!(
                    "{label} {dtype}, position {position}: relative error {:.1e}",
                    error / size
                );
                // Keys and values in half precision cost some 1e-4.
                assert!(
                    error < 2e-3 * size,
                    "{label} {dtype}, position {position}: relative error {}",
                    error / size
                );
            }
        }
    }
}

fn shapes() -> [Tiny; 5] {
    let small = Tiny { tensor_type: TensorType::F32, ..Tiny::default() };
    [
        Tiny { architecture: "qwen2", biases: true, tied: true, ..small.clone() },
        Tiny {
            architecture: "qwen3",
            head_dim: Some(32),
            tensor_type: TensorType::F16,
            ..small.clone()
        },
        Tiny {
            architecture: "gemma3",
            head_dim: Some(32),
            layers: 7,
            tied: true,
            tensor_type: TensorType::BF16,
            ..small.clone()
        },
        Tiny { architecture: "llama", kv_heads: 1, ..small.clone() },
        Tiny { architecture: "llama", biases: true, tensor_type: TensorType::F16, ..small },
    ]
}

#[test]
fn a_folder_says_what_the_same_model_says_as_gguf() {
    let tokens: Vec<u32> = (0..40).map(|i| (i * 29 + 3) % 250).collect();
    for tiny in shapes() {
        let gguf = load(Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap())).unwrap();
        let expected = logits(&gguf, &tokens);
        for shards in [1, 3] {
            let folder = TempDir::new().unwrap();
            tiny.write_folder(folder.path(), shards).unwrap();
            let got = logits(&load(Checkpoint::open(folder.path()).unwrap()).unwrap(), &tokens);
            for (got, expected) in got.iter().zip(&expected) {
                if tiny.architecture == "llama" {
                    // The values of a head come in another order, and so do the sums over them.
                    let error =
                        got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(
                        error < 2e-3 * expected.iter().fold(1.0, |a: f32, b| a.max(b.abs())),
                        "{tiny:?}: {error}"
                    );
                } else {
                    assert_eq!(got, expected, "{tiny:?}, {shards} files");
                }
            }
        }
    }
}

#[test]
fn tokenizer_and_template_of_a_folder_are_those_of_the_file() {
    let tiny = Tiny::default();
    let file: Checkpoint = Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap()).into();
    let place = TempDir::new().unwrap();
    Tiny { tensor_type: TensorType::F32, ..tiny }.write_folder(place.path(), 1).unwrap();
    let folder = Checkpoint::open(place.path()).unwrap();
    let (ours, theirs) = (file.tokenizer().unwrap(), folder.tokenizer().unwrap());
    assert!(ours.first_difference(&theirs).is_none());
    assert_eq!((ours.end_tokens(), ours.eos()), (theirs.end_tokens(), theirs.eos()));
    for text in ["the inner her", "<|im_start|>user\nan hour<|im_end|>", "é\u{1F600}  x"] {
        assert_eq!(
            ours.encode(text, true, false).unwrap(),
            theirs.encode(text, true, false).unwrap(),
            "{text:?}"
        );
    }
    let message =
        speckv_formats::chat_template::Message { role: "user".into(), content: "hello".into() };
    let rendered = |checkpoint: &Checkpoint, tokenizer| {
        checkpoint
            .chat_template(tokenizer)
            .unwrap()
            .render(std::slice::from_ref(&message), true)
            .unwrap()
    };
    assert_eq!(rendered(&file, &ours), rendered(&folder, &theirs));
}

/// What opening or loading a damaged folder says.
fn refusal(tiny: &Tiny, shards: usize, damage: impl FnOnce(&Path)) -> String {
    let folder = TempDir::new().unwrap();
    tiny.write_folder(folder.path(), shards).unwrap();
    damage(folder.path());
    let mut text = String::new();
    let mut error: Option<&dyn std::error::Error> = None;
    let (opened, loaded);
    match Checkpoint::open(folder.path()) {
        Err(failed) => {
            assert!(failed.hint().is_some());
            opened = failed;
            error = Some(&opened);
        }
        Ok(checkpoint) => {
            loaded = load(checkpoint);
            error = loaded.as_ref().err().map(|failed| failed as &dyn std::error::Error).or(error);
        }
    }
    assert!(error.is_some(), "nothing was refused");
    while let Some(cause) = error {
        text += &format!("{cause}; ");
        error = cause.source();
    }
    text
}

fn edit(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(name);
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn what_is_wrong_with_a_folder_is_named() {
    const INDEX: &str = "model.safetensors.index.json";
    let tiny = Tiny { tensor_type: TensorType::F32, ..Tiny::default() };
    let config = |key: &'static str, value: Value| {
        let text =
            refusal(&tiny, 1, |folder| edit(folder, "config.json", |config| config[key] = value));
        (key, text)
    };
    let index = |change: fn(&mut Value)| refusal(&tiny, 3, |folder| edit(folder, INDEX, change));
    let remove = |name: &'static str, shards| {
        refusal(&tiny, shards, |folder| std::fs::remove_file(folder.join(name)).unwrap())
    };
    let add = |name: &str, dtype: &'static str| {
        let bytes = vec![0; if dtype == "F32" { 4 } else { 8 }];
        let tensor =
            [Entry { name: name.to_owned(), shape: vec![1], dtype: dtype.to_owned(), bytes }];
        refusal(&tiny, 3, |folder| {
            edit(folder, INDEX, |index| index["weight_map"][name] = json!("extra.safetensors"));
            std::fs::write(folder.join("extra.safetensors"), write(&tensor)).unwrap();
        })
    };
    let cases = [
        (remove("config.json", 1), vec!["config.json", "Hugging Face folder"]),
        (remove("model.safetensors", 1), vec!["model.safetensors"]),
        (
            remove("model-00002-of-00003.safetensors", 3),
            vec!["a shard that is not there", "model-00002-of-00003.safetensors"],
        ),
        (
            refusal(&tiny, 1, |folder| {
                std::fs::rename(folder.join("model.safetensors"), folder.join("pytorch_model.bin"))
                    .unwrap();
            }),
            vec!["pytorch_model.bin", "supported are model.safetensors"],
        ),
        (
            refusal(&tiny, 1, |folder| std::fs::write(folder.join("config.json"), "{").unwrap()),
            vec!["config.json is not JSON"],
        ),
        (
            refusal(&tiny, 1, |folder| {
                std::fs::write(folder.join("model.safetensors"), [9; 20]).unwrap()
            }),
            vec!["model.safetensors", "a header of"],
        ),
        (index(|index| *index = json!([])), vec!["weight_map"]),
        (
            index(|index| index["weight_map"]["x"] = json!("../x.safetensors")),
            vec!["../x.safetensors", "same folder"],
        ),
        (index(|index| index["weight_map"]["x"] = json!(3)), vec!["same folder"]),
        (index(|index| index["weight_map"] = json!({})), vec!["at least one tensor"]),
        (
            index(|index| {
                index["weight_map"]["model.norm.weight"] = json!("model-00003-of-00003.safetensors")
            }),
            vec!["model.norm.weight in model-00003-of-00003.safetensors"],
        ),
        (
            add("model.layers.0.mlp.up_proj.bias", "F32"),
            vec!["model.layers.0.mlp.up_proj.bias", "\"mlp_bias\" in config.json is not true"],
        ),
        (add("model.layers.0.self_attn.q_proj.bias", "F64"), vec!["F32, F16 or BF16", "F64"]),
        (
            add("model.layers.0.self_attn.q_proj.bias", "F32"),
            vec!["model.layers.0.self_attn.q_proj.bias is in the file"],
        ),
        (config("model_type", json!("gpt_oss")).1, vec!["gpt_oss", "supported are llama"]),
        (config("hidden_size", Value::Null).1, vec!["no \"hidden_size\""]),
        (config("num_hidden_layers", json!(3)).1, vec!["model.layers.2.", "missing"]),
        (
            config("num_hidden_layers", json!(1)).1,
            vec!["model.layers.1.", "1 layers, as \"num_hidden_layers\" in config.json says"],
        ),
        (
            config("attention_bias", json!(true)).1,
            vec![
                "model.layers.0.self_attn.q_proj.bias is missing",
                "\"attention_bias\" in config.json",
            ],
        ),
        (
            refusal(&Tiny { biases: true, ..tiny.clone() }, 1, |folder| {
                edit(folder, "config.json", |config| config["attention_bias"] = Value::Null);
            }),
            vec![
                "self_attn.q_proj.bias is in the file",
                "\"attention_bias\" in config.json is not true",
            ],
        ),
        (
            refusal(&Tiny { architecture: "qwen2", ..tiny.clone() }, 1, |_| {}),
            vec!["model.layers.0.self_attn.q_proj.bias is missing"],
        ),
        (
            refusal(&Tiny { architecture: "qwen2", biases: true, ..tiny.clone() }, 1, |folder| {
                edit(folder, "config.json", |config| config["attention_bias"] = json!(false));
            }),
            vec!["attention_bias: expected true", "got false"],
        ),
        (config("vocab_size", json!(300)).1, vec!["model.embed_tokens.weight", "300"]),
        (config("head_dim", json!(32)).1, vec!["self_attn.q_proj.weight", "shape"]),
        (
            config(
                "quantization_config",
                json!({"quant_method": "bitsandbytes", "load_in_8bit": true}),
            )
            .1,
            vec!["bitsandbytes in 8 bits", "expected bitsandbytes in 4 bits", "float32"],
        ),
        (
            refusal(&Tiny { tied: true, ..tiny.clone() }, 1, |folder| {
                edit(folder, "config.json", |config| config["tie_word_embeddings"] = json!(false));
            }),
            vec!["lm_head.weight", "tie_word_embeddings"],
        ),
    ];
    for (text, words) in cases {
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
    }
    assert!(matches!(Checkpoint::open(Path::new("no/such/folder")), Err(CheckpointError::Gguf(_))));
}

#[test]
fn an_unused_copy_of_the_embedding_is_no_output_head() {
    let tiny = Tiny { tensor_type: TensorType::F32, ..Tiny::default() };
    let folder = TempDir::new().unwrap();
    tiny.write_folder(folder.path(), 1).unwrap();
    let own = logits(&load(Checkpoint::open(folder.path()).unwrap()).unwrap(), &[1, 2, 3]);
    edit(folder.path(), "config.json", |config| config["tie_word_embeddings"] = json!(true));
    let tied = logits(&load(Checkpoint::open(folder.path()).unwrap()).unwrap(), &[1, 2, 3]);
    assert_ne!(own, tied, "the blueprint decides, not the file");
}
