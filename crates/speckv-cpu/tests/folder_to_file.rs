//! A Hugging Face folder written as a GGUF file: the same numbers, the same tokens, the same words
//! around them.

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use serde_json::{Value, json};
use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel},
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::{
    chat_template::Message,
    checkpoint::Checkpoint,
    compression::Compression,
    gguf::Gguf,
    quant::TensorType,
    requantize::{RequantizeError, requantize},
    tiny::Tiny,
};
use tempfile::TempDir;

fn logits(file: &Checkpoint) -> Vec<Vec<f32>> {
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    let model = CpuModel::load(file, &LoadOptions::new(pool), &mut |_| {}).unwrap();
    let tokens: Vec<u32> = (0..40).map(|i| (i * 29 + 3) % 250).collect();
    let (mut logits, mut cache) = (Logits::new(), model.new_cache().unwrap());
    model.forward(&mut [Feed::new(&mut cache, &tokens, tokens.len())], &mut logits).unwrap();
    (0..tokens.len()).map(|row| logits.row(row).to_vec()).collect()
}

/// The largest difference, in units of the largest number.
fn distance(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> f32 {
    let size = theirs.iter().flatten().fold(0.0, |most: f32, x| most.max(x.abs()));
    ours.iter()
        .flatten()
        .zip(theirs.iter().flatten())
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
        / size
}

fn written(folder: &Path, compression: Compression) -> Result<Checkpoint, RequantizeError> {
    let place = TempDir::new().unwrap();
    let path = place.path().join("out.gguf");
    requantize(&Checkpoint::open(folder).unwrap(), compression, 2, &path, &mut |done, total| {
        done <= total
    })?;
    Ok(Arc::new(Gguf::from_bytes(std::fs::read(&path).unwrap()).unwrap()).into())
}

fn edit(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(name);
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

fn shapes() -> [Tiny; 6] {
    let small = Tiny { tensor_type: TensorType::F32, ..Tiny::default() };
    let gemma =
        Tiny { architecture: "gemma3", head_dim: Some(32), layers: 7, tied: true, ..small.clone() };
    [
        Tiny { architecture: "qwen2", biases: true, tied: true, ..small.clone() },
        Tiny {
            architecture: "qwen3",
            head_dim: Some(32),
            tensor_type: TensorType::F16,
            ..small.clone()
        },
        Tiny { tensor_type: TensorType::BF16, vocab_size: 300, ..gemma },
        Tiny { kv_heads: 1, ..small.clone() },
        Tiny { biases: true, tensor_type: TensorType::F16, ..small.clone() },
        Tiny { heads: 2, tensor_type: TensorType::BF16, ..small },
    ]
}

#[test]
fn a_folder_as_a_file_gives_the_same_bits() {
    for tiny in shapes() {
        let folder = TempDir::new().unwrap();
        tiny.write_folder(folder.path(), 2).unwrap();
        let file = written(folder.path(), Compression::AsIs).unwrap();
        let ours = logits(&file);
        // The same model as its maker writes it: for llama, whose heads' values change their order,
        // what no folder can give to the bit.
        let made: Checkpoint = Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap()).into();
        assert_eq!(ours, logits(&made), "{tiny:?}");
        let folder = logits(&Checkpoint::open(folder.path()).unwrap());
        let most = if tiny.architecture == "llama" { 2e-3 } else { 0.0 };
        assert!(distance(&ours, &folder) <= most, "{tiny:?}");
    }
}

#[test]
fn its_tokens_ends_and_turns_are_those_of_the_folder() {
    for tiny in shapes() {
        let place = TempDir::new().unwrap();
        tiny.write_folder(place.path(), 1).unwrap();
        let (folder, file) = (
            Checkpoint::open(place.path()).unwrap(),
            written(place.path(), Compression::AsIs).unwrap(),
        );
        let (theirs, ours) = (folder.tokenizer().unwrap(), file.tokenizer().unwrap());
        assert!(ours.first_difference(&theirs).is_none());
        assert_eq!(ours.vocab_size(), tiny.vocab_size, "as many tokens as the embedding has rows");
        assert_eq!(
            (ours.end_tokens(), ours.bos(), ours.eos()),
            (theirs.end_tokens(), theirs.bos(), theirs.eos())
        );
        for text in
            ["the inner her", "<|im_start|>user\nan hour<|im_end|>", "é\u{1F600}  x\n\n 12345 it's"]
        {
            for special in [false, true] {
                assert_eq!(
                    ours.encode(text, special, special).unwrap(),
                    theirs.encode(text, special, special).unwrap()
                );
            }
        }
        let said = |file: &Checkpoint, tokenizer| {
            file.chat_template(tokenizer)
                .unwrap()
                .render(&[Message::new("user", "hello")], true)
                .unwrap()
        };
        assert_eq!(said(&file, &ours), said(&folder, &theirs));
    }
}

#[test]
fn rotary_factors_become_a_tensor_and_weights_another_type() {
    let folder = TempDir::new().unwrap();
    Tiny { tensor_type: TensorType::BF16, ..Tiny::default() }
        .write_folder(folder.path(), 1)
        .unwrap();
    let plain = logits(&written(folder.path(), Compression::AsIs).unwrap());
    edit(folder.path(), "config.json", |config| {
        config["rope_scaling"] = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32});
    });
    let expected = logits(&Checkpoint::open(folder.path()).unwrap());
    let ours = logits(&written(folder.path(), Compression::AsIs).unwrap());
    assert!(distance(&ours, &expected) < 2e-3 && distance(&ours, &plain) > 2e-2);
    let coarse = written(folder.path(), Compression::Int8).unwrap();
    let of_layers = coarse.stored("blk.0.attn_q.weight").unwrap();
    assert_eq!(
        (of_layers.kind(), coarse.stored("rope_freqs.weight").unwrap().kind()),
        ("Q8_0", "F32")
    );
    assert!(distance(&logits(&coarse), &expected) < 0.1);
}

#[test]
fn four_bits_of_bitsandbytes_get_a_type_that_files_have() {
    let folder = TempDir::new().unwrap();
    let tiny = Tiny {
        architecture: "qwen2",
        biases: true,
        feed_forward: 128,
        tensor_type: TensorType::F32,
        ..Tiny::default()
    };
    tiny.write_nf4_folder(folder.path(), 1).unwrap();
    let refused = written(folder.path(), Compression::AsIs).unwrap_err();
    assert!(matches!(refused, RequantizeError::NotInFiles(_)), "{refused}");
    let file = written(folder.path(), Compression::Fp16).unwrap();
    assert_eq!(file.stored("blk.1.ffn_down.weight").unwrap().kind(), "F16");
    assert!(distance(&logits(&file), &logits(&Checkpoint::open(folder.path()).unwrap())) < 0.05);
}

#[test]
fn a_tokenizer_that_gguf_cannot_say_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    Tiny { tensor_type: TensorType::F32, ..Tiny::default() }
        .write_folder(folder.path(), 1)
        .unwrap();
    // Every character alone: no way of cutting has that name.
    edit(folder.path(), "tokenizer.json", |tokenizer| {
        let split = json!({"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false});
        tokenizer["pre_tokenizer"] =
            json!({"type": "Sequence", "pretokenizers": [split, tokenizer["pre_tokenizer"]]});
    });
    let refused = written(folder.path(), Compression::AsIs).unwrap_err().to_string();
    assert!(refused.contains("no way of cutting and merging"), "{refused}");
}

#[test]
fn a_tokenizer_that_normalizes_to_nfc_gives_the_same_tokens_from_the_file() {
    for normalizer in
        [json!({"type": "NFC"}), json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]})]
    {
        let place = TempDir::new().unwrap();
        Tiny {
            architecture: "qwen2",
            biases: true,
            tensor_type: TensorType::F16,
            ..Tiny::default()
        }
        .write_folder(place.path(), 1)
        .unwrap();
        edit(place.path(), "tokenizer.json", |json| json["normalizer"] = normalizer);
        let theirs = Checkpoint::open(place.path()).unwrap().tokenizer().unwrap();
        let ours = written(place.path(), Compression::AsIs).unwrap().tokenizer().unwrap();
        for text in ["e\u{301}", "\u{e9}", "<|im_start|>u\u{308}<|im_end|> n\u{303}o", "abc"] {
            for special in [false, true] {
                let tokens = ours.encode(text, special, false).unwrap();
                assert_eq!(tokens, theirs.encode(text, special, false).unwrap(), "{text}");
            }
        }
        let both = ["e\u{301}", "\u{e9}"].map(|text| ours.encode(text, true, false).unwrap());
        assert_eq!(both[0], both[1]);
    }
}
