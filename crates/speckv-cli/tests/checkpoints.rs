//! Hugging Face folders, the type of the cache, and perplexity, through the real binary.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use process::Desk;
use speckv_formats::{quant::TensorType, tiny::Tiny};

fn qwen() -> Tiny {
    // Heads of 32 values, so that the cache may be bytes.
    Tiny {
        architecture: "qwen3",
        head_dim: Some(32),
        tensor_type: TensorType::F32,
        sharpness: 1.0,
        ..Tiny::default()
    }
}

/// A desk with the same model as a file and as folders.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.model("qwen.gguf", &qwen());
    for (folder, shards) in [("whole", 1), ("shards", 3)] {
        std::fs::create_dir(desk.path(folder)).expect("a folder");
        qwen().write_folder(&desk.path(folder), shards).expect("a model");
    }
    let words: String =
        (0..400).map(|i| ["the ", "inner ", "hour ", "an "][i * i % 7 % 4]).collect();
    desk.put("text.txt", words.as_bytes());
    desk
}

#[test]
fn a_folder_answers_like_the_file_of_the_same_model() {
    let desk = desk();
    let answer = |model: &str| {
        let ended =
            desk.run(&["run", "--target", model, "-n", "24", "--json", "the hour"]).succeeds();
        ended.json()["tokens"].clone()
    };
    let expected = answer("qwen.gguf");
    assert_eq!(answer("whole"), expected);
    assert_eq!(answer("shards"), expected);
    let ids =
        |model: &str| desk.run(&["tokenize", model, "the inner é", "--json"]).succeeds().json();
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
    assert_eq!(
        (&json["cache_bytes_per_token"], &json["cache_bytes_per_token_q8_0"]),
        (&512.into(), &272.into())
    );
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
    std::fs::remove_file(desk.path("shards/model-00002-of-00003.safetensors"))
        .expect("it was there");
    desk.run(&["run", "--target", "shards", "hello"])
        .fails(1, &["model-00002-of-00003.safetensors", "not there", "fetch the missing"]);
    std::fs::create_dir(desk.path("empty")).expect("a folder");
    desk.run(&["inspect", "empty"]).fails(1, &["empty", "config.json", "path of a GGUF file"]);
}

/// A model whose matrices have rows of 64 and 128 values.
fn wide() -> Tiny {
    Tiny {
        hidden: 64,
        heads: 4,
        kv_heads: 2,
        feed_forward: 128,
        tensor_type: TensorType::F32,
        ..Tiny::default()
    }
}

fn edit_config(desk: &Desk, folder: &str, key: &str, value: serde_json::Value) {
    let path = desk.path(&format!("{folder}/config.json"));
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("a blueprint");
    config[key] = value;
    std::fs::write(path, config.to_string()).expect("a file");
}

#[test]
fn a_folder_in_bitsandbytes_four_bits_runs_and_drafts() {
    let desk = Desk::new();
    for folder in ["plain", "four"] {
        std::fs::create_dir(desk.path(folder)).expect("a folder");
    }
    wide().write_folder(&desk.path("plain"), 1).expect("a model");
    wide().write_nf4_folder(&desk.path("four"), 3).expect("a model");
    let run = |arguments: &[&str]| {
        let fixed = ["run", "-n", "24", "--json", "the hour"];
        desk.run(&[&fixed[..], arguments].concat()).succeeds().json()["tokens"].clone()
    };
    let expected = run(&["--target", "plain", "--compression", "nf4"]);
    assert_eq!(run(&["--target", "four", "--compression", "nf4"]), expected);
    let asis = run(&["--target", "four"]);
    assert_eq!(run(&["--target", "four", "--draft", "plain", "--controller", "fixed"]), asis);
    assert_eq!(run(&["--target", "four", "--draft", "self:nf4", "--controller", "fixed"]), asis);
    let json = desk.run(&["inspect", "four", "--json"]).succeeds().json();
    let types = json["tensor_types"].as_array().expect("types");
    let nf4 = types.iter().find(|kind| kind["type"] == "NF4").expect("NF4");
    // Per layer: queries, keys, values, output, and three of the feed-forward part; 4 bits, and a
    // float for 64 weights.
    assert_eq!(
        (&nf4["tensors"], &nf4["bytes"]),
        (&14.into(), &(2 * (64 * 192 + 3 * 64 * 128) * 9 / 16).into())
    );
    let text = desk.run(&["inspect", "four"]).succeeds().out;
    assert!(
        text.contains("4.50 bits per weight") && text.contains("supported               yes"),
        "{text}"
    );

    edit_config(
        &desk,
        "four",
        "quantization_config",
        serde_json::json!({"quant_method": "bitsandbytes", "load_in_8bit": true}),
    );
    desk.run(&["run", "--target", "four", "hi"]).fails(
        1,
        &[
            "four",
            "quantization_config",
            "bitsandbytes in 8 bits",
            "expected bitsandbytes in 4 bits",
            "float16",
        ],
    );
}

#[test]
fn a_blueprint_that_lacks_a_field_or_contradicts_is_refused_with_file_and_field() {
    for (key, value, words) in [
        ("hidden_size", serde_json::Value::Null, &["config.json has no \"hidden_size\""][..]),
        ("num_hidden_layers", "two".into(), &["num_hidden_layers", "a whole number"]),
        ("num_key_value_heads", 3.into(), &["num_key_value_heads", "a divisor of"]),
        ("num_hidden_layers", 3.into(), &["model.layers.2.", "missing"]),
        ("hidden_size", 128.into(), &["model.embed_tokens.weight", "shape", "128"]),
        ("intermediate_size", 64.into(), &["mlp.gate_proj.weight", "64"]),
        ("tie_word_embeddings", "perhaps".into(), &["tie_word_embeddings", "true or false"]),
        ("model_type", "mamba".into(), &["mamba", "supported are llama"]),
    ] {
        let desk = desk();
        edit_config(&desk, "whole", key, value);
        desk.run(&["run", "--target", "whole", "hi"]).fails(1, &[&["whole"], words].concat());
    }
}

#[test]
fn a_compression_that_the_weights_do_not_fit_into_is_refused_with_the_tensor() {
    let desk = Desk::new();
    for arguments in [
        &["--target", "target.gguf", "--compression", "q4_k"][..],
        &["--target", "target.gguf", "--draft", "self:q4_k"],
        &["--target", "target.gguf", "--draft", "draft.gguf", "--draft-compression", "q6_k"],
    ] {
        let words = [".weight", "a multiple of 256", "another --compression", "asis always can"];
        desk.run(&[&["run", "hi"], arguments].concat()).fails(1, &words);
    }
}

#[test]
fn models_that_do_not_fit_in_memory_together_are_refused_before_they_are_read() {
    let Some(available) = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }) else {
        eprintln!("SKIPPED: this system does not tell its memory");
        return;
    };
    let desk = desk();
    // A matrix that takes three quarters of the memory, without a byte on the disk.
    let bytes = available / 4 * 3 / 64 * 64;
    let name = "model.layers.0.mlp.up_proj.weight";
    let header =
        serde_json::json!({name: {"dtype": "BF16", "shape": [bytes / 64, 32], "data_offsets": [0, bytes]}}).to_string();
    let path = desk.path("whole/model.safetensors");
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat())
        .expect("a file");
    edit_config(&desk, "whole", "tie_word_embeddings", true.into());
    let file = std::fs::File::options().write(true).open(&path).expect("a file");
    if let Err(error) = file.set_len(8 + header.len() as u64 + bytes) {
        eprintln!("SKIPPED: this disk has no files with holes: {error}");
        return;
    }
    let run =
        |arguments: &[&str]| desk.run(&[&["run", "hi", "--target", "whole"], arguments].concat());
    run(&["--draft", "self:fp16"]).fails(
        1,
        &[
            "whole",
            "memory needed: target",
            " as asis with ",
            " of keys and values, draft",
            " as fp16 with ",
            "; available on cpu: ",
            "self:nf4",
            "--draft ngram",
        ],
    );
    run(&["--compression", "f32"]).fails(
        1,
        &[
            "whole",
            "memory needed: weights",
            " as f32 with ",
            "; available on cpu: ",
            "--compression",
        ],
    );
}

#[test]
fn a_cache_of_bytes_runs_losslessly_and_others_are_refused() {
    let desk = desk();
    let run = |more: &[&str]| {
        let arguments = [
            &["run", "--target", "qwen.gguf", "--kv", "q8_0", "-n", "24", "--json", "the hour"],
            more,
        ]
        .concat();
        let ended = desk.run(&arguments).succeeds();
        (ended.json()["tokens"].clone(), ended.err)
    };
    let (plain, _) = run(&[]);
    let (drafted, said) = run(&["--draft", "whole", "--controller", "fixed"]);
    assert!(drafted == plain && !said.contains("keeps its keys"), "{said}");
    // The draft's heads have 16 values. Its cache changes no token, so it may differ.
    let (drafted, said) = run(&["--draft", "draft.gguf", "--controller", "fixed"]);
    assert!(
        drafted == plain && said.contains("the draft keeps its keys and values in f16"),
        "{said}"
    );
    desk.run(&["run", "--target", "qwen.gguf", "--kv", "q4", "hello"])
        .fails(2, &["f16 or q8_0", "\"q4\""]);
    desk.run(&["run", "--target", "target.gguf", "--kv", "q8_0", "hello"])
        .fails(1, &["heads of 16 values", "omit --kv"]);
}

#[test]
fn every_measurement_can_keep_its_cache_in_bytes_and_says_so() {
    let desk = desk();
    std::fs::create_dir(desk.path("work")).expect("a folder");
    desk.put(
        "work/chat.jsonl",
        br#"{"id":"chat-01","task":"chat","split":"test","prompt":"the hour"}"#,
    );
    let race = [
        "-m",
        "qwen.gguf",
        "-d",
        "self:int8",
        "--workload",
        "work",
        "-n",
        "12",
        "--gammas",
        "2",
        "--controllers",
        "none",
    ];
    let with = |command: &str, more: &[&str]| {
        desk.run(&[&[command][..], more, &["--kv", "q8_0", "--json"]].concat()).succeeds().json()
    };
    assert_eq!(with("bench", &race)["subject"]["kv"], "q8_0");
    assert_eq!(with("evaluate", &race)["conditions"]["compression"], "asis, kv q8_0");
    let curve = [
        "--curve",
        "qwen.gguf",
        "--rounds",
        "1",
        "--context",
        "8",
        "--prompt",
        "8",
        "--buffer",
        "1",
    ];
    let halves = desk.run(&[&["bench", "--json"][..], &curve].concat()).succeeds().json();
    let bytes = with("bench", &curve);
    let size = |report: &serde_json::Value| report["position_bytes"].as_u64().expect("bytes");
    assert!(bytes["kv"] == "q8_0" && size(&bytes) * 32 == size(&halves) * 17);
    let identity = [
        "-m",
        "qwen.gguf",
        "-d",
        "ngram",
        "--prompts",
        "1",
        "--gammas",
        "2",
        "--threads-list",
        "1",
        "-n",
        "12",
    ];
    assert_eq!(with("identity", &identity)["mismatches"], 0);
    let grid = [
        "--grid",
        "g",
        "-m",
        "qwen.gguf",
        "-d",
        "self:int8",
        "--workload",
        "work",
        "--split",
        "all",
        "--gammas",
        "0,2",
        "-n",
        "8",
    ];
    assert_eq!(with("profile", &grid)["recorded"], 1);
    desk.run(&[&["profile"][..], &grid].concat()).fails(1, &["kv q8_0", "another folder"]);
}

#[test]
fn a_draft_that_is_the_target_says_its_type_once() {
    let desk = desk();
    desk.run(&[
        "run",
        "hi",
        "--target",
        "qwen.gguf",
        "--draft",
        "self:int8",
        "--draft-compression",
        "q4_0",
    ])
    .fails(2, &["--draft-compression q4_0 contradicts --draft self:int8", "--draft self:q4_0"]);
}

#[test]
fn a_folder_becomes_a_file_that_answers_alike() {
    let desk = desk();
    let made =
        desk.run(&["quantize", "whole", "made.gguf", "--type", "asis", "--json"]).succeeds().json();
    assert_eq!((&made["converted"], &made["output"]), (&0.into(), &"made.gguf".into()));
    let tokens = |model| {
        let arguments = ["run", "--target", model, "-n", "24", "--json", "the hour"];
        desk.run(&arguments).succeeds().json()["tokens"].clone()
    };
    assert_eq!(tokens("made.gguf"), tokens("whole"));
    desk.run(&["quantize", "whole", "small.gguf", "--type", "q8_0"]).succeeds();
    desk.run(&["inspect", "small.gguf"]).succeeds();
}

#[test]
fn quantize_does_not_write_over_folders_and_leaves_no_parts() {
    let desk = desk();
    desk.run(&["quantize", "qwen.gguf", "whole", "--type", "fp16", "--force"])
        .fails(2, &["whole is a folder"]);
    desk.run(&["quantize", "qwen.gguf", "no/such/place.gguf", "--type", "fp16"])
        .fails(1, &["no/such/place.gguf"]);
    assert!(!desk.path("whole.part").exists() && desk.path("whole/config.json").exists());
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
        (
            number(&itself["against"]["divergence_mean"]["value"]),
            number(&itself["against"]["top1_agreement"]["value"])
        ),
        (0.0, 1.0)
    );
    let rounded = run(&["--target", "qwen.gguf", "--kv", "q8_0", "--reference", "qwen.gguf"]);
    let coarse = run(&["--target", "coarse.gguf", "--reference", "qwen.gguf"]);
    let divergence =
        |report: &serde_json::Value| number(&report["against"]["divergence_mean"]["value"]);
    assert!(
        divergence(&rounded) > 0.0 && divergence(&rounded) < divergence(&coarse),
        "{rounded:#} {coarse:#}"
    );
    let against = &coarse["against"];
    assert!(
        number(&against["divergence_median"]["value"]) < number(&against["divergence_99"]["value"])
    );
    let ratio = number(&coarse["perplexity"]["value"]) / number(&against["perplexity"]["value"]);
    assert!((number(&against["perplexity_ratio"]["value"]) / ratio - 1.0).abs() < 1e-9);

    let text = desk
        .run(&[
            "perplexity",
            "text.txt",
            "--target",
            "coarse.gguf",
            "--reference",
            "qwen.gguf",
            "--tokens",
            "200",
        ])
        .succeeds();
    assert!(
        text.out.contains("KL divergence, 99%") && text.out.contains("intervals: none"),
        "{text:#?}"
    );
}

#[test]
fn perplexity_refuses_what_it_cannot_measure() {
    let desk = desk();
    let run = |arguments: &[&str]| {
        desk.run(&[&["perplexity", "--target", "qwen.gguf"], arguments].concat())
    };
    desk.put("one.txt", b"t");
    desk.model("other.gguf", &Tiny { vocab_size: 300, ..qwen() });
    desk.put("latin.txt", b"caf\xe9");
    run(&["no.txt"]).fails(1, &["no.txt"]);
    run(&["one.txt"]).fails(1, &["expected at least 2"]);
    run(&["latin.txt"]).fails(1, &["not UTF-8"]);
    run(&["text.txt", "--window", "1000"]).fails(2, &["--window 1000", "256"]);
    run(&["text.txt", "--window", "32", "--stride", "32"])
        .fails(2, &["--stride 32", "at most --stride 31"]);
    run(&["text.txt", "--reference-kv", "q8_0"]).fails(2, &["--reference"]);
    run(&["text.txt", "--reference", "absent.gguf"]).fails(1, &["absent.gguf"]);
}
