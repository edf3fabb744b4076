//! Ollama's requests as chat requests.

use serde_json::{Map, Value, json};

use super::{Translated, fields::Fields};
use crate::{error::ApiError, http::App};

/// Options by Ollama's names and ours.
const OPTIONS: [(&str, &str); 12] = [
    ("num_predict", "max_tokens"),
    ("temperature", "temperature"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("seed", "seed"),
    ("stop", "stop"),
    ("repeat_penalty", "repetition_penalty"),
    ("repeat_last_n", "repeat_last_n"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
    ("typical_p", "typical_p"),
];

/// Options about the machine, which this server was started with.
const MACHINE: [&str; 10] = [
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "num_keep",
    "use_mmap",
    "use_mlock",
    "low_vram",
    "numa",
];

/// Ollama's temperature where a request gives none.
const TEMPERATURE: f64 = 0.8;

/// What requests for chats and for texts have in common.
fn common(app: &App, fields: &mut Fields, chat: &mut Map<String, Value>) -> Result<bool, ApiError> {
    let stream = fields.switch("stream", true)?;
    if let Some(model) = fields.text("model")? {
        let served = &app.info.model;
        let known = model.strip_suffix(":latest").filter(|name| name == served);
        chat.insert("model".into(), known.unwrap_or(&model).into());
    }
    chat.insert("temperature".into(), TEMPERATURE.into());
    if let Some(options) = fields.take("options") {
        let mut options = Fields::of(options, "options")?;
        options.pass(&OPTIONS, chat);
        options.ignore(&MACHINE);
        options.end()?;
        // -2 fills the context, as -1 does here.
        if chat.get("max_tokens").is_some_and(|most| most.as_i64() == Some(-2)) {
            chat.insert("max_tokens".into(), (-1).into());
        }
    }
    match fields.take("format") {
        Some(Value::String(format)) if format == "json" => {
            chat.insert("response_format".into(), json!({"type": "json_object"}));
        }
        Some(Value::String(format)) if format.is_empty() => {}
        Some(schema @ Value::Object(_)) => {
            let format = json!({"type": "json_schema", "schema": schema});
            chat.insert("response_format".into(), format);
        }
        Some(other) => {
            let message = format!("Expected \"json\" or a JSON schema, got {other}.");
            return Err(ApiError::field("format", message));
        }
        None => {}
    }
    match fields.take("think") {
        Some(Value::Bool(think)) => {
            chat.insert("chat_template_kwargs".into(), json!({"enable_thinking": think}));
        }
        Some(effort @ Value::String(_)) => {
            chat.insert("reasoning_effort".into(), effort);
        }
        Some(other) => {
            let message = format!("Expected true, false or an effort, got {other}.");
            return Err(ApiError::field("think", message));
        }
        None => {}
    }
    fields.pass(&[("speculation", "speculation")], chat);
    fields.ignore(&["keep_alive"]);
    Ok(stream)
}

/// A request for a chat.
///
/// # Errors
/// Fields that are not known, or of another form.
pub(super) fn chat(app: &App, request: Map<String, Value>) -> Result<Translated, ApiError> {
    let mut fields = Fields::new(request, "");
    let mut chat = Map::new();
    let stream = common(app, &mut fields, &mut chat)?;
    fields.pass(&[("tools", "tools")], &mut chat);
    let mut messages = Vec::new();
    for (index, message) in fields.list("messages")?.into_iter().enumerate() {
        let mut from = Fields::of(message, format!("messages[{index}]"))?;
        let mut message = Map::new();
        let names = [
            ("role", "role"),
            ("content", "content"),
            ("thinking", "reasoning_content"),
            ("tool_name", "name"),
            ("tool_call_id", "tool_call_id"),
        ];
        from.pass(&names, &mut message);
        let calls = from.list("tool_calls")?;
        if !calls.is_empty() {
            let calls: Vec<Value> = calls.into_iter().enumerate().map(call).collect();
            message.insert("tool_calls".into(), calls.into());
        }
        if !from.list("images")?.is_empty() {
            return Err(ApiError::unsupported(&from.path("images"), "Images are not supported."));
        }
        from.end()?;
        messages.push(Value::Object(message));
    }
    fields.end()?;
    chat.insert("messages".into(), messages.into());
    Ok(Translated { chat, echo: Map::new(), stream })
}

/// A call with its arguments as a text, as OpenAI writes it.
fn call((index, mut call): (usize, Value)) -> Value {
    if call["function"]["arguments"].is_object() {
        call["function"]["arguments"] = call["function"]["arguments"].to_string().into();
    }
    if let Some(function) = call["function"].as_object_mut() {
        function.shift_remove("index");
    }
    if call["id"].is_null() {
        call["id"] = format!("call_{index}").into();
    }
    call["type"] = "function".into();
    call
}

/// A request for a text: a conversation of one message.
///
/// # Errors
/// Fields that are not known, or of another form.
pub(super) fn generate(app: &App, request: Map<String, Value>) -> Result<Translated, ApiError> {
    let mut fields = Fields::new(request, "");
    let mut chat = Map::new();
    let stream = common(app, &mut fields, &mut chat)?;
    if fields.switch("raw", false)? {
        let message = "raw is not supported here; /v1/completions continues a text as it is.";
        return Err(ApiError::unsupported("raw", message));
    }
    let mut messages = Vec::new();
    if let Some(system) = fields.text("system")?.filter(|system| !system.is_empty()) {
        messages.push(json!({"role": "system", "content": system}));
    }
    let prompt = fields.text("prompt")?.unwrap_or_default();
    messages.push(json!({"role": "user", "content": prompt}));
    for name in ["suffix", "template"] {
        if fields.text(name)?.is_some_and(|text| !text.is_empty()) {
            return Err(ApiError::unsupported(name, format!("{name} is not supported.")));
        }
    }
    for name in ["images", "context"] {
        if !fields.list(name)?.is_empty() {
            return Err(ApiError::unsupported(name, format!("{name} is not supported.")));
        }
    }
    fields.end()?;
    chat.insert("messages".into(), messages.into());
    Ok(Translated { chat, echo: Map::new(), stream })
}
