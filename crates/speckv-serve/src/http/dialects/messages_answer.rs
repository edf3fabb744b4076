//! Anthropic's messages.

use axum::response::Response;
use serde_json::{Map, Value, json};
use speckv::engine::FinishReason;

use super::writer::{Writer, event, json};
use crate::{
    error::ApiError,
    scheduler::Done,
    tools::{Part, Reader},
};

/// Writes a message.
pub(super) struct MessageWriter {
    pub id: String,
    pub echo: Map<String, Value>,
    pub reader: Reader,
    pub block: Option<(usize, Kind)>, // the one that is open
    pub blocks: usize,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Thinking,
    Text,
    Tool(usize),
}

/// Anthropic's name for an error.
pub(super) fn error_body(error: &ApiError) -> Value {
    let kind = match error.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": error.body.message}})
}

fn usage(done: Option<&Done>) -> Value {
    let counts = done.map_or((0, 0, 0), |done| {
        (done.prompt_tokens - done.cached_tokens, done.cached_tokens, done.tokens)
    });
    json!({"input_tokens": counts.0, "cache_read_input_tokens": counts.1,
        "cache_creation_input_tokens": 0, "output_tokens": counts.2})
}

impl MessageWriter {
    fn message(&self, content: Value, done: Option<(&Done, usize)>) -> Value {
        let (reason, sequence) =
            done.map_or((Value::Null, Value::Null), |(done, calls)| self.reason(done, calls));
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.echo["model"],
            "content": content, "stop_reason": reason, "stop_sequence": sequence,
            "usage": usage(done.map(|(done, _)| done)),
        })
    }

    /// Why the answer ended, and the stop sequence where the request has only one.
    fn reason(&self, done: &Done, calls: usize) -> (Value, Value) {
        let reason = match done.reason {
            FinishReason::Length => "max_tokens",
            FinishReason::Stop if calls > 0 => "tool_use",
            FinishReason::Stop if done.by_stop_string => "stop_sequence",
            FinishReason::Stop => "end_turn",
        };
        let only = self.echo["stops"].as_array().filter(|stops| stops.len() == 1);
        let sequence = only.filter(|_| reason == "stop_sequence").map(|stops| stops[0].clone());
        (reason.into(), sequence.unwrap_or_default())
    }

    fn open(&mut self, kind: Kind, block: &Value, frames: &mut Vec<String>) -> usize {
        if let Some((index, open)) = self.block
            && open == kind
        {
            return index;
        }
        self.close(frames);
        let index = self.blocks;
        self.blocks += 1;
        self.block = Some((index, kind));
        frames.push(event(
            &json!({"type": "content_block_start", "index": index, "content_block": block}),
        ));
        index
    }

    fn close(&mut self, frames: &mut Vec<String>) {
        if let Some((index, _)) = self.block.take() {
            frames.push(event(&json!({"type": "content_block_stop", "index": index})));
        }
    }
}

fn delta(index: usize, delta: Value) -> String {
    event(&json!({"type": "content_block_delta", "index": index, "delta": delta}))
}

impl Writer for MessageWriter {
    const MEDIA: &'static str = "text/event-stream";
    const QUIET: &'static str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

    fn begin(&mut self) -> Vec<String> {
        let message = self.message(json!([]), None);
        vec![event(&json!({"type": "message_start", "message": message}))]
    }

    fn part(&mut self, part: Part) -> Vec<String> {
        let mut frames = Vec::new();
        match part {
            Part::Content(text) => {
                let block = json!({"type": "text", "text": ""});
                let index = self.open(Kind::Text, &block, &mut frames);
                frames.push(delta(index, json!({"type": "text_delta", "text": text})));
            }
            Part::Reasoning(text) => {
                let block = json!({"type": "thinking", "thinking": "", "signature": ""});
                let index = self.open(Kind::Thinking, &block, &mut frames);
                frames.push(delta(index, json!({"type": "thinking_delta", "thinking": text})));
            }
            Part::Call { index: call, name } => {
                let id = self.reader.call_id();
                let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                let _ = self.open(Kind::Tool(call), &block, &mut frames);
            }
            Part::Arguments { text, .. } => {
                if let Some((index, _)) = self.block {
                    let more = json!({"type": "input_json_delta", "partial_json": text});
                    frames.push(delta(index, more));
                }
            }
        }
        frames
    }

    fn end(&mut self, done: &Done, calls: usize) -> Vec<String> {
        let mut frames = Vec::new();
        self.close(&mut frames);
        let (reason, sequence) = self.reason(done, calls);
        frames.push(event(&json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence},
            "usage": usage(Some(done)),
        })));
        frames.push(event(&json!({"type": "message_stop"})));
        frames
    }

    fn failed(&mut self, error: &ApiError) -> Vec<String> {
        vec![event(&error_body(error))]
    }

    fn whole(self, text: &str, done: &Done) -> Response {
        let read = self.reader.read(text);
        let mut content = Vec::new();
        if !read.reasoning.is_empty() {
            let thought = read.reasoning;
            content.push(json!({"type": "thinking", "thinking": thought, "signature": ""}));
        }
        if !read.content.is_empty() {
            content.push(json!({"type": "text", "text": read.content}));
        }
        for call in &read.calls {
            // Arguments that were cut are no JSON.
            let input: Value = serde_json::from_str(&call.function.arguments).unwrap_or(json!({}));
            content.push(json!({
                "type": "tool_use", "id": call.id, "name": call.function.name, "input": input,
            }));
        }
        json(self.message(content.into(), Some((done, read.calls.len()))))
    }
}
