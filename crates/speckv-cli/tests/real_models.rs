//! The real models, end to end: fetched if they are absent, verified, and speaking the same tokens
//! with and without a draft.
//!
//! `SPECKV_OFFLINE=1` leaves these tests out, and says so.

use std::process::{Command, Output};

fn speckv(arguments: &[&str]) -> Option<Output> {
    if std::env::var_os("SPECKV_OFFLINE").is_some() {
        eprintln!("SKIPPED: SPECKV_OFFLINE is set, real models are not asked for");
        return None;
    }
    Some(
        Command::new(env!("CARGO_BIN_EXE_speckv"))
            .args(arguments)
            .output()
            .expect("the program starts"),
    )
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Fetching is one test program's first act; the others in this file wait for the same lock inside
/// `pull`.
fn pulled(names: &[&str]) -> bool {
    let Some(output) = speckv(&[&["pull"], names].concat()) else { return false };
    assert!(output.status.success(), "{}", text(&output));
    true
}

fn identity(arguments: &[&str]) {
    let Some(output) = speckv(&[&["identity", "--json"], arguments].concat()) else { return };
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["mismatches"], 0, "{report}");
    assert!(report["comparisons"].as_u64().is_some_and(|n| n > 0), "{report}");
}

#[test]
fn smollm2_says_the_same_with_look_up_as_alone() {
    if pulled(&["smollm2-135m"]) {
        identity(&[
            "--model",
            "smollm2-135m",
            "--draft",
            "ngram",
            "--prompts",
            "4",
            "--max-tokens",
            "64",
        ]);
    }
}

#[test]
fn the_qwen_pair_says_the_same_as_its_target_alone() {
    if pulled(&["qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b"]) {
        identity(&[
            "--prompts",
            "2",
            "--gammas",
            "1,4,16",
            "--threads-list",
            "2",
            "--max-tokens",
            "48",
        ]);
    }
}

#[test]
fn the_default_pair_answers_sensibly() {
    if !pulled(&["qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b"]) {
        return;
    }
    let prompt = "What is the capital of France? Answer with one word.";
    let Some(output) = speckv(&["run", prompt, "--json", "--max-tokens", "16"]) else { return };
    assert!(output.status.success(), "{}", text(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(answer["text"].as_str().is_some_and(|text| text.contains("Paris")), "{answer}");
    assert_eq!(answer["finish_reason"], "stop");
}

/// The tokens of an answer, and how many of them were forced.
fn constrained(arguments: &[&str]) -> Option<(serde_json::Value, u64)> {
    let prompt = "Describe the city of Bern in JSON.";
    let fixed = ["run", prompt, "--json", "--model", "smollm2-135m", "--max-tokens", "80"];
    let output = speckv(&[&fixed, arguments].concat())?;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let forced = answer["stats"]["forced"].as_u64().expect("a number");
    assert!(answer["tokens"].as_array().is_some_and(|tokens| tokens.len() > 2), "{answer}");
    Some((answer["tokens"].clone(), forced))
}

#[test]
fn constrained_answers_are_the_same_whatever_speculates() {
    if !pulled(&["smollm2-135m"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let object = r#"{"type": "object", "properties": {"name": {"type": "string"},
        "canton": {"enum": ["Bern", "Basel"]}, "inhabitants": {"type": "integer"},
        "rivers": {"type": "array", "items": {"type": "string"}, "maxItems": 3}},
        "required": ["name", "canton", "inhabitants", "rivers"], "additionalProperties": false}"#;
    let (schema, any) = (file("object.json", object), file("any.json", r#"{"type": "object"}"#));
    let grammar = file("list.gbnf", "root ::= item+\nitem ::= \"- \" [a-z ]+ \"\\n\"\n");
    for constraint in [
        ["--json-schema", schema.as_str()],
        ["--json-schema", any.as_str()],
        ["--grammar", grammar.as_str()],
        ["--choices", "a small town,a city"],
    ] {
        let run = |controller: &str, draft: &str| {
            let how = ["--controller", controller, "--draft", draft];
            constrained(&[&constraint[..], &how].concat())
        };
        let Some((expected, none)) = run("off", "ngram") else { return };
        assert_eq!(none, 0, "plain decoding decides every token");
        // The target as its own draft has much accepted, look-up little.
        for draft in ["smollm2-135m", "ngram"] {
            for controller in ["fixed:1", "fixed:6", "speckv"] {
                let Some((tokens, forced)) = run(controller, draft) else { return };
                assert_eq!(tokens, expected, "{constraint:?}, {controller}, {draft}");
                if constraint[1] == schema || constraint[0] == "--choices" {
                    assert!(forced > 0, "{constraint:?}, {controller}, {draft}");
                }
            }
        }
    }
}
