//! `profile`, `train`, `replay` with the real binary and tiny models.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use process::{Desk, Ended};
use speckv_lab::{run_folder::RunFolder, trace::Trace, trace_file::PromptFacts};

/// A desk with a workload of short prompts, as tiny models' contexts need.
fn desk() -> Desk {
    let desk = Desk::new();
    // A draft that is the target with less precision agrees now and then.
    desk.model(
        "draft.gguf",
        &speckv_cpu::tiny::Tiny { tensor_type: speckv_cpu::gguf::TensorType::Q4_0, ..Default::default() },
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
    desk.put("cost.json", br#"{"verify_ms": [40, 41, 43, 44, 46], "draft_ms": 14, "catch_up_ms": 4}"#);
    desk
}

fn profile(desk: &Desk, more: &[&str]) -> Ended {
    let base =
        ["profile", "--trace", "t", "-m", "target.gguf", "-d", "draft.gguf", "--workload", "work", "--threads", "1"];
    let rest = ["--split", "all", "-n", "60", "--cost", "cost.json"];
    desk.run(&base.iter().chain(&rest).chain(more).copied().collect::<Vec<_>>())
}

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

    let arguments = ["train", "--trace", "t", "-o", "weights.json", "--folds", "2", "--epochs", "3", "--json"];
    let report = desk.run(&arguments).succeeds().json();
    assert_eq!((&report["prompts"], &report["other_split"]["prompts"]), (&6.into(), &2.into()));
    let accept = &report["held_out"][0];
    assert_eq!((&accept["source"], &accept["question"]), (&"model".into(), &"accept".into()));
    for quality in ["ece_10", "brier", "auc", "log_loss", "gain_over_constant"] {
        assert!(accept["logistic"][quality].is_number(), "{quality}: {report:#}");
    }

    // The same prompts with other weights teach what the weights change; recorded twice with the same, they teach nothing twice.
    let again =
        ["profile", "--trace", "t4", "-m", "target.gguf", "-d", "draft.gguf", "--workload", "work", "--threads", "1"];
    let weights = ["--split", "all", "-n", "60", "--cost", "cost.json", "--compression", "int8"];
    desk.run(&[&again[..], &weights].concat()).succeeds();
    let arguments =
        ["train", "--trace", "t", "--trace", "t4", "-o", "both.json", "--folds", "2", "--epochs", "1", "--json"];
    let both = desk.run(&arguments).succeeds().json();
    assert_eq!((&both["prompts"], &both["texts"]), (&6.into(), &12.into()));
    let arguments = ["train", "--trace", "t", "--trace", "t", "-o", "twice.json", "--folds", "2", "--epochs", "1"];
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
    assert_eq!(rows[0]["modelled_tokens_per_second"].as_f64().map(f64::round), Some(25.0), "one token every 40 ms");
    for row in rows {
        assert!(row["modelled_share_of_oracle"].as_f64().is_some_and(|share| share > 0.0 && share <= 1.0 + 1e-9));
        let steps: f64 = row["gamma_histogram"].as_array().expect("counts").iter().filter_map(|c| c.as_f64()).sum();
        let tokens = groups[0]["tokens"].as_f64().expect("a number");
        assert!((tokens / steps - row["acceptance_length"].as_f64().expect("a number")).abs() < 1e-9);
    }
    let pair = ["-m", "target.gguf", "-d", "draft.gguf", "--predictor", "weights.json"];
    let live = |words: &[&str]| desk.run(&[words, &pair, &["--json"]].concat()).succeeds().json();
    let plain = desk.run(&["run", "-m", "target.gguf", "-n", "20", "--json", "the code 1"]).succeeds().json();
    assert_eq!(live(&["run", "-n", "20", "the code 1"])["tokens"], plain["tokens"]);
    let small =
        ["--workload", "work", "--prompts-per-task", "1", "--gammas", "2", "--controllers", "speckv", "-n", "8"];
    assert_eq!(live(&[&["bench"][..], &small[..]].concat())["subject"]["predictor"], "weights.json");
    let evaluated = live(&[&["evaluate"][..], &small[..]].concat());
    assert_eq!(evaluated["conditions"]["predictor"], "weights.json");
    let identity = ["identity", "--prompts", "1", "--gammas", "2", "--threads-list", "1", "-n", "8"];
    assert_eq!(live(&identity)["mismatches"], 0);
    desk.run(&["report", "--trace", "t", "--predictor", "weights.json", "-o", "out"]).succeeds();
    let page = std::fs::read_to_string(desk.path("out/report.html")).expect("a page");
    assert!(page.contains("predictor (weights.json)"), "the calibration is of the trained weights");
    for words in
        [&["run", "-n", "8", "the code 1"][..], &["chat"], &["serve", "--port", "0"], &["bench"], &["evaluate"]]
    {
        let strange = ["-m", "target.gguf", "-d", "draft.gguf", "--predictor", "cost.json"];
        desk.run(&[words, &strange].concat()).fails(1, &["cost.json", "speckv train"]);
    }

    assert!(rows.iter().all(|row| row["cut_steps"] == 0), "16 deep is as far as anybody goes: {rows:#?}");
    assert_eq!(rows[1]["controller"], "fixed:2", "as it is typed");
    assert_eq!(rows[3]["controller"], "speckv@model");
    let oracles =
        ["modelled_oracle_ratio_to_off", "modelled_model_oracle_ratio_to_off"].map(|name| groups[0][name].as_f64());
    assert!(
        oracles[0] >= oracles[1] && oracles[1] >= rows[3]["modelled_ratio_to_off"].as_f64(),
        "{oracles:?}: {rows:#?}"
    );
    let table = desk.run(&["replay", "--trace", "t", "--split", "test"]).succeeds().out;
    assert!(
        table.contains("all: 2 prompts") && table.contains("modelled x off") && table.contains("adaptive-verification")
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
        ended.err.contains("gamma_max = 16, now it is 4") && ended.err.contains("hint: give another folder"),
        "{ended:#?}"
    );
    for (arguments, words) in [
        (vec!["replay", "--trace", "t", "--controllers", "fixed:17"], "gamma of at most 16"),
        (vec!["replay", "--trace", "t", "--controllers", "speckv@nobody"], "expected @model, @ngram or @both"),
        (vec!["replay", "--trace", "work"], "speckv profile --trace DIR"),
        (vec!["replay", "--trace", "t", "--predictor", "shipped"], "no weights are shipped"),
        (vec!["replay", "--trace", "t", "--cost", "none.json"], "cannot read none.json"),
        (vec!["train", "--trace", "nowhere", "-o", "w.json"], "nowhere"),
        (vec!["profile", "--trace", "u", "-m", "target.gguf", "-d", "none"], "nothing to record"),
        (vec!["profile", "--trace", "u", "-m", "target.gguf", "--workload", "work", "--tasks", "cooking"], "code"),
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
    assert!(said.contains("1 tokens deep") && said.contains("heuristic in ") && !said.contains("fixed:1 in"), "{said}");
}

#[test]
fn an_interrupted_recording_keeps_what_is_whole_and_goes_on() {
    let desk = desk();
    let arguments = [
        "profile",
        "--trace",
        "t",
        "-m",
        "target.gguf",
        "-d",
        "draft.gguf",
        "--workload",
        "work",
        "--threads",
        "1",
        "--split",
        "all",
        "-n",
        "200",
        "--gamma-max",
        "64",
    ];
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
    assert_eq!(again["recorded"].as_u64(), Some(9 - count as u64), "run.json and what was whole stayed");
    desk.run(&["replay", "--trace", "t", "--controllers", "off", "--cost", "cost.json"]).succeeds();
}

const GRID: [&str; 16] = [
    "profile",
    "--grid",
    "g",
    "-m",
    "target.gguf",
    "-d",
    "draft.gguf",
    "--workload",
    "work",
    "--threads",
    "1",
    "--split",
    "all",
    "-n",
    "24",
    "--json",
];

/// The table without the columns of seconds.
fn lasting(desk: &Desk, folder: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(desk.path(folder).join("steps.csv")).expect("a table");
    let mut rows = csv_rows(&text).into_iter();
    let head = rows.next().expect("a head");
    let kept: Vec<usize> = (0..head.len()).filter(|&at| !head[at].ends_with("_seconds")).collect();
    assert_eq!(kept.len() + 4, head.len());
    rows.map(|row| kept.iter().map(|&at| row[at].clone()).collect()).collect()
}

/// Cells of comma-separated values with quotes, as RFC 4180 has them.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    rows
}

/// Starts a command again and again, kills it after a while that varies, and gives the number of kills that it took until it ended by itself.
/// `unbroken`: what the same work takes without kills, on this machine, now.
fn kill_until_done(desk: &Desk, arguments: &[&str], unbroken: std::time::Duration) -> u32 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for kills in 0..200 {
        let mut child = desk.start(arguments);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Later and later, so that it ends; the first kills come before anything was written.
        let share = (state % 1024) as f64 / 1024.0 / 6.0 + f64::from(kills) / 24.0;
        std::thread::sleep(unbroken.mul_f64(share));
        if let Some(status) = child.try_wait().expect("a process") {
            assert!(status.success(), "{:#?}", Ended::new(arguments, child.wait_with_output().expect("an end")));
            assert!(kills > 1, "it was too quick to be killed");
            return kills;
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("an end");
    }
    panic!("it never ends");
}

/// What a folder of traces says, seconds aside.
fn traces(desk: &Desk, folder: &str) -> Vec<(PromptFacts, Trace)> {
    let files = RunFolder::open(&desk.path(folder)).expect("a run").load().expect("traces");
    files.into_iter().map(|file| (file.prompt, file.recording.trace)).collect()
}

#[test]
fn a_trace_that_is_killed_at_any_moment_ends_in_the_same_traces() {
    let desk = desk();
    let more = ["--gamma-max", "16"];
    let start = std::time::Instant::now();
    profile(&desk, &more).succeeds();
    let unbroken = start.elapsed();
    let expected = traces(&desk, "t");
    assert_eq!(expected.len(), 8);
    let base = ["profile", "--trace", "u", "-m", "target.gguf", "-d", "draft.gguf", "--workload", "work"];
    let rest = ["--threads", "1", "--split", "all", "-n", "60", "--cost", "cost.json"];
    let kills = kill_until_done(&desk, &[&base[..], &rest, &more].concat(), unbroken);
    assert_eq!(traces(&desk, "u"), expected, "after {kills} kills");
}

#[test]
fn a_grid_that_is_killed_at_any_moment_ends_in_the_same_table() {
    let desk = desk();
    let whole = [&GRID[..], &["--compressions", "asis,q4_0"]].concat();
    let start = std::time::Instant::now();
    let report = desk.run(&whole).succeeds().json();
    let unbroken = start.elapsed();
    assert_eq!((&report["prompts"], &report["recorded"]), (&16.into(), &16.into()), "8 prompts under two compressions");
    let expected = lasting(&desk, "g");
    assert!(expected.iter().any(|row| row[0] == "q4_0") && expected.iter().any(|row| row[1] == "8"));
    for compression in ["asis", "q4_0"] {
        let text = |gamma: &str| {
            let mine = expected.iter().filter(|row| row[0] == compression && row[1] == gamma && row[11] == "code-01");
            mine.map(|row| row[25].clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text("0"), text("8"), "greedy speculation changes no token");
    }

    let mut other = whole.clone();
    other[2] = "h";
    let kills = kill_until_done(&desk, &other, unbroken);
    assert_eq!(lasting(&desk, "h"), expected, "after {kills} kills");
    let parquet = std::fs::read(desk.path("h/steps.parquet")).expect("Parquet");
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
}

#[test]
fn a_grid_refuses_what_does_not_belong_together() {
    let desk = desk();
    let quick = [&GRID[..], &["--prompts-per-task", "1", "--gammas", "2,0"]].concat();
    desk.run(&quick).succeeds();
    let with = |more: &[&str]| desk.run(&[&quick[..], more].concat());
    let facts = |desk: &Desk| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(desk.path("g/run.json")).expect("facts")).expect("JSON")
    };
    let began = facts(&desk);
    assert_eq!(began["settings"]["draft_compression"], "compact");
    let words = |facts: &serde_json::Value| facts["origin"]["command"].as_array().expect("words").len();
    with(&[]).succeeds();
    assert_eq!(facts(&desk), began, "a command that adds nothing is not noted");
    desk.run(&[&GRID[..], &["--prompts-per-task", "2", "--gammas", "2,0"]].concat()).succeeds();
    assert_eq!(words(&facts(&desk)), 2 * words(&began) + 1, "both commands, and a `;` between them");
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
        b"{\"id\":\"code-01\",\"task\":\"code\",\"split\":\"train\",\"prompt\":\"something else\"}\n",
    );
    with(&[]).fails(1, &["another prompt of the same id"]);
}

#[test]
fn everything_becomes_one_page_and_what_is_missing_is_named() {
    let desk = desk();
    desk.run(&[&GRID[..], &["--prompts-per-task", "2"]].concat()).succeeds();
    profile(&desk, &["--prompts-per-task", "1"]).succeeds();
    let evaluate =
        ["evaluate", "-m", "target.gguf", "-d", "draft.gguf", "--workload", "work", "--split", "train", "-n", "16"];
    let some = ["--gammas", "2", "--controllers", "speckv", "-o", "e", "--json"];
    let made = desk.run(&[&evaluate[..], &some].concat()).succeeds().json();
    assert_eq!((made["verdicts"].as_array().map(Vec::len), made["sides"].as_array().map(Vec::len)), (Some(2), Some(3)));
    let verdict = &made["verdicts"][0];
    assert_eq!((verdict["against"].as_str(), verdict["prompts"].as_u64()), (Some("off"), Some(6)));
    for p in [&verdict["signed_rank"]["p_value"], &verdict["holm_p"], &verdict["sign_flip_p"]] {
        assert!(p.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)), "{verdict}");
    }
    let curve =
        desk.run(&["bench", "--curve", "target.gguf", "--rounds", "2", "--buffer", "1", "--json"]).succeeds().out;
    desk.put("curve.json", curve.as_bytes());
    let inputs = ["--grid", "g", "--trace", "t", "--evaluation", "e/evaluation.json", "--curve", "curve.json"];
    let all = desk
        .run(&[&["report", "-o", "out", "--title", "A <pair>"], &inputs[..], &["--json"]].concat())
        .succeeds()
        .json();
    assert_eq!(all["left_out"].as_array().map(Vec::len), Some(0), "{all}");
    assert_eq!(all["warnings"].as_array().map(Vec::len), Some(0), "one machine, one pair: {all}");
    assert_eq!(all["figures"].as_array().map(Vec::len), Some(8), "the gallery is text");
    let page = std::fs::read_to_string(desk.path("out/report.html")).expect("a page");
    assert!(
        page.contains("A &lt;pair&gt;")
            && page.contains("Which gamma is best, and where?")
            && page.contains("What do the draft's signals predict?")
            && page.contains("What does the controller gain?")
            && page.contains("class=\"k ")
    );
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"), "nothing is fetched");
    for id in ["gamma", "heat", "shift", "signals", "calibration", "policies", "histograms", "cost"] {
        let svg = std::fs::read_to_string(desk.path("out/figures").join(format!("{id}.svg"))).expect(id);
        assert!(svg.starts_with("<svg xmlns=") && !svg.contains("NaN") && !svg.contains("inf"), "{id}");
    }
    assert!(!page.contains("NaN"));
}

#[test]
fn a_report_of_nothing_or_of_something_else_is_refused_and_gaps_are_named() {
    let desk = desk();
    desk.run(&["report", "-o", "out"]).fails(2, &["there is nothing to report on", "--grid DIR"]);
    desk.run(&["report", "--grid", "work", "-o", "out"]).fails(1, &["work", "speckv profile --grid DIR"]);
    desk.run(&["report", "--trace", "nowhere", "-o", "out"]).fails(1, &["nowhere"]);
    desk.run(&["report", "--evaluation", "cost.json", "-o", "out"]).fails(1, &["cost.json", "evaluation.json"]);
    desk.put("half.json", br#"{"format": 2, "conditions": {"machine": "m"}}"#);
    desk.run(&["report", "--evaluation", "half.json", "-o", "out"])
        .fails(1, &["half.json", "an evaluation, but not whole"]);
    desk.run(&["report", "--curve", "cost.json", "-o", "out"]).fails(1, &["cost.json", "--curve MODEL"]);
    assert!(!desk.path("out").exists(), "a refusal writes nothing");

    desk.run(&[&GRID[..], &["--prompts-per-task", "1", "--gammas", "0,2"]].concat()).succeeds();
    let made = desk.run(&["report", "--grid", "g", "-o", "out", "--json"]).succeeds().json();
    let left_out = made["left_out"].as_array().expect("a list");
    assert!(left_out.iter().all(|figure| figure["command"].as_str().is_some_and(|text| text.starts_with("speckv "))));
    assert_eq!((left_out.len(), made["figures"].as_array().map(Vec::len)), (4, Some(4)), "{made}");
    let page = std::fs::read_to_string(desk.path("out/report.html")).expect("a page");
    assert!(page.contains("Left out") && page.contains("speckv profile --trace DIR"));
    let again = desk.run(&["report", "--grid", "g", "-o", "again"]).succeeds();
    assert!(again.err.contains("left out: "), "{again:#?}");
    assert_eq!(
        std::fs::read_to_string(desk.path("again/report.html")).expect("a page"),
        page,
        "the same inputs, the same page"
    );

    let table = std::fs::read_to_string(desk.path("g/steps.csv")).expect("a table");
    desk.put("g/steps.csv", table.replacen(",gamma,", ",gama,", 1).as_bytes());
    desk.run(&["report", "--grid", "g", "-o", "broken"]).fails(1, &["steps.csv"]);
    std::fs::remove_file(desk.path("g/steps.csv")).expect("it was there");
    desk.run(&["report", "--grid", "g", "-o", "parquet"]).succeeds();
    assert_eq!(std::fs::read_to_string(desk.path("parquet/report.html")).expect("a page"), page, "Parquet will do");
    std::fs::remove_file(desk.path("g/steps.parquet")).expect("it was there");
    desk.run(&["report", "--grid", "g", "-o", "broken"])
        .fails(1, &["steps.csv", "not finished: 2 of its parts", "again"]);
}

#[test]
fn a_grid_by_the_targets_own_copy_says_what_became_of_it() {
    let desk = desk();
    let grid =
        ["profile", "--grid", "g", "-m", "target.gguf", "-d", "self:q4_0", "--workload", "work", "--threads", "1"];
    let rest = ["--prompts-per-task", "1", "--gammas", "2", "-n", "8", "--ctx", "100"];
    desk.run(&[&grid[..], &rest].concat()).succeeds();
    let facts: serde_json::Value =
        serde_json::from_slice(&std::fs::read(desk.path("g/run.json")).expect("facts")).expect("JSON");
    assert_eq!(facts["settings"]["draft_compression"], "q4_0");
    let short = ["--ctx", "10"];
    desk.run(&[&grid[..], &rest[..6], &short].concat()).fails(1, &["--ctx"]);
}

#[test]
fn a_report_of_several_compressions_is_read_and_what_does_not_belong_is_named() {
    let desk = desk();
    let bench = ["bench", "-m", "target.gguf", "-d", "draft.gguf", "--workload", "work", "--prompts-per-task", "1"];
    let rest = ["--gammas", "2", "--controllers", "none", "-n", "8", "--compression", "asis,q4_0", "--json"];
    let made = desk.run(&[&bench[..], &rest].concat()).succeeds();
    let subject = &made.json()[0]["subject"];
    assert_eq!(
        (&subject["target"], subject["target_sha256"].as_str().map(str::len)),
        (&"target.gguf".into(), Some(64))
    );
    assert!(subject["machine"].is_string() && subject["version"].is_string() && subject["command"][0] == "speckv");
    desk.put("both.json", made.out.as_bytes());
    let curve = desk.run(&["bench", "--curve", "draft.gguf", "--rounds", "2", "--buffer", "1", "--json"]).succeeds();
    assert_eq!((&curve.json()["model"], &curve.json()["command"][1]), (&"draft.gguf".into(), &"bench".into()));
    desk.put("curve.json", curve.out.as_bytes());
    let report =
        |curve: &str| desk.run(&["report", "--bench", "both.json", "--curve", curve, "-o", "out"]).succeeds().err;
    assert!(!report("curve.json").contains("warning"));
    let mut elsewhere = curve.json();
    elsewhere["machine"] = "another one".into();
    elsewhere["sha256"] = "00".into();
    desk.put("elsewhere.json", elsewhere.to_string().as_bytes());
    let said = report("elsewhere.json");
    assert!(
        said.contains("not all of this is of one machine") && said.contains("the curve of draft.gguf is of a model"),
        "{said}"
    );
    let page = std::fs::read_to_string(desk.path("out/report.html")).expect("a page");
    assert!(page.contains("not all of this is of one machine"));
}

#[test]
fn saved_evaluations_of_different_conditions_are_compared_only_when_told() {
    let desk = desk();
    let pair = ["evaluate", "-m", "target.gguf", "-d", "draft.gguf", "--workload", "work", "--split", "train"];
    let rest = ["--gammas", "2", "--controllers", "none", "-n", "12", "--threads", "1", "-o", "a", "--json"];
    let made = desk.run(&[&pair[..], &rest].concat()).succeeds().json();
    let saved = |from: &str, to: &str, conditions: &[(&str, serde_json::Value)]| {
        let text = std::fs::read_to_string(desk.path(from)).expect("an evaluation");
        let mut file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for (name, value) in conditions {
            file["conditions"][*name] = value.clone();
        }
        desk.put(to, file.to_string().as_bytes());
    };
    let compare = |other: &str, more: &[&str]| {
        let base = ["evaluate", "--saved", "a/evaluation.json", "--saved", other, "--json"];
        desk.run(&[&base[..], more].concat())
    };
    saved("a/evaluation.json", "same.json", &[]);
    let same = compare("same.json", &[]).succeeds().json();
    assert_eq!(same["differences"].as_array().map(Vec::len), Some(0));
    for verdict in same["verdicts"].as_array().expect("verdicts") {
        assert_eq!(
            (verdict["ratio"]["value"].as_f64(), verdict["holm_p"].as_f64()),
            (Some(1.0), Some(1.0)),
            "{verdict}"
        );
    }
    let mut target = made["conditions"]["target"].clone();
    target["sha256"] = "00".into();
    saved("a/evaluation.json", "other.json", &[("machine", "another one".into()), ("target", target)]);
    compare("other.json", &[]).fails(1, &["machine", "another one", "target", "--despite-differences"]);
    for (name, value) in [("spoiled_draft", true.into()), ("draft_head", "64".into()), ("ctx", 9.into())] {
        let value: serde_json::Value = value;
        saved("a/evaluation.json", "changed.json", &[(name, value)]);
        compare("changed.json", &[]).fails(1, &[name]);
    }
    let text = std::fs::read_to_string(desk.path("a/evaluation.json")).expect("an evaluation");
    let mut file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    file["prompts"][0]["digest"] = "000000000000".into();
    desk.put("reworded.json", file.to_string().as_bytes());
    compare("reworded.json", &[]).fails(1, &["the text of the prompt chat-01"]);
    let told = compare("other.json", &["--despite-differences"]).succeeds();
    assert_eq!(told.json()["differences"].as_array().map(Vec::len), Some(2));
    assert!(told.err.contains("not the same conditions"), "{told:#?}");
    desk.run(&["evaluate", "--saved", "same.json"]).fails(2, &["two saved evaluations"]);
}
