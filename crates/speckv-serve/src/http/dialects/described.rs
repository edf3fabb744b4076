//! The requests of other interfaces, for the OpenAPI document. They are read by the translators, so
//! a test sends each of these fields to its route.

#![expect(dead_code, reason = "only their schemas are used")]

use serde_json::Value;
use utoipa::ToSchema;

use crate::api::speculation::SpeculationField;

/// A request for a response. Nothing is kept, so `previous_response_id`, `conversation`, `prompt`
/// and `background` are refused. `store`, `metadata`, `user`, `safety_identifier`,
/// `prompt_cache_key`, `prompt_cache_retention`, `service_tier`, `stream_options`, `include`,
/// `truncation` and `max_tool_calls` have no effect.
#[derive(ToSchema)]
pub(super) struct ResponseRequest {
    /// The model's name, as `/v1/models` lists it; may be left out.
    pub model: Option<String>,
    /// A text, or the items of the conversation: messages, reasoning, function calls and outputs.
    #[schema(value_type = Object)]
    pub input: Value,
    /// The system message.
    pub instructions: Option<String>,
    /// Most tokens of the answer.
    pub max_output_tokens: Option<i64>,
    /// 0 takes the likeliest token; default 1.
    pub temperature: Option<f32>,
    /// Keep the fewest tokens whose probabilities reach this.
    pub top_p: Option<f32>,
    /// Start of the random numbers.
    pub seed: Option<i64>,
    /// Answer in server-sent events.
    pub stream: Option<bool>,
    /// Functions, with `type`, `name`, `description` and `parameters`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    /// `none`, `auto`, `required`, or an object that names a function.
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<Value>,
    /// `false`: at most one call in an answer.
    pub parallel_tool_calls: Option<bool>,
    /// `effort`, for templates that read it.
    #[schema(value_type = Option<Object>)]
    pub reasoning: Option<Value>,
    /// `format`: as `response_format` of chats.
    #[schema(value_type = Option<Object>)]
    pub text: Option<Value>,
    /// How the answer speculates.
    pub speculation: Option<SpeculationField>,
}

/// A request for a message. `metadata`, `service_tier`, `container`, `inference_geo` and
/// `cache_control` have no effect.
#[derive(ToSchema)]
pub(super) struct MessageRequest {
    /// The model's name, as `/v1/models` lists it; may be left out.
    pub model: Option<String>,
    /// Most tokens of the answer. `count_tokens` needs none.
    pub max_tokens: i64,
    /// The turns: texts, or blocks of type `text`, `thinking`, `tool_use` and `tool_result`.
    #[schema(value_type = Vec<Object>)]
    pub messages: Vec<Value>,
    /// The system message: a text, or blocks of text.
    #[schema(value_type = Option<Object>)]
    pub system: Option<Value>,
    /// 0 takes the likeliest token; default 1.
    pub temperature: Option<f32>,
    /// Keep the fewest tokens whose probabilities reach this.
    pub top_p: Option<f32>,
    /// Keep so many of the likeliest tokens.
    pub top_k: Option<i64>,
    /// Texts that end the answer and are not part of it.
    pub stop_sequences: Option<Vec<String>>,
    /// Answer in server-sent events.
    pub stream: Option<bool>,
    /// `enabled` with `budget_tokens`, `disabled` or `adaptive`.
    #[schema(value_type = Option<Object>)]
    pub thinking: Option<Value>,
    /// A JSON schema that the answer fits, in `schema`.
    #[schema(value_type = Option<Object>)]
    pub output_format: Option<Value>,
    /// Functions, with `name`, `description` and `input_schema`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    /// `auto`, `any`, `none`, or `tool` with a name; `disable_parallel_tool_use`.
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<Value>,
    /// How the answer speculates.
    pub speculation: Option<SpeculationField>,
}

/// A request for a chat in Ollama's form.
#[derive(ToSchema)]
pub(super) struct OllamaChatRequest {
    /// The model's name; `:latest` may follow it.
    pub model: Option<String>,
    /// The turns, with `role`, `content`, `thinking`, `tool_calls` and `tool_name`.
    #[schema(value_type = Vec<Object>)]
    pub messages: Vec<Value>,
    /// Functions, as in chats.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    /// `false`: one object, not a line per step; default true.
    pub stream: Option<bool>,
    /// `json`, or a JSON schema that the answer fits.
    #[schema(value_type = Option<Object>)]
    pub format: Option<Value>,
    /// `num_predict`, `temperature` (default 0.8), `top_k`, `top_p`, `min_p`, `seed`, `stop`,
    /// `repeat_penalty`, `repeat_last_n`, `presence_penalty`, `frequency_penalty`. Options about
    /// the machine, such as `num_ctx`, have no effect.
    #[schema(value_type = Option<Object>)]
    pub options: Option<Value>,
    /// Whether the model thinks, or an effort.
    #[schema(value_type = Option<Object>)]
    pub think: Option<Value>,
    /// No effect: the model stays loaded.
    #[schema(value_type = Option<Object>)]
    pub keep_alive: Option<Value>,
    /// How the answer speculates.
    pub speculation: Option<SpeculationField>,
}

/// A request for a text in Ollama's form: a conversation of one message. `suffix`, `template`,
/// `images`, `context` and `raw` are refused unless they are empty or false.
#[derive(ToSchema)]
pub(super) struct OllamaGenerateRequest {
    /// The model's name; `:latest` may follow it.
    pub model: Option<String>,
    /// The message.
    pub prompt: String,
    /// The system message.
    pub system: Option<String>,
    /// `false`: one object, not a line per step; default true.
    pub stream: Option<bool>,
    /// `json`, or a JSON schema that the answer fits.
    #[schema(value_type = Option<Object>)]
    pub format: Option<Value>,
    /// As in a request for a chat.
    #[schema(value_type = Option<Object>)]
    pub options: Option<Value>,
    /// Whether the model thinks, or an effort.
    #[schema(value_type = Option<Object>)]
    pub think: Option<Value>,
    /// No effect: the model stays loaded.
    #[schema(value_type = Option<Object>)]
    pub keep_alive: Option<Value>,
    /// How the answer speculates.
    pub speculation: Option<SpeculationField>,
}

/// A request for what a model is.
#[derive(ToSchema)]
pub(super) struct OllamaShowRequest {
    /// The model's name; `:latest` may follow it.
    pub model: String,
}
