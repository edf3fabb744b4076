//! `POST /v1/chat/completions`.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::options::{SamplingFields, SpeculationField, Stop, StreamOptions, alternatives};
use crate::{error::ApiError, language::Turn};

/// A chat request. Fields of OpenAI's that are not listed are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// The model's name, as `/v1/models` lists it; may be left out.
    #[serde(default)]
    pub model: Option<String>,
    /// The conversation, at least one message.
    pub messages: Vec<Message>,
    /// Most tokens of the answer.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// The same by its newer name.
    #[serde(default)]
    pub max_completion_tokens: Option<u32>,
    /// 0 takes the likeliest token; default 1.
    #[serde(default)]
    pub temperature: Option<f32>,
    /// Keep the fewest tokens whose probabilities reach this.
    #[serde(default)]
    pub top_p: Option<f32>,
    /// Keep so many of the likeliest tokens; below 1 keeps all.
    #[serde(default)]
    pub top_k: Option<i64>,
    /// Keep tokens at least so many times as likely as the likeliest.
    #[serde(default)]
    pub min_p: Option<f32>,
    /// Make tokens of the recent text less likely; 1 does nothing.
    #[serde(default, alias = "repeat_penalty")]
    pub repetition_penalty: Option<f32>,
    /// Only 0.
    #[serde(default)]
    pub frequency_penalty: Option<f32>,
    /// Only 0.
    #[serde(default)]
    pub presence_penalty: Option<f32>,
    /// Start of the random numbers.
    #[serde(default)]
    pub seed: Option<i64>,
    /// Number of answers, 1 to 16.
    #[serde(default)]
    pub n: Option<u32>,
    /// Texts that end the answer and are not part of it.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Answer in server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    /// How a stream is told.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Say how likely each token was.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// Alternatives per token, 0 to 20; needs `logprobs`.
    #[serde(default)]
    pub top_logprobs: Option<u32>,
    /// `false`: read the whole prompt, also what an earlier request had in common with it; for
    /// measurements.
    #[serde(default)]
    pub cache_prompt: Option<bool>,
    /// End tokens do not end the answer.
    #[serde(default)]
    pub ignore_eos: Option<bool>,
    /// How the answer speculates.
    #[serde(default)]
    pub speculation: Option<SpeculationField>,
    /// Not supported: must be empty.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    /// Not supported, the older name of `tools`: must be empty.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub functions: Option<Vec<Value>>,
    /// Only `{"type": "text"}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub response_format: Option<Value>,
    /// Not supported: must be empty.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub logit_bias: Option<serde_json::Map<String, Value>>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant`, or what else the model's template knows.
    pub role: String,
    /// What is said.
    #[serde(default)]
    pub content: Option<Content>,
}

/// What a message says: text, or parts that are text.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or a list of parts")]
pub enum Content {
    /// Text.
    Text(String),
    /// Parts.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct Part {
    /// Only `text`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    #[serde(default)]
    pub text: Option<String>,
}

impl ChatRequest {
    /// The conversation, as a template takes it.
    ///
    /// # Errors
    /// No message, or parts that are not text.
    pub fn turns(&self) -> Result<Vec<Turn>, ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::field("messages", "Expected at least one message, got none."));
        }
        self.messages.iter().enumerate().map(|(index, message)| turn(index, message)).collect()
    }

    /// Refuses what is not supported, instead of answering as if it had not been asked for.
    ///
    /// # Errors
    /// Tools, other formats than text, biases.
    pub fn check_supported(&self) -> Result<(), ApiError> {
        if self.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
            return Err(ApiError::unsupported("tools", "Tools are not supported."));
        }
        if self.functions.as_ref().is_some_and(|functions| !functions.is_empty()) {
            return Err(ApiError::unsupported("functions", "Functions are not supported."));
        }
        if self.response_format.as_ref().is_some_and(|format| format["type"] != "text") {
            return Err(ApiError::unsupported(
                "response_format",
                "Only the format {\"type\": \"text\"} is supported.",
            ));
        }
        if self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()) {
            return Err(ApiError::unsupported("logit_bias", "logit_bias is not supported."));
        }
        Ok(())
    }

    /// Alternatives per token; `None` for no likelihoods.
    ///
    /// # Errors
    /// Too many, or `top_logprobs` without `logprobs`.
    pub fn alternatives(&self) -> Result<Option<usize>, ApiError> {
        match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (true, count) => alternatives("top_logprobs", count.unwrap_or(0)).map(Some),
            (false, None | Some(0)) => Ok(None),
            (false, Some(_)) => {
                Err(ApiError::field("top_logprobs", "top_logprobs needs logprobs: true."))
            }
        }
    }

    /// Sampling as asked for.
    #[must_use]
    pub fn sampling(&self) -> SamplingFields {
        SamplingFields {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
        }
    }
}

fn turn(index: usize, message: &Message) -> Result<Turn, ApiError> {
    let content = match &message.content {
        None => String::new(),
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Parts(parts)) => {
            let mut whole = String::new();
            for (place, part) in parts.iter().enumerate() {
                match (part.kind.as_str(), &part.text) {
                    ("text", Some(text)) => whole.push_str(text),
                    (kind, _) => {
                        let param = format!("messages[{index}].content[{place}]");
                        let message = format!(
                            "Expected a part of type \"text\" with a text, got {kind:?}; only text is supported."
                        );
                        return Err(ApiError::field(param, message));
                    }
                }
            }
            whole
        }
    };
    // OpenAI's newer name for instructions; templates know the older one.
    let role = if message.role == "developer" { "system" } else { &message.role };
    Ok(Turn { role: role.to_owned(), content })
}
