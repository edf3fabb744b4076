//! Hugging Face folders, the type of the cache, and perplexity, through the real binary.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use process::Desk;
use speckv_cpu::{gguf::TensorType, tiny::Tiny};

fn qwen() -> Tiny {
    // Heads of 32 values, so that the cache may be bytes.
    Tiny { architecture: "qwen3", head_dim: Some(32), tensor_type: TensorType::F32, sharpness: 1.0, ..Tiny::default() }
}

/// A desk with the same model as a file and as folders.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.model("qwen.gguf", &qwen());
    for (folder, shards) in [("whole", 1), ("shards", 3)] {
        std::fs::create_dir(desk.path(folder)).expect("a folder");
        qwen().write_folder(&desk.path(folder), shards).expect("a model");
    }
    let words: String = (0..400).map(|i| ["the ", "inner ", "hour ", "an "][i * i % 7 % 4]).collect();
    desk.put("text.txt", words.as_bytes());
    desk
}

#[test]
fn a_folder_answers_like_the_file_of_the_same_model() {
    let desk = desk();
    let answer = |model: &str| {
        let ended = desk.run(&["run", "--target", model, "-n", "24", "--json", "the hour"]).succeeds();
        ended.json()["tokens"].clone()
    };
    let expected = answer("qwen.gguf");
    assert_eq!(answer("whole"), expected);
    assert_eq!(answer("shards"), expected);
    let ids = |model: &str| desk.run(&["tokenize", model, "the inner é", "--json"]).succeeds().json();
    assert_eq!(ids("whole"), ids("qwen.gguf"));
    // A folder drafts, too, and its measured costs are kept apart from those of another folder.
    let drafted = desk.run(&[
        "run",
        "--target",
        "whole",
        "--draft",
        "shards",
        "--controller",
        "fixed",
        "-n",
        "24",
        "--json",
        "the hour",
    ]);
    assert_eq!(drafted.succeeds().json()["tokens"], expected);
}

#[test]
fn inspect_shows_a_folder() {
    let desk = desk();
    let json = desk.run(&["inspect", "shards", "--json"]).succeeds().json();
    assert_eq!(
        (&json["format"], &json["weight_files"], &json["supported"]),
        (&"safetensors".into(), &3.into(), &true.into())
    );
    assert_eq!(json["metadata"]["model_type"], "qwen3");
    // 2 layers, 2 heads of 32 keys and values.
    assert_eq!((&json["cache_bytes_per_token"], &json["cache_bytes_per_token_q8_0"]), (&512.into(), &272.into()));
    let text = desk.run(&["inspect", "whole"]).succeeds().out;
    assert!(
        text.contains("Hugging Face folder")
            && text.contains("num_hidden_layers = 2")
            && text.contains("supported               yes")
    );
    assert_eq!(desk.run(&["inspect", "qwen.gguf", "--json"]).succeeds().json()["format"], "gguf");
}

#[test]
fn a_damaged_folder_is_refused_with_what_is_missing() {
    let desk = desk();
    std::fs::remove_file(desk.path("shards/model-00002-of-00003.safetensors")).expect("it was there");
    desk.run(&["run", "--target", "shards", "hello"])
        .fails(1, &["model-00002-of-00003.safetensors", "not there", "fetch the missing"]);
    std::fs::create_dir(desk.path("empty")).expect("a folder");
    desk.run(&["inspect", "empty"]).fails(1, &["empty", "config.json", "path of a GGUF file"]);
}

#[test]
fn a_cache_of_bytes_runs_losslessly_and_others_are_refused() {
    let desk = desk();
    let run = |more: &[&str]| {
        let arguments =
            [&["run", "--target", "qwen.gguf", "--kv", "q8_0", "-n", "24", "--json", "the hour"], more].concat();
        desk.run(&arguments).succeeds().json()["tokens"].clone()
    };
    assert_eq!(run(&[]), run(&["--draft", "draft.gguf", "--controller", "fixed", "--kv-type", "q8_0"][..4]));
    desk.run(&["run", "--target", "qwen.gguf", "--kv", "q4", "hello"]).fails(2, &["f16 or q8_0", "\"q4\""]);
    desk.run(&["run", "--target", "target.gguf", "--kv", "q8_0", "hello"])
        .fails(1, &["heads of 16 values", "leave --kv away"]);
}

#[test]
fn perplexity_compares_a_model_with_its_reference() {
    let desk = desk();
    let coarse = Tiny { tensor_type: TensorType::Q4_0, ..qwen() };
    desk.model("coarse.gguf", &coarse);
    let run = |arguments: &[&str]| {
        let fixed = ["perplexity", "text.txt", "--window", "64", "--stride", "40", "--json"];
        desk.run(&[&fixed[..], arguments].concat()).succeeds().json()
    };
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let alone = run(&["--target", "qwen.gguf"]);
    assert!(alone["reference"].is_null() && alone["against"].is_null());
    let perplexity = &alone["perplexity"];
    assert!(
        number(&perplexity["low"]) < number(&perplexity["value"])
            && number(&perplexity["value"]) < number(&perplexity["high"])
    );
    assert_eq!(alone["scored"].as_u64().unwrap() + 1, alone["tokens"].as_u64().unwrap());

    let itself = run(&["--target", "whole", "--reference", "qwen.gguf"]);
    assert_eq!(itself["perplexity"], alone["perplexity"]);
    assert_eq!(
        (number(&itself["against"]["divergence_mean"]["value"]), number(&itself["against"]["top1_agreement"]["value"])),
        (0.0, 1.0)
    );
    let rounded = run(&["--target", "qwen.gguf", "--kv", "q8_0", "--reference", "qwen.gguf"]);
    let coarse = run(&["--target", "coarse.gguf", "--reference", "qwen.gguf"]);
    let divergence = |report: &serde_json::Value| number(&report["against"]["divergence_mean"]["value"]);
    assert!(divergence(&rounded) > 0.0 && divergence(&rounded) < divergence(&coarse), "{rounded:#} {coarse:#}");
    let against = &coarse["against"];
    assert!(number(&against["divergence_median"]["value"]) < number(&against["divergence_99"]["value"]));
    let ratio = number(&coarse["perplexity"]["value"]) / number(&against["perplexity"]["value"]);
    assert!((number(&against["perplexity_ratio"]["value"]) / ratio - 1.0).abs() < 1e-9);

    let text = desk
        .run(&["perplexity", "text.txt", "--target", "coarse.gguf", "--reference", "qwen.gguf", "--tokens", "200"])
        .succeeds();
    assert!(text.out.contains("KL divergence, 99%") && text.out.contains("intervals: none"), "{text:#?}");
}

#[test]
fn perplexity_refuses_what_it_cannot_measure() {
    let desk = desk();
    let run = |arguments: &[&str]| desk.run(&[&["perplexity", "--target", "qwen.gguf"], arguments].concat());
    desk.put("one.txt", b"t");
    desk.model("other.gguf", &Tiny { vocab_size: 300, ..qwen() });
    desk.put("latin.txt", b"caf\xe9");
    run(&["no.txt"]).fails(1, &["no.txt"]);
    run(&["one.txt"]).fails(1, &["expected at least 2"]);
    run(&["latin.txt"]).fails(1, &["not UTF-8"]);
    run(&["text.txt", "--window", "1000"]).fails(2, &["--window 1000", "256"]);
    run(&["text.txt", "--window", "32", "--stride", "32"]).fails(2, &["--stride 32", "at most --stride 31"]);
    run(&["text.txt", "--reference-kv", "q8_0"]).fails(2, &["--reference"]);
    run(&["text.txt", "--reference", "absent.gguf"]).fails(1, &["absent.gguf"]);
}
