//! `run`, `chat`, `tokenize`, `score`, `inspect`, `identity` with the real binary and tiny models.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use std::io::{Read, Write};

use process::{Desk, Ended, interrupt};
use speckv_formats::tiny::Tiny;

const ASK: &str = "the other one and the thing";

#[test]
fn an_answer_goes_to_standard_output_and_statistics_to_standard_error() {
    let desk = Desk::new();
    let ended = desk.run(&["run", "-m", "target.gguf", "-n", "20", ASK]).succeeds();
    assert!(ended.out.ends_with('\n') && ended.out.len() > 1);
    assert!(
        ended.err.contains("20 tokens in ") && ended.err.contains("tokens per second"),
        "{ended:#?}"
    );
    assert!(!ended.err.contains('\x1b'), "no colour without a terminal");
    let quiet = desk.run(&["run", "-q", "-m", "target.gguf", "-n", "20", ASK]).succeeds();
    assert_eq!((quiet.out, quiet.err.as_str()), (ended.out, ""));
}

#[test]
fn json_is_one_object_with_the_promised_fields() {
    let desk = Desk::new();
    let arguments = [
        "run",
        "--json",
        "-m",
        "target.gguf",
        "-d",
        "draft.gguf",
        "--controller",
        "fixed",
        "--gamma",
        "3",
        "-n",
        "30",
        ASK,
    ];
    let json = desk.run(&arguments).succeeds().json();
    let keys = |json: &serde_json::Value| -> Vec<String> {
        json.as_object().expect("an object").keys().cloned().collect()
    };
    assert_eq!(
        keys(&json),
        [
            "text",
            "tokens",
            "prompt_tokens",
            "finish_reason",
            "draft",
            "draft_failures",
            "stats",
            "energy"
        ]
    );
    assert_eq!(
        keys(&json["stats"]),
        [
            "tokens_per_second",
            "prompt_tokens_per_second",
            "steps",
            "drafted",
            "accepted",
            "siblings",
            "siblings_accepted",
            "forced",
            "acceptance_rate",
            "acceptance_length",
            "draft_seconds",
            "verify_seconds",
            "controller_seconds",
            "gamma_histogram",
            "controller",
            "costs"
        ]
    );
    assert!(json["stats"]["costs"].is_null(), "a fixed gamma asks for no costs");
    assert_eq!(json["stats"]["controller"], "fixed-3");
    assert_eq!(json["tokens"].as_array().expect("ids").len(), 30);
    let number = |key: &str| json["stats"][key].as_f64().expect(key);
    assert_eq!(number("acceptance_rate"), number("accepted") / number("drafted"));
    assert_eq!(number("acceptance_length"), 30.0 / number("steps"));
    let histogram = json["stats"]["gamma_histogram"].as_array().expect("counts");
    assert_eq!(
        histogram.iter().map(|count| count.as_f64().expect("a count")).sum::<f64>(),
        number("steps")
    );
}

#[test]
fn greedy_text_does_not_depend_on_who_drafts() {
    let desk = Desk::new();
    let text = |more: &[&str]| {
        let arguments: Vec<&str> =
            ["run", "-m", "target.gguf", "-n", "60", ASK].iter().chain(more).copied().collect();
        desk.run(&arguments).succeeds().out
    };
    let plain = text(&["--draft", "none"]);
    assert_eq!(text(&["-d", "draft.gguf", "--gamma", "1"]), plain);
    assert_eq!(text(&["-d", "draft.gguf", "--controller", "fixed-16", "--threads", "2"]), plain);
    assert_eq!(text(&["-d", "target.gguf", "--gamma", "64"]), plain);
    assert_eq!(text(&["-d", "ngram"]), plain);
}

#[test]
fn a_seed_repeats_its_text_and_another_changes_it() {
    let desk = Desk::new();
    let text = |seed| {
        let arguments = [
            "run",
            "-m",
            "target.gguf",
            "-n",
            "40",
            "-t",
            "1.5",
            "--top-p",
            "0.95",
            "--seed",
            seed,
            ASK,
        ];
        desk.run(&arguments).succeeds().out
    };
    assert_eq!(text("7"), text("7"));
    assert_ne!(text("7"), text("8"));
}

#[test]
fn prompts_come_from_arguments_files_and_standard_input() {
    let desk = Desk::new();
    desk.put("prompt.txt", format!("{ASK}\n").as_bytes());
    let options = ["run", "-m", "target.gguf", "-n", "12"];
    let with = |more: &[&'static str]| options.iter().chain(more).copied().collect::<Vec<_>>();
    let argument = desk.run(&with(&[ASK])).succeeds().out;
    assert_eq!(desk.run(&with(&["-f", "prompt.txt"])).succeeds().out, argument);
    assert_eq!(desk.run_with_input(&with(&["-"]), ASK.as_bytes()).succeeds().out, argument);
    assert_ne!(
        desk.run(&with(&["--raw", ASK])).succeeds().out,
        argument,
        "raw goes around the template"
    );
}

#[test]
fn an_answer_ends_before_a_stop_string() {
    let desk = Desk::new();
    let options = ["run", "--json", "-m", "target.gguf", "-n", "60", ASK];
    let whole = desk.run(&options).succeeds().json()["text"].as_str().expect("text").to_owned();
    let middle: String = whole.chars().skip(20).take(3).collect();
    let stopped = desk.run(&[&options[..], &["--stop", &middle]].concat()).succeeds().json();
    let at = whole.find(&middle).expect("it is in there");
    assert_eq!(
        (stopped["text"].as_str(), stopped["finish_reason"].as_str()),
        (Some(&whole[..at]), Some("stop"))
    );
}

#[test]
fn a_full_context_ends_the_answer_with_length() {
    let desk = Desk::new();
    desk.endless_model("endless.gguf", &Tiny::default());
    let options = ["-m", "endless.gguf", "--ctx", "100", "-n", "1000", ASK];
    let json = desk.run(&[&["run", "--json"], &options[..]].concat()).succeeds().json();
    assert_eq!(json["finish_reason"], "length");
    let tokens = json["tokens"].as_array().expect("ids").len() as u64;
    assert_eq!(json["prompt_tokens"].as_u64().expect("a count") + tokens, 100);
    let ended = desk.run(&[&["run"], &options[..]].concat()).succeeds();
    assert!(ended.err.contains("the context of 100 tokens is full"), "{ended:#?}");
}

#[test]
fn a_prompt_longer_than_the_context_is_refused() {
    let desk = Desk::new();
    let long = "x ".repeat(400);
    desk.run(&["run", "-m", "target.gguf", &long])
        .fails(1, &["tokens, but the context holds 256", "--ctx"]);
    desk.run(&["run", "-m", "target.gguf", "--ctx", "300", "hi"])
        .fails(2, &["256", "give at most --ctx 256"]);
}

#[test]
fn ctrl_c_ends_a_run_with_its_text_and_status_130() {
    let desk = Desk::new();
    desk.endless_model("long.gguf", &Tiny { context_length: 200_000, ..Tiny::default() });
    let options = ["run", "-m", "long.gguf", "--raw", "--ctx", "200000", "-n", "190000", ASK];
    let mut child = desk.start(&options);
    drop(child.stdin.take()); // nothing is appended to the prompt
    let mut first = [0; 16];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("some text");
    interrupt(&child);
    Ended::new(&options, child.wait_with_output().expect("an end"))
        .fails(130, &["stopped after", "tokens per second"]);
}

#[test]
fn ctrl_c_in_a_chat_stops_the_answer_and_keeps_the_chat() {
    let desk = Desk::new();
    desk.endless_model("long.gguf", &Tiny { context_length: 200_000, ..Tiny::default() });
    let options = ["chat", "-m", "long.gguf", "--ctx", "200000", "-n", "190000"];
    let mut child = desk.start(&options);
    let mut input = child.stdin.take().expect("a pipe");
    writeln!(input, "{ASK}").expect("the chat listens");
    let mut first = [0; 16];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("some text");
    interrupt(&child);
    // The end of the answer on standard output says that the chat waits again.
    let mut byte = [0];
    let out = child.stdout.as_mut().expect("a pipe");
    while byte != *b"\n" {
        out.read_exact(&mut byte).expect("the answer ends with a line");
    }
    write!(input, "/stats\n/exit\n").expect("the chat goes on");
    let ended = Ended::new(&options, child.wait_with_output().expect("an end")).succeeds();
    assert!(
        ended.err.contains("stopped") && ended.err.matches("tokens per second").count() == 2,
        "{ended:#?}"
    );
}

#[test]
fn a_chat_reads_only_what_is_new_and_remembers() {
    let desk = Desk::new();
    let script =
        "the first thing\n/nonsense\nand another\n/reset\nthe first thing\n/exit\nnever said\n";
    let ended = desk
        .run_with_input(&["chat", "-m", "target.gguf", "-n", "10"], script.as_bytes())
        .succeeds();
    assert!(ended.err.contains("there is no command /nonsense"), "{ended:#?}");
    let read: Vec<usize> = ended
        .err
        .lines()
        .filter_map(|line| line.split_once("prompt: ")?.1.split(' ').next()?.parse().ok())
        .collect();
    // The reset chat asks the first question again, and its prompt is still in the cache.
    let [first, second] = read[..] else { panic!("two prompts to read expected: {ended:#?}") };
    let all = desk
        .run_with_input(&["chat", "-m", "target.gguf", "-n", "10"], b"and another\n")
        .succeeds();
    let alone: usize = all
        .err
        .split_once("prompt: ")
        .expect("stats")
        .1
        .split(' ')
        .next()
        .expect("a count")
        .parse()
        .expect("a number");
    assert!(second < first + alone, "the first turn is not read again: {first}, {second}, {alone}");
    let fresh = desk
        .run_with_input(&["chat", "-m", "target.gguf", "-n", "10"], b"the first thing\n")
        .succeeds()
        .out;
    assert!(
        ended.out.starts_with(&fresh) && ended.out.ends_with(&fresh),
        "a reset chat is as a new one: {ended:#?}"
    );
}

#[test]
fn speculation_in_a_chat_says_what_plain_decoding_says() {
    let desk = Desk::new();
    let script = b"the first thing\nand another\n/system be brief\nonce more\n";
    let said = |draft| {
        desk.run_with_input(&["chat", "-q", "-m", "target.gguf", "-n", "16", "-d", draft], script)
            .succeeds()
            .out
    };
    let plain = said("none");
    assert_eq!(said("draft.gguf"), plain);
    assert_eq!(said("ngram"), plain);
}

#[test]
fn text_survives_tokens_and_back() {
    let desk = Desk::new();
    let text = "the other: naïve 🚂 text\n  with <|im_end|> inside";
    let json = desk.run(&["tokenize", "--json", "target.gguf", text]).succeeds().json();
    let ids: Vec<String> =
        json["ids"].as_array().expect("ids").iter().map(ToString::to_string).collect();
    assert_eq!(json["pieces"].as_array().expect("pieces").len(), ids.len());
    let list = ids.join(",");
    assert_eq!(desk.run(&["tokenize", "target.gguf", text]).succeeds().out, format!("{list}\n"));
    assert_eq!(
        desk.run_with_input(&["tokenize", "target.gguf", "-"], text.as_bytes()).succeeds().out,
        format!("{list}\n")
    );
    assert_eq!(
        desk.run(&["tokenize", "target.gguf", "--ids", &list]).succeeds().out,
        format!("{text}\n")
    );
    desk.run(&["tokenize", "target.gguf", "--ids", "1,267"])
        .fails(1, &["token 267", "267 tokens", "from 0 to 266"]);
}

#[test]
fn scores_are_probabilities_that_agree_with_generation() {
    let desk = Desk::new();
    let run = desk
        .run(&["run", "--json", "--raw", "-m", "target.gguf", "-n", "8", "the other"])
        .succeeds()
        .json();
    let prompt = desk.run(&["tokenize", "--json", "target.gguf", "the other"]).succeeds().json();
    let ids: Vec<u64> = [&prompt["ids"], &run["tokens"]]
        .into_iter()
        .flat_map(|ids| ids.as_array().expect("ids"))
        .map(|id| id.as_u64().expect("an id"))
        .collect();
    let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let json = desk.run(&["score", "target.gguf", "--ids", &list, "--json"]).succeeds().json();
    let positions = json["positions"].as_array().expect("positions");
    assert_eq!(positions.len(), ids.len());
    let prompt_len = prompt["ids"].as_array().expect("ids").len();
    for (index, position) in positions.iter().enumerate() {
        let top: Vec<f64> = position["top"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["logprob"].as_f64().expect("a number"))
            .collect();
        assert!(top.len() == 10 && top.is_sorted_by(|a, b| a >= b) && top[0] <= 0.0);
        let entropy = position["entropy_bits"].as_f64().expect("a number");
        assert!((0.0..=267_f64.log2()).contains(&entropy));
        if index + 1 >= prompt_len && index + 1 < ids.len() {
            assert_eq!(
                position["top"][0]["token"].as_u64(),
                Some(ids[index + 1]),
                "greedy takes the likeliest"
            );
        }
    }
}

#[test]
fn inspect_says_what_a_file_holds_and_whether_it_runs() {
    let desk = Desk::new();
    let json = desk.run(&["inspect", "--json", "target.gguf"]).succeeds().json();
    assert_eq!(
        (json["supported"].as_bool(), json["context_length"].as_u64()),
        (Some(true), Some(256))
    );
    assert_eq!(json["metadata"]["general.architecture"], "llama");
    assert_eq!(json["metadata"]["tokenizer.ggml.tokens"]["length"], 267);
    let bytes: u64 = json["tensor_types"]
        .as_array()
        .expect("types")
        .iter()
        .map(|t| t["bytes"].as_u64().expect("bytes"))
        .sum();
    // All weights but the embedding, 267 rows of 64 weights at 34 bytes per 32, of which one row is
    // read.
    assert_eq!(json["bytes_per_token"].as_u64(), Some(bytes - 266 * 68));
    // 2 layers, 2 key-value heads, keys and values of 16 numbers, 2 bytes each.
    assert_eq!(json["cache_bytes_per_token"].as_u64(), Some(2 * 2 * 2 * 16 * 2));
    let here = &json["here"];
    assert_eq!(here["cache_bytes"].as_u64(), Some(256 * 2 * 2 * 2 * 16 * 2));
    assert!(here["weight_bytes"].as_u64() < Some(bytes) && here["fits"] != false, "{here}");
    assert!(here["tokens_per_second"].as_f64() > Some(0.0) && here["read_rate"].is_f64());
    // The draft beside it has more than half of its bytes: the head is most of them.
    assert!(here["draft"].is_null(), "{here}");
    desk.model("deep.gguf", &Tiny { layers: 9, ..Tiny::default() });
    let deep = desk.run(&["inspect", "deep.gguf"]).succeeds().out;
    for words in ["memory needed ", "plain decoding ", "draft                   draft.gguf"] {
        assert!(deep.contains(words), "{words} in {deep}");
    }

    desk.model("other.gguf", &Tiny { architecture: "mamba", ..Tiny::default() });
    let ended = desk.run(&["inspect", "other.gguf"]).succeeds();
    assert!(
        ended.out.contains("supported               no")
            && ended.out.contains("\"mamba\"")
            && !ended.out.contains("memory needed"),
        "{ended:#?}"
    );
}

#[test]
fn identity_counts_no_mismatch() {
    let desk = Desk::new();
    let options =
        ["identity", "-q", "-m", "target.gguf", "--prompts", "3", "--gammas", "1,4,16", "-n", "40"];
    let ended = desk.run(&[&options[..], &["-d", "draft.gguf"]].concat()).succeeds();
    // 3 prompts x 2 numbers of threads x (plain, 3 gammas and speckv), less the 3 that are the
    // reference.
    assert_eq!(ended.out, "mismatches: 0 of 27 comparisons\n");
    let json = desk.run(&[&options[..], &["-d", "ngram", "--json"]].concat()).succeeds().json();
    assert_eq!((json["mismatches"].as_u64(), json["comparisons"].as_u64()), (Some(0), Some(27)));
    assert!(json["drafted"].as_u64().expect("a count") > 0);
    let every = [
        "identity",
        "-q",
        "-m",
        "target.gguf",
        "-d",
        "draft.gguf",
        "--controllers",
        "all",
        "--gammas",
        "2",
    ];
    let ended = desk
        .run(&[&every[..], &["--prompts", "2", "--threads-list", "2", "-n", "30"]].concat())
        .succeeds();
    // 2 prompts x (a gamma and all names but off, with 3 variants more).
    assert_eq!(ended.out, "mismatches: 0 of 26 comparisons\n");
    desk.run(&["identity", "-m", "target.gguf", "-d", "none"]).fails(2, &["nothing to compare"]);
}

#[test]
fn the_small_real_model_answers() {
    let folder = std::env::var_os("SPECKV_MODELS").map(std::path::PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
        let cache = cache.or_else(|| {
            std::env::var_os("HOME").map(|home| std::path::PathBuf::from(home).join(".cache"))
        })?;
        Some(cache.join("speckv/models"))
    });
    let Some(model) =
        folder.map(|folder| folder.join("smollm2-135m.gguf")).filter(|path| path.is_file())
    else {
        eprintln!(
            "SKIPPED: the_small_real_model_answers needs smollm2-135m.gguf (`speckv pull \
             smollm2-135m`)"
        );
        return;
    };
    let desk = Desk::new();
    let model = model.to_str().expect("UTF-8");
    let ended =
        desk.run(&["run", "-m", model, "-n", "24", "Name the capital of France."]).succeeds();
    assert!(ended.out.contains("Paris"), "{ended:#?}");
    let looked_up = desk
        .run(&["run", "-m", model, "-d", "ngram", "-n", "24", "Name the capital of France."])
        .succeeds();
    assert_eq!(looked_up.out, ended.out);
}
