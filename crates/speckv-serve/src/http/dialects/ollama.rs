//! Ollama's interface: `/api/chat`, `/api/generate`, `/api/tags`, `/api/show`, `/api/version`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use speckv::engine::FinishReason;

use super::{
    Translated, answer,
    described::{OllamaChatRequest, OllamaGenerateRequest, OllamaShowRequest},
    object, ollama_request,
    time::rfc3339,
    writer::{self, Writer},
};
use crate::{
    error::ApiError,
    http::{App, body, make, now, work},
    scheduler::Done,
    tools::{Part, Reader, ToolFormat},
};

/// Writes the lines of an answer.
struct LineWriter {
    model: String,
    is_chat: bool,
    reader: Reader,
    call: Option<(String, String)>, // name and arguments of the call that is being made
}

impl LineWriter {
    /// A line with more of the answer.
    fn line(&self, content: &str, thinking: &str, calls: &[Value]) -> Value {
        let mut line = json!({
            "model": self.model, "created_at": rfc3339(now()), "done": false,
        });
        if !self.is_chat {
            line["response"] = content.into();
            if !thinking.is_empty() {
                line["thinking"] = thinking.into();
            }
            return line;
        }
        line["message"] = json!({"role": "assistant", "content": content});
        if !thinking.is_empty() {
            line["message"]["thinking"] = thinking.into();
        }
        if !calls.is_empty() {
            line["message"]["tool_calls"] = calls.into();
        }
        line
    }

    /// The call that is complete.
    fn finished_call(&mut self) -> Option<Value> {
        let (name, arguments) = self.call.take()?;
        Some(call_of(&name, &arguments))
    }
}

/// A call with its arguments as an object; arguments that were cut are no JSON and become `{}`.
fn call_of(name: &str, arguments: &str) -> Value {
    let arguments: Value = serde_json::from_str(arguments).unwrap_or(json!({}));
    json!({"function": {"name": name, "arguments": arguments}})
}

/// What the last line says of the whole answer.
fn finish(mut line: Value, done: &Done) -> Value {
    let nanoseconds = |time: std::time::Duration| time.as_nanos() as u64;
    line["done"] = true.into();
    line["done_reason"] = match done.reason {
        FinishReason::Stop => "stop".into(),
        FinishReason::Length => "length".into(),
    };
    line["total_duration"] = nanoseconds(done.waited + done.reading + done.speaking).into();
    line["load_duration"] = nanoseconds(done.waited).into();
    line["prompt_eval_count"] = done.prompt_tokens.into();
    line["prompt_eval_duration"] = nanoseconds(done.reading).into();
    line["eval_count"] = done.tokens.into();
    line["eval_duration"] = nanoseconds(done.speaking).into();
    line
}

fn written(line: &Value) -> String {
    format!("{line}\n")
}

impl Writer for LineWriter {
    const MEDIA: &'static str = "application/x-ndjson";
    const QUIET: &'static str = "";

    fn begin(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn part(&mut self, part: Part) -> Vec<String> {
        match part {
            Part::Content(text) => vec![written(&self.line(&text, "", &[]))],
            Part::Reasoning(text) => vec![written(&self.line("", &text, &[]))],
            Part::Call { name, .. } => {
                let before = self.finished_call();
                self.call = Some((name, String::new()));
                before.map(|call| written(&self.line("", "", &[call]))).into_iter().collect()
            }
            Part::Arguments { text, .. } => {
                if let Some((_, arguments)) = &mut self.call {
                    arguments.push_str(&text);
                }
                Vec::new()
            }
        }
    }

    fn end(&mut self, done: &Done, _: usize) -> Vec<String> {
        let call = self.finished_call();
        let last = call.map(|call| written(&self.line("", "", &[call])));
        let end = written(&finish(self.line("", "", &[]), done));
        last.into_iter().chain([end]).collect()
    }

    fn failed(&mut self, error: &ApiError) -> Vec<String> {
        vec![written(&json!({"error": error.body.message}))]
    }

    fn whole(self, text: &str, done: &Done) -> Response {
        let read = self.reader.read(text);
        let calls: Vec<Value> = read
            .calls
            .iter()
            .map(|call| call_of(&call.function.name, &call.function.arguments))
            .collect();
        let line = self.line(&read.content, &read.reasoning, &calls);
        writer::json(finish(line, done))
    }
}

/// An error in Ollama's form.
fn refused(error: ApiError) -> Response {
    (error.status, Json(json!({"error": error.body.message}))).into_response()
}

type Translate = fn(&App, Map<String, Value>) -> Result<Translated, ApiError>;

async fn lines(app: Arc<App>, request: Request, translate: Translate, is_chat: bool) -> Response {
    let answered = answer(app, request, translate, |app, _, _, reader| LineWriter {
        model: app.info.model.clone(),
        is_chat,
        reader,
        call: None,
    });
    answered.await.unwrap_or_else(refused)
}

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/api/chat",
    operation_id = "ollamaChat",
    tag = "Ollama",
    request_body = OllamaChatRequest,
    responses(
        (
            status = 200,
            description = "The answer; streamed, a line of JSON per step",
            content((Object = "application/json"), (String = "application/x-ndjson"))
        ),
        (status = "4XX", description = "A wrong request, in this interface's form", body = Object),
        (status = "5XX", description = "A fault, or not now", body = Object),
    )
)]
pub(crate) async fn chat(State(app): State<Arc<App>>, request: Request) -> Response {
    lines(app, request, ollama_request::chat, true).await
}

/// Answers one message.
#[utoipa::path(
    post,
    path = "/api/generate",
    operation_id = "ollamaGenerate",
    tag = "Ollama",
    request_body = OllamaGenerateRequest,
    responses(
        (
            status = 200,
            description = "The answer; streamed, a line of JSON per step",
            content((Object = "application/json"), (String = "application/x-ndjson"))
        ),
        (status = "4XX", description = "A wrong request, in this interface's form", body = Object),
        (status = "5XX", description = "A fault, or not now", body = Object),
    )
)]
pub(crate) async fn generate(State(app): State<Arc<App>>, request: Request) -> Response {
    lines(app, request, ollama_request::generate, false).await
}

fn details(app: &App) -> Value {
    json!({"parent_model": "", "format": "gguf", "family": "", "families": null,
        "parameter_size": "", "quantization_level": "", "context_length": app.info.context})
}

/// The models: one.
#[utoipa::path(
    get,
    path = "/api/tags",
    operation_id = "ollamaTags",
    tag = "Ollama",
    responses(
        (status = 200, description = "`models`", body = Object),
    )
)]
pub(crate) async fn tags(State(app): State<Arc<App>>) -> Json<Value> {
    let name = &app.info.model;
    Json(json!({"models": [{
        "name": name, "model": name, "modified_at": rfc3339(app.info.started), "size": 0,
        "digest": "", "details": details(&app),
    }]}))
}

/// The model.
#[utoipa::path(
    post,
    path = "/api/show",
    operation_id = "ollamaShow",
    tag = "Ollama",
    request_body = OllamaShowRequest,
    responses(
        (status = 200, description = "What the model is", body = Object),
        (status = "4XX", description = "A wrong request, in this interface's form", body = Object),
        (status = "5XX", description = "A fault, or not now", body = Object),
    )
)]
pub(crate) async fn show(State(app): State<Arc<App>>, request: Request) -> Response {
    shown(app, request).await.unwrap_or_else(refused)
}

async fn shown(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let body = body::receive(request, &app.limits, &app.budget).await?;
    let model = work::on_body(&app, body, |_, bytes, _| {
        let request = object(bytes)?;
        let model = request.get("model").or(request.get("name")).and_then(Value::as_str);
        Ok(model.map(|name| name.strip_suffix(":latest").unwrap_or(name).to_owned()))
    });
    make::check_model(&app, model.await?.as_deref())?;
    let mut capabilities = vec!["completion", "tools"];
    let has_channels = ToolFormat::of(&*app.language) == ToolFormat::Harmony;
    if has_channels || app.language.template_reads("think") {
        capabilities.push("thinking");
    }
    Ok(Json(json!({
        "modelfile": "", "parameters": "", "template": "", "details": details(&app),
        "model_info": {"general.architecture": "", "general.context_length": app.info.context},
        "capabilities": capabilities, "modified_at": rfc3339(app.info.started),
    }))
    .into_response())
}

/// The version of this program.
#[utoipa::path(
    get,
    path = "/api/version",
    operation_id = "ollamaVersion",
    tag = "Ollama",
    responses(
        (status = 200, description = "`version`", body = Object),
    )
)]
pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION")}))
}
