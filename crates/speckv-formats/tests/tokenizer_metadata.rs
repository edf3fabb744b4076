//! Tokenizers of GGUF files: each key of `tokenizer.ggml` is read, changes nothing, or is refused.

use speckv_formats::{
    gguf::{Gguf, Value, Writer},
    tokenizer::{Tokenizer, TokenizerError},
};

fn gguf(entries: &[(&str, Value)]) -> Result<Tokenizer, TokenizerError> {
    let mut writer = Writer::new();
    for (key, value) in entries {
        writer.set(format!("tokenizer.ggml.{key}"), value.clone());
    }
    let file = Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap();
    Tokenizer::from_gguf(file.metadata())
}

fn strings(texts: &[&str]) -> Value {
    Value::Array(speckv_formats::gguf::Array::String(
        texts.iter().map(|text| (*text).to_owned()).collect(),
    ))
}

#[test]
fn gguf_metadata_are_read_or_refused_by_name() {
    use speckv_formats::gguf::Array;
    let text = |text: &str| Value::String(text.to_owned());
    let types = |numbers: &[i32]| Value::Array(Array::I32(numbers.to_vec()));
    let good = [
        ("model", text("gpt2")),
        ("pre", text("llama-bpe")),
        ("tokens", strings(&["a", "b", "ab", "<s>", "</s>", "<eot>"])),
        ("token_type", types(&[1, 1, 1, 3, 3, 3])),
        ("merges", strings(&["a b"])),
        ("bos_token_id", Value::U32(3)),
        ("eos_token_id", Value::U32(4)),
        ("eot_token_id", Value::U32(5)),
        ("unknown_token_id", Value::U32(u32::MAX)),
    ];
    let tokenizer = gguf(&good).unwrap();
    assert_eq!(
        tokenizer.encode("abba", true, true).unwrap(),
        [3, 2, 1, 0],
        "llama-bpe begins with BOS"
    );
    assert_eq!(
        (tokenizer.bos(), tokenizer.eos(), tokenizer.end_tokens()),
        (Some(3), Some(4), &[4, 5][..])
    );
    let with = |key: &'static str, value: Value| {
        let mut entries = good.to_vec();
        entries.retain(|entry| entry.0 != key);
        entries.push((key, value));
        gguf(&entries)
    };
    assert_eq!(
        with("add_bos_token", Value::Bool(false)).unwrap().encode("a", true, true).unwrap(),
        [0]
    );
    let ends = with("eos_token_ids", Value::Array(Array::U32(vec![2, 4]))).unwrap();
    assert_eq!(ends.end_tokens(), [4, 5, 2]);
    for (key, value, expected) in [
        ("model", text("unigram"), "among gpt2, llama, got `unigram`"),
        ("pre", text("klingon"), "got `klingon`"),
        ("token_type", types(&[1]), "expected 6 token types"),
        ("token_type", types(&[1, 1, 1, 3, 3, 9]), "token 5, got 9"),
        ("token_type", text("1"), "token_type"),
        ("eos_token_id", Value::U32(6), "eos_token_id names token 6"),
        ("eos_token_ids", Value::Array(Array::U32(vec![7])), "eos_token_ids names token 7"),
        ("bos_token_id", text("<s>"), "bos_token_id"),
        ("tokens", strings(&[]), "without tokens"),
    ] {
        let message = match with(key, value) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{key} was taken"),
        };
        assert!(message.contains(expected), "{key}: {message}");
    }
    let list = |numbers: &[u8]| Value::Array(Array::U8(numbers.to_vec()));
    for (key, value) in [
        ("normalizer.lowercase", Value::Bool(false)),
        ("remove_extra_whitespaces", Value::Bool(false)),
        ("precompiled_charsmap", list(&[])),
        ("fim_pre_token_id", Value::U32(0)),
        ("added_tokens", strings(&["<s>"])),
    ] {
        assert!(with(key, value).is_ok(), "{key}");
    }
    for (key, value) in [
        ("normalizer.lowercase", Value::Bool(true)),
        ("remove_extra_whitespaces", Value::Bool(true)),
        ("escape_whitespaces", Value::Bool(false)),
        ("add_sep_token", Value::Bool(true)),
        ("precompiled_charsmap", list(&[1])),
        ("suppress_tokens", types(&[1])),
        ("reverse_text", Value::Bool(false)),
    ] {
        let error = with(key, value).expect_err(key);
        assert!(error.to_string().contains(&format!("tokenizer.ggml.{key}")), "{error}");
        assert!(error.hint().is_some());
    }
    for key in ["model", "pre", "tokens", "merges"] {
        let entries: Vec<_> = good.iter().filter(|entry| entry.0 != key).cloned().collect();
        let error = gguf(&entries).unwrap_err().to_string();
        assert!(error.contains(&format!("tokenizer.ggml.{key}")), "{error}");
    }
    let pieces = [
        ("model", text("llama")),
        ("tokens", strings(&["▁", "a", "<s>"])),
        ("scores", Value::Array(Array::F32(vec![0.0; 3]))),
        ("token_type", types(&[1, 1, 3])),
        ("bos_token_id", Value::U32(2)),
    ];
    assert_eq!(
        gguf(&pieces).unwrap().encode("a", true, true).unwrap(),
        [2, 0, 1],
        "SentencePiece defaults"
    );
}
