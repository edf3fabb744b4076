//! `bench` with the real binary and tiny models.
#![cfg(unix)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/process.rs"]
mod process;

use process::Desk;

const CURVE: [&str; 11] =
    ["bench", "--curve", "target.gguf", "--context", "16,48", "--prompt", "24", "--rounds", "3", "--buffer", "4"];

#[test]
fn the_curve_as_json_has_every_sample() {
    let json = Desk::new().run(&[&CURVE[..], &["--threads", "2", "--json"]].concat()).succeeds().json();
    let samples = |spread: &serde_json::Value| -> Vec<f64> {
        spread["samples"].as_array().expect("samples").iter().map(|x| x.as_f64().expect("a number")).collect()
    };
    assert_eq!((json["threads"].as_u64(), json["rounds"].as_u64()), (Some(2), Some(3)));
    assert_eq!(json["buffer_bytes"], 4_000_000);
    assert_eq!(json["tensor_type"], "Q8_0");
    let curves = json["curves"].as_array().expect("curves");
    assert_eq!(curves.iter().map(|curve| curve["context"].as_u64().unwrap_or(0)).collect::<Vec<_>>(), [16, 48]);
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
    let (ms, speed) = (samples(&json["prompts"][0]["milliseconds"]), samples(&json["prompts"][0]["tokens_per_second"]));
    assert!((speed[0] * ms[0] / 1e3 - 24.0).abs() < 1e-9);
    assert_eq!(samples(&json["load_seconds"]).len(), 3);
}

#[test]
fn the_curve_as_text_is_a_table_on_standard_output() {
    let ended = Desk::new().run(&CURVE).succeeds();
    let words = ["memory read rate", "share of the floor", "context 16", "context 48", "/ t(1)", "tokens per second"];
    assert!(words.iter().all(|word| ended.out.contains(word)), "{ended:#?}");
    assert_eq!(ended.err, "", "nothing to say about two seconds of work");
}

#[test]
fn default_lengths_fit_the_model_and_lengths_that_do_not_are_refused() {
    let desk = Desk::new();
    let json =
        desk.run(&["bench", "--curve", "target.gguf", "--rounds", "1", "--buffer", "1", "--json"]).succeeds().json();
    assert_eq!(json["curves"].as_array().map(Vec::len), Some(1), "2048 tokens do not fit a context of 256");
    assert_eq!((&json["curves"][0]["context"], &json["prompts"][0]["tokens"]), (&128.into(), &128.into()));
    let too_long = ["bench", "--curve", "target.gguf", "--context", "250"];
    desk.run(&too_long).fails(2, &["--context 250 does not fit", "256", "give at most --context 239"]);
    desk.run(&["bench", "--curve", "target.gguf", "--prompt", "257"])
        .fails(2, &["--prompt 257", "at most --prompt 256"]);
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_hint() {
    let desk = Desk::new();
    desk.run(&["bench"]).fails(2, &["--curve"]);
    desk.run(&["bench", "--curve", "nowhere.gguf"]).fails(1, &["nowhere.gguf"]);
    desk.put("text.gguf", b"no model");
    desk.run(&["bench", "--curve", "text.gguf"]).fails(1, &["text.gguf"]);
    desk.run(&["bench", "--curve", "target.gguf", "--rounds", "0"]).fails(2, &["from 1 to 1000"]);
}
