//! What clients get: OpenAI's objects, llama.cpp's timings, and what speculation did.

use std::time::Duration;

use serde::Serialize;
use speckv::{record::Source, token::Token};
use utoipa::ToSchema;

use crate::{
    scheduler::{Done, Origin, Step},
    tools::{CalledFunction, FunctionDelta, ToolCall, ToolCallDelta},
};

/// Tokens of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Usage {
    /// Of the prompt (of all prompts).
    pub prompt_tokens: usize,
    /// Of the answers, end tokens included.
    pub completion_tokens: usize,
    /// Together.
    pub total_tokens: usize,
    /// More on the prompt.
    pub prompt_tokens_details: PromptDetails,
    /// More on the answers.
    pub completion_tokens_details: CompletionDetails,
    /// Tokens drafted.
    pub drafted_tokens: usize,
    /// Draft tokens accepted.
    pub accepted_tokens: usize,
}

/// More on the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct PromptDetails {
    /// Tokens that had been read for an earlier request.
    pub cached_tokens: usize,
}

/// More on the answers, with OpenAI's names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct CompletionDetails {
    /// Draft tokens from the request's `prediction` that were accepted.
    pub accepted_prediction_tokens: usize,
    /// Draft tokens from it that were rejected. Not part of `completion_tokens`.
    pub rejected_prediction_tokens: usize,
}

impl Usage {
    /// Adds an answer. Several answers to one prompt count the prompt once: `first` says that this
    /// is the first of its prompt.
    pub fn add(&mut self, done: &Done, first: bool) {
        if first {
            self.prompt_tokens += done.prompt_tokens;
            self.prompt_tokens_details.cached_tokens += done.cached_tokens;
        }
        self.completion_tokens += done.tokens;
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
        self.drafted_tokens += done.drafted;
        self.accepted_tokens += done.accepted;
        let details = &mut self.completion_tokens_details;
        details.accepted_prediction_tokens += done.predicted.accepted;
        details.rejected_prediction_tokens += done.predicted.rejected;
    }
}

/// Times of one answer, named and counted as in llama.cpp: the rates of `predicted` leave out the
/// first step's tokens, whose pass is part of `prompt_ms`, and a rate without tokens or time is 0.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Timings {
    /// Tokens of the prompt that need not be read.
    pub cache_n: usize,
    /// Tokens of the prompt that were read.
    pub prompt_n: usize,
    /// Milliseconds from leaving the queue to the first token.
    pub prompt_ms: f64,
    /// The same per token.
    pub prompt_per_token_ms: f64,
    /// Tokens per second.
    pub prompt_per_second: f64,
    /// Tokens of the answer.
    pub predicted_n: usize,
    /// Milliseconds from the first token to the last.
    pub predicted_ms: f64,
    /// The same per token after the first step's.
    pub predicted_per_token_ms: f64,
    /// Tokens per second after the first step's.
    pub predicted_per_second: f64,
    /// Tokens drafted.
    pub draft_n: usize,
    /// Draft tokens accepted.
    pub draft_n_accepted: usize,
    /// Tokens that a grammar forced, without a draft.
    pub forced_n: usize,
    /// Milliseconds in the queue.
    pub queue_ms: f64,
    /// Steps.
    pub steps: usize,
    /// Steps by the number of tokens drafted, from 0.
    pub gamma_histogram: Vec<usize>,
    /// The controller, which decided how far to draft.
    pub controller: String,
}

impl Timings {
    /// Of one answer.
    #[must_use]
    pub fn of(done: &Done) -> Self {
        let prompt_n = done.prompt_tokens - done.cached_tokens;
        let (prompt_ms, predicted_ms) = (ms(done.reading), ms(done.speaking));
        let spoken_n = done.tokens - done.first_tokens;
        let per = |ms: f64, count: usize| if count > 0 { ms / count as f64 } else { 0.0 };
        let rate = |ms: f64, count: usize| if ms > 0.0 { 1000.0 * count as f64 / ms } else { 0.0 };
        Timings {
            cache_n: done.cached_tokens,
            prompt_n,
            prompt_ms,
            prompt_per_token_ms: per(prompt_ms, prompt_n),
            prompt_per_second: rate(prompt_ms, prompt_n),
            predicted_n: done.tokens,
            predicted_ms,
            predicted_per_token_ms: per(predicted_ms, spoken_n),
            predicted_per_second: rate(predicted_ms, spoken_n),
            draft_n: done.drafted,
            draft_n_accepted: done.accepted,
            forced_n: done.forced,
            queue_ms: ms(done.waited),
            steps: done.steps,
            gamma_histogram: done.gamma_histogram.clone(),
            controller: done.controller.clone(),
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What a step did, for clients that ask for it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Details {
    /// Tokens of the step with the text that each made certain.
    pub tokens: Vec<DetailToken>,
    /// Tokens drafted: gamma of this step.
    pub gamma: usize,
    /// Draft tokens accepted.
    pub accepted: usize,
    /// What drafted.
    #[schema(value_type = Option<String>)]
    pub source: Option<Source>,
    /// Milliseconds of the step.
    pub step_ms: f64,
    /// Sequences that shared its pass.
    pub batch: usize,
}

/// A token of a step.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DetailToken {
    /// Its id; null for text that was held back until the end.
    pub id: Option<Token>,
    /// The text that it made certain.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Details {
    /// Of one step.
    #[must_use]
    pub fn of(step: &Step) -> Self {
        let token = |spoken: &crate::scheduler::Spoken| DetailToken {
            id: spoken.token,
            text: spoken.text.clone(),
            origin: spoken.origin,
        };
        Details {
            tokens: step.tokens.iter().map(token).collect(),
            gamma: step.drafted,
            accepted: step.accepted,
            source: step.source,
            step_ms: ms(step.time),
            batch: step.sequences,
        }
    }
}

/// How likely tokens were, in the form of chat answers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatLogprobs {
    /// One entry per token.
    pub content: Vec<TokenLogprob>,
}

/// How likely a token was.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TokenLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability; -9999 for what is impossible.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The likeliest tokens.
    pub top_logprobs: Vec<TopLogprob>,
}

/// A likely token.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How likely tokens were, in the form of completions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct TextLogprobs {
    /// Texts of the tokens.
    pub tokens: Vec<String>,
    /// Natural logarithms of their probabilities.
    pub token_logprobs: Vec<f32>,
    /// The likeliest tokens at each place.
    #[schema(value_type = Vec<Object>)]
    pub top_logprobs: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Where each token begins in the text, in characters.
    pub text_offset: Vec<usize>,
}

/// An answer to a chat request.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatAnswer {
    /// Its id.
    pub id: String,
    /// `chat.completion`.
    pub object: &'static str,
    /// When, in seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// Version of the program.
    pub system_fingerprint: String,
    /// The answers.
    pub choices: Vec<ChatChoice>,
    /// Tokens.
    pub usage: Usage,
    /// Times of the first answer.
    pub timings: Timings,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChoice {
    /// Which.
    pub index: usize,
    /// The message.
    pub message: AssistantMessage,
    /// How likely its tokens were.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop`, `length`, `tool_calls` or `function_call`.
    pub finish_reason: &'static str,
}

/// The assistant's message.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AssistantMessage {
    /// `assistant`.
    pub role: &'static str,
    /// The text; null where there are calls only.
    pub content: Option<String>,
    /// What the model thought before it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Calls of tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// A call in the older form, for requests with `functions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<CalledFunction>,
    /// Always null.
    pub refusal: Option<String>,
}

/// A chunk of a streamed chat answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChunk {
    /// The answer's id.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: &'static str,
    /// When, in seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// Version of the program.
    pub system_fingerprint: String,
    /// News of one answer; empty in the chunk with the usage.
    pub choices: Vec<ChatChunkChoice>,
    /// Tokens, in the last chunk if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub usage: Option<Option<Usage>>,
    /// Times, in the last chunk of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// What the step did, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speckv: Option<Details>,
}

/// News of one answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChunkChoice {
    /// Which.
    pub index: usize,
    /// What is new.
    pub delta: Delta,
    /// How likely its tokens were.
    pub logprobs: Option<ChatLogprobs>,
    /// Why it ended, in its last chunk.
    pub finish_reason: Option<&'static str>,
}

/// What is new.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct Delta {
    /// `assistant`, in the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of what the model thinks before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// More of calls of tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCallDelta>>,
    /// More of a call in the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionDelta>,
}

/// An answer to a completion request; a stream's chunks have the same shape.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TextAnswer {
    /// Its id.
    pub id: String,
    /// `text_completion`.
    pub object: &'static str,
    /// When, in seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// Version of the program.
    pub system_fingerprint: String,
    /// The answers; empty in the chunk with the usage.
    pub choices: Vec<TextChoice>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub usage: Option<Option<Usage>>,
    /// Times of the first answer, or of the answer that ends with this chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// What the step did, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speckv: Option<Details>,
}

/// One answer, or more of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TextChoice {
    /// Which.
    pub index: usize,
    /// The text.
    pub text: String,
    /// How likely its tokens were.
    pub logprobs: Option<TextLogprobs>,
    /// Why it ended.
    pub finish_reason: Option<&'static str>,
}

/// Models that are served.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ModelList {
    /// `list`.
    pub object: &'static str,
    /// The models.
    pub data: Vec<ModelCard>,
}

/// A model that is served.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ModelCard {
    /// Its name.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// When the server started, in seconds since 1970.
    pub created: u64,
    /// `speckv`.
    pub owned_by: &'static str,
    /// Most tokens of prompt and answer.
    pub max_model_len: usize,
    /// What drafts.
    pub draft: Option<String>,
    /// What a request's `speculation.draft` may be here.
    pub drafters: Vec<&'static str>,
    /// The controller of requests that name none.
    pub controller: String,
    /// Controllers that can act here: only `off` where nothing can draft.
    pub controllers: Vec<&'static str>,
}

/// How the server is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, `stopping` or `failed`.
    pub status: &'static str,
    /// Answers being made.
    pub running: usize,
    /// Answers in the queue.
    pub waiting: usize,
    /// Share of the memory for keys and values in use, 0 to 1.
    pub kv_cache_usage: f64,
}

#[cfg(test)]
mod tests {
    use speckv::engine::FinishReason;

    use super::*;
    use crate::scheduler::Predicted;

    fn done(tokens: usize, first_tokens: usize, speaking: u64) -> Done {
        Done {
            reason: FinishReason::Length,
            by_stop_string: false,
            prompt_tokens: 50,
            cached_tokens: 10,
            tokens,
            first_tokens,
            drafted: 8,
            accepted: 5,
            predicted: Predicted::default(),
            forced: 0,
            steps: 4,
            gamma_histogram: vec![2, 2],
            controller: "speckv".into(),
            waited: Duration::from_millis(3),
            reading: Duration::from_millis(200),
            speaking: Duration::from_millis(speaking),
        }
    }

    #[test]
    fn rates_are_those_of_llama_cpp_worked_by_hand() {
        let timings = Timings::of(&done(21, 1, 500));
        assert_eq!((timings.cache_n, timings.prompt_n, timings.predicted_n), (10, 40, 21));
        assert_eq!((timings.prompt_per_token_ms, timings.prompt_per_second), (5.0, 200.0));
        // 20 tokens came in the 500 ms after the first.
        assert_eq!((timings.predicted_per_token_ms, timings.predicted_per_second), (25.0, 40.0));
        assert_eq!(Timings::of(&done(21, 6, 500)).predicted_per_second, 30.0);
    }

    #[test]
    fn an_answer_of_one_step_has_no_rate_and_still_a_number() {
        let timings = Timings::of(&done(3, 3, 0));
        assert_eq!((timings.predicted_per_token_ms, timings.predicted_per_second), (0.0, 0.0));
    }
}
