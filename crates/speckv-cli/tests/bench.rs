//! `bench` with the real binary and tiny models.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use process::{Desk, Ended, interrupt};

const CURVE: [&str; 11] = [
    "bench",
    "--curve",
    "target.gguf",
    "--context",
    "16,48",
    "--prompt",
    "24",
    "--rounds",
    "3",
    "--buffer",
    "4",
];

#[test]
fn the_curve_as_json_has_every_sample() {
    let json =
        Desk::new().run(&[&CURVE[..], &["--threads", "2", "--json"]].concat()).succeeds().json();
    let samples = |spread: &serde_json::Value| -> Vec<f64> {
        spread["samples"]
            .as_array()
            .expect("samples")
            .iter()
            .map(|x| x.as_f64().expect("a number"))
            .collect()
    };
    assert_eq!((json["threads"].as_u64(), json["rounds"].as_u64()), (Some(2), Some(3)));
    assert_eq!(json["buffer_bytes"], 4_000_000);
    assert_eq!(json["tensor_type"], "Q8_0");
    let curves = json["curves"].as_array().expect("curves");
    assert_eq!(
        curves.iter().map(|curve| curve["context"].as_u64().unwrap_or(0)).collect::<Vec<_>>(),
        [16, 48]
    );
    for curve in curves {
        let passes = curve["passes"].as_array().expect("passes");
        assert_eq!(passes.len(), 17);
        assert!(samples(&passes[0]["ratio"]).iter().all(|&ratio| ratio == 1.0));
        for pass in passes {
            let times = samples(&pass["milliseconds"]);
            assert!(times.len() == 3 && times.iter().all(|&time| time > 0.0), "{pass}");
        }
        // The share is what its definition says of the other numbers.
        let (rates, ones) = (samples(&json["read_rate"]), samples(&passes[0]["milliseconds"]));
        let bytes = json["pass_bytes"].as_f64().expect("bytes");
        for (round, share) in samples(&curve["floor_share"]).into_iter().enumerate() {
            let expected = bytes / (ones[round] / 1e3) / rates[round];
            assert!((share / expected - 1.0).abs() < 1e-9, "{share} for {expected}");
        }
    }
    let (ms, speed) = (
        samples(&json["prompts"][0]["milliseconds"]),
        samples(&json["prompts"][0]["tokens_per_second"]),
    );
    assert!((speed[0] * ms[0] / 1e3 - 24.0).abs() < 1e-9);
    assert_eq!(samples(&json["load_seconds"]).len(), 3);
}

#[test]
fn the_curve_as_text_is_a_table_on_standard_output() {
    let ended = Desk::new().run(&CURVE).succeeds();
    let words = [
        "memory read rate",
        "share of the floor",
        "context 16",
        "context 48",
        "/ t(1)",
        "tokens per second",
    ];
    assert!(words.iter().all(|word| ended.out.contains(word)), "{ended:#?}");
    // On a slow machine progress shows; nothing else has to be said.
    assert!(
        ended
            .err
            .lines()
            .all(|line| line.starts_with("measuring: ") || line.starts_with("loading ")),
        "{ended:#?}"
    );
}

#[test]
fn default_lengths_fit_the_model_and_lengths_that_do_not_are_refused() {
    let desk = Desk::new();
    let json = desk
        .run(&["bench", "--curve", "target.gguf", "--rounds", "1", "--buffer", "1", "--json"])
        .succeeds()
        .json();
    assert_eq!(
        json["curves"].as_array().map(Vec::len),
        Some(1),
        "2048 tokens do not fit a context of 256"
    );
    assert_eq!(
        (&json["curves"][0]["context"], &json["prompts"][0]["tokens"]),
        (&128.into(), &128.into())
    );
    let too_long = ["bench", "--curve", "target.gguf", "--context", "250"];
    desk.run(&too_long)
        .fails(2, &["--context 250 does not fit", "256", "give at most --context 239"]);
    desk.run(&["bench", "--curve", "target.gguf", "--prompt", "257"])
        .fails(2, &["--prompt 257", "at most --prompt 256"]);
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_hint() {
    let desk = Desk::new();
    desk.run(&["bench", "--curve", "target.gguf", "--gammas", "2"])
        .fails(2, &["--curve", "cannot be used"]);
    for option in [["--draft-compression", "int8"], ["--draft-head", "whole"]] {
        desk.run(&[&["bench", "--curve", "target.gguf"][..], &option].concat())
            .fails(2, &["--curve", option[0]]);
    }
    desk.run(&["bench", "--context", "20"]).fails(2, &["--curve"]);
    desk.run(&["bench", "--curve", "nowhere.gguf"]).fails(1, &["nowhere.gguf"]);
    desk.put("text.gguf", b"no model");
    desk.run(&["bench", "--curve", "text.gguf"]).fails(1, &["text.gguf"]);
    desk.run(&["bench", "--curve", "target.gguf", "--rounds", "0"]).fails(2, &["from 1 to 1000"]);
}

/// A desk with a workload of two tasks, three test prompts and a train prompt.
fn desk() -> Desk {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("prompts")).expect("a folder");
    let line = |id: &str, task: &str, split: &str, prompt: &str| {
        serde_json::json!({ "id": id, "task": task, "split": split, "prompt": prompt }).to_string()
            + "\n"
    };
    let chat = line("chat-01", "chat", "test", "the other thing")
        + &line("chat-02", "chat", "test", "and in the end");
    let edit = line("edit-01", "edit", "test", "one two one two one two one")
        + &line("edit-02", "edit", "train", "x");
    desk.put("prompts/chat.jsonl", chat.as_bytes());
    desk.put("prompts/edit.jsonl", edit.as_bytes());
    desk
}

const COMPARE: [&str; 13] = [
    "bench",
    "-m",
    "target.gguf",
    "-d",
    "draft.gguf",
    "--workload",
    "prompts",
    "-n",
    "16",
    "--gammas",
    "1,3",
    "--controllers",
    "ema,speckv@model,fixed:2@ngram,chain+fixed:2,speckv",
];

#[test]
fn a_comparison_has_a_row_for_everybody_and_a_sample_for_every_answer() {
    let desk = desk();
    let options = [&COMPARE[..], &["--json", "--rounds", "2", "--output", "out"]].concat();
    let json = desk.run(&options).succeeds().json();
    let rows = json["settings"].as_array().expect("rows");
    let names: Vec<&str> =
        rows.iter().map(|row| row["setting"].as_str().expect("a name")).collect();
    assert_eq!(
        names,
        [
            "off",
            "fixed:1",
            "fixed:3",
            "ema",
            "speckv@model",
            "fixed:2@ngram",
            "chain+fixed:2",
            "speckv"
        ]
    );
    assert_eq!((&json["mismatches"], &json["subject"]["prompts"]), (&0.into(), &3.into()));
    for row in rows {
        assert!(row["to_off"]["low"].is_null(), "too few prompts for an interval: {row}");
        assert_eq!(
            row["tasks"].as_object().expect("tasks").keys().collect::<Vec<_>>(),
            ["chat", "edit"]
        );
    }
    assert_eq!(rows[0]["to_off"]["value"], 1.0);
    let csv = std::fs::read_to_string(desk.path("out/samples.csv")).expect("samples");
    assert_eq!(csv.lines().count(), 1 + 2 * 3 * names.len());
    let head: Vec<&str> = csv.lines().next().expect("a head").split(',').collect();
    let column = |name: &str| head.iter().position(|column| *column == name).expect(name);
    // Throughput again, from the file.
    let (mut tokens, mut seconds) = (0.0, 0.0);
    for line in csv.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[column("identical")], "true", "{line}");
        if cells[column("setting")] == "speckv" {
            tokens += cells[column("tokens")].parse::<f64>().expect("a count");
            seconds += cells[column("seconds")].parse::<f64>().expect("seconds");
        }
    }
    let expected = rows[7]["tokens_per_second"].as_f64().expect("a speed");
    assert!((tokens / seconds / expected - 1.0).abs() < 1e-6);
    let parquet = std::fs::read(desk.path("out/samples.parquet")).expect("Parquet");
    let facts = parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::from(parquet))
        .expect("Parquet that others can read");
    assert_eq!(usize::try_from(facts.file_metadata().num_rows()), Ok(2 * 3 * names.len()));
    let names =
        facts.file_metadata().schema().get_fields().iter().map(|field| field.name().to_owned());
    assert_eq!(names.collect::<Vec<_>>(), head, "the columns of both files");
    let report = facts.file_metadata().key_value_metadata().expect("metadata")[0]
        .value
        .clone()
        .expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["settings"], json["settings"]);
    let report = std::fs::read_to_string(desk.path("out/report.json")).expect("a report");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&report).expect("JSON"), json);
}

#[test]
fn tables_are_for_people_and_a_spoiled_draft_is_named() {
    let desk = desk();
    let ended = desk
        .run(&[&COMPARE[..], &["--prompts-per-task", "1", "--spoil-draft"]].concat())
        .succeeds();
    for words in [
        "to best fixed",
        "fixed:2@ngram",
        "best rival: ",
        "2 prompts (test split)",
        "spoiled on purpose",
    ] {
        assert!(ended.out.contains(words), "{words:?} is not in {ended:#?}");
    }
    assert!(ended.out.contains("differ from plain decoding: 0"));
    let ngram = [
        "bench",
        "-m",
        "target.gguf",
        "--workload",
        "prompts",
        "-n",
        "8",
        "--gammas",
        "none",
        "--tasks",
        "edit",
    ];
    let ended = desk.run(&[&ngram[..], &["--controllers", "speckv"]].concat()).succeeds();
    assert!(
        ended.out.contains("1 prompt (test split)") && ended.out.contains("speckv"),
        "{ended:#?}"
    );
}

#[test]
fn a_comparison_says_how_long_it_takes_and_ends_with_its_verdict() {
    let desk = desk();
    let ended = desk.run(&COMPARE).succeeds();
    let forecast = "3 prompts, 8 settings, 1 round: about ";
    assert!(ended.err.lines().any(|line| line.starts_with(forecast)), "{ended:#?}");
    let last = ended.out.lines().last().expect("a line");
    assert!(
        last.starts_with("The setting speckv ")
            && last.contains(" on this machine with this model: ")
            && last.ends_with(
                "x plain decoding with the draft's reading of the prompts counted, on 3 prompts, \
                 too few for an interval."
            )
            || last.ends_with("; --controller off decodes plainly."),
        "{ended:#?}"
    );
    // Joules are counted, or it is said that they are not.
    assert!(
        ended.out.contains("J/token: joules per token above")
            || ended.out.contains("energy: not measured: "),
        "{ended:#?}"
    );
    let json = desk.run(&[&COMPARE[..], &["--json"]].concat()).succeeds().json();
    assert!(json["verdict"].as_str().is_some_and(|text| text.starts_with("The setting speckv ")));
    let energy = &json["energy"];
    assert!(energy["absent"].is_string() || energy["source"].is_string(), "{energy}");
}

#[test]
fn ctrl_c_ends_a_comparison_with_what_was_measured() {
    let desk = desk();
    let options = [&COMPARE[..], &["--rounds", "1000", "-o", "out"]].concat();
    let child = desk.start(&options);
    let measured = || {
        std::fs::read_to_string(desk.path("out/samples.csv"))
            .is_ok_and(|csv| csv.lines().count() > 9)
    };
    while !measured() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    interrupt(&child);
    let ended = Ended::new(&options, child.wait_with_output().expect("an end"));
    assert!(ended.out.contains("only prompts that all had answered are counted"), "{ended:#?}");
    ended.fails(130, &["stopped before the end"]);
}

#[test]
fn comparisons_that_make_no_sense_are_refused_with_a_hint() {
    let desk = desk();
    let with = |more: &[&str]| {
        desk.run(&[&["bench", "-m", "target.gguf", "--workload", "prompts"], more].concat())
    };
    with(&["-d", "none"]).fails(2, &["nothing to compare"]);
    with(&["-d", "draft.gguf", "--controllers", "fast"])
        .fails(2, &["fast", "adaptive-verification"]);
    with(&["--controllers", "speckv@model"]).fails(2, &["needs a draft model"]);
    with(&["--spoil-draft"]).fails(2, &["no draft model to spoil"]);
    with(&["--tasks", "poetry"]).fails(2, &["poetry", "chat, edit"]);
    with(&["--gammas", "0"]).fails(2, &["from 1 to 64"]);
    with(&["-n", "250"]).fails(1, &["chat-01", "256"]);
    with(&["--workload", "nowhere"]).fails(2, &["--workload"]);
    desk.run(&["bench", "-m", "target.gguf", "--workload", "nowhere"])
        .fails(1, &["nowhere", ".jsonl"]);
}

#[test]
fn a_curve_of_a_shape_without_weights_needs_no_file() {
    let desk = Desk::new();
    let short = ["--rounds", "1", "--context", "8", "--prompt", "8", "--buffer", "1"];
    let curve = |name| desk.run(&[&["bench", "--json", "--curve", name], &short[..]].concat());
    let json = curve("synthetic:tiny").succeeds().json();
    assert_eq!((&json["model"], &json["tensor_type"]), (&"synthetic:tiny".into(), &"Q4_K".into()));
    assert!(json["sha256"].is_null() && json["curves"][0]["passes"][16]["rows"] == 17, "{json}");
    curve("synthetic:8b").fails(2, &["synthetic:8b", "synthetic:7b"]);
}
