//! Anthropic's requests as chat requests.

use serde_json::{Map, Value, json};

use super::{
    Translated,
    fields::{Fields, ToolFields, object, text_of},
};
use crate::{error::ApiError, http::App};

const TOOLS: ToolFields = ToolFields {
    kind: "custom",
    is_default: true,
    parameters: "input_schema",
    ignored: &["cache_control", "strict", "eager_input_streaming", "input_examples"],
};

/// A request for a message.
///
/// # Errors
/// Fields that are not known, or of another form.
pub(super) fn translate(_: &App, request: Map<String, Value>) -> Result<Translated, ApiError> {
    let mut fields = Fields::new(request, "");
    let mut chat = Map::new();
    let stream = fields.switch("stream", false)?;
    fields.pass(
        &[
            ("model", "model"),
            ("max_tokens", "max_tokens"),
            ("temperature", "temperature"),
            ("top_p", "top_p"),
            ("top_k", "top_k"),
            ("stop_sequences", "stop"),
            ("speculation", "speculation"),
        ],
        &mut chat,
    );
    fields.ignore(&["metadata", "service_tier", "container", "inference_geo", "cache_control"]);
    if !chat.contains_key("max_tokens") {
        return Err(ApiError::field("max_tokens", "Expected max_tokens, got none."));
    }
    if let Some(thinking) = fields.take("thinking") {
        reason(Fields::of(thinking, "thinking")?, &mut chat)?;
    }
    if let Some(format) = fields.take("output_format") {
        let schema = json!({"type": "json_schema", "schema": format["schema"]});
        chat.insert("response_format".into(), schema);
    }
    fields.tools(&TOOLS, &mut chat)?;
    if let Some(choice) = fields.take("tool_choice") {
        choose(Fields::of(choice, "tool_choice")?, &mut chat)?;
    }
    let mut messages = Vec::new();
    if let Some(system) = fields.take("system") {
        let text = text_of(system, &["text"], "system")?;
        messages.push(json!({"role": "system", "content": text}));
    }
    for (index, message) in fields.list("messages")?.into_iter().enumerate() {
        turn(message, &format!("messages[{index}]"), &mut messages)?;
    }
    fields.end()?;
    // An assistant's message at the end is the beginning of the answer.
    let last = messages.last().filter(|last| last["role"] == "assistant");
    if last.is_some_and(|last| last.get("tool_calls").is_none()) {
        chat.insert("continue_final_message".into(), true.into());
    }
    chat.insert("messages".into(), messages.into());
    let stops = chat.get("stop").cloned().unwrap_or_default();
    Ok(Translated { chat, echo: object([("stops", stops)]), stream })
}

fn reason(mut fields: Fields, chat: &mut Map<String, Value>) -> Result<(), ApiError> {
    let kind = fields.text("type")?.unwrap_or_default();
    let budget = fields.take("budget_tokens");
    fields.ignore(&["display"]);
    fields.end()?;
    match kind.as_str() {
        "enabled" => {
            if let Some(budget) = budget {
                chat.insert("thinking_budget".into(), budget);
            }
            chat.insert("chat_template_kwargs".into(), json!({"enable_thinking": true}));
        }
        "disabled" => {
            chat.insert("chat_template_kwargs".into(), json!({"enable_thinking": false}));
        }
        "adaptive" => {}
        other => {
            let message = format!("Expected enabled, disabled or adaptive, got {other:?}.");
            return Err(ApiError::field("thinking.type", message));
        }
    }
    Ok(())
}

fn choose(mut fields: Fields, chat: &mut Map<String, Value>) -> Result<(), ApiError> {
    let kind = fields.text("type")?.unwrap_or_default();
    let name = fields.text("name")?;
    if fields.switch("disable_parallel_tool_use", false)? {
        chat.insert("parallel_tool_calls".into(), false.into());
    }
    fields.end()?;
    let choice = match (kind.as_str(), name) {
        ("auto" | "none", _) => Value::from(kind),
        ("any", _) => "required".into(),
        ("tool", Some(name)) => json!({"type": "function", "function": {"name": name}}),
        (other, _) => {
            let message = format!("Expected auto, any, none, or tool with a name, got {other:?}.");
            return Err(ApiError::field("tool_choice.type", message));
        }
    };
    chat.insert("tool_choice".into(), choice);
    Ok(())
}

/// A message, which may become several: results of tools are messages of their own.
fn turn(message: Value, path: &str, messages: &mut Vec<Value>) -> Result<(), ApiError> {
    let mut fields = Fields::of(message, path)?;
    let role = fields.text("role")?.unwrap_or_default();
    let content = fields.take("content").unwrap_or_default();
    fields.end()?;
    let Value::Array(blocks) = content else {
        let text = text_of(content, &[], &format!("{path}.content"))?;
        messages.push(json!({"role": role, "content": text}));
        return Ok(());
    };
    let (mut text, mut thought, mut calls) = (String::new(), String::new(), Vec::new());
    for (index, block) in blocks.into_iter().enumerate() {
        let mut fields = Fields::of(block, format!("{path}.content[{index}]"))?;
        fields.ignore(&["cache_control", "citations", "signature", "caller"]);
        let kind = fields.text("type")?.unwrap_or_default();
        match kind.as_str() {
            "text" => text.push_str(&fields.text("text")?.unwrap_or_default()),
            "thinking" => thought.push_str(&fields.text("thinking")?.unwrap_or_default()),
            "redacted_thinking" => fields.ignore(&["data"]),
            "tool_use" => {
                let (id, name) = (fields.take("id"), fields.take("name"));
                let input = fields.take("input").unwrap_or_else(|| json!({}));
                let function = json!({"name": name, "arguments": input.to_string()});
                calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            "tool_result" => {
                let id = fields.take("tool_use_id");
                fields.ignore(&["is_error"]);
                let content = fields.take("content").unwrap_or_default();
                let content = text_of(content, &["text"], &fields.path("content"))?;
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
            }
            other => {
                let message = format!(
                    "Expected a block of type text, thinking, tool_use or tool_result, got \
                    {other:?}."
                );
                return Err(ApiError::unsupported(&fields.path("type"), message));
            }
        }
        fields.end()?;
    }
    let mut message = object([("role", role.into()), ("content", text.as_str().into())]);
    if !thought.is_empty() {
        message.insert("reasoning_content".into(), thought.into());
    }
    let has_calls = !calls.is_empty();
    if has_calls {
        message.insert("tool_calls".into(), calls.into());
    }
    let is_result = messages.last().is_some_and(|last| last["role"] == "tool");
    if !text.is_empty() || has_calls || !is_result {
        messages.push(Value::Object(message));
    }
    Ok(())
}
