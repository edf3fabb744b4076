//! `POST /v1/completions`.

use serde::Deserialize;
use serde_json::{Map, Value};
use speckv::token::Token;
use utoipa::ToSchema;

use super::{
    number,
    options::{MOST_CHOICES, Stop, StreamOptions, alternatives},
    prediction::Prediction,
    sampling::SamplingFields,
    speculation::SpeculationField,
    structured::StructuredFields,
};
use crate::error::ApiError;

/// A completion request. Fields that are not listed are refused by name, unless they are null or
/// cannot change the answer.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct CompletionRequest {
    /// The model's name, as `/v1/models` lists it; may be left out.
    #[serde(default)]
    pub model: Option<String>,
    /// What to continue.
    pub prompt: Prompt,
    /// Most tokens of the answer; default 16, -1 for as many as the context holds.
    #[serde(default, alias = "n_predict", deserialize_with = "number::optional")]
    pub max_tokens: Option<i64>,
    /// The same by its newer name.
    #[serde(default, deserialize_with = "number::optional")]
    pub max_completion_tokens: Option<i64>,
    /// 0 takes the likeliest token; default 1.
    #[serde(default)]
    pub temperature: Option<f32>,
    /// Keep the fewest tokens whose probabilities reach this.
    #[serde(default)]
    pub top_p: Option<f32>,
    /// Keep so many of the likeliest tokens; below 1 keeps all.
    #[serde(default, deserialize_with = "number::optional")]
    pub top_k: Option<i64>,
    /// Keep tokens at least so many times as likely as the likeliest.
    #[serde(default)]
    pub min_p: Option<f32>,
    /// Make tokens of the recent text less likely; 1 does nothing.
    #[serde(default, alias = "repeat_penalty")]
    pub repetition_penalty: Option<f32>,
    /// Makes a token less likely for each time that the answer has it, -2 to 2.
    #[serde(default)]
    pub frequency_penalty: Option<f32>,
    /// Makes tokens that the answer has less likely, -2 to 2.
    #[serde(default)]
    pub presence_penalty: Option<f32>,
    /// How many of the last tokens `repetition_penalty` looks at; 0 for none, -1 for all.
    #[serde(default, deserialize_with = "number::optional")]
    pub repeat_last_n: Option<i64>,
    /// Start of the random numbers; each answer has this plus its number. -1 or none draws a fresh
    /// one per answer.
    #[serde(default, deserialize_with = "number::optional")]
    pub seed: Option<i64>,
    /// Number of answers per prompt; 1 to 16 answers in all.
    #[serde(default, deserialize_with = "number::optional")]
    pub n: Option<u32>,
    /// Texts that end the answer and are not part of it.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Answer in server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    /// How a stream is written.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Say how likely each token was, and so many alternatives, 0 to 20.
    #[serde(default, deserialize_with = "number::optional")]
    pub logprobs: Option<u32>,
    /// Put the prompt before the answer.
    #[serde(default)]
    pub echo: Option<bool>,
    /// `false`: read the whole prompt, also what an earlier request had in common with it; for
    /// measurements.
    #[serde(default)]
    pub cache_prompt: Option<bool>,
    /// Control tokens spelled out in the prompt become control tokens; default true.
    #[serde(default)]
    pub parse_special: Option<bool>,
    /// End tokens do not end the answer.
    #[serde(default)]
    pub ignore_eos: Option<bool>,
    /// How the answer speculates.
    #[serde(default)]
    pub speculation: Option<SpeculationField>,
    /// A text that large parts of the answer will probably repeat; it changes speed only.
    #[serde(default)]
    pub prediction: Option<Prediction>,
    /// Only as many as `n`.
    #[serde(default, deserialize_with = "number::optional")]
    pub best_of: Option<u32>,
    /// Not supported: must be absent or empty.
    #[serde(default)]
    pub suffix: Option<String>,
    /// OpenAI's format of the answer: `{"type": "text"}`, `{"type": "json_object"}`, or
    /// `{"type": "json_schema", "json_schema": {"schema": ...}}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub response_format: Option<Value>,
    /// A JSON schema that the answer fits, as llama.cpp has it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub json_schema: Option<Value>,
    /// A grammar that the answer fits, in GBNF or Lark.
    #[serde(default)]
    pub grammar: Option<String>,
    /// A JSON schema that the answer fits, as vLLM has it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub guided_json: Option<Value>,
    /// A regular expression that the whole answer matches.
    #[serde(default)]
    pub guided_regex: Option<String>,
    /// The answer is one of these texts.
    #[serde(default)]
    pub guided_choice: Option<Vec<String>>,
    /// A grammar that the answer fits, in GBNF or Lark.
    #[serde(default)]
    pub guided_grammar: Option<String>,
    /// One of `json`, `json_object`, `regex`, `grammar` and `choice`, as vLLM has them.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub structured_outputs: Option<Map<String, Value>>,
    /// Added to the logits of tokens, -100 to 100 by token id.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub logit_bias: Option<Map<String, Value>>,
    /// No end token comes before the answer has so many tokens.
    #[serde(default, deserialize_with = "number::optional")]
    pub min_tokens: Option<u32>,
    /// Tokens that end the answer, besides those of the model.
    #[serde(default)]
    pub stop_token_ids: Option<Vec<Token>>,
}

/// One prompt or several, as text or as tokens.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected a string, a list of strings, a list of token ids, or a list of such lists"
)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Tokens.
    #[serde(deserialize_with = "number::list")]
    Tokens(Vec<Token>),
    /// Texts.
    Texts(Vec<String>),
    /// Lists of tokens.
    #[serde(deserialize_with = "number::lists")]
    TokenLists(Vec<Vec<Token>>),
}

/// One prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnePrompt {
    /// As text.
    Text(String),
    /// As tokens.
    Tokens(Vec<Token>),
}

impl Prompt {
    /// The prompts one by one.
    #[must_use]
    pub fn each(self) -> Vec<OnePrompt> {
        match self {
            Prompt::Text(text) => vec![OnePrompt::Text(text)],
            Prompt::Tokens(tokens) => vec![OnePrompt::Tokens(tokens)],
            Prompt::Texts(texts) => texts.into_iter().map(OnePrompt::Text).collect(),
            Prompt::TokenLists(lists) => lists.into_iter().map(OnePrompt::Tokens).collect(),
        }
    }
}

impl CompletionRequest {
    /// Refuses what is not supported, instead of answering as if it had not been asked for.
    ///
    /// # Errors
    /// A suffix, a choice among more answers than are given.
    pub fn check_supported(&self) -> Result<(), ApiError> {
        if self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
            return Err(ApiError::unsupported("suffix", "suffix is not supported."));
        }
        if self.best_of.is_some_and(|best_of| best_of != self.n.unwrap_or(1)) {
            return Err(ApiError::unsupported("best_of", "best_of is not supported beyond n."));
        }
        Ok(())
    }

    /// The fields that limit the answer.
    #[must_use]
    pub fn structured(&self) -> StructuredFields<'_> {
        StructuredFields {
            response_format: self.response_format.as_ref(),
            json_schema: self.json_schema.as_ref(),
            grammar: self.grammar.as_deref(),
            guided_json: self.guided_json.as_ref(),
            guided_regex: self.guided_regex.as_deref(),
            guided_choice: self.guided_choice.as_deref(),
            guided_grammar: self.guided_grammar.as_deref(),
            structured_outputs: self.structured_outputs.as_ref(),
        }
    }

    /// Alternatives per token; `None` for no likelihoods.
    ///
    /// # Errors
    /// Too many.
    pub fn alternatives(&self) -> Result<Option<usize>, ApiError> {
        self.logprobs.map(|count| alternatives("logprobs", count)).transpose()
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
            repeat_last_n: self.repeat_last_n,
            seed: self.seed,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
        }
    }
}

/// Checks that prompts times answers are not too many.
///
/// # Errors
/// No prompt, or more answers in all than [`MOST_CHOICES`].
pub fn check_count(prompts: usize, n: usize) -> Result<(), ApiError> {
    match prompts * n {
        0 => Err(ApiError::field("prompt", "Expected at least one prompt, got none.")),
        all if all > MOST_CHOICES => Err(ApiError::field(
            "prompt",
            format!("Expected at most {MOST_CHOICES} answers in all, got {all}."),
        )),
        _ => Ok(()),
    }
}
