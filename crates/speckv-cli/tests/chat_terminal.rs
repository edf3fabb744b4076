//! `speckv chat` on a pseudo-terminal, which `script` of util-linux makes.
#![cfg(target_os = "linux")]

#[path = "support/process.rs"]
mod process;

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use process::Desk;

/// Types lines into a chat and gives what the terminal showed; `None` without `script`.
fn typed(desk: &Desk, lines: &[&str]) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_speckv");
    let chat = format!("{program} chat -m target.gguf --draft ngram -n 6");
    let mut command = Command::new("script");
    desk.prepare(&mut command);
    command.args(["-q", "-e", "-c", &chat, "/dev/null"]).env("TERM", "xterm");
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        eprintln!("SKIPPED: the chat on a terminal needs `script`");
        return None;
    };
    let mut keys = child.stdin.take().expect("a pipe");
    for line in lines {
        thread::sleep(Duration::from_millis(700)); // until the editor waits for keys
        keys.write_all(format!("{line}\r").as_bytes()).expect("typed");
    }
    let output = child.wait_with_output().expect("an end");
    drop(keys);
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_person_sees_a_banner_sets_options_and_leaves() {
    let desk = Desk::new();
    let lines = ["", "the cat", "/set temperature 0.5", "/help", "/bye"];
    let Some(shown) = typed(&desk, &lines) else { return };
    for text in [
        "target.gguf, controller speckv, context 256 tokens",
        "drafting: look-up of earlier text",
        "/help lists what else can be typed",
        "tokens per second",
        "temperature is 0.5",
        "/bye           leave",
    ] {
        assert!(shown.contains(text), "{text:?} is not in {shown}");
    }
    let history = desk.path(".cache/speckv/chat_history");
    let kept = std::fs::read_to_string(history).expect("the history is kept");
    assert!(kept.contains("the cat") && kept.contains("/set temperature 0.5"), "{kept}");
}
