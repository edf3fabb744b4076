//! Real connections: peers that stand still, leave, or come in crowds.

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use speckv_serve::server::{self, Connections};
use support::{Server, Setup, plain};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

struct Listening {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn listen(server: &Server, bounds: Connections) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let (router, handle) = (server.router.clone(), server.handle.clone());
    let task = tokio::spawn(server::serve(vec![listener], router, handle, bounds, async {
        let _ = stopped.await;
    }));
    Listening { address, stop: Some(stop), task }
}

fn post(body: &str, more: &str) -> String {
    format!(
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

const ASK: &str =
    r#"{"prompt": "over the wire", "max_tokens": 12, "temperature": 0, "ignore_eos": true}"#;

async fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(post(ASK, "connection: close\r\n").as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    text
}

#[tokio::test]
async fn a_request_over_the_wire_is_answered_and_a_connection_serves_several() {
    let server = Server::new(Setup::default());
    let listening = listen(&server, Connections::default()).await;
    let expected = serde_json::to_string(&plain(&server.model, "over the wire", 12)).expect("JSON");
    assert!(ask(listening.address).await.contains(&expected));
    let mut stream = TcpStream::connect(listening.address).await.expect("a connection");
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.expect("read");
        assert!(bytes[..count].starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn half_open_connections_are_closed_and_make_room() {
    let server = Server::new(Setup::default());
    let bounds = Connections {
        most: 4,
        header_timeout: Duration::from_millis(150),
        ..Connections::default()
    };
    let listening = listen(&server, bounds).await;
    let mut silent = Vec::new();
    for part in [
        "",
        "POST /v1/comp",
        "GET / HTTP/1.1\r\nhost: x\r\n",
        "POST /v1/completions HTTP/1.1\r\nx: y\r\n",
    ] {
        let mut stream = TcpStream::connect(listening.address).await.expect("a connection");
        stream.write_all(part.as_bytes()).await.expect("sent");
        silent.push(stream);
    }
    let start = Instant::now();
    assert!(ask(listening.address).await.contains("200 OK"), "a place became free");
    assert!(start.elapsed() < Duration::from_secs(10));
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await; // ends, instead of hanging
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_answer() {
    let server = Server::new(Setup {
        pass: Duration::from_millis(3),
        context: 4000,
        draft: None,
        ..Setup::default()
    });
    let listening = listen(&server, Connections::default()).await;
    for stream_it in [false, true] {
        let body = format!(
            r#"{{"prompt": "go on", "max_tokens": 3000, "ignore_eos": true, "stream": {stream_it}}}"#
        );
        let mut stream = TcpStream::connect(listening.address).await.expect("a connection");
        stream.write_all(post(&body, "").as_bytes()).await.expect("sent");
        while server.handle.running() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(stream);
        let start = Instant::now();
        while server.handle.running() > 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "it went on without a client");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_delays_no_other_and_is_cut_off() {
    let server =
        Server::new(Setup { context: 60_000, draft: None, controller: "off", ..Setup::default() });
    let bounds =
        Connections { write_timeout: Duration::from_millis(300), ..Connections::default() };
    let listening = listen(&server, bounds).await;
    // Details for several answers fill every buffer on the way.
    let body = r#"{"prompt": "much", "max_tokens": 20000, "n": 3, "ignore_eos": true, "stream": true, "logprobs": 5, "speculation": {"details": true}}"#;
    let mut stream = TcpStream::connect(listening.address).await.expect("a connection");
    stream.write_all(post(body, "").as_bytes()).await.expect("sent");
    while server.handle.running() < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(ask(listening.address).await.contains("200 OK"), "others are answered");
    let start = Instant::now();
    while server.handle.running() > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "the slow reader was never given up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = server.get("/metrics").await.text;
    assert!(text.contains("request_failed_total{reason=\"abandoned\"} 3"), "{text}");
    drop(stream);
}

#[tokio::test]
async fn a_stop_ends_the_listening_lets_answers_end_and_closes_idle_connections() {
    let server =
        Server::new(Setup { pass: Duration::from_millis(3), draft: None, ..Setup::default() });
    let mut listening = listen(&server, Connections::default()).await;
    let _idle = TcpStream::connect(listening.address).await.expect("a connection");
    let answer = tokio::spawn(ask(listening.address));
    while server.handle.running() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let start = Instant::now();
    listening.stop.take().expect("once").send(()).expect("it listens");
    let expected = serde_json::to_string(&plain(&server.model, "over the wire", 12)).expect("JSON");
    assert!(answer.await.expect("an answer").contains(&expected));
    listening.task.await.expect("no panic").expect("no error");
    assert!(start.elapsed() < Duration::from_secs(10), "an idle connection held it up");
    assert!(TcpStream::connect(listening.address).await.is_err());
}
