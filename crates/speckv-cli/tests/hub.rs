//! Models by repository, from an empty cache, again offline, and in the list of models.
#![cfg(unix)]

#[path = "support/process.rs"]
mod process;

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use process::{Desk, Ended};
use serde_json::json;
use speckv_formats::tiny::Tiny;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILE: &str = "tiny-Q8_0.gguf";

/// A Hub with the repository `them/model`, on the loopback interface.
fn hub(model: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The client may leave at any time.
            let _ = answer(stream, &model);
        }
    });
    address
}

fn answer(mut stream: TcpStream, model: &[u8]) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let path = lines.next().transpose()?.unwrap_or_default();
    let path = path.split(' ').nth(1).unwrap_or_default().to_owned();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let listed = json!({"sha": COMMIT, "siblings": [
        {"rfilename": FILE, "size": model.len(), "blobId": "ab12"},
    ]});
    let (status, body) = match path.as_str() {
        "/api/models/them/model/revision/main?blobs=true" => (200, listed.to_string().into_bytes()),
        path if path == format!("/them/model/resolve/{COMMIT}/{FILE}") => (200, model.to_vec()),
        _ => (404, Vec::new()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} R\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(&body)
}

#[test]
fn a_repository_runs_from_an_empty_cache_and_again_offline() {
    let desk = Desk::new();
    let address = hub(Tiny::default().to_bytes().expect("a model"));
    let run = |arguments: &[&str], offline: &str| {
        let mut command = desk.command(arguments);
        command.env_remove("SPECKV_HUB_ENDPOINT").env("HF_ENDPOINT", &address);
        command.env("HF_HOME", desk.path("hf")).env("HF_HUB_OFFLINE", offline);
        Ended::new(arguments, command.output().expect("the binary starts"))
    };
    let expected = desk.run(&["run", "--target", "target.gguf", "-n", "8", "hello"]).succeeds();
    let answer = ["run", "--target", "hf:them/model", "-n", "8", "hello"];
    run(&answer, "1").fails(1, &["them/model", "HF_HUB_OFFLINE"]);
    let first = run(&answer, "0").succeeds();
    assert_eq!(first.out, expected.out);
    assert!(first.err.contains("no Q4_K_M: taking Q8_0"), "{first:#?}");
    assert_eq!(run(&answer, "1").succeeds().out, expected.out);
    assert_eq!(
        run(&["run", "--target", "them/model:Q8_0", "-n", "8", "hello"], "1").succeeds().out,
        expected.out
    );
    run(&["run", "--target", "them/model:Q2_K", "-n", "8", "hello"], "1").fails(1, &["Q8_0"]);
    run(&["pull", "hf:them/none"], "0").fails(1, &["them/none", "HF_TOKEN"]);

    let pulled = run(&["pull", "hf:them/model", "--json"], "0").succeeds().json();
    let model = &pulled["models"][0];
    assert_eq!((&model["quant"], &model["downloaded"]), (&"Q8_0".into(), &false.into()));
    let listed = run(&["models", "--json"], "1").succeeds().json();
    let found = &listed["found"][0];
    assert_eq!(
        (&found["cache"], &found["name"], &found["supported"]),
        (&"Hugging Face".into(), &format!("them/model/{FILE}").into(), &true.into())
    );
    let text = run(&["models"], "1").succeeds().out;
    assert!(text.contains("IN THE CACHE OF") && text.contains(FILE), "{text}");
}
