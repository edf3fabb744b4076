//! Writes the first inputs of every target: `seeds FOLDER`. Models are tiny ones of random numbers.
//!
//! It fuzzes nothing, but its libraries are instrumented and need libFuzzer to be linked, whose
//! initialization runs it.
#![no_main]

use std::{io, path::Path};

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use speckv_formats::{
    quant::{TensorType, random_blocks},
    tiny::Tiny,
};
use speckv_serve::lookup_file::{Contents, ScopeTexts, Vocabulary};

fn put(folder: &Path, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}

fuzz_target!(init: run(), |_bytes: &[u8]| {});

fn run() {
    write().expect("seeds");
    std::process::exit(0);
}

fn write() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).expect("expected a folder");
    let folder = Path::new(&folder);
    let small = Tiny { hidden: 32, feed_forward: 32, layers: 1, heads: 2, ..Tiny::default() };
    for (name, tiny) in [
        ("llama", small.clone()),
        ("qwen2", Tiny { architecture: "qwen2", biases: true, ..small.clone() }),
        ("qwen3", Tiny { architecture: "qwen3", head_dim: Some(32), ..small.clone() }),
        ("gemma3", Tiny { architecture: "gemma3", tied: true, ..small.clone() }),
    ] {
        put(folder, "gguf", name, &tiny.to_bytes().expect("a tiny model"))?;
        let place = tempfile::tempdir()?;
        Tiny { tensor_type: TensorType::F16, ..tiny }.write_folder(place.path(), 1)?;
        let files = ["model.safetensors", "config.json"];
        for (kind, file) in files.iter().enumerate() {
            let mut bytes = vec![kind as u8];
            bytes.extend(std::fs::read(place.path().join(file))?);
            put(folder, "safetensors", &format!("{name}-{file}"), &bytes)?;
        }
        let tokenizer = std::fs::read(place.path().join("tokenizer.json"))?;
        put(folder, "tokenizer_json", name, &tokenizer)?;
    }
    let texts = vec![vec![1, 2, 3], vec![999]];
    let scope = ScopeTexts { digest: [1; 32], texts };
    let contents = Contents { salt: [2; 16], scopes: vec![scope] };
    let bytes = contents.to_bytes(&Vocabulary { size: 1000, digest: [7; 32] });
    put(folder, "lookup_file", "two-texts", &bytes[..bytes.len() - 32])?;
    for (kind, tensor_type) in TensorType::ALL.into_iter().enumerate() {
        let mut bytes = vec![kind as u8];
        bytes.extend(random_blocks(tensor_type, 2, kind as u64));
        put(folder, "blocks", tensor_type.name(), &bytes)?;
    }
    let table = include_str!("../../../crates/speckv-formats/tests/jinja/expected.json");
    let table: Value = serde_json::from_str(table)?;
    for (number, case) in table["cases"].as_array().into_iter().flatten().enumerate() {
        let source = case["template"].as_str().unwrap_or_default();
        put(folder, "template", &format!("{number:04}"), source.as_bytes())?;
    }
    let talk = json!([{"role": "user", "content": "hi"}]);
    let parts = json!([{"role": "user", "content": [{"type": "text", "text": "hi"}]}]);
    for (number, (route, body)) in [
        (0, json!({"model": "sim", "messages": talk, "max_tokens": 8, "temperature": 0})),
        (0, json!({"messages": parts, "stream": true, "stream_options": {"include_usage": true}})),
        (0, json!({"messages": talk, "n": 2, "logprobs": true, "top_logprobs": 2, "seed": 3})),
        (0, json!({"messages": talk, "stop": ["a", "b"], "top_p": 0.9, "min_p": 0.1})),
        (0, json!({"messages": talk, "speculation": {"controller": "fixed:3"}, "user": "u"})),
        (1, json!({"prompt": "once", "max_tokens": 8, "echo": true, "logprobs": 2})),
        (1, json!({"prompt": ["a", "b"], "repetition_penalty": 1.1, "ignore_eos": true})),
        (1, json!({"prompt": [[1, 2, 3]], "stream": true, "best_of": 1, "suffix": null})),
        (2, json!({"content": "text", "add_special": true, "parse_special": false})),
        (3, json!({"tokens": [1, 2, 3]})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut bytes = vec![route];
        bytes.extend(body.to_string().into_bytes());
        put(folder, "request", &number.to_string(), &bytes)?;
    }
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 3},
        "b": {"anyOf": [{"$ref": "#/$defs/c"}, {"enum": ["x", null]}]}}, "required": ["a"],
        "$defs": {"c": {"type": "string", "pattern": "^[a-f]+$"}}});
    for (kind, text) in [
        (0, schema.to_string()),
        (1, "start: \"a\" (/[0-9]+/ | word)*\nword: \"x\" \"y\"?".to_owned()),
        (
            2,
            "root ::= \"a\" (digit | word){1,3}\ndigit ::= [0-9]\nword ::= \"x\" \"y\"?".to_owned(),
        ),
        (3, "(ab|c)*[0-9]{2,4}".to_owned()),
        (4, "yes,no,perhaps".to_owned()),
    ] {
        let bytes = [&[kind], text.as_bytes()].concat();
        put(folder, "grammar", &kind.to_string(), &bytes)?;
    }
    Ok(())
}
