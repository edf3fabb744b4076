//! OpenAI's responses.

use axum::response::Response;
use serde_json::{Map, Value, json};
use speckv::engine::FinishReason;

use super::writer::{Writer, event, json};
use crate::{
    error::ApiError,
    scheduler::Done,
    tools::{Part, Reader},
};

/// Writes a response.
pub(super) struct ResponseWriter {
    pub id: String,
    pub model: String,
    pub created: u64,
    pub echo: Map<String, Value>,
    pub reader: Reader,
    pub output: Vec<Value>, // items, the last one open while `is_open`
    pub is_open: bool,
    pub sequence: u64,
}

fn usage(done: &Done) -> Value {
    json!({
        "input_tokens": done.prompt_tokens,
        "input_tokens_details": {"cached_tokens": done.cached_tokens},
        "output_tokens": done.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": done.prompt_tokens + done.tokens,
    })
}

impl ResponseWriter {
    fn echoed(&self, name: &str, default: Value) -> Value {
        self.echo.get(name).cloned().unwrap_or(default)
    }

    fn response(&self, done: Option<&Done>) -> Value {
        let cut = done.is_some_and(|done| done.reason == FinishReason::Length);
        let status = match done {
            None => "in_progress",
            Some(_) if cut => "incomplete",
            Some(_) => "completed",
        };
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status,
            "error": null, "background": false,
            "incomplete_details": cut.then(|| json!({"reason": "max_output_tokens"})),
            "instructions": self.echoed("instructions", Value::Null),
            "max_output_tokens": self.echoed("max_output_tokens", Value::Null),
            "metadata": self.echoed("metadata", json!({})),
            "model": self.model, "output": self.output,
            "parallel_tool_calls": self.echoed("parallel_tool_calls", true.into()),
            "previous_response_id": null,
            "reasoning": self.echoed("reasoning", json!({"effort": null, "summary": null})),
            "store": false,
            "temperature": self.echoed("temperature", 1.0.into()),
            "text": self.echoed("text", json!({"format": {"type": "text"}})),
            "tool_choice": self.echoed("tool_choice", "auto".into()),
            "tools": self.echoed("tools", json!([])),
            "top_p": self.echoed("top_p", 1.0.into()),
            "truncation": "disabled",
            "usage": done.map(usage),
            "user": self.echoed("user", Value::Null),
        })
    }

    fn event(&mut self, kind: &str, fields: Value) -> String {
        let mut data = Map::new();
        data.insert("type".into(), kind.into());
        data.insert("sequence_number".into(), self.sequence.into());
        self.sequence += 1;
        if let Value::Object(fields) = fields {
            data.extend(fields);
        }
        event(&Value::Object(data))
    }

    fn item_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}_{}", self.id.trim_start_matches("resp_"), self.output.len())
    }

    /// The type of the open item.
    fn open_kind(&self) -> Option<&str> {
        self.output.last().filter(|_| self.is_open)?["type"].as_str()
    }

    /// Makes an item of this type the open one.
    fn open(&mut self, item: Value, frames: &mut Vec<String>) {
        self.close("completed", frames);
        let index = self.output.len();
        let id = item["id"].clone();
        let part = match item["type"].as_str() {
            Some("message") => Some(json!({"type": "output_text", "text": "", "annotations": []})),
            Some("reasoning") => Some(json!({"type": "reasoning_text", "text": ""})),
            _ => None,
        };
        frames.push(
            self.event("response.output_item.added", json!({"output_index": index, "item": item})),
        );
        let mut item = item;
        if let Some(part) = part {
            frames.push(self.event(
                "response.content_part.added",
                json!({"item_id": id, "output_index": index, "content_index": 0, "part": part}),
            ));
            item["content"] = json!([part]);
        }
        self.output.push(item);
        self.is_open = true;
    }

    /// More text of the open item.
    fn more(&mut self, kind: &str, text: &str, frames: &mut Vec<String>) {
        let index = self.output.len() - 1;
        let item = &mut self.output[index];
        let id = item["id"].clone();
        let place = match item["type"] == "function_call" {
            true => &mut item["arguments"],
            false => &mut item["content"][0]["text"],
        };
        if let Value::String(so_far) = place {
            so_far.push_str(text);
        }
        let mut fields = json!({"item_id": id, "output_index": index, "delta": text});
        if kind != "response.function_call_arguments.delta" {
            fields["content_index"] = 0.into();
        }
        frames.push(self.event(kind, fields));
    }

    fn close(&mut self, status: &str, frames: &mut Vec<String>) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let index = self.output.len() - 1;
        self.output[index]["status"] = status.into();
        let item = self.output[index].clone();
        let at = json!({"item_id": item["id"], "output_index": index});
        let with = |more: Value| {
            let mut fields = at.clone();
            if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
                fields.extend(more);
            }
            fields
        };
        if item["type"] == "function_call" {
            let fields = with(json!({"name": item["name"], "arguments": item["arguments"]}));
            frames.push(self.event("response.function_call_arguments.done", fields));
        } else {
            let part = &item["content"][0];
            let kind = match item["type"] == "message" {
                true => "response.output_text.done",
                false => "response.reasoning_text.done",
            };
            let fields = with(json!({"content_index": 0, "text": part["text"]}));
            frames.push(self.event(kind, fields));
            let fields = with(json!({"content_index": 0, "part": part}));
            frames.push(self.event("response.content_part.done", fields));
        }
        let fields = json!({"output_index": index, "item": item});
        frames.push(self.event("response.output_item.done", fields));
    }
}

impl Writer for ResponseWriter {
    const MEDIA: &'static str = "text/event-stream";
    const QUIET: &'static str = ":\n\n";

    fn begin(&mut self) -> Vec<String> {
        let response = self.response(None);
        ["response.created", "response.in_progress"]
            .map(|kind| self.event(kind, json!({"response": response})))
            .to_vec()
    }

    fn part(&mut self, part: Part) -> Vec<String> {
        let mut frames = Vec::new();
        match part {
            Part::Content(text) => {
                if self.open_kind() != Some("message") {
                    let id = self.item_id("msg");
                    let item = json!({"id": id, "type": "message", "status": "in_progress",
                        "role": "assistant", "content": []});
                    self.open(item, &mut frames);
                }
                self.more("response.output_text.delta", &text, &mut frames);
            }
            Part::Reasoning(text) => {
                if self.open_kind() != Some("reasoning") {
                    let id = self.item_id("rs");
                    let item = json!({"id": id, "type": "reasoning", "summary": [], "content": []});
                    self.open(item, &mut frames);
                }
                self.more("response.reasoning_text.delta", &text, &mut frames);
            }
            Part::Call { name, .. } => {
                let (id, call) = (self.item_id("fc"), self.reader.call_id());
                let item = json!({"id": id, "type": "function_call", "status": "in_progress",
                    "call_id": call, "name": name, "arguments": ""});
                self.open(item, &mut frames);
            }
            Part::Arguments { text, .. } => {
                if self.open_kind() == Some("function_call") {
                    self.more("response.function_call_arguments.delta", &text, &mut frames);
                }
            }
        }
        frames
    }

    fn end(&mut self, done: &Done, _: usize) -> Vec<String> {
        let cut = done.reason == FinishReason::Length;
        let mut frames = Vec::new();
        self.close(if cut { "incomplete" } else { "completed" }, &mut frames);
        let response = self.response(Some(done));
        let kind = if cut { "response.incomplete" } else { "response.completed" };
        frames.push(self.event(kind, json!({"response": response})));
        frames
    }

    fn failed(&mut self, error: &ApiError) -> Vec<String> {
        let body = &error.body;
        let fields = json!({"code": body.code, "message": body.message, "param": body.param});
        vec![self.event("error", fields)]
    }

    fn whole(mut self, text: &str, done: &Done) -> Response {
        let mut parser = self.reader.parser();
        let parts = parser.push(text).into_iter().chain(parser.finish()).collect::<Vec<_>>();
        for part in parts {
            let _ = self.part(part);
        }
        let cut = done.reason == FinishReason::Length;
        self.close(if cut { "incomplete" } else { "completed" }, &mut Vec::new());
        json(self.response(Some(done)))
    }
}
