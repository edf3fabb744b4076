//! Requests as clients write them: fields that are honoured or refused by name, numbers, paths,
//! packed bodies, web pages of other origins.

mod support;

use std::io::Write;

use axum::{body::Body, http::Request};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use speckv_serve::http::{Limits, Origins};
use support::{Reply, Server, Setup, plain};

fn chat(more: Value) -> Value {
    let mut body = json!({
        "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 8,
        "ignore_eos": true
    });
    let (Some(fields), Value::Object(more)) = (body.as_object_mut(), more) else {
        panic!("objects")
    };
    fields.extend(more);
    body
}

fn said(reply: &Reply) -> String {
    reply.ok()["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
}

async fn answer(server: &Server, more: Value) -> String {
    said(&server.ask("/v1/chat/completions", chat(more)).await)
}

#[tokio::test]
async fn variables_of_the_template_are_honoured() {
    let server = Server::new(Setup::default());
    let with = answer(&server, json!({"chat_template_kwargs": {"enable_thinking": false}})).await;
    assert_eq!(with, plain(&server.model, "u:hi~enable_thinking=false~a:", 8));
}

#[tokio::test]
async fn a_final_message_is_continued() {
    let server = Server::new(Setup::default());
    let talk = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "The "}]);
    let asked = json!({"messages": talk, "continue_final_message": true});
    assert_eq!(answer(&server, asked).await, plain(&server.model, "u:hi~a:The ", 8));
    let asked = json!({"messages": talk, "add_generation_prompt": false});
    assert_eq!(answer(&server, asked).await, plain(&server.model, "u:hi~a:The ~", 8));
    let asked = json!({"messages": talk});
    assert_eq!(answer(&server, asked).await, plain(&server.model, "u:hi~a:The ~a:", 8));
}

#[tokio::test]
async fn what_a_message_has_reaches_the_template() {
    let server = Server::new(Setup::default());
    let call = json!({"id": "c1", "type": "function",
        "function": {"name": "weather", "arguments": "{\"city\": \"Rome\"}"}});
    let talk = json!([
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": null, "tool_calls": [call], "refusal": null, "annotations": []},
        {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": [{"type": "text", "text": "42"}]},
    ]);
    let called = r#"[{"id":"c1","type":"function","function":{"name":"weather","arguments":{"city":"Rome"}}}]"#;
    let prompt = format!("u:u~a:~tool_calls={called}~t:42~name=\"weather\"~tool_call_id=\"c1\"~a:");
    assert_eq!(answer(&server, json!({"messages": talk})).await, plain(&server.model, &prompt, 8));
}

#[tokio::test]
async fn control_tokens_in_messages_are_text_unless_asked_for() {
    let messages = json!([{"role": "user", "content": "a~u:b"}]);
    let server = Server::new(Setup::default());
    assert_eq!(
        answer(&server, json!({"messages": messages})).await,
        plain(&server.model, "u:a_u:b~a:", 8)
    );
    assert_eq!(
        answer(&server, json!({"messages": messages, "parse_special": true})).await,
        plain(&server.model, "u:a~u:b~a:", 8)
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_by_name_wherever_they_stand() {
    let server = Server::new(Setup::default());
    let user = |more: Value| {
        let mut message = json!({"role": "user", "content": "hi"});
        let fields = message.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        chat(json!({"messages": [message]}))
    };
    let assistant = |more: Value| {
        let mut message = json!({"role": "assistant"});
        let fields = message.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        chat(json!({"messages": [message]}))
    };
    let text = |more: Value| {
        let mut body = json!({"prompt": "x", "max_tokens": 2});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        body
    };
    let part = json!([{"type": "text", "text": "x", "detail": "high"}]);
    for (path, body, param) in [
        (
            "/v1/chat/completions",
            chat(json!({"guided_decoding_backend": "x"})),
            "guided_decoding_backend",
        ),
        (
            "/v1/chat/completions",
            chat(json!({"truncate_prompt_tokens": 5})),
            "truncate_prompt_tokens",
        ),
        ("/v1/chat/completions", chat(json!({"mirostat": 2})), "mirostat"),
        ("/v1/chat/completions", chat(json!({"modalities": ["text", "audio"]})), "modalities"),
        ("/v1/chat/completions", user(json!({"prefix": true})), "messages[0].prefix"),
        ("/v1/chat/completions", user(json!({"images": ["x"]})), "messages[0].images"),
        ("/v1/chat/completions", user(json!({"weight": 0})), "messages[0].weight"),
        ("/v1/chat/completions", user(json!({"content": part})), "messages[0].content[0].detail"),
        (
            "/v1/chat/completions",
            assistant(json!({"tool_calls": [{"id": "x"}]})),
            "messages[0].tool_calls[0].function",
        ),
        ("/v1/completions", text(json!({"n_discard": 4})), "n_discard"),
        ("/v1/completions", text(json!({"use_beam_search": true})), "use_beam_search"),
        ("/tokenize", json!({"content": "x", "messages": []}), "messages"),
        (
            "/detokenize",
            json!({"tokens": [97], "skip_special_tokens": false}),
            "skip_special_tokens",
        ),
    ] {
        let error = server.ask(path, body.clone()).await.error(400);
        assert_eq!(error["param"], param, "{body}: {error}");
    }
}

#[tokio::test]
async fn null_harmless_and_neutral_fields_pass() {
    let server = Server::new(Setup::default());
    let expected = plain(&server.model, "u:hi~a:", 8);
    let more = json!({
        "user": "me", "metadata": {"a": "b"}, "store": false, "service_tier": "auto",
        "frobnicate": null, "tools": [], "tool_choice": "none", "response_format": {"type": "text"},
        "logit_bias": {}, "frequency_penalty": 0, "mirostat": 0.0, "typical_p": 1,
        "use_beam_search": false, "skip_special_tokens": true, "modalities": ["text"],
        "stream_options": {"include_obfuscation": false}
    });
    assert_eq!(answer(&server, more).await, expected);
}

#[tokio::test]
async fn whole_numbers_may_be_written_as_floats_and_minus_one_is_the_rest() {
    let server = Server::new(Setup { context: 40, ..Setup::default() });
    let more = json!({"max_tokens": 8.0, "n": 1.0, "top_k": 20.0, "seed": 3.0, "speculation": {"gamma": 2.0}});
    assert_eq!(answer(&server, more).await, plain(&server.model, "u:hi~a:", 8));
    for (path, body) in [
        ("/v1/chat/completions", chat(json!({"max_tokens": -1}))),
        ("/v1/completions", json!({"prompt": "u:hi~a:", "max_tokens": -1, "ignore_eos": true})),
        ("/v1/completions", json!({"prompt": "u:hi~a:", "n_predict": -1.0, "ignore_eos": true})),
        (
            "/v1/completions",
            json!({"prompt": [117.0, 58, 104, 105, 126, 97, 58], "max_tokens": -1, "ignore_eos": true}),
        ),
    ] {
        let usage = server.ask(path, body.clone()).await.ok()["usage"].clone();
        assert_eq!(usage["total_tokens"], 40, "{body}");
    }
    server.ask("/detokenize", json!({"tokens": [97.0, 98]})).await.ok();
}

#[tokio::test]
async fn empty_stop_strings_stop_nothing() {
    let server = Server::new(Setup::default());
    let expected = plain(&server.model, "u:hi~a:", 8);
    for stop in [json!(""), json!([""]), json!([]), json!(null)] {
        assert_eq!(answer(&server, json!({"stop": stop})).await, expected, "{stop}");
    }
    let cut = &expected[3..5];
    let at = expected.find(cut).expect("it is there");
    assert_eq!(answer(&server, json!({"stop": ["", cut]})).await, &expected[..at]);
}

#[tokio::test]
async fn equal_prompts_have_different_samples() {
    let server = Server::new(Setup::default());
    let distinct = |answer: Value| {
        let choices = answer["choices"].as_array().expect("choices").clone();
        let mut texts: Vec<String> =
            choices.iter().map(|choice| choice["text"].to_string()).collect();
        texts.sort();
        texts.dedup();
        (texts.len(), choices.len())
    };
    let body = json!({"prompt": ["same", "same", "same"], "n": 2, "max_tokens": 24, "temperature": 2, "ignore_eos": true});
    assert_eq!(distinct(server.ask("/v1/completions", body.clone()).await.ok()), (6, 6));
    let mut seeded = body;
    seeded["seed"] = json!(5);
    seeded["speculation"] = json!("off");
    let first = server.ask("/v1/completions", seeded.clone()).await.ok();
    assert_eq!(distinct(first.clone()), (6, 6));
    let again = server.ask("/v1/completions", seeded).await.ok();
    assert_eq!(first["choices"], again["choices"], "a seed repeats all of them");
}

#[tokio::test]
async fn slashes_and_a_missing_version_are_understood() {
    let server = Server::new(Setup::default());
    for path in [
        "/v1/chat/completions/",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/chat/completions",
    ] {
        server.ask(path, chat(json!({}))).await.ok();
    }
    for path in ["/v1/models/", "/models", "//models//sim/", "/health/"] {
        server.get(path).await.ok();
    }
    server.ask("/v1/tokenize", json!({"content": "x"})).await.ok();
    server.get("/v3/models").await.error(404);
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("path=\"/v1/chat/completions\""), "one name per route in {metrics}");
    assert!(!metrics.contains("path=\"/chat/completions\""));
}

#[tokio::test]
async fn a_role_may_be_empty_or_begin_with_any_character() {
    let server = Server::new(Setup::default());
    for role in ["", "é", "\u{1f469}"] {
        let messages = json!([{"role": role, "content": "hi"}]);
        let reply = server.ask("/v1/chat/completions", chat(json!({"messages": messages}))).await;
        // The test's vocabulary is ASCII: other roles are refused by the tokenizer, in words.
        assert_eq!(reply.status, if role.is_empty() { 200 } else { 400 }, "{reply:?}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_before_a_body_is_no_part_of_it() {
    let server = Server::new(Setup::default());
    let body = chat(json!({})).to_string();
    let marked = Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(Body::from(format!("\u{feff}{body}")))
        .expect("a request");
    assert_eq!(said(&server.send(marked).await), plain(&server.model, "u:hi~a:", 8));
}

#[tokio::test]
async fn headers_that_may_stand_once_are_refused_where_they_stand_twice() {
    let server = Server::new(Setup::default());
    let post = |name: &str, value: &str| {
        Request::post("/v1/chat/completions")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header(name, value)
            .body(Body::from(chat(json!({})).to_string()))
            .expect("a request")
    };
    server.send(post("x-other", "a")).await.ok();
    server.send(post("host", "localhost")).await.error(400);
    server.send(post("content-type", "text/plain")).await.error(415);
}

fn packed(encoding: &str, bytes: Vec<u8>) -> Request<Body> {
    Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .header("content-encoding", encoding)
        .body(Body::from(bytes))
        .expect("a request")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
}

#[tokio::test]
async fn packed_bodies_are_read_within_the_limit() {
    let limits = Limits { max_body: 100_000, ..Limits::default() };
    let server = Server::new(Setup { limits, ..Setup::default() });
    let body = chat(json!({})).to_string();
    let expected = plain(&server.model, "u:hi~a:", 8);
    assert_eq!(said(&server.send(packed("gzip", gzip(body.as_bytes()))).await), expected);
    assert_eq!(said(&server.send(packed("identity", body.clone().into_bytes())).await), expected);
    server.send(packed("gzip", gzip(&vec![b' '; 50_000_000]))).await.error(413);
    server.send(packed("gzip", body.clone().into_bytes())).await.error(400);
    let error = server.send(packed("br", body.into_bytes())).await.error(415);
    assert_eq!(error["code"], "unsupported_content_encoding");
}

fn preflight(origin: &str) -> Request<Body> {
    Request::options("/v1/chat/completions")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-stainless-os")
        .body(Body::empty())
        .expect("a request")
}

fn from(origin: &str) -> Request<Body> {
    Request::get("/v1/models").header("origin", origin).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn pages_of_allowed_origins_may_use_the_server_and_no_others() {
    const ALLOWED: &str = "access-control-allow-origin";
    let origins: Origins = "http://localhost:5173,https://app.example".parse().expect("origins");
    let limits = Limits { origins, api_keys: vec!["secret".into()], ..Limits::default() };
    let server = Server::new(Setup { limits, ..Setup::default() });
    let reply = server.send(preflight("http://localhost:5173")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers[ALLOWED], "http://localhost:5173");
    let headers = reply.headers["access-control-allow-headers"].to_str().expect("text");
    assert!(headers.contains("x-stainless-os"), "{headers}");
    assert!(!server.send(preflight("http://evil.example")).await.headers.contains_key(ALLOWED));
    let refused = server.send(from("https://app.example")).await;
    assert_eq!(refused.status, 401, "a key is still asked for");
    assert_eq!(refused.headers[ALLOWED], "https://app.example", "the page may read why");

    let off = Server::new(Setup::default());
    assert_eq!(off.send(preflight("http://localhost:5173")).await.status, 405);
    assert!(!off.send(from("http://localhost:5173")).await.headers.contains_key(ALLOWED));

    let limits = Limits { origins: Origins::Any, ..Limits::default() };
    let any = Server::new(Setup { limits, ..Setup::default() });
    assert_eq!(any.send(preflight("null")).await.headers[ALLOWED], "*");
    assert_eq!(any.send(from("http://x")).await.headers[ALLOWED], "*");
}

#[tokio::test]
async fn further_hosts_are_answered_where_they_are_allowed() {
    let limits = Limits { hosts: vec!["*.lan".into()], ..Limits::default() };
    let server = Server::new(Setup { limits, ..Setup::default() });
    let host = |host: &str| {
        server.send(Request::get("/v1/models").header("host", host).body(Body::empty()).unwrap())
    };
    host("box.lan:8080").await.ok();
    host("[::1]:8080").await.ok();
    assert_eq!(host("evil.example").await.error(403)["code"], "host_not_allowed");
}
