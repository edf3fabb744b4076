//! OpenAI's requests for responses as chat requests.

use serde_json::{Map, Value, json};

use super::{
    Translated,
    fields::{Fields, ToolFields, object, text_of},
};
use crate::{error::ApiError, http::App};

/// Fields that answers repeat.
const ECHOED: [&str; 11] = [
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "user",
];

const TOOLS: ToolFields = ToolFields {
    kind: "function",
    is_default: false,
    parameters: "parameters",
    ignored: &["strict"],
};

/// A request for a response. Nothing is kept: a conversation is sent whole.
///
/// # Errors
/// Fields that are not known, or of another form; what needs kept responses.
pub(super) fn translate(_: &App, request: Map<String, Value>) -> Result<Translated, ApiError> {
    let echo =
        ECHOED.into_iter().filter_map(|name| Some((name.to_owned(), request.get(name)?.clone())));
    let echo: Map<String, Value> = echo.collect();
    let mut fields = Fields::new(request, "");
    let mut chat = Map::new();
    let stream = fields.switch("stream", false)?;
    for name in ["previous_response_id", "conversation", "prompt"] {
        if fields.take(name).is_some() {
            let message = format!("{name} is not supported: send the whole conversation as input.");
            return Err(ApiError::unsupported(name, message));
        }
    }
    if fields.switch("background", false)? {
        return Err(ApiError::unsupported("background", "background is not supported."));
    }
    fields.pass(
        &[
            ("model", "model"),
            ("max_output_tokens", "max_tokens"),
            ("temperature", "temperature"),
            ("top_p", "top_p"),
            ("parallel_tool_calls", "parallel_tool_calls"),
            ("speculation", "speculation"),
            ("seed", "seed"),
        ],
        &mut chat,
    );
    fields.ignore(&[
        "store",
        "metadata",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "service_tier",
        "stream_options",
        "include",
        "truncation",
        "max_tool_calls",
    ]);
    if let Some(reasoning) = fields.take("reasoning") {
        let mut reasoning = Fields::of(reasoning, "reasoning")?;
        reasoning.pass(&[("effort", "reasoning_effort")], &mut chat);
        reasoning.ignore(&["summary", "generate_summary"]);
        reasoning.end()?;
    }
    if let Some(text) = fields.take("text") {
        let mut text = Fields::of(text, "text")?;
        text.pass(&[("format", "response_format")], &mut chat);
        text.ignore(&["verbosity"]);
        text.end()?;
    }
    fields.tools(&TOOLS, &mut chat)?;
    if let Some(choice) = fields.take("tool_choice") {
        let named = choice["name"].as_str();
        let choice = match named {
            Some(name) => json!({"type": "function", "function": {"name": name}}),
            None => choice,
        };
        chat.insert("tool_choice".into(), choice);
    }
    let mut messages = Vec::new();
    if let Some(instructions) = fields.text("instructions")? {
        messages.push(json!({"role": "system", "content": instructions}));
    }
    match fields.take("input") {
        Some(Value::String(text)) => messages.push(json!({"role": "user", "content": text})),
        Some(Value::Array(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                add(item, &format!("input[{index}]"), &mut messages)?;
            }
        }
        other => {
            let got = other.unwrap_or_default();
            let message = format!("Expected a text or a list of items, got {got}.");
            return Err(ApiError::field("input", message));
        }
    }
    fields.end()?;
    chat.insert("messages".into(), messages.into());
    Ok(Translated { chat, echo, stream })
}

const TEXTS: [&str; 3] = ["input_text", "output_text", "text"];

/// An item, as a message or as a part of the last one.
fn add(item: Value, path: &str, messages: &mut Vec<Value>) -> Result<(), ApiError> {
    let mut fields = Fields::of(item, path)?;
    fields.ignore(&["id", "status"]);
    let kind = fields.text("type")?.unwrap_or_else(|| "message".into());
    match kind.as_str() {
        "message" => {
            let role = fields.take("role").unwrap_or_default();
            fields.ignore(&["phase"]);
            let content = fields.take("content").unwrap_or_default();
            let content = text_of(content, &TEXTS, &fields.path("content"))?;
            let mut message = object([("role", role), ("content", content.into())]);
            // Reasoning stands before what was said.
            if let Some(before) = messages.pop_if(|last| is_thought(last)) {
                message.insert("reasoning_content".into(), before["reasoning_content"].clone());
            }
            messages.push(Value::Object(message));
        }
        "reasoning" => {
            let content = fields.take("content").unwrap_or_default();
            let thought = text_of(content, &["reasoning_text"], &fields.path("content"))?;
            fields.ignore(&["summary", "encrypted_content"]);
            if !thought.is_empty() {
                messages.push(
                    json!({"role": "assistant", "content": "", "reasoning_content": thought}),
                );
            }
        }
        "function_call" => {
            let function =
                json!({"name": fields.take("name"), "arguments": fields.take("arguments")});
            let call =
                json!({"id": fields.take("call_id"), "type": "function", "function": function});
            fields.ignore(&["namespace"]);
            let last = messages.last_mut().filter(|last| last["role"] == "assistant");
            match last.and_then(Value::as_object_mut) {
                Some(last) => {
                    let calls = last.entry("tool_calls").or_insert_with(|| json!([]));
                    if let Some(calls) = calls.as_array_mut() {
                        calls.push(call);
                    }
                }
                None => {
                    messages.push(json!({"role": "assistant", "content": "", "tool_calls": [call]}))
                }
            }
        }
        "function_call_output" => {
            let id = fields.take("call_id");
            let output = fields.take("output").unwrap_or_default();
            let output = text_of(output, &TEXTS, &fields.path("output"))?;
            messages.push(json!({"role": "tool", "tool_call_id": id, "content": output}));
        }
        other => {
            let message = format!(
                "Expected an item of type message, reasoning, function_call or \
                 function_call_output, got {other:?}."
            );
            return Err(ApiError::unsupported(&fields.path("type"), message));
        }
    }
    fields.end()
}

/// Whether a message has reasoning and nothing else.
fn is_thought(message: &Value) -> bool {
    message["reasoning_content"].is_string()
        && message["content"] == ""
        && message.get("tool_calls").is_none()
}
