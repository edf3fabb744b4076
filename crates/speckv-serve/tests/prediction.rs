//! `prediction`: a text to draft from, which changes the time and nothing else.

mod support;

use serde_json::{Value, json};
use support::{Server, Setup, plain};

const CHAT: &str = "/v1/chat/completions";

fn chat(more: Value) -> Value {
    let speculation = json!({"controller": "fixed", "gamma": 4, "draft": "ngram"});
    let mut body = json!({"messages": [{"role": "user", "content": "edit"}], "temperature": 0,
        "max_tokens": 40, "ignore_eos": true, "speculation": speculation});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
    body
}

fn predicting(text: &str) -> Value {
    chat(json!({"prediction": {"type": "content", "content": text}}))
}

/// The text, and how many predicted tokens were accepted and rejected.
fn outcome(reply: &Value) -> (String, [u64; 2]) {
    let text = reply["choices"][0]["message"]["content"].as_str().expect("a text").to_owned();
    let details = &reply["usage"]["completion_tokens_details"];
    let count = |name: &str| details[name].as_u64().expect("a number");
    (text, [count("accepted_prediction_tokens"), count("rejected_prediction_tokens")])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_the_same_and_the_predicted_tokens_are_counted() {
    let server = Server::new(Setup::default());
    let expected = plain(&server.model, "u:edit~a:", 40);
    let (text, counts) = outcome(&server.ask(CHAT, chat(json!({}))).await.ok());
    assert_eq!((text.as_str(), counts), (expected.as_str(), [0, 0]));
    let (text, [accepted, _]) = outcome(&server.ask(CHAT, predicting(&expected)).await.ok());
    assert_eq!(text, expected);
    assert!(accepted > 20, "{accepted} of 40 tokens");
    let mut changed = expected.clone().into_bytes();
    changed[12] ^= 1;
    let changed = String::from_utf8(changed).expect("ASCII");
    let (text, [accepted, rejected]) = outcome(&server.ask(CHAT, predicting(&changed)).await.ok());
    assert_eq!(text, expected);
    assert!(accepted > 15 && rejected > 0, "{accepted} and {rejected}");
    let part = |text: &str| json!({"type": "text", "text": text});
    let parts = [part(&expected[..9]), part(&expected[9..])];
    let parts = chat(json!({"prediction": {"type": "content", "content": parts}}));
    let (text, [accepted, _]) = outcome(&server.ask(CHAT, parts).await.ok());
    assert!(text == expected && accepted > 20);
    let body = json!({"prompt": "u:edit~a:", "temperature": 0, "max_tokens": 40,
        "ignore_eos": true, "speculation": {"controller": "fixed:4", "draft": "ngram"},
        "prediction": {"type": "content", "content": expected}});
    let reply = server.ask("/v1/completions", body).await.ok();
    assert_eq!(reply["choices"][0]["text"], expected);
    let details = &reply["usage"]["completion_tokens_details"];
    assert!(details["accepted_prediction_tokens"].as_u64() > Some(20), "{details}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_is_not_drafted_from_it() {
    let server = Server::new(Setup::default());
    let expected = plain(&server.model, "u:edit~a:", 40);
    let before = outcome(&server.ask(CHAT, chat(json!({}))).await.ok());
    let accepted = |reply: &Value| reply["usage"]["accepted_tokens"].as_u64().expect("a number");
    let alone = accepted(&server.ask(CHAT, chat(json!({}))).await.ok());
    // Both at once, and then the sequence that had the prediction again without it.
    let (one, other) =
        tokio::join!(server.ask(CHAT, predicting(&expected)), server.ask(CHAT, chat(json!({}))));
    assert!(outcome(&one.ok()).1[0] > 20);
    assert_eq!(accepted(&other.ok()), alone);
    for _ in 0..3 {
        let again = server.ask(CHAT, chat(json!({}))).await.ok();
        assert_eq!((accepted(&again), outcome(&again)), (alone, before.clone()));
    }
    let wrong = "z".repeat(30);
    assert_eq!(outcome(&server.ask(CHAT, predicting(&wrong)).await.ok()).0, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_prediction_is_refused_by_its_place() {
    let server = Server::new(Setup::default());
    for (prediction, param) in [
        (json!({"type": "draft", "content": "x"}), "prediction.type"),
        (json!({"type": "content", "content": [{"type": "image"}]}), "prediction.content[0]"),
        (json!({"type": "content", "content": "x".repeat(5000)}), "prediction.content"),
    ] {
        let body = chat(json!({"prediction": prediction}));
        assert_eq!(server.ask(CHAT, body).await.error(400)["param"], param);
    }
    server.ask(CHAT, chat(json!({"prediction": null}))).await.ok();
    let prediction = json!({"type": "content", "content": "x"});
    let chat = json!({"messages": [{"role": "user", "content": "x"}], "prediction": prediction});
    let mut message = chat.clone();
    message["max_tokens"] = 5.into();
    for (path, body) in [("/v1/messages", message), ("/api/chat", chat)] {
        let reply = server.ask(path, body).await;
        assert!(reply.status == 400 && reply.text.contains("field prediction"), "{reply:?}");
    }
}
