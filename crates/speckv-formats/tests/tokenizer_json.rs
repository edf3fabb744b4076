//! `tokenizer.json` files that are small, broken or lie.

use std::path::PathBuf;

use serde_json::{Value, json};
use speckv_formats::tokenizer::{TokenType, Tokenizer, TokenizerError};

fn load(json: &str, beside: &[(&str, Value)]) -> Result<Tokenizer, TokenizerError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, json).unwrap();
    for (name, value) in beside {
        std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    Tokenizer::from_json_file(&path)
}

/// In the manner of Llama 2: a space before the text, U+2581 for spaces, bytes for what is unknown.
fn llama() -> Value {
    let added = |id: u32, text: &str| json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    json!({
        "version": "1.0", "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": true,
            "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<0xC3>": 3, "<0xA9>": 4, "▁": 5, "a": 6, "▁a": 7},
            "merges": ["▁ a"]},
    })
}

#[test]
fn sentencepiece_in_json_spells_spaces_and_bytes() {
    let config = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}});
    let tokenizer = load(&llama().to_string(), &[("tokenizer_config.json", config)]).unwrap();
    assert_eq!(
        (tokenizer.vocab_size(), tokenizer.bos(), tokenizer.end_tokens()),
        (8, Some(1), &[2][..])
    );
    assert_eq!(tokenizer.encode("a aé", false, true).unwrap(), [1, 7, 7, 3, 4]);
    assert_eq!(tokenizer.decode(&[1, 7, 7, 3, 4], true), "a aé");
    assert_eq!(tokenizer.piece(7), Some(&b" a"[..]));
    assert_eq!(tokenizer.token_type(4), Some(TokenType::Byte));
    assert_eq!(tokenizer.encode("a</s>", true, false).unwrap(), [7, 2]);
    assert!(
        !tokenizer.encode("a</s>", false, false).unwrap().contains(&2),
        "special only where parsed"
    );
    assert!(tokenizer.is_special(2) && !tokenizer.is_special(6));
}

#[test]
fn broken_files_are_refused_with_their_path() {
    let missing =
        Tokenizer::from_json_file(&PathBuf::from("no-such-folder/tokenizer.json")).unwrap_err();
    assert!(
        matches!(missing, TokenizerError::Io { .. })
            && missing.to_string().contains("no-such-folder")
    );
    let mut no_decoder = llama();
    no_decoder["decoder"] = Value::Null;
    let mut word_piece = llama();
    word_piece["decoder"] = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    let mut huge = llama();
    huge["model"]["vocab"]["b"] = json!(4_000_000_000u32);
    let mut bad_merge = llama();
    bad_merge["model"]["merges"] = json!(["zz a"]);
    for json in ["".to_owned(), "{".to_owned(), "{}".to_owned(), "[]".to_owned(), "null".to_owned()]
        .into_iter()
        .chain([no_decoder, word_piece, huge, bad_merge].map(|value| value.to_string()))
    {
        let error = load(&json, &[]).unwrap_err();
        assert!(matches!(error, TokenizerError::Json { .. }), "{error}");
        assert!(error.to_string().contains("tokenizer.json") && error.hint().is_some());
    }
    let generation = ("generation_config.json", json!({"eos_token_id": [2, 99]}));
    assert!(matches!(
        load(&llama().to_string(), &[generation]),
        Err(TokenizerError::OutOfRange { token: 99, .. })
    ));
}
