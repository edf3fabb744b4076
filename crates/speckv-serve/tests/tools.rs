//! Grammars, schemas, tools and reasoning over a simulated model.

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use speckv_grammar::GrammarSource;
use support::{Server, Setup};

const CHAT: &str = "/v1/chat/completions";

fn chat(more: Value) -> Value {
    let mut body = json!({
        "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 200
    });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
    body
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"enum": ["Rome", "Bern"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"], "additionalProperties": false})
}

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "weather", "description": "The weather.",
            "parameters": schema()}},
        {"type": "function", "function": {"name": "now", "parameters": {"type": "object",
            "properties": {}, "additionalProperties": false}}},
    ])
}

fn content(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"].as_str().expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_fits_its_schema_whatever_speculates_and_is_the_same() {
    let server = Server::new(Setup::default());
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema()}});
    let mut answers = Vec::new();
    for speculation in [json!("off"), json!("fixed:3"), json!("speckv"), json!({"draft": "ngram"})]
    {
        let body = chat(json!({"response_format": format, "speculation": speculation}));
        let reply = server.ask(CHAT, body).await.ok();
        let value: Value = serde_json::from_str(content(&reply)).expect("JSON");
        assert!(["Rome", "Bern"].contains(&value["city"].as_str().expect("a city")), "{value}");
        assert!((1..=9).contains(&value["days"].as_i64().expect("a number")), "{value}");
        assert_eq!(reply["choices"][0]["finish_reason"], "stop");
        let forced = reply["timings"]["forced_n"].as_u64().expect("a number");
        assert_eq!(forced > 20, speculation != "off", "{speculation}: {forced}");
        answers.push(content(&reply).to_owned());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(server.metric("forced_tokens_total").await > 60.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_a_constraint_constrains() {
    let server = Server::new(Setup::default());
    for (more, expected) in [
        (json!({"guided_choice": ["yes", "no"]}), "yes no"),
        (json!({"guided_regex": "(yes|no)"}), "yes no"),
        (json!({"grammar": "root ::= \"yes\" | \"no\""}), "yes no"),
        (json!({"guided_grammar": "start: \"yes\" | \"no\""}), "yes no"),
        (json!({"structured_outputs": {"choice": ["yes", "no"]}}), "yes no"),
        (json!({"guided_json": {"enum": ["yes", "no"]}}), "\"yes\" \"no\""),
        (json!({"json_schema": {"const": "yes"}}), "\"yes\""),
    ] {
        for path in [CHAT, "/v1/completions"] {
            let mut body = chat(more.clone());
            if path != CHAT {
                body["prompt"] = "x".into();
                body.as_object_mut().expect("an object").remove("messages");
            }
            let reply = server.ask(path, body).await.ok();
            let choice = &reply["choices"][0];
            let text = choice["text"].as_str().or(choice["message"]["content"].as_str());
            let text = text.expect("a text");
            assert!(expected.split(' ').any(|one| one == text), "{more}: {text:?}");
        }
    }
    let error =
        server.ask(CHAT, chat(json!({"guided_json": {"properties": {"a": {"type": "x"}}}})));
    let error = error.await.error(400);
    assert_eq!(error["param"], "guided_json.properties.a");
    let cut = chat(json!({"guided_regex": "[a-z]{50}", "max_tokens": 5}));
    let reply = server.ask(CHAT, cut).await.ok();
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert_eq!(content(&reply).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_asked_for_is_called_with_arguments_that_fit() {
    let server = Server::new(Setup { context: 4096, ..Setup::default() });
    let named = json!({"type": "function", "function": {"name": "weather"}});
    for choice in [json!("required"), named.clone()] {
        let body = chat(json!({"tools": tools(), "tool_choice": choice,
            "parallel_tool_calls": false}));
        let reply = server.ask(CHAT, body).await.ok();
        let message = &reply["choices"][0]["message"];
        assert_eq!(reply["choices"][0]["finish_reason"], "tool_calls", "{reply}");
        assert_eq!(message["content"], Value::Null);
        let calls = message["tool_calls"].as_array().expect("calls");
        assert_eq!(calls.len(), 1);
        assert!(calls[0]["id"].as_str().expect("an id").starts_with("call_"));
        let name = calls[0]["function"]["name"].as_str().expect("a name");
        assert!(name == "weather" || (choice != named && name == "now"), "{name}");
        let arguments = calls[0]["function"]["arguments"].as_str().expect("a text");
        let arguments: Value = serde_json::from_str(arguments).expect("JSON");
        assert_eq!(arguments["city"].is_string(), name == "weather");
    }
    let body = chat(json!({"functions": [tools()[0]["function"]],
        "function_call": {"name": "weather"}}));
    let reply = server.ask(CHAT, body).await.ok();
    assert_eq!(reply["choices"][0]["finish_reason"], "function_call");
    assert_eq!(reply["choices"][0]["message"]["function_call"]["name"], "weather");
}

#[tokio::test(flavor = "multi_thread")]
async fn grammars_that_were_used_last_are_kept() {
    let server = Server::new(Setup::default());
    let grammars = &server.app.grammars;
    let source = |number: usize| GrammarSource::Choices(vec![format!("choice {number}")]);
    let compile = |number| grammars.compile("x", &source(number)).expect("a grammar");
    let first = compile(0);
    for number in 1..300 {
        compile(number);
        assert!(Arc::ptr_eq(&first, &compile(0)), "used again and again");
    }
    assert!(grammars.knows(&source(299)) && !grammars.knows(&source(1)));
    grammars.check("x", &source(1)).expect("a grammar");
    assert!(!grammars.knows(&source(1)), "only checked");
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_calls_join_to_the_whole_ones() {
    let server = Server::new(Setup { context: 4096, ..Setup::default() });
    let body = chat(json!({"tools": tools(), "tool_choice": "required", "seed": 4,
        "temperature": 1, "speculation": "fixed:2"}));
    let whole = server.ask(CHAT, body.clone()).await.ok();
    let mut body = body;
    body["stream"] = true.into();
    let events = server.ask(CHAT, body).await.events();
    let mut calls: Vec<(String, String)> = Vec::new();
    for delta in events.iter().map(|event| &event["choices"][0]["delta"]) {
        assert!(delta["content"].as_str().unwrap_or_default().is_empty(), "{delta}");
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().expect("a number") as usize;
            let function = &call["function"];
            if let Some(name) = function["name"].as_str() {
                assert_eq!(index, calls.len());
                assert!(call["id"].is_string() && call["type"] == "function", "{call}");
                calls.push((name.to_owned(), String::new()));
            }
            calls[index].1.push_str(function["arguments"].as_str().unwrap_or_default());
        }
    }
    let expected: Vec<(String, String)> = whole["choices"][0]["message"]["tool_calls"]
        .as_array()
        .expect("calls")
        .iter()
        .map(|call| {
            let text = |name: &str| call["function"][name].as_str().expect("a text").to_owned();
            (text("name"), text("arguments"))
        })
        .collect();
    assert!(!calls.is_empty());
    assert_eq!(calls, expected);
    let last = events.last().expect("a chunk");
    let reason = &last["choices"][0]["finish_reason"];
    assert!(reason == "tool_calls" || reason == "length", "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tools_of_its_own_a_template_is_told_of_them_in_words() {
    let server = &Server::new(Setup { context: 4096, ..Setup::default() });
    let tokens = |body: Value| async move {
        let reply = server.ask(CHAT, body).await.ok();
        reply["usage"]["prompt_tokens"].as_u64().expect("a number")
    };
    let alone = tokens(chat(json!({"max_tokens": 1}))).await;
    let with = tokens(chat(json!({"max_tokens": 1, "tools": tools()}))).await;
    assert!(with > alone + 300, "{with} and {alone}");
    let none = chat(json!({"max_tokens": 1, "tools": tools(), "tool_choice": "none"}));
    assert_eq!(tokens(none).await, alone);
    let turns = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function",
            "function": {"name": "now", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "12:00"},
    ]);
    let reply = server.ask(CHAT, chat(json!({"messages": turns, "tools": tools()}))).await;
    reply.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn biases_penalties_and_stop_tokens_change_the_answer() {
    let server = &Server::new(Setup::default());
    let answer = |more: Value| async move {
        let mut body = chat(json!({"max_tokens": 20, "ignore_eos": true}));
        body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        content(&server.ask(CHAT, body).await.ok()).to_owned()
    };
    let plain = answer(json!({})).await;
    let first = plain.chars().next().expect("a character");
    let token = u32::from(first).to_string();
    assert!(!answer(json!({"logit_bias": {(token.clone()): -100}})).await.contains(first));
    assert_eq!(answer(json!({"logit_bias": {(token): 100}})).await, first.to_string().repeat(20));
    assert_eq!(answer(json!({"stop_token_ids": [u32::from(first)]})).await, first.to_string());
    let loud = answer(json!({"frequency_penalty": -2.0, "presence_penalty": -2.0})).await;
    assert_ne!(loud, plain);
}
