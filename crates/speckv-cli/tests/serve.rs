//! `speckv serve` as a process: what it says where it cannot start, and that it stops when it is
//! asked to.

#[path = "support/process.rs"]
mod process;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
};

use process::{Desk, Ended};

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(desk: &Desk, more: &[&str]) -> Self {
        let mut arguments =
            vec!["serve", "--model", "target.gguf", "--port", "0", "--threads", "1"];
        arguments.extend(more);
        let mut command = desk.command(&arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let address = line
            .trim()
            .strip_prefix("http://")
            .unwrap_or_else(|| panic!("no address but {line:?}"))
            .to_owned();
        Server { child, address }
    }

    /// The answer to a request, head and body.
    fn ask(&self, method: &str, path: &str, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: \
             application/json\r\ncontent-length: {length}\r\n{head}\r\n{body}"
        )
        .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        text
    }

    fn stop(self, signal: &str) -> Ended {
        let pid = self.child.id().to_string();
        let status =
            std::process::Command::new("kill").args([signal, &pid]).status().expect("kill starts");
        assert!(status.success());
        Ended::new(&["serve"], self.child.wait_with_output().expect("an end"))
    }
}

#[test]
fn it_answers_like_run_and_stops_at_a_signal() {
    let desk = Desk::new();
    let expected = desk
        .run(&["run", "--quiet", "--model", "target.gguf", "--raw", "-n", "12", "the cat"])
        .succeeds()
        .out;
    for (signal, more) in [("-TERM", vec![]), ("-INT", vec!["--draft", "draft.gguf"])] {
        let server = Server::start(&desk, &more);
        let body = r#"{"prompt": "the cat", "max_tokens": 12, "temperature": 0}"#;
        let reply = server.ask("POST", "/v1/completions", "", body);
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        let json: serde_json::Value =
            serde_json::from_str(reply.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
        assert_eq!(
            json["choices"][0]["text"].as_str().expect("a text").trim_end(),
            expected.trim_end()
        );
        assert_eq!(json["model"], "target");
        let ended = server.stop(signal).succeeds();
        assert!(
            ended.err.contains("stopped") && ended.err.contains("answer complete"),
            "{ended:?}"
        );
    }
}

#[test]
fn both_families_of_loopback_are_served_and_brackets_are_understood() {
    let desk = Desk::new();
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let server = Server::start(&desk, &[]);
    assert!(server.address.starts_with("127.0.0.1:"), "{}", server.address);
    if has_ipv6 {
        let other = server.address.replace("127.0.0.1", "[::1]");
        TcpStream::connect(other).expect("the same port of the other family");
    }
    server.stop("-TERM").succeeds();
    if has_ipv6 {
        let server = Server::start(&desk, &["--host", "[::1]"]);
        assert!(server.address.starts_with("[::1]:"), "{}", server.address);
        let reply = server.ask("GET", "/health", "", "");
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        server.stop("-TERM").succeeds();
    }
}

#[test]
fn pages_of_an_allowed_origin_are_answered() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--allow-origin", "http://localhost:5173"]);
    let asked = "origin: http://localhost:5173\r\naccess-control-request-method: POST\r\n";
    let reply = server.ask("OPTIONS", "/v1/chat/completions", asked, "");
    assert!(reply.contains("access-control-allow-origin: http://localhost:5173"), "{reply}");
    server.stop("-TERM").succeeds();
    desk.run(&["serve", "--model", "target.gguf", "--allow-origin", "localhost:5173"])
        .fails(2, &["allow-origin", "localhost:5173"]);
}

#[test]
fn a_port_that_is_taken_is_told_before_models_are_loaded() {
    let desk = Desk::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    desk.run(&["serve", "--model", "no-such.gguf", "--port", &port])
        .fails(1, &["cannot listen", &port, "--port 0"]);
}

#[test]
fn mistakes_are_told_with_a_hint() {
    let desk = Desk::new();
    desk.put("typo.toml", b"prot = 8080\n");
    desk.put("range.toml", b"gamma = 1000\n");
    let serve = |more: &[&str]| desk.run(&[&["serve", "--port", "0"], more].concat());
    serve(&["--model", "no-such.gguf"]).fails(1, &["no-such.gguf"]);
    serve(&["--config", "typo.toml"])
        .fails(2, &["typo.toml", "line 1", "prot", "did you mean `port`"]);
    serve(&["--config", "range.toml"]).fails(2, &["range.toml", "gamma", "1 to 64"]);
    serve(&["--config", "absent.toml"]).fails(1, &["absent.toml"]);
    serve(&["--model", "target.gguf", "--draft", "none", "--controller", "speckv"])
        .fails(2, &["needs a draft"]);
    serve(&["--model", "target.gguf", "--kv-memory", "1", "--parallel", "200"])
        .fails(2, &["--kv-memory"]);
    serve(&["--model", "target.gguf", "--host", "no such host"]).fails(1, &["cannot listen"]);
    serve(&["--queue", "0"]).fails(2, &["--queue"]);
    serve(&["--queue", "9", "--connections", "9"]).fails(2, &["queue of 9", "--connections 18"]);
    desk.put("kv.toml", b"kv = \"q4\"\n");
    serve(&["--config", "kv.toml"]).fails(2, &["kv.toml", "kv: expected f16 or q8_0"]);
}

#[test]
fn a_key_from_the_environment_is_asked_for_and_never_shown() {
    let desk = Desk::new();
    let mut command =
        desk.command(&["serve", "--model", "target.gguf", "--port", "0", "--log-format", "json"]);
    command.env("SPECKV_API_KEY", "very-secret").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    let server = Server { child, address: line.trim().trim_start_matches("http://").to_owned() };
    assert!(server.ask("GET", "/v1/models", "", "").starts_with("HTTP/1.1 401"));
    assert!(
        server
            .ask("GET", "/v1/models", "authorization: Bearer very-secret\r\n", "")
            .starts_with("HTTP/1.1 200")
    );
    let ended = server.stop("-TERM").succeeds();
    assert!(!ended.err.contains("very-secret"));
    let logged: Vec<serde_json::Value> = ended
        .err
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(
        logged
            .iter()
            .any(|line| line["fields"]["status"] == 401 && line["fields"]["request"].is_string()),
        "{ended:?}"
    );
}

/// A number of `/metrics`.
fn metric(server: &Server, name: &str) -> f64 {
    let text = server.ask("GET", "/metrics", "", "");
    let line = text.lines().find(|line| line.starts_with(&format!("speckv:{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{name} in\n{text}"))
}

#[test]
fn earlier_answers_survive_a_restart_in_the_look_up_file() {
    let desk = Desk::new();
    let kept: &[&str] = &["--draft", "ngram", "--lookup-file", "answers.speckv"];
    let body = r#"{"prompt": "the cat", "max_tokens": 40, "temperature": 0, "ignore_eos": true}"#;
    let first = Server::start(&desk, kept);
    assert_eq!(metric(&first, "lookup_memory_tokens"), 0.0);
    let answer = first.ask("POST", "/v1/completions", "", body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let remembered = metric(&first, "lookup_memory_tokens");
    assert!(remembered >= 40.0, "{remembered}");
    let ended = first.stop("-TERM").succeeds();
    assert!(ended.err.contains("0 earlier answers from answers.speckv"), "{ended:?}");
    assert!(ended.err.contains("1 answers kept"), "{ended:?}");
    let second = Server::start(&desk, kept);
    assert_eq!(metric(&second, "lookup_memory_tokens"), remembered);
    assert!(metric(&second, "lookup_memory_bytes") > remembered);
    let ended = second.stop("-TERM").succeeds();
    assert!(ended.err.contains("1 earlier answers from answers.speckv"), "{ended:?}");

    let serve = |model: &str, more: &[&str]| {
        let start = ["serve", "--model", model, "--port", "0", "--draft", "ngram"];
        desk.run(&[&start, more].concat())
    };
    // A token of another name makes another vocabulary.
    desk.endless_model("other.gguf", &speckv_formats::tiny::Tiny::default());
    let file = ["--lookup-file", "answers.speckv"];
    serve("other.gguf", &file).fails(1, &["answers.speckv", "another vocabulary", "--lookup-file"]);
    let mut bytes = std::fs::read(desk.path("answers.speckv")).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    desk.put("answers.speckv", &bytes);
    serve("target.gguf", &file).fails(1, &["answers.speckv", "damaged", "remove the file"]);
    serve("target.gguf", &["--lookup-file", "no/such"]).fails(1, &["there is no folder no"]);
    serve("target.gguf", &["--lookup-file", "new", "--lookup-memory", "0"])
        .fails(2, &["--lookup-file keeps"]);
}
