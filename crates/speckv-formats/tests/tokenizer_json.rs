//! `tokenizer.json` files that are small, broken or lie.

#![allow(
    clippy::single_range_in_vec_init,
    reason = "lists of ranges are meant: the parts of a text that a user wrote"
)]

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

#[test]
fn truncation_and_padding_of_training_are_not_applied() {
    let mut cut = llama();
    cut["truncation"] =
        json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    cut["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 2, "pad_type_id": 0, "pad_token": "</s>"});
    let (whole, cut) = (load(&llama().to_string(), &[]), load(&cut.to_string(), &[]));
    let (whole, cut) = (whole.unwrap(), cut.unwrap());
    for text in ["a", "a a a a a", "a</s>a"] {
        for (special, marked) in [(true, 0..0), (false, 0..0), (true, 0..text.len())] {
            assert_eq!(
                cut.encode(text, special, true).unwrap(),
                whole.encode(text, special, true).unwrap()
            );
            let marked = if marked.is_empty() { vec![] } else { vec![marked] };
            assert_eq!(
                cut.encode_marked(text, &marked, false).unwrap(),
                whole.encode_marked(text, &marked, false).unwrap()
            );
        }
    }
}

#[test]
fn ends_are_found_where_transformers_finds_them() {
    let ends = |beside: &[(&str, Value)]| {
        let tokenizer = load(&llama().to_string(), beside).unwrap();
        (tokenizer.bos(), tokenizer.eos(), tokenizer.end_tokens().to_vec())
    };
    let config = |value: Value| ("config.json", value);
    let generation = |value: Value| ("generation_config.json", value);
    let map =
        ("special_tokens_map.json", json!({"bos_token": {"content": "<s>"}, "eos_token": "a"}));
    assert_eq!(ends(&[]), (None, None, vec![2]), "</s> is a known end");
    let both = config(json!({"bos_token_id": 1, "eos_token_id": [5, 6]}));
    assert_eq!(ends(std::slice::from_ref(&both)), (Some(1), Some(5), vec![5, 6, 2]));
    let inner = config(json!({"text_config": {"eos_token_id": 6}}));
    assert_eq!(ends(&[inner]).2, [6, 2]);
    assert_eq!(ends(&[both.clone(), generation(json!({"eos_token_id": 7}))]).2, [7, 2]);
    let silent = generation(json!({"temperature": 0.6}));
    assert_eq!(ends(&[both.clone(), silent]).2, [5, 6, 2], "it says nothing of ends");
    assert_eq!(ends(std::slice::from_ref(&map)), (Some(1), Some(6), vec![6, 2]));
    let named = ("tokenizer_config.json", json!({"bos_token": null, "eos_token": "</s>"}));
    assert_eq!(ends(&[named, both]), (None, Some(2), vec![2, 5, 6]), "Qwen's have no beginning");
}

#[test]
fn marked_text_has_no_control_tokens_and_else_the_same_tokens() {
    let tokenizer = load(&llama().to_string(), &[]).unwrap();
    let all = |text: &str| tokenizer.encode(text, true, true).unwrap();
    // Without a control token in the marked part nothing changes.
    for (text, data) in [("a</s>a a", 5..8), ("a", 0..1), ("</s>", 4..4), ("a <s>a</s>", 5..6)] {
        let data = if data.is_empty() { vec![] } else { vec![data] };
        assert_eq!(tokenizer.encode_marked(text, &data, true).unwrap(), all(text), "{text}");
    }
    let marked = tokenizer.encode_marked("a</s></s>a", &[1..5], true).unwrap();
    assert_eq!(marked.iter().filter(|&&token| token == 2).count(), 1);
    assert_eq!((marked[0], marked[1], marked.last()), (1, 7, Some(&7)));
    // As text it is what the whole text without special tokens makes of it.
    let plain = tokenizer.encode("a</s>", false, true).unwrap();
    assert_eq!(marked[..plain.len()], plain);
}

#[test]
fn dropout_of_training_is_not_applied() {
    let mut random = llama();
    random["model"]["dropout"] = json!(0.9);
    let tokenizer = load(&random.to_string(), &[]).unwrap();
    for _ in 0..50 {
        assert_eq!(tokenizer.encode("a a a", false, false).unwrap(), [7, 7, 7]);
    }
}

#[test]
fn tokens_of_the_files_beside_it_are_added() {
    let described = |number: &str, special: bool| {
        let token = json!({"content": "<new>", "lstrip": false, "normalized": false,
            "rstrip": false, "single_word": false, "special": special});
        ("tokenizer_config.json", json!({"added_tokens_decoder": {number: token}}))
    };
    let named = ("added_tokens.json", json!({"<new>": 8, "</s>": 2}));
    let plain = load(&llama().to_string(), &[]).unwrap();
    assert_eq!(plain.vocab_size(), 8);
    // A token that only has a name is matched in the normalized text, and is itself normalized:
    // here it begins with a space, so that it is not found inside a word. That is as in
    // transformers.
    for (beside, special, inside) in [
        (described("8", true), true, [7, 8]),
        (described("8", false), false, [7, 8]),
        (named, false, [7, 0]),
    ] {
        let tokenizer = load(&llama().to_string(), &[beside]).unwrap();
        assert_eq!(tokenizer.vocab_size(), 9);
        assert_eq!(tokenizer.encode("a<new>", true, false).unwrap(), inside);
        assert_eq!((tokenizer.is_special(8), tokenizer.is_special(2)), (special, true));
        // Special tokens are not shown.
        assert_eq!(tokenizer.decode(&[7, 8], true), if special { "a" } else { "a<new>" });
    }
    let error = load(&llama().to_string(), &[described("11", true)]).unwrap_err();
    assert!(matches!(error, TokenizerError::AddedToken { expected: 8, got: 11, .. }), "{error}");
    assert!(error.to_string().contains("tokenizer_config.json") && error.hint().is_some());
}

#[test]
fn the_files_beside_it_say_whether_a_token_is_special() {
    let token = json!({"content": "a", "lstrip": false, "normalized": false, "rstrip": false,
        "single_word": false, "special": true});
    let beside = ("tokenizer_config.json", json!({"added_tokens_decoder": {"6": token}}));
    let tokenizer = load(&llama().to_string(), &[beside]).unwrap();
    assert!(tokenizer.is_special(6));
    assert!(!load(&llama().to_string(), &[]).unwrap().is_special(6));
}

#[test]
fn beginnings_and_ends_are_added_as_the_class_of_the_tokenizer_reads_them() {
    let tokens = |class: &str, flags: Value| {
        let mut config = json!({"tokenizer_class": class, "bos_token": "<s>", "eos_token": "</s>"});
        config.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
        let beside = [("tokenizer_config.json", config)];
        load(&llama().to_string(), &beside).unwrap().encode("a", false, true).unwrap()
    };
    let llama = "LlamaTokenizerFast";
    assert_eq!(tokens(llama, json!({})), [1, 7]);
    assert_eq!(tokens(llama, json!({"add_bos_token": false})), [7]);
    assert_eq!(tokens(llama, json!({"add_bos_token": true, "add_eos_token": true})), [1, 7, 2]);
    assert_eq!(
        tokens("GemmaTokenizer", json!({"add_bos_token": false, "add_eos_token": true})),
        [7, 2]
    );
    // This class leaves the work to `tokenizer.json`.
    assert_eq!(tokens("PreTrainedTokenizerFast", json!({"add_bos_token": false})), [1, 7]);
}
