//! Real models: tokens, texts and prompts equal those of llama.cpp, which made the golden files.

mod support;

use std::sync::Mutex;

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use speckv_formats::{
    chat_template::{ChatTemplate, Message, Origin},
    tokenizer::{StreamDecoder, TokenType, Tokenizer, Vocabulary, pre_tokenizers},
};
use support::{MODELS, golden, model, tokens};

#[test]
fn tokens_and_texts_equal_those_of_llama_cpp() {
    for (name, file) in MODELS {
        let (Some(gguf), Some(golden)) = (model(name), golden(file, "llamacpp")) else { continue };
        let tokenizer = Tokenizer::from_gguf(gguf.metadata()).unwrap();
        let cases = golden["tokenize"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let expected = tokens(&case["tokens"]);
            assert_eq!(tokenizer.encode(text, true, false).unwrap(), expected, "{name}: {text:?}");
            assert_eq!(
                tokenizer.decode(&expected, false),
                case["detokenized"].as_str().unwrap(),
                "{name}: {text:?}"
            );
        }
        for case in golden["greedy"].as_array().unwrap() {
            let generated = tokens(&case["tokens"]);
            let mut decoder = StreamDecoder::new(&tokenizer);
            let mut text: String = generated.iter().map(|&token| decoder.push(token)).collect();
            text.push_str(&decoder.finish());
            assert_eq!(text, tokenizer.decode(&generated, true), "{name}");
            // A text cut by the limit may end within a character; llama.cpp then leaves that out.
            let expected = case["text"].as_str().unwrap();
            assert_eq!(
                text.trim_end_matches('\u{fffd}'),
                expected.trim_end_matches('\u{fffd}'),
                "{name}"
            );
            let ended = tokenizer.end_tokens().contains(generated.last().unwrap());
            assert_eq!(ended, case["stop"] == "eos", "{name}");
        }
    }
}

#[test]
fn prompts_equal_those_of_llama_cpp() {
    for (name, file) in MODELS {
        let (Some(gguf), Some(golden)) = (model(name), golden(file, "llamacpp")) else { continue };
        let tokenizer = Tokenizer::from_gguf(gguf.metadata()).unwrap();
        let template = ChatTemplate::from_gguf(gguf.metadata(), &tokenizer).unwrap();
        assert_eq!(template.origin(), Origin::Model);
        let cases = golden["chat"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let messages: Vec<Message> = case["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| {
                    Message::new(
                        message["role"].as_str().unwrap(),
                        message["content"].as_str().unwrap(),
                    )
                })
                .collect();
            let prompt = template.render(&messages, true).unwrap();
            assert_eq!(prompt, case["prompt"].as_str().unwrap(), "{name}");
            assert_eq!(
                tokenizer.encode(&prompt, true, false).unwrap(),
                tokens(&case["tokens"]),
                "{name}"
            );
        }
    }
}

#[test]
fn decoding_gives_back_any_text() {
    for (name, _) in MODELS {
        let Some(gguf) = model(name) else { continue };
        let tokenizer = Tokenizer::from_gguf(gguf.metadata()).unwrap();
        let text = prop_oneof![any::<String>(), r"[ \t\r\n\x{a0}a-zA-Z0-9.,'<|>é日🙂]{0,40}"];
        TestRunner::default()
            .run(&text, |text| {
                for parse_special in [false, true] {
                    let tokens = tokenizer.encode(&text, parse_special, false).unwrap();
                    prop_assert_eq!(tokenizer.decode(&tokens, false), text.as_str());
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn ends_and_special_tokens_are_known() {
    for (name, _) in MODELS {
        let Some(gguf) = model(name) else { continue };
        let tokenizer = Tokenizer::from_gguf(gguf.metadata()).unwrap();
        let ends: Vec<_> = tokenizer
            .end_tokens()
            .iter()
            .map(|&token| tokenizer.token_text(token).unwrap())
            .collect();
        assert_eq!(ends, ["<|im_end|>", "<|endoftext|>"], "{name}");
        let end = tokenizer.token_id("<|im_end|>").unwrap();
        assert!(tokenizer.is_special(end) && tokenizer.piece(end) == Some(b"<|im_end|>"));
        let bare = tokenizer.encode("hi", true, false).unwrap();
        assert_eq!(tokenizer.encode("hi", true, true).unwrap(), bare, "{name} adds nothing");
        let hello = tokenizer.encode(" hello", true, false).unwrap();
        assert_eq!((hello.len(), tokenizer.piece(hello[0])), (1, Some(&b" hello"[..])));
    }
}

#[test]
fn both_qwen_models_share_a_vocabulary_and_smollm_has_another() {
    let load = |name| model(name).map(|gguf| Tokenizer::from_gguf(gguf.metadata()).unwrap());
    let (Some(small), Some(large)) = (load(MODELS[1].0), load(MODELS[2].0)) else { return };
    assert_eq!(small.first_difference(&large), None);
    // The same vocabulary without its padding.
    let mut vocabulary = Vocabulary::from_gguf(model(MODELS[1].0).unwrap().metadata()).unwrap();
    let used = vocabulary.types.iter().position(|kind| *kind == TokenType::Unused).unwrap();
    assert_eq!(used, 151_665);
    vocabulary.tokens.truncate(used);
    vocabulary.types.truncate(used);
    let short = Tokenizer::from_vocabulary(vocabulary).unwrap();
    assert_eq!((short.first_difference(&large), large.first_difference(&short)), (None, None));
    let Some(other) = load(MODELS[0].0) else { return };
    let difference = small.first_difference(&other).unwrap();
    assert_eq!((difference.token, difference.ours.as_deref()), (0, Some("!")));
    assert_eq!(difference.theirs.as_deref(), Some("<|endoftext|>"));
}

/// The same vocabulary as a `tokenizer.json`, with the published pattern of the model's family.
fn as_json(vocabulary: &Vocabulary) -> Value {
    let speckv_formats::tokenizer::Model::ByteLevel { merges, pre } = &vocabulary.model else {
        panic!("not byte-level")
    };
    let used = || {
        vocabulary
            .tokens
            .iter()
            .enumerate()
            .filter(|(at, _)| vocabulary.types[*at] != TokenType::Unused)
    };
    let normal = |at: usize| vocabulary.types[at] == TokenType::Normal;
    let tokens: serde_json::Map<String, Value> =
        used().map(|(at, text)| (text.clone(), json!(at))).collect();
    let added: Vec<Value> = used()
        .filter(|(at, _)| !normal(*at))
        .map(|(at, text)| {
            json!({"id": at, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                   "special": vocabulary.types[at] == TokenType::Control})
        })
        .collect();
    let cut = match pre.as_str() {
        "qwen2" => json!([
            {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"}},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}
        ]),
        "smollm" => json!([
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
        ]),
        other => panic!("no published pattern for {other} here"),
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cut}, "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "vocab": tokens, "merges": merges},
    })
}

/// Two implementations, one vocabulary: ours, and the `tokenizers` library with the published
/// patterns.
#[test]
fn gguf_and_tokenizer_json_give_the_same_tokens() {
    for (name, _) in [MODELS[0], MODELS[1]] {
        let Some(gguf) = model(name) else { continue };
        let vocabulary = Vocabulary::from_gguf(gguf.metadata()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, as_json(&vocabulary).to_string()).unwrap();
        let config = json!({"eos_token": {"content": "<|im_end|>"}, "bos_token": null});
        std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        let end = vocabulary.tokens.iter().position(|text| text == "<|endoftext|>").unwrap();
        let generation = json!({"eos_token_id": [end]});
        std::fs::write(folder.path().join("generation_config.json"), generation.to_string())
            .unwrap();

        let library = Tokenizer::from_json_file(&path).unwrap();
        let ours = Tokenizer::from_vocabulary(vocabulary).unwrap();
        assert_eq!(library.first_difference(&ours), None, "{name}");
        assert_eq!(library.end_tokens(), ours.end_tokens(), "{name}");
        let text = prop_oneof![
            any::<String>(),
            r"[ \t\r\n\x{a0}\x{301}a-zA-Z0-9.,'<|>_é日🙂]{0,40}",
            "(<\\|im_start\\|>|<\\|im_end\\|>|<tool_call>|hello| world|\n|12){0,12}",
        ];
        let compared = Mutex::new(0);
        TestRunner::default()
            .run(&text, |text| {
                for parse_special in [false, true] {
                    let tokens = ours.encode(&text, parse_special, false).unwrap();
                    prop_assert_eq!(
                        &tokens,
                        &library.encode(&text, parse_special, false).unwrap(),
                        "{}: {:?}",
                        name,
                        text
                    );
                    for skip_special in [false, true] {
                        prop_assert_eq!(
                            ours.decode(&tokens, skip_special),
                            library.decode(&tokens, skip_special)
                        );
                    }
                }
                *compared.lock().unwrap() += 1;
                Ok(())
            })
            .unwrap();
        assert!(compared.into_inner().unwrap() >= 256);
    }
    assert!(pre_tokenizers().contains(&"smollm"));
}
