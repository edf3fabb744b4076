//! Answers in channels, the harmony format: schemas, tools and reasoning over a simulated model.

mod support;

use serde_json::{Value, json};
use support::{CHANNELS, Server, Setup};

const CHAT: &str = "/v1/chat/completions";

fn server() -> Server {
    Server::new(Setup { channels: true, context: 4096, ..Setup::default() })
}

/// Decoded plainly, so that a seed repeats an answer.
fn chat(more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 400,
        "speculation": "off"});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
    body
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"enum": ["Rome", "Bern"]}},
        "required": ["city"], "additionalProperties": false})
}

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "weather", "parameters": schema()}},
        {"type": "function", "function": {"name": "now", "parameters": {"type": "object",
            "properties": {}, "additionalProperties": false}}},
    ])
}

/// Makes the token that ends messages likely, so that reasoning does end.
fn soon() -> Value {
    json!({"5": 6})
}

/// The joined deltas of a stream as a message.
fn joined(events: &[Value]) -> Value {
    let (mut content, mut reasoning) = (String::new(), String::new());
    let mut calls: Vec<(String, String)> = Vec::new();
    for delta in events.iter().map(|event| &event["choices"][0]["delta"]) {
        content.push_str(delta["content"].as_str().unwrap_or_default());
        reasoning.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            if let Some(name) = call["function"]["name"].as_str() {
                calls.push((name.to_owned(), String::new()));
            }
            let more = call["function"]["arguments"].as_str().unwrap_or_default();
            calls.last_mut().expect("a call").1.push_str(more);
        }
    }
    json!({"content": content, "reasoning": reasoning, "calls": calls})
}

/// The same of a whole message.
fn whole(message: &Value) -> Value {
    let text = |name: &str| message[name].as_str().unwrap_or_default();
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let calls: Vec<Value> = calls
        .map(|call| json!([call["function"]["name"], call["function"]["arguments"]]))
        .collect();
    json!({"content": text("content"), "reasoning": text("reasoning_content"), "calls": calls})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_fits_its_schema_after_any_reasoning() {
    let server = server();
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema()}});
    let (mut complete, mut thought) = (0, 0);
    for seed in 0..24 {
        let body = chat(json!({"response_format": format, "seed": seed, "logit_bias": soon()}));
        let reply = server.ask(CHAT, body).await.ok();
        let choice = &reply["choices"][0];
        let message = whole(&choice["message"]);
        if choice["finish_reason"] != "stop" {
            continue;
        }
        complete += 1;
        thought += usize::from(message["reasoning"] != "");
        let text = message["content"].as_str().expect("a text");
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text:?}"));
        assert!(["Rome", "Bern"].contains(&value["city"].as_str().expect("a city")), "{value}");
    }
    assert!(complete >= 6 && thought > 0, "{complete} complete, {thought} with reasoning");
    // Without reasoning the answer is the JSON alone.
    let body = chat(json!({"response_format": format, "temperature": 0,
        "logit_bias": {"97": -100, "99": -100}}));
    let reply = server.ask(CHAT, body).await.ok();
    let text = reply["choices"][0]["message"]["content"].as_str().expect("a text");
    assert!(serde_json::from_str::<Value>(text).expect("JSON")["city"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_tool_is_called_with_arguments_that_fit_and_streams_as_it_is() {
    let server = server();
    let mut calls = 0;
    for seed in 0..12 {
        let body = chat(json!({"tools": tools(), "tool_choice": "required", "seed": seed,
            "logit_bias": soon()}));
        let reply = server.ask(CHAT, body.clone()).await.ok();
        let choice = &reply["choices"][0];
        let mut body = body;
        body["stream"] = true.into();
        let events = server.ask(CHAT, body).await.events();
        assert_eq!(joined(&events), whole(&choice["message"]), "seed {seed}");
        if choice["finish_reason"] == "length" {
            continue;
        }
        calls += 1;
        assert_eq!(choice["finish_reason"], "tool_calls", "{choice}");
        let call = &choice["message"]["tool_calls"][0]["function"];
        let arguments: Value =
            serde_json::from_str(call["arguments"].as_str().expect("a text")).expect("JSON");
        assert_eq!(arguments["city"].is_string(), call["name"] == "weather", "{call}");
    }
    assert!(calls >= 3, "{calls} of 12 were complete");
    let mut answers = Vec::new();
    for speculation in ["off", "fixed:2", "speckv"] {
        let body = chat(json!({"tools": tools(), "tool_choice": "required", "temperature": 0,
            "logit_bias": {"97": -100}, "speculation": speculation}));
        let reply = server.ask(CHAT, body).await.ok();
        answers.push(whole(&reply["choices"][0]["message"]));
        let forced = reply["timings"]["forced_n"].as_u64().expect("a number");
        assert_eq!(forced > 10, speculation != "off", "{speculation}: {forced}");
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn free_answers_stream_what_they_are_and_effort_reaches_the_template() {
    let server = &server();
    for seed in 0..8 {
        let body = chat(json!({"seed": seed, "max_tokens": 60, "logit_bias": {"2": 5, "3": 5}}));
        let reply = server.ask(CHAT, body.clone()).await.ok();
        let mut body = body;
        body["stream"] = true.into();
        let events = server.ask(CHAT, body).await.events();
        assert_eq!(joined(&events), whole(&reply["choices"][0]["message"]), "seed {seed}");
    }
    let tokens = |more: Value| async move {
        let mut body = chat(json!({"max_tokens": 1}));
        body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        server.ask(CHAT, body).await.ok()["usage"]["prompt_tokens"].as_u64().expect("a number")
    };
    let plain = tokens(json!({})).await;
    let effort = tokens(json!({"reasoning_effort": "high"})).await;
    assert_eq!(effort, plain + "reasoning_effort=\"high\"~".len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_may_begin_a_stop_string_stays_before_a_control_token() {
    let server = server();
    // Each of these letters is held back until the next one comes.
    let stops: Vec<String> = "aeinorstlcduhmpg".chars().map(|c| format!("{c}\u{e9}")).collect();
    for seed in 0..6 {
        let body = chat(json!({"seed": seed, "max_tokens": 80,
            "logit_bias": {"2": 4, "3": 4, "5": 4}}));
        let reply = server.ask(CHAT, body.clone()).await.ok();
        let mut body = body;
        body["stop"] = json!(stops);
        let held = server.ask(CHAT, body).await.ok();
        let message = |reply: &Value| whole(&reply["choices"][0]["message"]);
        assert_eq!(message(&held), message(&reply), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_limits_the_reasoning_of_an_answer() {
    let server = server();
    let mut thought = 0;
    for (seed, budget) in [(1, 0), (2, 3), (3, 3), (4, 9), (5, 9), (6, 9), (7, 2), (8, 2)] {
        for more in [json!({}), json!({"tools": tools(), "tool_choice": "required"})] {
            let mut body = chat(json!({"seed": seed, "thinking_budget": budget,
                "max_tokens": 200, "logit_bias": {"2": 5, "97": 4}}));
            body.as_object_mut().expect("an object").extend(more.as_object().expect("it").clone());
            let reply = server.ask(CHAT, body).await.ok();
            let message = whole(&reply["choices"][0]["message"]);
            let said = message["reasoning"].as_str().expect("a text");
            // Between messages of reasoning stand two line breaks that are no tokens.
            let said = said.replace("\n\n", "");
            let spelled = CHANNELS[1..].iter();
            let tokens = spelled.fold(said, |said, control| said.replace(control, "x")).len();
            assert!(tokens <= budget, "{tokens} of {budget}: {message}");
            thought += tokens;
        }
    }
    assert!(thought > 0, "some answer has reasoning");
}
