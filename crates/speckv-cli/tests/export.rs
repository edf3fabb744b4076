//! `export` with the real binary.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use process::Desk;
use serde_json::json;

/// t(n): flat up to 8 rows, then 5 ms per row; a draft token 10 ms.
const CURVE: &[u8] = br#"{"verify_ms": {"1": 40, "8": 40, "16": 80, "24": 120}, "draft_ms": 10}"#;
const FLAT: &[u8] = br#"{"verify_ms": [10, 10, 10, 10, 10, 10, 10, 10]}"#;

#[test]
fn a_table_worked_by_hand_in_both_engines_words() {
    let desk = Desk::new();
    desk.put("curve.json", CURVE);
    desk.put("draft.json", FLAT);
    let arguments = [
        "export",
        "--acceptance",
        "0.8,0.6,0.5",
        "--curve",
        "curve.json",
        "--draft-curve",
        "draft.json",
    ];
    let more = ["--batch-max", "16", "--json", "-o", "out"];
    let report =
        desk.run(&arguments.iter().chain(&more).copied().collect::<Vec<_>>()).succeeds().json();
    let batches = report["batch_sizes"].as_array().expect("a list");
    // Tokens per second by hand: b (1 + a(g)) / (10 g + t(b (g + 1))).
    let accepted = [0.0, 0.8, 1.4, 1.9];
    let time = |rows: f64| if rows <= 8.0 { 40.0 } else { 5.0 * rows };
    for (index, row) in batches.iter().enumerate() {
        let b = (index + 1) as f64;
        let speed = |g: usize| {
            1e3 * b * (1.0 + accepted[g]) / (10.0 * g as f64 + time(b * (g as f64 + 1.0)))
        };
        let best = (0..4).fold(0, |best, g| if speed(g) > speed(best) + 1e-9 { g } else { best });
        assert_eq!(row["gamma"], best, "{row:#}");
        assert!(
            (row["modelled_tokens_per_second"].as_f64().expect("a number") - speed(best)).abs()
                < 1e-6,
            "{row:#}"
        );
    }
    assert_eq!((&batches[0]["gamma"], &batches[15]["gamma"]), (&json!(3), &json!(0)));

    let ranges =
        report["vllm"]["num_speculative_tokens_per_batch_size"].as_array().expect("ranges");
    assert_eq!(report["vllm"]["num_speculative_tokens"], 3);
    let mut next = 1;
    for range in ranges {
        let [first, last, gamma] = [0, 1, 2].map(|place| range[place].as_u64().expect("a number"));
        assert!(first == next && last >= first);
        for batch in first..=last {
            assert_eq!(batches[batch as usize - 1]["gamma"], gamma);
        }
        next = last + 1;
    }
    assert_eq!(next, 17, "every batch size is in one range");

    let schedule = report["tensorrt_llm"]["draft_len_schedule"].as_object().expect("a schedule");
    assert_eq!(report["tensorrt_llm"]["max_draft_len"], 3);
    for (index, row) in batches.iter().enumerate() {
        let batch = index + 1;
        let bounds = schedule
            .iter()
            .map(|(bound, gamma)| (bound.parse::<usize>().expect("a batch size"), gamma.clone()));
        let length = bounds.filter(|(bound, _)| *bound >= batch).min_by_key(|(bound, _)| *bound);
        assert_eq!(
            length.map_or(json!(0), |(_, gamma)| gamma),
            row["gamma"],
            "above the last bound there is no draft"
        );
    }
    let written = std::fs::read_to_string(desk.path("out/vllm.json")).expect("a file");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).expect("JSON"), report["vllm"]);
    let yaml = std::fs::read_to_string(desk.path("out/tensorrt-llm.yaml")).expect("a file");
    assert!(
        yaml.starts_with("speculative_config:\n  max_draft_len: 3\n  draft_len_schedule:\n    "),
        "{yaml}"
    );
}

#[test]
fn the_measured_curve_of_bench_and_a_recorded_trace_are_read() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("work")).expect("a folder");
    let line = br#"{"id":"code-01","task":"code","split":"train","prompt":"the code 1"}"#;
    desk.put("work/code.jsonl", line);
    desk.put("cost.json", br#"{"verify_ms": [40, 41, 43, 44, 46], "draft_ms": 1}"#);
    let profile = [
        "profile",
        "--trace",
        "t",
        "-m",
        "target.gguf",
        "-d",
        "target.gguf",
        "--workload",
        "work",
        "--threads",
        "1",
    ];
    let rest = [
        "--gamma-max",
        "8",
        "--split",
        "all",
        "-n",
        "45",
        "--cost",
        "cost.json",
        "--draft-compression",
        "asis",
    ];
    desk.run(&profile.iter().chain(&rest).copied().collect::<Vec<_>>()).succeeds();
    // A draft that is the target is always right: as deep as it was recorded, for a lone request.
    // 45 tokens are five steps of 9.
    let report = desk.run(&["export", "--trace", "t", "--json"]).succeeds().json();
    assert_eq!(report["batch_sizes"][0]["gamma"], 8, "{report:#}");
    assert_eq!((&report["source"], &report["measured_rows"]), (&json!("model"), &json!(17)));
    let shallow =
        desk.run(&["export", "--trace", "t", "--gamma-max", "2", "--json"]).succeeds().json();
    assert_eq!(shallow["vllm"]["num_speculative_tokens"], 2);

    let pass = |rows: u32, ms: f64| {
        let spread = |median: f64| json!({"median": median, "lower_quartile": median, "upper_quartile": median});
        json!({"rows": rows, "milliseconds": spread(ms), "ratio": spread(ms / 40.0)})
    };
    let curve = |context: u32, factor: f64| {
        let passes: Vec<_> =
            (1..=17).map(|rows| pass(rows, factor * (39.0 + f64::from(rows)))).collect();
        json!({"context": context, "passes": passes})
    };
    let file = json!({"model": "m", "tensor_type": "Q4_K", "instruction_set": "avx2", "threads": 2,
        "curves": [curve(128, 1.0), curve(2048, 2.0)]});
    desk.put("bench.json", file.to_string().as_bytes());
    for (context, milliseconds) in [("0", 40.0), ("1500", 80.0)] {
        let arguments = [
            "export",
            "--acceptance",
            "0",
            "--source",
            "ngram",
            "--curve",
            "bench.json",
            "--context",
            context,
        ];
        let ended =
            desk.run(&arguments.iter().chain(&["--json"]).copied().collect::<Vec<_>>()).succeeds();
        assert!(ended.err.contains("no draft length pays"), "{ended:#?}");
        let report = ended.json();
        let speed =
            report["batch_sizes"][0]["modelled_tokens_per_second"].as_f64().expect("a number");
        assert!(
            (speed - 1e3 / milliseconds).abs() < 1e-9,
            "plain decoding at the nearest context: {speed}"
        );
        assert!(report["vllm"].is_null() && report["tensorrt_llm"].is_null());
    }
}

#[test]
fn what_is_missing_or_wrong_is_said_with_a_way_out() {
    let desk = Desk::new();
    desk.put("curve.json", CURVE);
    desk.put("flat.json", FLAT);
    desk.put("bad.json", br#"{"verify_ms": {"2": 40}}"#);
    desk.put("negative.json", br#"{"verify_ms": [-1]}"#);
    desk.put("text.json", b"hello");
    for (arguments, status, words) in [
        (vec!["export"], 2, "--trace"),
        (vec!["export", "--acceptance", "0.5"], 2, "what a pass costs"),
        (vec!["export", "--acceptance", "0.5", "--curve", "flat.json"], 2, "draft token costs"),
        (vec!["export", "--acceptance", "0.5,0.6", "--curve", "curve.json"], 1, "position 2"),
        (vec!["export", "--acceptance", "1.5", "--curve", "curve.json"], 2, "from 0 to 1"),
        (
            vec!["export", "--acceptance", "0.5", "--curve", "bad.json", "--source", "ngram"],
            1,
            "1 row",
        ),
        (vec!["export", "--acceptance", "0.5", "--curve", "negative.json"], 1, "negative.json"),
        (vec!["export", "--acceptance", "0.5", "--curve", "text.json"], 1, "no curve"),
        (vec!["export", "--acceptance", "0.5", "--curve", "none.json"], 1, "none.json"),
        (vec!["export", "--trace", "nowhere"], 1, "nowhere"),
    ] {
        let ended = desk.run(&arguments);
        assert_eq!(ended.status, Some(status), "{ended:#?}");
        assert!(ended.err.contains(words) && ended.err.contains("hint: "), "{words}: {ended:#?}");
    }
}
