//! What people type and pipe in: each mistake gets the right first sentence, each ordinary use
//! works.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Stdio};

use process::{Desk, Ended};
use speckv_formats::tiny::Tiny;

/// The first line of standard error, without what stands before a run.
fn first_line(ended: &Ended) -> &str {
    ended.err.lines().next().unwrap_or_default()
}

/// The prompt's tokens, as the JSON of a run counts them.
fn prompt_tokens(ended: &Ended) -> u64 {
    ended.json()["prompt_tokens"].as_u64().expect("a number")
}

const RUN: [&str; 8] = ["run", "-m", "target.gguf", "--draft", "none", "--json", "-n", "4"];

fn run_with(desk: &Desk, more: &[&str], input: &[u8]) -> Ended {
    desk.run_with_input(&[&RUN[..], more].concat(), input).succeeds()
}

#[test]
fn a_pipe_is_the_prompt_where_no_prompt_is_given() {
    let desk = Desk::new();
    let piped = run_with(&desk, &[], b"the cat");
    assert_eq!(prompt_tokens(&piped), prompt_tokens(&run_with(&desk, &["the cat"], b"")));
    let ended = desk.run(&RUN).fails(2, &["speckv run \"Why is the sky blue?\""]);
    assert_eq!(first_line(&ended), "error: the prompt is empty");
}

#[test]
fn text_that_is_piped_in_beside_a_prompt_is_appended() {
    let desk = Desk::new();
    let both = run_with(&desk, &["the cat"], b"sat on the mat");
    let whole = run_with(&desk, &["the cat\n\nsat on the mat"], b"");
    assert_eq!(both.json()["tokens"], whole.json()["tokens"]);
    assert_eq!(prompt_tokens(&both), prompt_tokens(&whole));
    let nothing = run_with(&desk, &["the cat"], b" \n");
    assert_eq!(prompt_tokens(&nothing), prompt_tokens(&run_with(&desk, &["the cat"], b"")));
}

#[test]
fn a_byte_order_mark_and_a_final_line_end_are_no_part_of_a_prompt() {
    let desk = Desk::new();
    let plain = prompt_tokens(&run_with(&desk, &["the cat"], b""));
    desk.put("windows.txt", b"\xef\xbb\xbfthe cat\r\n");
    let file = desk.run(&[&RUN[..], &["-f", "windows.txt"]].concat()).succeeds();
    assert_eq!(prompt_tokens(&file), plain);
    assert_eq!(prompt_tokens(&run_with(&desk, &[], b"\xef\xbb\xbfthe cat\r\n")), plain);
}

#[test]
fn text_in_another_encoding_is_told_with_the_way_to_convert_it() {
    let desk = Desk::new();
    for (input, hint) in [
        (&b"caf\xe9"[..], "iconv -f latin1"),
        (b"\xff\xfeh\0i\0", "iconv -f utf-16"),
        (b"\xfe\xff\0h\0i", "iconv -f utf-16"),
    ] {
        desk.run_with_input(&RUN, input).fails(1, &["is not UTF-8", hint]);
    }
}

#[test]
fn more_threads_than_cores_are_a_warning() {
    let desk = Desk::new();
    let run = [&RUN[..], &["hi"]].concat();
    let score = vec!["score", "target.gguf", "--ids", "1,2"];
    let quantize = vec!["quantize", "target.gguf", "smaller.gguf", "--type", "q8_0"];
    for command in [run, score, quantize] {
        let ended = desk.run(&[&command[..], &["--threads", "1024"]].concat()).succeeds();
        let warning = "warning: --threads 1024 is more than the ";
        assert!(ended.err.contains(warning), "{command:?}: {ended:#?}");
    }
}

#[test]
fn context_and_prompt_are_checked_before_weights_are_read() {
    let desk = Desk::new();
    // A model whose weights cannot be loaded: what is said must not be about them.
    let bytes = Tiny::default().to_bytes().expect("a tiny model");
    let name = b"blk.1.ffn_up.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("a tensor");
    let mut broken = bytes.clone();
    broken[at..at + name.len()].copy_from_slice(b"blk.1.ffn_UP.weight");
    desk.put("broken.gguf", &broken);
    let long = "the cat sat on the mat ".repeat(200);
    for (more, line) in [
        (&["--ctx", "100000", "hi"][..], "error: --ctx 100000 is more than the 256 tokens"),
        (&[long.as_str()][..], "error: the prompt has "),
    ] {
        let ended = desk.run(&[&["run", "-m", "broken.gguf"], more].concat());
        assert!(first_line(&ended).starts_with(line), "{ended:#?}");
    }
}

#[test]
fn slips_of_the_fingers_are_answered_with_what_was_meant() {
    let desk = Desk::new();
    for (words, line, hint) in [
        (&["rnu", "hi"][..], "error: unrecognized subcommand 'rnu'", "did you mean `speckv run`?"),
        (
            &["pull", "smolm2-135m"][..],
            "error: \"smolm2-135m\" is not in the catalogue",
            "did you mean smollm2-135m?",
        ),
        (
            &["run", "-m", "qwen2.5-coder-1.5", "hi"][..],
            "error: cannot open the model qwen2.5-coder-1.5: ",
            "did you mean qwen2.5-coder-1.5b?",
        ),
        (
            &["run", "--compression", "q4k", "hi"][..],
            "error: invalid value 'q4k' for '--compression <TYPE>': expected asis",
            "did you mean q4_k?",
        ),
        (
            &["run", "--controller", "spekcv", "hi"][..],
            "error: invalid value 'spekcv' for '--controller <NAME>': ",
            "did you mean speckv?",
        ),
        (
            &["run", "--modle", "x", "hi"][..],
            "error: unexpected argument '--modle' found",
            "'--model'",
        ),
    ] {
        let ended = desk.run(words);
        assert!(first_line(&ended).starts_with(line), "{ended:#?}");
        let last = ended.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("hint: ") && last.contains(hint), "{ended:#?}");
    }
}

#[test]
fn a_recipe_of_types_is_explained() {
    let desk = Desk::new();
    for words in [
        &["quantize", "target.gguf", "out.gguf", "--type", "q4_k_m"][..],
        &["run", "-m", "target.gguf", "--compression", "Q4_K_M", "hi"][..],
    ] {
        let ended = desk.run(words);
        assert!(first_line(&ended).starts_with("error: invalid value "), "{ended:#?}");
        assert!(ended.err.contains("recipe for whole files: most matrices in q4_k"), "{ended:#?}");
    }
}

#[test]
fn what_is_no_language_model_is_named() {
    let desk = Desk::new();
    desk.put("notes.txt", b"Buy milk.\n");
    std::fs::create_dir(desk.path("models")).expect("a folder");
    std::fs::copy(desk.path("target.gguf"), desk.path("models/a.gguf")).expect("a copy");
    desk.model("embedding.gguf", &Tiny { architecture: "bert", ..Tiny::default() });
    desk.model("other.gguf", &Tiny { architecture: "mamba", ..Tiny::default() });
    for (model, line) in [
        ("notes.txt", "error: notes.txt is a text file, not a model: expected a GGUF file"),
        ("models", "error: models is a folder with 1 GGUF file, and a model is one of them"),
        (
            "embedding.gguf",
            "error: embedding.gguf: this is an embedding model (architecture bert): it makes \
             vectors, not text",
        ),
        ("other.gguf", "error: other.gguf: the architecture \"mamba\" is not supported"),
    ] {
        let ended = desk.run(&["run", "-m", model, "hi"]).fails(1, &[]);
        assert!(first_line(&ended).starts_with(line), "{ended:#?}");
    }
}

#[test]
fn an_unsupported_architecture_is_reported_before_its_vocabulary() {
    let desk = Desk::new();
    let bytes = Tiny { architecture: "mamba", ..Tiny::default() }.to_bytes().expect("a model");
    let name = b"tokenizer.ggml.tokens";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("a key");
    let mut broken = bytes.clone();
    broken[at..at + name.len()].copy_from_slice(b"tokenizer.ggml.TOKENS");
    desk.put("both.gguf", &broken);
    let ended = desk.run(&["run", "-m", "both.gguf", "hi"]).fails(1, &["mamba"]);
    assert!(first_line(&ended).contains("architecture"), "{ended:#?}");
}

#[test]
fn a_prompt_without_quotes_gets_them_as_a_hint() {
    let desk = Desk::new();
    let ended = desk.run(&["run", "hi", "there"]).fails(2, &["put the prompt in quotes"]);
    assert_eq!(first_line(&ended), "error: unexpected argument 'there' found");
}

#[test]
fn options_may_stand_before_the_command() {
    let desk = Desk::new();
    let before = desk
        .run(&["-m", "target.gguf", "--draft", "none", "--json", "-n", "4", "run", "hi"])
        .succeeds();
    let after = desk.run(&[&RUN[..], &["hi"]].concat()).succeeds();
    assert_eq!(before.json()["tokens"], after.json()["tokens"]);
}

#[test]
fn paths_need_not_be_utf_8() {
    let desk = Desk::new();
    let odd = OsStr::from_bytes(b"mod\xffel.gguf");
    std::fs::copy(desk.path("target.gguf"), desk.folder.path().join(odd)).expect("a copy");
    let with_ngram = OsStr::from_bytes(b"mod\xffel.gguf+ngram");
    for words in [
        &[OsStr::new("inspect"), odd][..],
        &[OsStr::new("inspect"), odd, OsStr::new("--json")],
        &[OsStr::new("tokenize"), odd, OsStr::new("hi")],
        &[
            OsStr::new("run"),
            OsStr::new("-m"),
            odd,
            OsStr::new("-d"),
            with_ngram,
            OsStr::new("-n"),
            OsStr::new("4"),
            OsStr::new("hi"),
        ],
    ] {
        let output = desk.command(&[]).args(words).output().expect("the binary starts");
        Ended::new(&[&format!("{words:?}")], output).succeeds();
    }
}

#[test]
fn without_a_home_a_file_still_runs() {
    let desk = Desk::new();
    let mut command = desk.command(&["run", "-m", "target.gguf", "-n", "4", "hi"]);
    command.env_remove("HOME").env_remove("SPECKV_MODELS").stdin(Stdio::null());
    Ended::new(&["run"], command.output().expect("the binary starts")).succeeds();
}

#[test]
fn an_own_model_says_what_drafts_and_how_to_change_it() {
    let desk = Desk::new();
    let run = |more: &[&str]| {
        let ended = desk.run(&[&["run", "-n", "8", "the cat the cat"], more].concat()).succeeds();
        let line = ended.err.lines().find(|line| line.starts_with("drafting: "));
        line.unwrap_or_else(|| panic!("no line in {ended:#?}")).to_owned()
    };
    desk.model("large.gguf", &Tiny { layers: 12, ..Tiny::default() });
    let found = run(&["-m", "large.gguf"]);
    assert!(found.contains("draft.gguf (found on this machine) and look-up"), "{found}");
    assert!(found.ends_with("--draft none turns it off"), "{found}");
    let alone = run(&["-m", "large.gguf", "--no-lookup"]);
    assert!(alone.contains("draft.gguf (found on this machine); "), "{alone}");
    std::fs::create_dir(desk.path("alone")).expect("a folder");
    std::fs::rename(desk.path("large.gguf"), desk.path("alone/large.gguf")).expect("moved");
    let lookup = run(&["-m", "alone/large.gguf"]);
    assert!(lookup.contains("look-up of earlier text (no smaller model"), "{lookup}");
    let off = run(&["-m", "alone/large.gguf", "--draft", "none"]);
    assert!(off.contains("nothing, plain decoding") && off.contains("--draft ngram"), "{off}");
}

#[test]
fn a_found_draft_changes_no_token() {
    let desk = Desk::new();
    desk.model("large.gguf", &Tiny { layers: 12, ..Tiny::default() });
    let tokens = |more: &[&str]| {
        let words = ["run", "-m", "large.gguf", "--json", "-n", "40", "the cat the cat sat"];
        desk.run(&[&words[..], more].concat()).succeeds().json()
    };
    let (plain, found) = (tokens(&["--draft", "none"]), tokens(&[]));
    assert_eq!(plain["tokens"], found["tokens"]);
    assert_eq!(found["draft"], "draft.gguf+ngram");
    assert_eq!(plain["draft"], serde_json::Value::Null);
}
