//! A model file that is truncated while the program uses it: whenever that happens, the program
//! ends by itself, with an error and a status, or goes on.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
    time::Duration,
};

use process::{Desk, Ended};
use speckv_formats::tiny::Tiny;

/// A model of some megabytes, so that loading takes a while.
fn larger() -> Tiny {
    Tiny { hidden: 256, feed_forward: 1024, layers: 6, ..Tiny::default() }
}

fn cut(desk: &Desk, name: &str, length: u64) {
    let file = OpenOptions::new().write(true).open(desk.path(name)).expect("a file");
    file.set_len(length).expect("a shorter file");
}

#[test]
fn a_file_that_is_truncated_while_a_program_loads_it_never_ends_it_without_words() {
    let desk = Desk::new();
    let bytes = larger().to_bytes().expect("a tiny model");
    let mut failures = 0;
    for step in 0..24 {
        desk.put("large.gguf", &bytes);
        let command =
            ["run", "-m", "large.gguf", "--draft", "none", "--threads", "1", "-n", "2", "hi"];
        let child = desk.start(&command);
        std::thread::sleep(Duration::from_millis(4 * step));
        cut(&desk, "large.gguf", 4096);
        let ended = Ended::new(&command, child.wait_with_output().expect("an end"));
        match ended.status {
            Some(0) => {} // It had ended before.
            _ => {
                let ended = ended.fails(1, &[]);
                let told = ["large.gguf", "truncated"].iter().any(|word| ended.err.contains(word));
                assert!(told, "{ended:#?}");
                failures += 1;
            }
        }
    }
    assert!(failures > 0, "the file was always cut too late");
}

#[test]
fn a_server_whose_model_file_is_truncated_answers_with_an_error_that_says_so() {
    let desk = Desk::new();
    let arguments =
        ["serve", "-m", "target.gguf", "--draft", "none", "--port", "0", "--threads", "1"];
    let mut command = desk.command(&arguments);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("http://").expect("an address").to_owned();
    cut(&desk, "target.gguf", 64);
    let ask = || {
        let body = r#"{"prompt": "the cat", "max_tokens": 4, "temperature": 0}"#;
        let mut stream = TcpStream::connect(&address).expect("a connection");
        write!(
            stream,
            "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        text
    };
    for _ in 0..2 {
        let reply = ask();
        assert!(reply.starts_with("HTTP/1.1 500"), "{reply}");
        assert!(reply.contains("the model file was truncated or is not readable"), "{reply}");
    }
    let stopped = std::process::Command::new("kill").arg(child.id().to_string()).status();
    assert!(stopped.expect("kill starts").success());
    Ended::new(&arguments, child.wait_with_output().expect("an end")).succeeds();
}
