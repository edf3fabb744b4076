//! The grid: every gamma on every prompt.

use crate::{desk, grid, process::Desk};

#[test]
fn a_grid_refuses_what_does_not_belong_together() {
    let desk = desk();
    let quick = grid("g", &["--prompts-per-task", "1", "--gammas", "2,0"]);
    desk.run(&quick).succeeds();
    let with = |more: &[&str]| desk.run(&[&quick[..], more].concat());
    let facts = |desk: &Desk| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(desk.path("g/run.json")).expect("facts"))
            .expect("JSON")
    };
    let began = facts(&desk);
    assert_eq!(began["settings"]["draft_compression"], "compact");
    let words =
        |facts: &serde_json::Value| facts["origin"]["command"].as_array().expect("words").len();
    with(&[]).succeeds();
    assert_eq!(facts(&desk), began, "a command that adds nothing is not noted");
    desk.run(&grid("g", &["--prompts-per-task", "2", "--gammas", "2,0"])).succeeds();
    assert_eq!(
        words(&facts(&desk)),
        2 * words(&began) + 1,
        "both commands, and a `;` between them"
    );
    let mut elsewhere = facts(&desk);
    elsewhere["origin"]["machine"] = "another one".into();
    let here = desk.put("kept.json", &std::fs::read(desk.path("g/run.json")).expect("facts"));
    desk.put("g/run.json", elsewhere.to_string().as_bytes());
    with(&[]).fails(1, &["recorded on another one", "this is "]);
    elsewhere["origin"] = began["origin"].clone();
    elsewhere["settings"]["instruction_set"] = "sse".into();
    desk.put("g/run.json", elsewhere.to_string().as_bytes());
    with(&[]).fails(1, &["instruction_set = \"sse\""]);
    std::fs::rename(here, desk.path("g/run.json")).expect("back again");

    with(&["--seed", "7"]).fails(1, &["seed = 42, now it is 7"]);
    with(&["--trace", "t"]).fails(2, &["--trace"]);
    with(&["--compressions", "fp9"]).fails(2, &["fp9"]);
    desk.run(&["profile"]).fails(2, &["--trace"]);
    desk.put(
        "work/code.jsonl",
        b"{\"id\":\"code-01\",\"task\":\"code\",\"split\":\"train\",\"prompt\":\"something \
            else\"}\n",
    );
    with(&[]).fails(1, &["another prompt of the same id"]);
}

#[test]
fn a_grid_by_the_targets_own_copy_says_what_became_of_it() {
    let desk = desk();
    let copied = [
        "profile",
        "--grid",
        "g",
        "-m",
        "target.gguf",
        "-d",
        "self:q4_0",
        "--workload",
        "work",
        "--threads",
        "1",
    ];
    let rest = ["--prompts-per-task", "1", "--gammas", "2", "-n", "8", "--ctx", "100"];
    desk.run(&[&copied[..], &rest].concat()).succeeds();
    let facts: serde_json::Value =
        serde_json::from_slice(&std::fs::read(desk.path("g/run.json")).expect("facts"))
            .expect("JSON");
    assert_eq!(facts["settings"]["draft_compression"], "q4_0");
    let short = ["--ctx", "10"];
    desk.run(&[&copied[..], &rest[..6], &short].concat()).fails(1, &["--ctx"]);
}
