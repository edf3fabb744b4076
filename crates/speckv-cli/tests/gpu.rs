//! Answers on a GPU with the real binary, where the machine has an adapter, a software one
//! included.
#![cfg(all(unix, feature = "gpu"))]

#[path = "support/process.rs"]
mod process;

use process::Desk;

/// Whether there is an adapter; says so where there is none.
fn has_adapter(desk: &Desk) -> bool {
    let some = desk.run(&["devices"]).succeeds().out.contains("gpu:0 ");
    if !some {
        eprintln!("skipped: no adapter (install mesa-vulkan-drivers and libvulkan1 for a test)");
    }
    some
}

#[test]
fn speculation_on_a_gpu_changes_no_token() {
    let desk = Desk::new();
    if !has_adapter(&desk) {
        return;
    }
    let words = [
        "identity",
        "--device",
        "gpu:0",
        "-m",
        "target.gguf",
        "-d",
        "draft.gguf",
        "--prompts",
        "1",
        "--threads-list",
        "1",
        "-n",
        "12",
        "--gammas",
        "1,3",
        "--json",
    ];
    let json = desk.run(&words).succeeds().json();
    assert_eq!(json["mismatches"], 0, "{json}");
    assert!(json["comparisons"].as_u64() >= Some(3), "{json}");
}

#[test]
fn an_answer_on_a_gpu_comes_and_is_the_same_again() {
    let desk = Desk::new();
    if !has_adapter(&desk) {
        return;
    }
    let words = ["run", "-q", "--device", "gpu:0", "-m", "target.gguf", "-n", "8", "Hello"];
    let once = desk.run(&words).succeeds().out;
    assert!(once.len() > 1 && once == desk.run(&words).succeeds().out, "{once:?}");
}

#[test]
fn gpu_without_a_number_answers_and_warns_where_it_is_a_software_adapter() {
    let desk = Desk::new();
    if !has_adapter(&desk) {
        return;
    }
    let first = desk.run(&["devices"]).succeeds().out;
    let is_software =
        first.lines().any(|line| line.starts_with("gpu:0 ") && { line.contains("(software,") });
    let words = ["run", "--device", "gpu", "-m", "target.gguf", "-n", "8", "Hello"];
    let answer = desk.run(&words).succeeds();
    assert_eq!(answer.err.contains("warning:"), is_software, "{answer:?}");
    assert_eq!(answer.err.contains("is a software adapter"), is_software, "{answer:?}");
    let numbered = desk.run(&words.map(|word| if word == "gpu" { "gpu:0" } else { word }));
    assert_eq!(answer.out, numbered.succeeds().out);
    assert!(!answer.err.contains("XDG_RUNTIME_DIR"), "{answer:?}");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let desk = Desk::new();
    let run = |device| desk.run(&["run", "--device", device, "-m", "target.gguf", "Hello"]);
    run("cuda").fails(2, &["cpu, gpu or gpu:N", "cuda"]);
    if has_adapter(&desk) {
        run("gpu:99").fails(1, &["99"]);
    }
}

#[test]
fn target_and_draft_may_be_on_different_devices() {
    let desk = Desk::new();
    if !has_adapter(&desk) {
        return;
    }
    let run = |target, draft| {
        let models = ["-m", "target.gguf", "-d", "draft.gguf", "--controller", "fixed"];
        let devices = ["--device", target, "--draft-device", draft];
        let words = [&["run", "--json", "-n", "16"][..], &models, &devices, &["the hour"]].concat();
        let json = desk.run(&words).succeeds().json();
        assert!(json["stats"]["drafted"].as_u64() > Some(0), "{json}");
        json["tokens"].clone()
    };
    assert_eq!(run("gpu:0", "cpu"), run("gpu:0", "gpu:0"));
    assert_eq!(run("cpu", "gpu:0"), run("cpu", "cpu"));
}

#[test]
fn auto_says_what_it_took_and_never_takes_a_software_adapter() {
    let desk = Desk::new();
    let list = desk.run(&["devices"]).succeeds().out;
    if list.lines().any(|line| line.starts_with("gpu:") && !line.contains("(software,")) {
        eprintln!("skipped: this machine has a GPU, whose speed decides");
        return;
    }
    let run = |options: &[&str]| {
        let words = [&["run", "-m", "target.gguf", "-n", "4", "hello"], options].concat();
        desk.run(&words).succeeds()
    };
    let auto = run(&["--device", "auto", "--draft-device", "auto"]);
    assert!(auto.err.contains("device: cpu"), "{auto:?}");
    assert_eq!(auto.out, run(&[]).out);
}

#[test]
fn every_measurement_runs_on_a_gpu_and_says_so() {
    let desk = Desk::new();
    if !has_adapter(&desk) {
        return;
    }
    std::fs::create_dir(desk.path("work")).expect("a folder");
    let prompt = br#"{"id":"chat-01","task":"chat","split":"test","prompt":"the hour"}"#;
    desk.put("work/chat.jsonl", prompt);
    desk.put("text.txt", &b"the hour of the wolf and the other hour ".repeat(8));
    let with = |words: &[&str]| {
        desk.run(&[words, &["--device", "gpu:0", "--json"]].concat()).succeeds().json()
    };
    let pair = ["-m", "target.gguf", "-d", "draft.gguf", "--workload", "work", "-n", "8"];
    let race = [&pair[..], &["--gammas", "2", "--controllers", "none"]].concat();
    let bench = with(&[&["bench"][..], &race].concat());
    let device = bench["subject"]["instruction_set"].as_str().expect("a device").to_owned();
    assert!(device.contains('('), "a driver belongs to it: {device}");
    let evaluation = with(&[&["evaluate"][..], &race].concat());
    assert!(evaluation["conditions"].is_object(), "{evaluation}");
    let profile = [&pair[..], &["--split", "all"]].concat();
    assert_eq!(with(&[&["profile", "--grid", "g"][..], &profile].concat())["recorded"], 1);
    with(&[&["profile", "--trace", "t"][..], &profile].concat());
    let short = ["--rounds", "1", "--context", "8", "--prompt", "8", "--buffer", "1"];
    for model in ["target.gguf", "synthetic:tiny"] {
        let curve = with(&[&["bench", "--curve", model][..], &short].concat());
        assert_eq!(curve["instruction_set"], device, "{curve}");
        assert!(curve["curves"][0]["passes"][16]["milliseconds"]["median"].as_f64() > Some(0.0));
        assert!(curve["read_rate"]["median"].as_f64() > Some(0.0), "{curve}");
    }
    let text = ["perplexity", "text.txt", "--target", "target.gguf", "--window", "64"];
    let perplexity = |json: &serde_json::Value| json["perplexity"]["value"].as_f64().expect("one");
    let on_cpu = desk.run(&[&text[..], &["--json"]].concat()).succeeds().json();
    let ratio = perplexity(&with(&text)) / perplexity(&on_cpu);
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
    let score = ["score", "target.gguf", "--ids", "72,101,108"];
    assert_eq!(with(&score)["positions"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_driver_without_a_display_writes_nothing_to_standard_error() {
    let desk = Desk::new();
    let listed = desk.run(&["devices"]).succeeds();
    assert!(!listed.err.contains("XDG_RUNTIME_DIR"), "{listed:?}");
}

#[test]
fn the_self_test_is_kept_and_listed() {
    let desk = Desk::new();
    if !has_adapter(&desk) {
        return;
    }
    assert!(desk.run(&["devices"]).out.contains("not tested yet"));
    desk.run(&["run", "-q", "--device", "gpu:0", "-m", "target.gguf", "-n", "2", "a"]).succeeds();
    let json = desk.run(&["devices", "--json"]).succeeds().json();
    let formats = json["devices"][0]["self_test"].as_array().expect("formats").clone();
    assert!(formats.iter().any(|format| format["format"] == "Q8_0"), "{json}");
    assert!(formats.iter().all(|format| format["accurate"] == true), "{json}");
}
