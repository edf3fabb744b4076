//! Controllers and their measured costs, with the real binary and tiny models.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use std::path::PathBuf;

use process::{Desk, Ended};
use speckv_formats::tiny::Tiny;

const ASK: &str = "the other one and the thing";
const RUN: [&str; 8] = ["run", "--json", "-m", "target.gguf", "-d", "draft.gguf", "-n", "40"];

fn run(desk: &Desk, more: &[&str]) -> Ended {
    desk.run(&[&RUN[..], more, &[ASK]].concat()).succeeds()
}

/// Files of kept costs.
fn kept(desk: &Desk) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(desk.path(".cache/speckv/costs"));
    folder.into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn costs_are_measured_once_and_kept() {
    let desk = Desk::new();
    let first = run(&desk, &[]);
    assert!(first.err.contains("measuring what passes cost on this machine, once"), "{first:#?}");
    assert_eq!(kept(&desk).len(), 1);
    let stats = &first.json()["stats"];
    assert_eq!(
        (&stats["controller"], &stats["costs"]["origin"]),
        (&"speckv".into(), &"measured".into())
    );
    let seconds = |rows: &str| stats["costs"]["verify_seconds"][rows].as_f64().expect("seconds");
    assert!(seconds("1") > 0.0 && seconds("1") <= seconds("17"));

    let second = run(&desk, &[]);
    assert!(!second.err.contains("measuring"), "{second:#?}");
    let json = second.json();
    assert_eq!(json["stats"]["costs"]["origin"], "kept");
    // A float that went through a file may differ in its last bit: the JSON reader takes the fast
    // way.
    let draft =
        |stats: &serde_json::Value| stats["costs"]["draft_seconds"].as_f64().expect("seconds");
    let (measured, kept_seconds) = (draft(stats), draft(&json["stats"]));
    assert!(
        (measured - kept_seconds).abs() <= 1e-15 * measured,
        "{measured} was kept as {kept_seconds}"
    );
    assert_eq!(json["tokens"], first.json()["tokens"]);

    assert_eq!(run(&desk, &["--recalibrate"]).json()["stats"]["costs"]["origin"], "measured");
    assert_eq!(kept(&desk).len(), 1, "the new costs replace the old ones");
    assert_eq!(
        run(&desk, &["--threads", "1"]).json()["stats"]["costs"]["origin"],
        "measured",
        "other threads, other costs"
    );
    assert_eq!(kept(&desk).len(), 2);
    desk.model("draft.gguf", &Tiny { seed: 3, layers: 1, ..Tiny::default() });
    assert_eq!(
        run(&desk, &[]).json()["stats"]["costs"]["origin"],
        "measured",
        "another draft, other costs"
    );
}

#[test]
fn a_damaged_file_of_costs_is_replaced_with_a_word() {
    let desk = Desk::new();
    run(&desk, &[]);
    let path = kept(&desk).pop().expect("a file");
    let good = std::fs::read_to_string(&path).expect("text");
    for bad in [&good[..good.len() / 3], "", "[1, 2]"] {
        std::fs::write(&path, bad).expect("a file");
        let ended = run(&desk, &[]);
        assert!(
            ended.err.contains("warning: ") && ended.err.contains("is of no use"),
            "{ended:#?}"
        );
        assert_eq!(ended.json()["stats"]["costs"]["origin"], "measured");
        assert!(!run(&desk, &[]).err.contains("measuring"), "the replaced file is good");
    }
}

#[test]
fn a_cache_folder_that_cannot_be_written_stops_nothing() {
    let desk = Desk::new();
    desk.put(".cache", b"a file where a folder should be");
    let ended = run(&desk, &[]);
    assert!(ended.err.contains("cannot be kept"), "{ended:#?}");
}

#[test]
fn every_controller_says_what_plain_decoding_says() {
    let desk = Desk::new();
    let plain = run(&desk, &["--controller", "off"]).json();
    let names = [
        "confidence",
        "heuristic",
        "entropy",
        "entropy:adaedl",
        "ema",
        "expected-value",
        "adaptive-verification",
    ];
    for name in names.into_iter().chain(["paper", "speckv", "chain+fixed:3", "chain+speckv"]) {
        let json = run(&desk, &["--controller", name]).json();
        assert_eq!(json["tokens"], plain["tokens"], "{name}");
        let called = json["stats"]["controller"].as_str().expect("a name");
        assert!(
            called.starts_with(name.split(':').next().expect("a name")),
            "{name} calls itself {called}"
        );
    }
}

#[test]
fn look_up_and_model_draft_together_where_the_controller_chooses() {
    let desk = Desk::new();
    let text = "one two three four five six seven one two three four five six seven one two three";
    let tokens = |more: &[&str]| {
        let options = ["run", "--json", "-m", "target.gguf", "-n", "30"];
        desk.run(&[&options[..], more, &[text]].concat()).succeeds().json()["tokens"].clone()
    };
    let plain = tokens(&[]);
    for more in [
        &["-d", "draft.gguf"][..],
        &["-d", "draft.gguf+ngram"],
        &["-d", "draft.gguf", "--no-lookup"],
        &["-d", "ngram"],
    ] {
        assert_eq!(tokens(more), plain, "{more:?}");
    }
    desk.run(&["run", "-m", "target.gguf", "-d", "draft.gguf+ngram", "--controller", "ema", ASK])
        .fails(2, &["ema drafts with the model alone", "chain+ema"]);
    desk.run(&["run", "-m", "target.gguf", "--controller", "quick", ASK])
        .fails(2, &["quick", "expected-value"]);
}

#[test]
fn a_chat_keeps_its_controller_and_measures_once() {
    let desk = Desk::new();
    let script = b"the first thing\nand another\nonce more\n";
    let ended = desk
        .run_with_input(&["chat", "-m", "target.gguf", "-d", "draft.gguf", "-n", "16"], script)
        .succeeds();
    assert_eq!(ended.err.matches("measuring what passes cost").count(), 1, "{ended:#?}");
    assert_eq!(ended.err.matches("tokens per second").count(), 3, "{ended:#?}");
}
