//! `profile`, `train`, `replay`, `report` and `evaluate` with the real binary and tiny models.
#![cfg(unix)]

mod grid;
mod killed;
#[path = "../support/process.rs"]
mod process;
mod report;
mod trace;

use process::{Desk, Ended};

/// A desk with a workload of short prompts, as tiny models' contexts need.
fn desk() -> Desk {
    let desk = Desk::new();
    // A draft that is the target with less precision agrees now and then.
    desk.model(
        "draft.gguf",
        &speckv_formats::tiny::Tiny {
            tensor_type: speckv_formats::quant::TensorType::Q4_0,
            ..Default::default()
        },
    );
    std::fs::create_dir(desk.path("work")).expect("a folder");
    for task in ["code", "chat"] {
        let line = |number: u32, split: &str| {
            format!(
                "{{\"id\":\"{task}-0{number}\",\"task\":\"{task}\",\"split\":\"{split}\",\"prompt\":\"the {task} {number}\"}}\n"
            )
        };
        let text = line(1, "train") + &line(2, "test") + &line(3, "train") + &line(4, "train");
        desk.put(&format!("work/{task}.jsonl"), text.as_bytes());
    }
    desk.put(
        "cost.json",
        br#"{"verify_ms": [40, 41, 43, 44, 46], "draft_ms": 14, "catch_up_ms": 4}"#,
    );
    desk
}

/// The pair, and what it is recorded on.
const PAIR: [&str; 8] =
    ["-m", "target.gguf", "-d", "draft.gguf", "--workload", "work", "--threads", "1"];

/// Texts that are quickly recorded, with costs that are not measured.
const SHORT: [&str; 4] = ["-n", "60", "--cost", "cost.json"];

/// The words that record a trace of all prompts into `folder`.
fn recording<'a>(folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["profile", "--trace", folder][..], &PAIR, &["--split", "all"], more].concat()
}

fn profile(desk: &Desk, more: &[&str]) -> Ended {
    desk.run(&recording("t", &[&SHORT[..], more].concat()))
}

/// The words that record a grid into `folder`.
fn grid<'a>(folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["profile", "--grid", folder][..], &PAIR, &["--split", "all", "-n", "24", "--json"], more]
        .concat()
}
