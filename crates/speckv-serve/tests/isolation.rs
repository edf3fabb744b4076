//! What clients can learn of each other, and how much work one of them can cause.

mod support;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use speckv_serve::{http::Limits, scheduler::Rules};
use support::{Server, Setup};

fn keys() -> Limits {
    Limits { api_keys: vec!["first".into(), "second".into()], ..Limits::default() }
}

async fn ask(server: &Server, key: &str, prompt: &str) -> Value {
    let body = json!({"prompt": prompt, "max_tokens": 2, "temperature": 0, "ignore_eos": true});
    let request = Request::post("/v1/completions")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"))
        .body(Body::from(body.to_string()))
        .expect("a request");
    server.send(request).await.ok()["usage"].clone()
}

fn cached(usage: &Value) -> u64 {
    usage["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a number")
}

#[tokio::test]
async fn what_was_read_for_one_key_is_not_told_to_another() {
    let prompt = "a long prompt that no other key may observe, ".repeat(4);
    // With room for new sequences, and where each answer takes over the memory of the one before.
    for most in [6, 1] {
        let rules = Rules {
            most_running: 1,
            most_sequences: most,
            sequence_bytes: 1000,
            chunk: 8,
            chunk_alone: 64,
        };
        let server = Server::new(Setup { limits: keys(), rules, ..Setup::default() });
        ask(&server, "first", &prompt).await;
        assert!(cached(&ask(&server, "first", &prompt).await) > 100, "its own is not read again");
        assert!(cached(&ask(&server, "second", &prompt).await) <= 1, "{most} sequences");
    }
}

/// A number of `/metrics`, which is read with a key.
async fn metric(server: &Server, name: &str) -> f64 {
    let request = Request::get("/metrics")
        .header("authorization", "Bearer first")
        .body(Body::empty())
        .expect("a request");
    let text = server.send(request).await.text;
    let line = text.lines().find(|line| line.starts_with(&format!("speckv:{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{name} in\n{text}"))
}

/// Draft tokens accepted in the answers of the second of two equal questions, which may have keys
/// of their own, and the tokens that look-up remembers.
async fn accepted_of_a_second_answer(keys_of: [&'static str; 2], memory: usize) -> (f64, f64) {
    let limits = keys();
    let controller = "chain+fixed:1";
    let setup = Setup { limits, draft: Some(0.0), controller, memory, ..Setup::default() };
    let server = Server::new(setup);
    let answer = |key: &'static str| {
        let body =
            json!({"prompt": "tell", "max_tokens": 80, "temperature": 0, "ignore_eos": true});
        Request::post("/v1/completions")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {key}"))
            .body(Body::from(body.to_string()))
            .expect("a request")
    };
    let mut before = 0.0;
    let accepted = "spec_decode_num_accepted_tokens_total";
    let mut texts = Vec::new();
    for key in keys_of {
        before = metric(&server, accepted).await;
        texts.push(server.send(answer(key)).await.ok()["choices"][0]["text"].clone());
    }
    assert_eq!(texts[0], texts[1]);
    (metric(&server, accepted).await - before, metric(&server, "lookup_memory_tokens").await)
}

#[tokio::test]
async fn earlier_answers_are_looked_up_by_their_own_key_only() {
    let (own, held) = accepted_of_a_second_answer(["first", "first"], 10_000).await;
    let (foreign, _) = accepted_of_a_second_answer(["first", "second"], 10_000).await;
    let (none, nothing) = accepted_of_a_second_answer(["first", "first"], 0).await;
    assert!(own > 50.0 && own > foreign + 40.0, "{own} accepted, {foreign} with another key");
    assert_eq!(none, foreign, "without a memory it is as if the key were another one");
    assert!(held >= 160.0 && nothing == 0.0, "{held} tokens remembered");
}

#[tokio::test]
async fn sharing_across_keys_is_an_option() {
    let limits = Limits { share_across_keys: true, ..keys() };
    let server = Server::new(Setup { limits, ..Setup::default() });
    let prompt = "a system prompt that is the same for all, ".repeat(4);
    ask(&server, "first", &prompt).await;
    assert!(cached(&ask(&server, "second", &prompt).await) > 100);
}

#[tokio::test]
async fn keys_that_are_not_asked_for_make_no_further_clients() {
    let rules =
        Rules { most_running: 1, most_sequences: 1, sequence_bytes: 1, chunk: 8, chunk_alone: 64 };
    let setup = Setup { rules, pass: Duration::from_millis(2), draft: None, ..Setup::default() };
    let server = Server::new(setup);
    let server = &server;
    // Twelve answers, each with a key of its own: one client, whose answers begin in their order.
    let asks = (0..12).map(|number| async move {
        tokio::time::sleep(Duration::from_millis(5 * number)).await;
        ask(server, &format!("made-up-{number}"), "x").await;
        (Instant::now(), number)
    });
    let mut ended = futures_util::future::join_all(asks).await;
    ended.sort_unstable();
    let order: Vec<u64> = ended.into_iter().map(|(_, number)| number).collect();
    assert_eq!(order, (0..12).collect::<Vec<_>>());
    // And no scope either: what one has read is there for all, as without keys.
    let prompt = "without keys everything is shared, ".repeat(4);
    ask(server, "one", &prompt).await;
    assert!(cached(&ask(server, "two", &prompt).await) > 100);
}

#[tokio::test]
async fn a_text_that_cannot_fit_is_refused_before_it_is_tokenized() {
    let server = Server::new(Setup::default());
    let encoded = || server.encoded.load(Ordering::Relaxed);
    let long = "a".repeat(100_000);
    for (path, body, param) in [
        ("/tokenize", json!({"content": long}), "content"),
        ("/v1/completions", json!({"prompt": long}), "prompt"),
        ("/v1/completions", json!({"prompt": ["x", long]}), "prompt"),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": long}]}),
            "messages",
        ),
        ("/detokenize", json!({"tokens": vec![97; 100_000]}), "tokens"),
    ] {
        let error = server.ask(path, body).await.error(400);
        assert_eq!(
            (&error["param"], &error["code"]),
            (&json!(param), &json!("context_length_exceeded"))
        );
    }
    assert_eq!(encoded(), 0);
    server.ask("/tokenize", json!({"content": "a"})).await.ok();
    assert_eq!(encoded(), 1);
}

#[tokio::test]
async fn work_of_clients_that_left_is_dropped_and_never_more_than_permits_runs() {
    let server = Server::new(Setup { tokenizing: Duration::from_millis(30), ..Setup::default() });
    let asks = (0..60).map(|_| server.ask("/tokenize", json!({"content": "x"})));
    let all = futures_util::future::join_all(asks);
    assert!(tokio::time::timeout(Duration::from_millis(10), all).await.is_err());
    // All sixty have left; the few that had begun end, and the others never begin.
    let start = Instant::now();
    server.ask("/tokenize", json!({"content": "y"})).await.ok();
    assert!(start.elapsed() < Duration::from_millis(300), "{:?}", start.elapsed());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let encoded = server.encoded.load(Ordering::Relaxed);
    assert!((1..=9).contains(&encoded), "{encoded} texts were tokenized");
    assert_eq!(server.handle.waiting(), 0);
}

#[tokio::test]
async fn every_route_with_text_takes_a_place() {
    let server = Server::new(Setup { queue: 1, ..Setup::default() });
    let place = server.handle.places(1).expect("the only one");
    for (path, body) in [
        ("/tokenize", json!({"content": "x"})),
        ("/detokenize", json!({"tokens": [97]})),
        ("/v1/completions", json!({"prompt": "x"})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "x"}]})),
    ] {
        assert_eq!(server.ask(path, body.clone()).await.error(429)["code"], "queue_full", "{path}");
    }
    drop(place);
    server.ask("/tokenize", json!({"content": "x"})).await.ok();
}
