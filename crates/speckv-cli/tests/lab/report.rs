//! What is drawn and compared afterwards.

use crate::{desk, grid, profile};

#[test]
fn everything_becomes_one_page_and_what_is_missing_is_named() {
    let desk = desk();
    desk.run(&grid("g", &["--prompts-per-task", "2"])).succeeds();
    profile(&desk, &["--prompts-per-task", "1"]).succeeds();
    let evaluate = [
        "evaluate",
        "-m",
        "target.gguf",
        "-d",
        "draft.gguf",
        "--workload",
        "work",
        "--split",
        "train",
        "-n",
        "16",
    ];
    let some = ["--gammas", "2", "--controllers", "speckv", "-o", "e", "--json"];
    let made = desk.run(&[&evaluate[..], &some].concat()).succeeds().json();
    assert_eq!(
        (made["verdicts"].as_array().map(Vec::len), made["sides"].as_array().map(Vec::len)),
        (Some(2), Some(3))
    );
    let verdict = &made["verdicts"][0];
    assert_eq!((verdict["against"].as_str(), verdict["prompts"].as_u64()), (Some("off"), Some(6)));
    for p in [&verdict["signed_rank"]["p_value"], &verdict["holm_p"], &verdict["sign_flip_p"]] {
        assert!(p.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)), "{verdict}");
    }
    let curve = desk
        .run(&["bench", "--curve", "target.gguf", "--rounds", "2", "--buffer", "1", "--json"])
        .succeeds()
        .out;
    desk.put("curve.json", curve.as_bytes());
    let inputs = [
        "--grid",
        "g",
        "--trace",
        "t",
        "--evaluation",
        "e/evaluation.json",
        "--curve",
        "curve.json",
    ];
    let all = desk
        .run(
            &[
                &["report", "-o", "out", "--title", "A <pair>", "--date", "2026-11-28"],
                &inputs[..],
                &["--json"],
            ]
            .concat(),
        )
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
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in the page"));
    let summary = at("<p class=\"summary\">");
    assert!(summary < at("Report of 2026-11-28."), "summary and date are on top");
    assert!(at("Brackets are 95 %") < at("<table"), "before the first table");
    assert!(summary < at("Brackets are 95 %"));
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("<script"),
        "nothing is fetched"
    );
    for id in ["gamma", "heat", "shift", "signals", "calibration", "policies", "histograms", "cost"]
    {
        let svg =
            std::fs::read_to_string(desk.path("out/figures").join(format!("{id}.svg"))).expect(id);
        assert!(
            svg.starts_with("<svg xmlns=") && !svg.contains("NaN") && !svg.contains("inf"),
            "{id}"
        );
    }
    assert!(!page.contains("NaN"));
}

#[test]
fn a_report_of_nothing_or_of_something_else_is_refused_and_gaps_are_named() {
    let desk = desk();
    desk.run(&["report", "-o", "out"]).fails(2, &["there is nothing to report on", "--grid DIR"]);
    desk.run(&["report", "--date", "today", "-o", "out"]).fails(2, &["a date such as", "today"]);
    desk.run(&["report", "--grid", "work", "-o", "out"])
        .fails(1, &["work", "speckv profile --grid DIR"]);
    desk.run(&["report", "--trace", "nowhere", "-o", "out"]).fails(1, &["nowhere"]);
    desk.run(&["report", "--evaluation", "cost.json", "-o", "out"])
        .fails(1, &["cost.json", "evaluation.json"]);
    desk.put("half.json", br#"{"format": 2, "conditions": {"machine": "m"}}"#);
    desk.run(&["report", "--evaluation", "half.json", "-o", "out"])
        .fails(1, &["half.json", "an evaluation, but not whole"]);
    desk.run(&["report", "--curve", "cost.json", "-o", "out"])
        .fails(1, &["cost.json", "--curve MODEL"]);
    assert!(!desk.path("out").exists(), "a refusal writes nothing");

    desk.run(&grid("g", &["--prompts-per-task", "1", "--gammas", "0,2"])).succeeds();
    let made = desk.run(&["report", "--grid", "g", "-o", "out", "--json"]).succeeds().json();
    let left_out = made["left_out"].as_array().expect("a list");
    assert!(
        left_out.iter().all(|figure| figure["command"]
            .as_str()
            .is_some_and(|text| text.starts_with("speckv ")))
    );
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
    assert_eq!(
        std::fs::read_to_string(desk.path("parquet/report.html")).expect("a page"),
        page,
        "Parquet will do"
    );
    std::fs::remove_file(desk.path("g/steps.parquet")).expect("it was there");
    desk.run(&["report", "--grid", "g", "-o", "broken"])
        .fails(1, &["steps.csv", "not finished: 2 of its parts", "again"]);
}

#[test]
fn a_report_of_several_compressions_is_read_and_what_does_not_belong_is_named() {
    let desk = desk();
    let bench = [
        "bench",
        "-m",
        "target.gguf",
        "-d",
        "draft.gguf",
        "--workload",
        "work",
        "--prompts-per-task",
        "1",
    ];
    let rest = [
        "--gammas",
        "2",
        "--controllers",
        "none",
        "-n",
        "8",
        "--compression",
        "asis,q4_0",
        "--json",
    ];
    let made = desk.run(&[&bench[..], &rest].concat()).succeeds();
    let subject = &made.json()[0]["subject"];
    assert_eq!(
        (&subject["target"], subject["target_sha256"].as_str().map(str::len)),
        (&"target.gguf".into(), Some(64))
    );
    assert!(
        subject["machine"].is_string()
            && subject["version"].is_string()
            && subject["command"][0] == "speckv"
    );
    desk.put("both.json", made.out.as_bytes());
    let curve = desk
        .run(&["bench", "--curve", "draft.gguf", "--rounds", "2", "--buffer", "1", "--json"])
        .succeeds();
    assert_eq!(
        (&curve.json()["model"], &curve.json()["command"][1]),
        (&"draft.gguf".into(), &"bench".into())
    );
    desk.put("curve.json", curve.out.as_bytes());
    let report = |curve: &str| {
        desk.run(&["report", "--bench", "both.json", "--curve", curve, "-o", "out"]).succeeds().err
    };
    assert!(!report("curve.json").contains("warning"));
    let mut elsewhere = curve.json();
    elsewhere["machine"] = "another one".into();
    elsewhere["sha256"] = "00".into();
    desk.put("elsewhere.json", elsewhere.to_string().as_bytes());
    let said = report("elsewhere.json");
    assert!(
        said.contains("not all of this is of one machine")
            && said.contains("the curve of draft.gguf is of a model"),
        "{said}"
    );
    let page = std::fs::read_to_string(desk.path("out/report.html")).expect("a page");
    assert!(page.contains("not all of this is of one machine"));
}

#[test]
fn saved_evaluations_of_different_conditions_are_compared_only_when_told() {
    let desk = desk();
    let pair = [
        "evaluate",
        "-m",
        "target.gguf",
        "-d",
        "draft.gguf",
        "--workload",
        "work",
        "--split",
        "train",
    ];
    let rest = [
        "--gammas",
        "2",
        "--controllers",
        "none",
        "-n",
        "12",
        "--threads",
        "1",
        "-o",
        "a",
        "--json",
    ];
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
    saved(
        "a/evaluation.json",
        "other.json",
        &[("machine", "another one".into()), ("target", target)],
    );
    compare("other.json", &[])
        .fails(1, &["machine", "another one", "target", "--despite-differences"]);
    for (name, value) in
        [("spoiled_draft", true.into()), ("draft_head", "64".into()), ("ctx", 9.into())]
    {
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
