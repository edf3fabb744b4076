//! Recordings of traces, and what is made of them: training and replay.

use crate::{SHORT, desk, process, profile, recording};

#[test]
fn traces_are_recorded_resumed_trained_on_and_replayed() {
    let desk = desk();
    let first = profile(&desk, &["--json", "--prompts-per-task", "1"]).succeeds().json();
    assert_eq!((&first["prompts"], &first["recorded"]), (&2.into(), &2.into()));
    let path = desk.path("t/code-01.parquet");
    let before = std::fs::read(&path).expect("a trace");
    let second = profile(&desk, &["--json"]).succeeds().json();
    assert_eq!((&second["prompts"], &second["recorded"]), (&8.into(), &6.into()));
    assert_eq!(std::fs::read(&path).expect("a trace"), before, "what was recorded stays as it is");

    let arguments =
        ["train", "--trace", "t", "-o", "weights.json", "--folds", "2", "--epochs", "3", "--json"];
    let report = desk.run(&arguments).succeeds().json();
    assert_eq!((&report["prompts"], &report["other_split"]["prompts"]), (&6.into(), &2.into()));
    let accept = &report["held_out"][0];
    assert_eq!((&accept["source"], &accept["question"]), (&"model".into(), &"accept".into()));
    for quality in ["ece_10", "brier", "auc", "log_loss", "gain_over_constant"] {
        assert!(accept["logistic"][quality].is_number(), "{quality}: {report:#}");
    }

    // The same prompts with other weights teach what the weights change; recorded twice with the
    // same, they teach nothing twice.
    desk.run(&recording("t4", &[&SHORT[..], &["--compression", "int8"]].concat())).succeeds();
    let arguments = [
        "train",
        "--trace",
        "t",
        "--trace",
        "t4",
        "-o",
        "both.json",
        "--folds",
        "2",
        "--epochs",
        "1",
        "--json",
    ];
    let both = desk.run(&arguments).succeeds().json();
    assert_eq!((&both["prompts"], &both["texts"]), (&6.into(), &12.into()));
    let arguments = [
        "train",
        "--trace",
        "t",
        "--trace",
        "t",
        "-o",
        "twice.json",
        "--folds",
        "2",
        "--epochs",
        "1",
    ];
    let twice = desk.run(&arguments).succeeds();
    assert!(twice.err.contains("8 prompts were recorded more than once"), "{twice:#?}");

    let arguments = [
        "replay",
        "--trace",
        "t",
        "--controllers",
        "off,fixed:2,speckv,speckv@model",
        "--predictor",
        "weights.json",
        "--json",
    ];
    let replayed = desk.run(&arguments).succeeds().json();
    let groups = replayed["groups"].as_array().expect("groups");
    assert_eq!(
        groups.iter().map(|group| group["task"].as_str()).collect::<Vec<_>>(),
        [Some("all"), Some("chat"), Some("code")]
    );
    let rows = groups[0]["controllers"].as_array().expect("rows");
    assert_eq!(rows[0]["modelled_ratio_to_off"], 1.0);
    assert_eq!(
        rows[0]["modelled_tokens_per_second"].as_f64().map(f64::round),
        Some(25.0),
        "one token every 40 ms"
    );
    for row in rows {
        assert!(
            row["modelled_share_of_oracle"]
                .as_f64()
                .is_some_and(|share| share > 0.0 && share <= 1.0 + 1e-9)
        );
        let steps: f64 = row["gamma_histogram"]
            .as_array()
            .expect("counts")
            .iter()
            .filter_map(|c| c.as_f64())
            .sum();
        let tokens = groups[0]["tokens"].as_f64().expect("a number");
        assert!(
            (tokens / steps - row["acceptance_length"].as_f64().expect("a number")).abs() < 1e-9
        );
    }
    let pair = ["-m", "target.gguf", "-d", "draft.gguf", "--predictor", "weights.json"];
    let live = |words: &[&str]| desk.run(&[words, &pair, &["--json"]].concat()).succeeds().json();
    let plain = desk
        .run(&["run", "-m", "target.gguf", "-n", "20", "--json", "the code 1"])
        .succeeds()
        .json();
    assert_eq!(live(&["run", "-n", "20", "the code 1"])["tokens"], plain["tokens"]);
    let small = [
        "--workload",
        "work",
        "--prompts-per-task",
        "1",
        "--gammas",
        "2",
        "--controllers",
        "speckv",
        "-n",
        "8",
    ];
    assert_eq!(
        live(&[&["bench"][..], &small[..]].concat())["subject"]["predictor"],
        "weights.json"
    );
    let evaluated = live(&[&["evaluate"][..], &small[..]].concat());
    assert_eq!(evaluated["conditions"]["predictor"], "weights.json");
    let identity =
        ["identity", "--prompts", "1", "--gammas", "2", "--threads-list", "1", "-n", "8"];
    assert_eq!(live(&identity)["mismatches"], 0);
    desk.run(&["report", "--trace", "t", "--predictor", "weights.json", "-o", "out"]).succeeds();
    let page = std::fs::read_to_string(desk.path("out/report.html")).expect("a page");
    assert!(page.contains("predictor (weights.json)"), "the calibration is of the trained weights");
    for words in [
        &["run", "-n", "8", "the code 1"][..],
        &["chat"],
        &["serve", "--port", "0"],
        &["bench"],
        &["evaluate"],
    ] {
        let strange = ["-m", "target.gguf", "-d", "draft.gguf", "--predictor", "cost.json"];
        desk.run(&[words, &strange].concat()).fails(1, &["cost.json", "speckv train"]);
    }

    assert!(
        rows.iter().all(|row| row["cut_steps"] == 0),
        "no source proposes more than 16 tokens: {rows:#?}"
    );
    assert_eq!(rows[1]["controller"], "fixed:2", "as it is typed");
    assert_eq!(rows[3]["controller"], "speckv@model");
    let oracles = ["modelled_oracle_ratio_to_off", "modelled_model_oracle_ratio_to_off"]
        .map(|name| groups[0][name].as_f64());
    assert!(
        oracles[0] >= oracles[1] && oracles[1] >= rows[3]["modelled_ratio_to_off"].as_f64(),
        "{oracles:?}: {rows:#?}"
    );
    let table = desk.run(&["replay", "--trace", "t", "--split", "test"]).succeeds().out;
    assert!(
        table.contains("all: 2 prompts")
            && table.contains("modelled x off")
            && table.contains("adaptive-verification")
    );
}

#[test]
fn a_changed_setting_is_refused_with_a_way_out() {
    let desk = desk();
    profile(&desk, &["--prompts-per-task", "1"]).succeeds();
    let ended = profile(&desk, &["--prompts-per-task", "1", "--gamma-max", "4"]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    for (option, value, said) in [
        ("--draft-head", "128", "draft_head = \"100352\", now it is \"128\""),
        ("--draft-compression", "asis", "draft_compression = \"compact\", now it is \"asis\""),
        ("--compression", "int8", "ompression"),
    ] {
        profile(&desk, &["--prompts-per-task", "1", option, value]).fails(1, &[said]);
    }
    assert!(
        ended.err.contains("gamma_max = 16, now it is 4")
            && ended.err.contains("hint: give another folder"),
        "{ended:#?}"
    );
    for (arguments, words) in [
        (vec!["replay", "--trace", "t", "--controllers", "fixed:17"], "gamma of at most 16"),
        (
            vec!["replay", "--trace", "t", "--controllers", "speckv@unknown"],
            "expected one of @model",
        ),
        (vec!["replay", "--trace", "work"], "speckv profile --trace DIR"),
        (vec!["replay", "--trace", "t", "--predictor", "shipped"], "no weights are shipped"),
        (vec!["replay", "--trace", "t", "--cost", "none.json"], "cannot read none.json"),
        (vec!["train", "--trace", "nowhere", "-o", "w.json"], "nowhere"),
        (vec!["profile", "--trace", "u", "-m", "target.gguf", "-d", "none"], "nothing to record"),
        (
            vec![
                "profile",
                "--trace",
                "u",
                "-m",
                "target.gguf",
                "--workload",
                "work",
                "--tasks",
                "cooking",
            ],
            "code",
        ),
    ] {
        let ended = desk.run(&arguments);
        assert!(ended.status.is_some_and(|status| status == 1 || status == 2), "{ended:#?}");
        assert!(ended.err.contains(words) && ended.err.contains("hint: "), "{words}: {ended:#?}");
    }
}

#[test]
fn a_shallow_recording_says_whose_steps_it_cuts() {
    let desk = desk();
    profile(&desk, &["--prompts-per-task", "1", "--gamma-max", "1"]).succeeds();
    let replay = ["replay", "--trace", "t", "--controllers", "off,fixed:1,heuristic"];
    let said = desk.run(&replay).succeeds().err;
    assert!(
        said.contains("1 tokens deep")
            && said.contains("heuristic in ")
            && !said.contains("fixed:1 in"),
        "{said}"
    );
}

#[test]
fn an_interrupted_recording_keeps_what_is_whole_and_goes_on() {
    let desk = desk();
    let arguments = recording("t", &["-n", "200", "--gamma-max", "64"]);
    let child = desk.start(&arguments);
    let whole = |name: &str| desk.path("t").join(name).exists();
    for _ in 0..6_000 {
        if whole("chat-01.parquet") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    process::interrupt(&child);
    let ended = child.wait_with_output().expect("an end");
    // On a fast machine all may have been done before the signal came.
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(0) || said.contains("of 8 prompts recorded"), "{said}");
    let count = std::fs::read_dir(desk.path("t")).expect("the folder").count();
    let again = desk.run(&[&arguments[..], &["--json"]].concat()).succeeds().json();
    assert_eq!(
        again["recorded"].as_u64(),
        Some(9 - count as u64),
        "run.json and what was whole stayed"
    );
    desk.run(&["replay", "--trace", "t", "--controllers", "off", "--cost", "cost.json"]).succeeds();
}
