//! Bounds, refusals, cancellation, panics: an error stays with the request that caused it, and is
//! said in OpenAI's form.

mod support;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use speckv_serve::{http::Limits, scheduler::Rules};
use support::{Server, Setup, plain};

fn slow(most_running: usize, queue: usize) -> Setup {
    let rules = Rules {
        most_running,
        most_sequences: most_running,
        sequence_bytes: 1,
        chunk: 8,
        chunk_alone: 64,
    };
    Setup { rules, queue, pass: Duration::from_millis(3), draft: None, ..Setup::default() }
}

fn long(prompt: &str, tokens: usize) -> Value {
    json!({"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": true})
}

async fn until(what: &str, truth: impl Fn() -> bool) {
    let start = Instant::now();
    while !truth() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn every_bad_request_is_a_proper_error_that_names_the_field() {
    let server = Server::new(Setup::default());
    let chat = |more: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 2});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("/v1/chat/completions", body)
    };
    let text = |more: Value| {
        let mut body = json!({"prompt": "x", "max_tokens": 2});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("/v1/completions", body)
    };
    for ((path, body), param) in [
        (chat(json!({"messages": []})), "messages"),
        (chat(json!({"messages": "hello"})), "messages"),
        (chat(json!({"messages": [{"content": "x"}]})), "messages[0]"),
        (chat(json!({"messages": [{"role": "user", "content": 5}]})), "messages[0].content"),
        (
            chat(json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})),
            "messages[0].content[0]",
        ),
        (chat(json!({"messages": [{"role": "unknown", "content": "x"}]})), "messages"),
        (chat(json!({"temperature": "hot"})), "temperature"),
        (chat(json!({"temperature": -1})), "temperature"),
        (chat(json!({"temperature": 1e300})), "temperature"),
        (chat(json!({"top_p": 0})), "top_p"),
        (chat(json!({"n": 0})), "n"),
        (chat(json!({"n": -1})), "n"),
        (chat(json!({"n": 1000})), "n"),
        (chat(json!({"max_tokens": 0})), "max_tokens"),
        (chat(json!({"max_tokens": 2.5})), "max_tokens"),
        (chat(json!({"max_completion_tokens": 7})), "max_tokens"),
        (chat(json!({"max_tokens": -2})), "max_tokens"),
        (chat(json!({"repetition_penalty": 1e-38})), "repetition_penalty"),
        (chat(json!({"repetition_penalty": 1e30})), "repetition_penalty"),
        (chat(json!({"reasoning_effort": "high"})), "reasoning_effort"),
        (chat(json!({"tool_choice": "required"})), "tool_choice"),
        (chat(json!({"chat_template_kwargs": {"messages": []}})), "chat_template_kwargs.messages"),
        (
            chat(json!({"continue_final_message": true, "add_generation_prompt": true})),
            "continue_final_message",
        ),
        (chat(json!({"stop": 5})), "stop"),
        (chat(json!({"top_logprobs": 3})), "top_logprobs"),
        (chat(json!({"logprobs": true, "top_logprobs": 99})), "top_logprobs"),
        (chat(json!({"tools": [{"type": "function"}]})), "tools[0].function.name"),
        (chat(json!({"functions": [{"name": "f g"}]})), "functions[0].name"),
        (chat(json!({"response_format": {"type": "yaml"}})), "response_format.type"),
        (chat(json!({"guided_json": {"type": "strin"}})), "guided_json"),
        (chat(json!({"grammar": "root ::= x"})), "grammar"),
        (chat(json!({"thinking_budget": 5})), "thinking_budget"),
        (chat(json!({"guided_regex": "a", "ignore_eos": true})), "ignore_eos"),
        (chat(json!({"guided_regex": "a", "min_tokens": 3})), "min_tokens"),
        (chat(json!({"stop_token_ids": [5000]})), "stop_token_ids"),
        (chat(json!({"logit_bias": {"5": 101}})), "logit_bias.5"),
        (chat(json!({"frequency_penalty": 3.0})), "frequency_penalty"),
        (chat(json!({"speculation": {"controler": "off"}})), "speculation"),
        (chat(json!({"speculation": "fast"})), "speculation.controller"),
        (chat(json!({"stream": "yes"})), "stream"),
        (text(json!({"prompt": {}})), "prompt"),
        (text(json!({"prompt": []})), "prompt"),
        (text(json!({"prompt": ""})), "prompt"),
        (text(json!({"prompt": [-5]})), "prompt"),
        (text(json!({"prompt": [5000]})), "prompt"),
        (text(json!({"prompt": vec!["a"; 17]})), "prompt"),
        (text(json!({"prompt": "a".repeat(512)})), "prompt"),
        (text(json!({"logprobs": 100})), "logprobs"),
        (text(json!({"suffix": "x"})), "suffix"),
        (text(json!({"best_of": 3})), "best_of"),
        (text(json!({"echo": true, "logprobs": 1})), "echo"),
        (("/tokenize", json!({"text": "x"})), "content"),
        (("/detokenize", json!({"tokens": ["x"]})), "tokens[0]"),
    ] {
        let error = server.ask(path, body.clone()).await.error(400);
        assert_eq!(error["type"], "invalid_request_error", "{body}");
        // A field that is missing has no path of its own; the message names it.
        let named = error["param"].as_str() == Some(param)
            || error["message"]
                .as_str()
                .is_some_and(|message| message.contains(&format!("`{param}`")));
        assert!(named || error["param"] == "messages[0]", "{param}: {error}");
    }
    assert_eq!(
        server.ask("/v1/completions", long(&"a".repeat(600), 1)).await.error(400)["code"],
        "context_length_exceeded"
    );
    assert_eq!(
        server.ask("/v1/completions", long("ä", 1)).await.error(400)["type"],
        "invalid_request_error"
    );
    assert_eq!(
        server.ask("/v1/completions", json!({"prompt": "x", "model": "gpt-9"})).await.error(404)["param"],
        "model"
    );
}

#[tokio::test]
async fn bytes_that_are_no_request_are_told_so() {
    let server = Server::new(Setup {
        limits: Limits { max_body: 1000, ..Limits::default() },
        ..Setup::default()
    });
    let post = |kind: &str, bytes: Vec<u8>| {
        Request::post("/v1/chat/completions")
            .header("content-type", kind)
            .body(Body::from(bytes))
            .expect("a request")
    };
    let deep = "[".repeat(500).into_bytes();
    for bytes in [
        &b""[..],
        b"{",
        b"null",
        b"[]",
        b"{\"messages\": [}",
        b"\xff\xfe{}",
        b"{\"messages\": \"\xc3\x28\"}",
        &deep,
        b"{} {}",
    ] {
        server.send(post("application/json", bytes.to_vec())).await.error(400);
    }
    server.send(post("application/json", vec![b' '; 1001])).await.error(413);
    assert_eq!(
        server.send(post("text/plain", b"{}".to_vec())).await.error(415)["code"],
        "unsupported_media_type"
    );
    server.get("/nothing").await.error(404);
    assert_eq!(server.get("/v1/models/%ff").await.error(400)["param"], "model");
    let wrong = server.get("/v1/chat/completions").await;
    wrong.error(405);
    assert_eq!(wrong.headers["allow"], "POST");
    server.send(Request::delete("/health").body(Body::empty()).unwrap()).await.error(405);
}

#[tokio::test]
async fn a_body_without_end_is_cut_at_the_limit_and_a_slow_one_in_time() {
    let limits =
        Limits { max_body: 5000, body_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = Server::new(Setup { limits, ..Setup::default() });
    let endless = futures_util::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 100]))
    });
    let request = Request::post("/tokenize").header("content-type", "application/json");
    server.send(request.body(Body::from_stream(endless)).unwrap()).await.error(413);
    let silent = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let request = Request::post("/tokenize").header("content-type", "application/json");
    server.send(request.body(Body::from_stream(silent)).unwrap()).await.error(408);
}

#[tokio::test]
async fn keys_are_asked_for_and_open_routes_are_open() {
    let limits = Limits {
        api_keys: vec!["first".into(), "second".into()],
        localhost_only: false,
        ..Limits::default()
    };
    let server = Server::new(Setup { limits, ..Setup::default() });
    let with = |key: Option<&str>| {
        let request = Request::get("/v1/models");
        let request = match key {
            Some(key) => request.header("authorization", key),
            None => request,
        };
        server.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(with(None).await.error(401)["code"], "invalid_api_key");
    for wrong in ["Bearer wrong", "Bearer ", "Basic first", "first", "Bearer firstt"] {
        let reply = with(Some(wrong)).await;
        assert_eq!(reply.error(401)["type"], "authentication_error");
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
    }
    with(Some("Bearer second")).await.ok();
    with(Some("bearer first")).await.ok();
    server.get("/metrics").await.error(401);
    for open in ["/", "/health", "/openapi.json"] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
}

#[tokio::test]
async fn on_loopback_other_hosts_are_refused() {
    let server = Server::new(Setup::default());
    let host = |host: &str| {
        server.send(Request::get("/v1/models").header("host", host).body(Body::empty()).unwrap())
    };
    host("localhost:8080").await.ok();
    host("localhost.:8080").await.ok();
    assert_eq!(host("evil.example").await.error(403)["code"], "host_not_allowed");
}

#[tokio::test]
async fn beyond_the_queue_is_429_and_what_was_taken_is_answered() {
    let server = Server::new(slow(1, 2));
    let replies = futures_util::future::join_all(
        (0..12).map(|n| server.ask("/v1/completions", long(&format!("p{n}"), 8))),
    )
    .await;
    let mut answered = 0;
    for (number, reply) in replies.iter().enumerate() {
        if reply.status == 200 {
            answered += 1;
            assert_eq!(
                reply.json()["choices"][0]["text"],
                plain(&server.model, &format!("p{number}"), 8).as_str()
            );
        } else {
            assert_eq!(reply.error(429)["code"], "queue_full");
            assert_eq!(reply.headers["retry-after"], "1");
        }
    }
    assert!((2..12).contains(&answered), "{answered}");
    assert_eq!(server.handle.waiting(), 0);
}

#[tokio::test]
async fn more_answers_than_the_queue_ever_holds_are_the_requests_fault() {
    let server = Server::new(slow(1, 2));
    for (path, body) in [
        ("/v1/completions", json!({"prompt": "x", "n": 3, "max_tokens": 1})),
        ("/v1/completions", json!({"prompt": ["x", "y", "z"], "max_tokens": 1})),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "x"}], "n": 3, "max_tokens": 1}),
        ),
    ] {
        let error = server.ask(path, body).await.error(400);
        assert_eq!((&error["param"], &error["code"]), (&json!("n"), &json!("invalid_value")));
        assert!(error["message"].as_str().unwrap().contains("--queue"), "{error}");
    }
    assert_eq!(server.handle.waiting(), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    let server = Server::new(slow(1, 8));
    {
        let first = server.ask("/v1/completions", long("endless", 500));
        let second = server.ask("/v1/completions", long("waits", 500));
        let both = futures_util::future::join(first, second);
        assert!(tokio::time::timeout(Duration::from_millis(60), both).await.is_err());
        assert_eq!((server.handle.running(), server.handle.waiting()), (1, 1));
    }
    until("the end of the abandoned", || {
        server.handle.running() == 0 && server.handle.waiting() == 0
    })
    .await;
    assert!(server.model.passes.load(Ordering::Relaxed) < 200, "they did not run to their end");
    assert_eq!(server.complete("after", 5).await, plain(&server.model, "after", 5));
    assert!(
        server.get("/metrics").await.text.contains("request_failed_total{reason=\"abandoned\"} 2")
    );
}

#[tokio::test]
async fn what_takes_too_long_is_told_so_in_whole_and_in_streams() {
    let limits = Limits { request_timeout: Duration::from_millis(80), ..Limits::default() };
    let server = Server::new(Setup { limits, ..slow(1, 8) });
    let whole = server.ask("/v1/completions", long("late", 500));
    let waiting = server.ask("/v1/completions", long("later", 500));
    let (whole, waiting) = tokio::join!(whole, waiting);
    assert_eq!(
        (&whole.error(504)["code"], &waiting.error(504)["code"]),
        (&json!("timeout"), &json!("timeout"))
    );
    let mut body = long("late stream", 500);
    body["stream"] = json!(true);
    let reply = server.ask("/v1/completions", body).await;
    assert_eq!(reply.status, 200);
    let last = reply
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .next_back()
        .expect("data");
    let last: Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(last["error"]["code"], "timeout");
    assert!(reply.text.matches("\"text\":\"").count() > 3, "what was said before came");
}

#[tokio::test]
async fn a_request_that_breaks_the_model_fails_alone() {
    let setup = Setup { pass: Duration::from_millis(1), draft: None, ..Setup::default() };
    let server = Server::new(setup);
    let server = &server;
    let good = futures_util::future::join_all(
        (0..3).map(|n| async move { (n, server.complete(&format!("good {n}"), 60).await) }),
    );
    let bad = async {
        tokio::time::sleep(Duration::from_millis(15)).await;
        server.ask("/v1/completions", long("this is ^^^ poison", 10)).await
    };
    let (good, bad) = tokio::join!(good, bad);
    assert_eq!(bad.error(500)["type"], "server_error");
    for (number, text) in good {
        assert_eq!(text, plain(&server.model, &format!("good {number}"), 60));
    }
    assert_eq!(server.get("/health").await.ok()["status"], "ok");
    assert!(server.metric("panics_total").await >= 1.0, "panics are counted");
}

#[tokio::test]
async fn a_pass_that_panics_once_costs_no_request_anything_when_it_is_shared() {
    let server = Server::new(Setup { pass: Duration::from_millis(1), ..Setup::default() });
    let server = &server;
    let asks = futures_util::future::join_all(
        (0..4).map(|n| async move { (n, server.complete(&format!("shared {n}"), 50).await) }),
    );
    let breaker = async {
        tokio::time::sleep(Duration::from_millis(12)).await;
        server.model.panics.store(true, Ordering::Relaxed);
    };
    let (answers, ()) = tokio::join!(asks, breaker);
    for (number, text) in answers {
        assert_eq!(text, plain(&server.model, &format!("shared {number}"), 50));
    }
    assert_eq!(
        server.metric("panics_total").await,
        1.0,
        "what a retry made good is counted all the same"
    );
}

#[tokio::test]
async fn a_panic_while_an_answer_begins_stays_with_its_request() {
    let server = Server::new(Setup { pass: Duration::from_millis(1), ..Setup::default() });
    let beside = server.complete("beside", 40);
    let broken = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut body = long("no decoder", 5);
        body["stop"] = json!("panic in the decoder");
        let decoder = server.ask("/v1/completions", body).await.error(500);
        server.model.cache_panics.store(true, Ordering::Relaxed);
        (decoder, server.ask("/v1/completions", long("no cache", 5)).await.error(500))
    };
    let (beside, (decoder, cache)) = tokio::join!(beside, broken);
    assert_eq!(
        (&decoder["code"], &cache["code"]),
        (&json!("internal_error"), &json!("internal_error"))
    );
    assert_eq!(beside, plain(&server.model, "beside", 40));
    assert_eq!(server.complete("after", 5).await, plain(&server.model, "after", 5));
    assert_eq!(server.metric("panics_total").await, 2.0);
    until("the end of all", || server.handle.running() == 0 && server.handle.waiting() == 0).await;
}

#[tokio::test]
async fn a_handler_that_panics_answers_500_and_the_server_goes_on() {
    let server = Server::new(Setup::default());
    let body = json!({"messages": [{"role": "user", "content": "panic in the template"}]});
    assert_eq!(server.ask("/v1/chat/completions", body).await.error(500)["type"], "server_error");
    assert_eq!(server.handle.waiting(), 0, "its place came back");
    assert_eq!(server.metric("panics_total").await, 1.0);
    assert_eq!(server.complete("after", 5).await, plain(&server.model, "after", 5));
}

#[tokio::test]
async fn a_stop_lets_what_runs_end_and_refuses_the_rest() {
    let mut server = Server::new(slow(2, 8));
    let running = server.ask("/v1/completions", long("to the end", 20));
    let stop = async {
        until("the start", || server.handle.running() == 1).await;
        server.handle.stop(Instant::now() + Duration::from_secs(20));
        assert_eq!(server.get("/health").await.status, 503);
        server.ask("/v1/completions", long("too late", 5)).await
    };
    let (running, refused) = tokio::join!(running, stop);
    assert_eq!(running.ok()["choices"][0]["text"], plain(&server.model, "to the end", 20).as_str());
    assert_eq!(refused.error(503)["code"], "unavailable");
    server.thread.take().expect("a thread").join().expect("it ends by itself");
    assert!(!server.handle.is_alive());
}

#[tokio::test]
async fn a_stop_cuts_off_what_is_not_done_at_its_deadline() {
    let server = Server::new(slow(1, 8));
    let running = server.ask("/v1/completions", long("endless", 500));
    let waiting = server.ask("/v1/completions", long("waits", 500));
    let stop = async {
        until("the start", || server.handle.running() == 1).await;
        server.handle.stop(Instant::now() + Duration::from_millis(50));
    };
    let (running, waiting, ()) = tokio::join!(running, waiting, stop);
    running.error(503);
    waiting.error(503);
}

#[tokio::test]
async fn memory_for_keys_and_values_is_accounted_and_bounded() {
    let rules = Rules {
        most_running: 2,
        most_sequences: 3,
        sequence_bytes: 1_000,
        chunk: 8,
        chunk_alone: 64,
    };
    let server = Server::new(Setup { rules, ..Setup::default() });
    let asks = (0..10)
        .map(|n| server.ask("/v1/completions", long(&format!("{n} different beginning"), 12)));
    for (number, reply) in futures_util::future::join_all(asks).await.iter().enumerate() {
        let expected = plain(&server.model, &format!("{number} different beginning"), 12);
        assert_eq!(reply.ok()["choices"][0]["text"], expected.as_str());
    }
    assert_eq!(server.metric("kv_cache_bytes").await, 3000.0);
    assert_eq!(server.metric("kv_cache_limit_bytes").await, 3000.0);
    assert_eq!(server.metric("kv_cache_usage_perc").await, 1.0);
}
