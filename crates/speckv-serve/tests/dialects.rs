//! The interfaces of Anthropic and Ollama and OpenAI's responses say what the chat says.

mod support;

use serde_json::{Value, json};
use support::{Reply, Server, Setup, plain};

fn tool_schema() -> Value {
    json!({"type": "object", "properties": {"city": {"enum": ["Rome", "Bern"]}},
        "required": ["city"], "additionalProperties": false})
}

/// Events of a stream with their names, which their data repeat.
fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.headers["content-type"], "text/event-stream", "{reply:?}");
    let frames = reply.text.split("\n\n").filter(|frame| !frame.is_empty());
    frames
        .map(|frame| {
            let (name, data) = frame.split_once('\n').expect("two lines");
            let data: Value =
                serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
            assert_eq!(name, format!("event: {}", data["type"].as_str().expect("a type")));
            data
        })
        .collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> =
        events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    names.dedup();
    names
}

fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

fn message(more: Value) -> Value {
    let mut body = json!({"model": "sim", "max_tokens": 30, "temperature": 0,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_the_chats_text_and_its_stream_has_it_too() {
    let server = Server::new(Setup::default());
    let expected = plain(&server.model, "s:be~u:hi~a:", 30);
    let body = message(json!({"system": "be"}));
    let whole = server.ask("/v1/messages", body.clone()).await.ok();
    assert_eq!(whole["content"][0]["text"], expected);
    assert_eq!((&whole["type"], &whole["role"]), (&json!("message"), &json!("assistant")));
    assert!(["max_tokens", "end_turn"].contains(&whole["stop_reason"].as_str().expect("one")));
    let mut body = body;
    body["stream"] = true.into();
    let events = events(&server.ask("/v1/messages", body.clone()).await);
    assert_eq!(
        names(&events),
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!(joined(&events, "/delta/text"), expected);
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], whole["stop_reason"]);
    body.as_object_mut().expect("an object").remove("max_tokens");
    let count = server.ask("/v1/messages/count_tokens", body.clone()).await.ok();
    assert_eq!(count["input_tokens"], "s:be~u:hi~a:".len());
    let error = server.ask("/v1/messages", body).await;
    assert_eq!(error.status, 400);
    assert_eq!(error.json()["error"]["type"], "invalid_request_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_uses_tools_and_takes_their_results() {
    let server = Server::new(Setup { context: 4096, ..Setup::default() });
    let tools = json!([{"name": "weather", "description": "w", "input_schema": tool_schema()}]);
    let body = message(json!({"tools": tools, "max_tokens": 200,
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true}}));
    let whole = server.ask("/v1/messages", body.clone()).await.ok();
    assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
    let call = &whole["content"][0];
    assert_eq!((&call["type"], &call["name"]), (&json!("tool_use"), &json!("weather")));
    assert!(call["input"]["city"].is_string(), "{call}");
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let events = events(&server.ask("/v1/messages", streamed).await);
    let input: Value = serde_json::from_str(&joined(&events, "/delta/partial_json")).expect("JSON");
    assert_eq!(input, call["input"]);
    let mut next = body;
    next["messages"] = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Rome"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c",
            "content": [{"type": "text", "text": "22"}]}, {"type": "text", "text": "and?"}]},
    ]);
    next["tool_choice"] = json!({"type": "none"});
    server.ask("/v1/messages", next).await.ok();
    for (more, part) in [
        (json!({"frobnicate": 1}), "frobnicate"),
        (json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}), "bash_20250124"),
        (json!({"tool_choice": {"type": "tool"}}), "tool"),
        (json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}), "image"),
    ] {
        let reply = server.ask("/v1/messages", message(more.clone())).await;
        assert_eq!(reply.status, 400, "{more}");
        let text = reply.json()["error"]["message"].as_str().expect("a text").to_owned();
        assert!(text.contains(part), "{more}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_has_the_chats_text_and_calls_and_streams_them() {
    let server = Server::new(Setup { context: 4096, ..Setup::default() });
    let expected = plain(&server.model, "s:be~u:hi~a:", 20);
    let mut body = json!({"model": "sim", "input": "hi", "instructions": "be", "temperature": 0,
        "max_output_tokens": 20});
    let whole = server.ask("/v1/responses", body.clone()).await.ok();
    assert_eq!(whole["output"][0]["content"][0]["text"], expected, "{whole}");
    assert_eq!((&whole["object"], &whole["instructions"]), (&json!("response"), &json!("be")));
    body["stream"] = true.into();
    let said = events(&server.ask("/v1/responses", body).await);
    assert_eq!(
        names(&said)[..4],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added"
        ]
    );
    assert_eq!(joined(&said, "/delta"), expected);
    let numbers: Vec<_> = said.iter().map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..said.len() as u64).map(Some).collect::<Vec<_>>());
    let last = said.last().expect("an event");
    assert_eq!(last["response"]["output"][0]["content"], whole["output"][0]["content"]);

    let tools = json!([{"type": "function", "name": "weather", "parameters": tool_schema()}]);
    let body = json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "22"}],
        "tools": tools, "tool_choice": {"type": "function", "name": "weather"},
        "temperature": 0, "parallel_tool_calls": false});
    let whole = server.ask("/v1/responses", body.clone()).await.ok();
    let call = &whole["output"][0];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("weather")));
    assert_eq!(whole["status"], "completed");
    let arguments: Value =
        serde_json::from_str(call["arguments"].as_str().expect("a text")).expect("JSON");
    assert!(arguments["city"].is_string());
    let error = server.ask("/v1/responses", json!({"input": "x", "previous_response_id": "r"}));
    assert_eq!(error.await.error(400)["param"], "previous_response_id");
    let text = json!({"format": {"type": "json_schema", "name": "x", "schema": tool_schema()}});
    let body = json!({"input": "hi", "text": text, "temperature": 0});
    let whole = server.ask("/v1/responses", body).await.ok();
    let said = whole["output"][0]["content"][0]["text"].as_str().expect("a text");
    assert!(serde_json::from_str::<Value>(said).expect("JSON")["city"].is_string());
}

fn lines(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.headers["content-type"], "application/x-ndjson", "{reply:?}");
    reply.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ollamas_chats_and_texts_say_what_the_chat_says() {
    let server = Server::new(Setup { context: 4096, ..Setup::default() });
    let expected = plain(&server.model, "u:hi~a:", 20);
    let options = json!({"temperature": 0, "num_predict": 20, "num_ctx": 2048});
    let chat = json!({"model": "sim:latest", "messages": [{"role": "user", "content": "hi"}],
        "options": options});
    let said = lines(&server.ask("/api/chat", chat.clone()).await);
    assert_eq!(joined(&said, "/message/content"), expected);
    let last = said.last().expect("a line");
    assert!(last["done"] == true && last["eval_count"].as_u64() > Some(0), "{last}");
    let mut whole = chat;
    whole["stream"] = false.into();
    let whole = server.ask("/api/chat", whole).await.ok();
    assert_eq!(whole["message"]["content"], expected);
    let text = json!({"model": "sim", "prompt": "hi", "options": options});
    assert_eq!(joined(&lines(&server.ask("/api/generate", text).await), "/response"), expected);

    let tools = json!([{"type": "function", "function": {"name": "weather",
        "parameters": tool_schema()}}]);
    let body = json!({"model": "sim", "messages": [{"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather",
            "arguments": {"city": "Rome"}}}]}, {"role": "tool", "content": "22",
            "tool_name": "weather"}], "tools": tools, "options": {"num_predict": 4}});
    let said = lines(&server.ask("/api/chat", body).await);
    assert_eq!(said.last().expect("a line")["done_reason"], "length");
    let body = json!({"model": "sim", "prompt": "hi", "format": tool_schema(), "stream": false});
    let whole = server.ask("/api/generate", body).await.ok();
    let value: Value =
        serde_json::from_str(whole["response"].as_str().expect("a text")).expect("JSON");
    assert!(value["city"].is_string());

    assert_eq!(server.get("/api/tags").await.ok()["models"][0]["name"], "sim");
    let shown = server.ask("/api/show", json!({"model": "sim"})).await.ok();
    assert!(shown["capabilities"].as_array().expect("a list").contains(&json!("tools")));
    assert!(server.get("/api/version").await.ok()["version"].is_string());
    let reply = server.ask("/api/chat", json!({"model": "other", "messages": []})).await;
    assert!(reply.status == 404 && reply.json()["error"].is_string(), "{reply:?}");
    let reply = server.ask("/api/chat", json!({"options": {"mirostat": 2}, "messages": []})).await;
    assert!(reply.status == 400 && reply.text.contains("options.mirostat"), "{reply:?}");
}

/// Requests with every field that the OpenAPI document lists, by the name of their schema.
#[tokio::test(flavor = "multi_thread")]
async fn every_described_field_is_taken() {
    let server = Server::new(Setup { context: 4096, ..Setup::default() });
    let document = server.get("/openapi.json").await.ok();
    let user = json!([{"role": "user", "content": "hi"}]);
    let function = json!([{"type": "function", "name": "weather", "parameters": tool_schema()}]);
    let tool = json!([{"name": "weather", "input_schema": tool_schema()}]);
    let chat_tool =
        json!([{"type": "function", "function": {"name": "weather", "parameters": tool_schema()}}]);
    let format = json!({"type": "json_schema", "name": "x", "schema": tool_schema()});
    let options = json!({"num_predict": 9, "temperature": 0, "num_ctx": 64});
    let requests = [
        (
            "ResponseRequest",
            "/v1/responses",
            json!({"model": "sim", "input": user, "instructions": "be", "max_output_tokens": 9,
                "temperature": 0, "top_p": 0.9, "seed": 1, "stream": true, "tools": function,
                "tool_choice": "auto", "parallel_tool_calls": false, "reasoning": {},
                "text": {"format": format}, "speculation": "off"}),
        ),
        (
            "MessageRequest",
            "/v1/messages",
            json!({"model": "sim", "max_tokens": 9, "messages": user, "system": "be",
                "temperature": 0, "top_p": 0.9, "top_k": 5, "stop_sequences": ["x"],
                "stream": true, "thinking": {"type": "adaptive"},
                "output_format": {"type": "json_schema", "schema": tool_schema()}, "tools": tool,
                "tool_choice": {"type": "auto"}, "speculation": "off"}),
        ),
        (
            "OllamaChatRequest",
            "/api/chat",
            json!({"model": "sim", "messages": user, "tools": chat_tool, "stream": false,
                "format": tool_schema(), "options": options, "think": true, "keep_alive": "5m",
                "speculation": "off"}),
        ),
        (
            "OllamaGenerateRequest",
            "/api/generate",
            json!({"model": "sim", "prompt": "hi", "system": "be", "stream": false,
                "format": "json", "options": options, "think": false, "keep_alive": 0,
                "speculation": "off"}),
        ),
        ("OllamaShowRequest", "/api/show", json!({"model": "sim"})),
    ];
    for (name, path, body) in requests {
        let described = &document["components"]["schemas"][name]["properties"];
        let names = |value: &Value| {
            let mut names: Vec<String> =
                value.as_object().expect("an object").keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(described), names(&body), "{name}");
        let place = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
        assert_eq!(place["schema"]["$ref"], format!("#/components/schemas/{name}"));
        let reply = server.ask(path, body).await;
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
    }
}
