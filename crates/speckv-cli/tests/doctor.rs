//! `doctor` with the real binary and tiny models.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use process::{Desk, interrupt};
use speckv_formats::tiny::Tiny;

const QUICK: [&str; 6] = ["doctor", "-m", "long.gguf", "--seconds", "4", "--threads=1"];

/// A desk with a model whose context has room for the built-in prompts, in a folder of its own.
fn desk() -> Desk {
    let desk = Desk::new();
    std::fs::remove_file(desk.path("draft.gguf")).expect("it is there");
    std::fs::remove_file(desk.path("target.gguf")).expect("it is there");
    desk.model("long.gguf", &Tiny { context_length: 8192, layers: 4, ..Tiny::default() });
    desk
}

#[test]
fn the_last_line_says_whether_speculation_helps() {
    let ended = desk().run(&QUICK).succeeds();
    let last = ended.out.lines().last().expect("a line").to_owned();
    let verdicts = ["helps", "makes no measurable difference", "costs time"];
    assert!(
        last.starts_with("Speculation ")
            && verdicts.iter().any(|word| last.contains(word))
            && last.contains(" x plain decoding")
            && last.contains("end to end, prompt reading counted, on "),
        "{ended:#?}"
    );
    for part in [
        "model             long.gguf: Q8_0",
        "device            cpu: ",
        "memory read rate  ",
        "draft             look-up of earlier text (no smaller model",
        "tokens in a pass",
        "every answer has the tokens of plain decoding",
        "- put a smaller model with the same vocabulary",
    ] {
        assert!(ended.out.contains(part), "{part:?} is not in {ended:#?}");
    }
    assert!(ended.err.contains("with and without speculation, about "), "{ended:#?}");
}

#[test]
fn the_numbers_as_json_belong_together() {
    let desk = desk();
    desk.model("small.gguf", &Tiny { context_length: 8192, layers: 1, ..Tiny::default() });
    let json = desk.run(&[&QUICK[..], &["--json"]].concat()).succeeds().json();
    assert_eq!(json["draft"], "small.gguf+ngram", "a smaller model is found: {json}");
    let prompts = json["prompts"].as_array().expect("prompts");
    assert!(!prompts.is_empty() && prompts.iter().all(|prompt| prompt["identical"] == true));
    let sum = |of: &str, what: &str| -> f64 {
        prompts.iter().map(|prompt| prompt[of][what].as_f64().expect("a number")).sum()
    };
    let speed = |of| sum(of, "tokens") / (sum(of, "reading") + sum(of, "decoding"));
    let (with, without) = (speed("speculative"), speed("plain"));
    let number = |name: &str| json[name].as_f64().expect("a number");
    assert!((number("plain_tokens_per_second") / without - 1.0).abs() < 1e-9);
    assert!((number("speculative_tokens_per_second") / with - 1.0).abs() < 1e-9);
    let ratio = json["end_to_end"]["value"].as_f64().expect("a ratio");
    assert!((ratio / (with / without) - 1.0).abs() < 1e-9);
    assert!(sum("plain", "drafted") == 0.0 && sum("speculative", "drafted") > 0.0, "{json}");
    assert!(json["verify_ms"]["5"].as_f64().is_some_and(|ms| ms > 0.0));
    assert!(json["draft_ms"].as_f64().is_some_and(|ms| ms > 0.0));
    assert!(number("seconds") < 30.0, "4 seconds were asked for: {json}");
}

#[test]
fn without_a_draft_there_is_no_ratio() {
    let ended = desk().run(&[&QUICK[..], &["--draft", "none"]].concat()).succeeds();
    let last = ended.out.lines().last().expect("a line");
    assert!(
        last.starts_with("Nothing drafts for this model, so it decodes plainly: "),
        "{ended:#?}"
    );
    let json = desk().run(&[&QUICK[..], &["--draft", "none", "--json"]].concat()).succeeds().json();
    assert!(json["verdict"] == "no_draft" && json["end_to_end"].is_null(), "{json}");
}

#[test]
fn what_cannot_be_checked_is_refused_with_a_hint() {
    let desk = desk();
    desk.run(&["doctor", "-m", "absent.gguf"]).fails(1, &["absent.gguf"]);
    desk.run(&["doctor", "--seconds", "1"]).fails(2, &["from 2 to 3600"]);
    desk.run(&[&QUICK[..], &["--ctx", "20"]].concat()).fails(1, &["no built-in prompt fits", "20"]);
    let mut child = desk.start(&["doctor", "-m", "long.gguf", "--seconds", "600"]);
    std::thread::sleep(std::time::Duration::from_millis(700));
    interrupt(&child);
    assert_eq!(
        child.wait().expect("an end").code().map(|code| code == 130 || code == 0),
        Some(true)
    );
}
