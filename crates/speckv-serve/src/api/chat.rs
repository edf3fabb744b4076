//! `POST /v1/chat/completions`.

use serde::Deserialize;
use serde_json::{Map, Value};
use speckv::token::Token;
use utoipa::ToSchema;

use super::{
    asked::Asked,
    channel_history::in_channels,
    message::{Message, in_words},
    number,
    options::{Stop, StreamOptions, alternatives},
    prediction::Prediction,
    sampling::SamplingFields,
    speculation::SpeculationField,
    structured::StructuredFields,
};
use crate::{
    error::ApiError,
    language::{Conversation, Ending, Language},
    tools::{Tool, ToolChoice, ToolFormat, definitions},
};

/// Variables of templates that `chat_template_kwargs` may not set.
const OWN_VARIABLES: [&str; 5] =
    ["messages", "tools", "documents", "add_generation_prompt", "continue_final_message"];

/// A chat request. Fields that are not listed are refused by name, unless they are null or cannot
/// change the answer.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// The model's name, as `/v1/models` lists it; may be left out.
    #[serde(default)]
    pub model: Option<String>,
    /// The conversation, at least one message.
    pub messages: Vec<Message>,
    /// Most tokens of the answer; -1 for as many as the context holds.
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
    /// Number of answers, 1 to 16.
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
    /// Say how likely each token was.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// Alternatives per token, 0 to 20; needs `logprobs`.
    #[serde(default, deserialize_with = "number::optional")]
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
    /// A text that large parts of the answer will probably repeat; it changes speed only.
    #[serde(default)]
    pub prediction: Option<Prediction>,
    /// Variables of the model's chat template, such as `{"enable_thinking": false}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// How long the model should think, for templates that read this variable.
    #[serde(default)]
    pub reasoning_effort: Option<String>,
    /// `false`: the prompt ends after the last message, without the beginning of an answer.
    #[serde(default)]
    pub add_generation_prompt: Option<bool>,
    /// The answer continues the text of the last message.
    #[serde(default)]
    pub continue_final_message: Option<bool>,
    /// Control tokens spelled out in the text of messages become control tokens; default as the
    /// server was started.
    #[serde(default)]
    pub parse_special: Option<bool>,
    /// Functions that the model may call.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    /// The older form of `tools`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub functions: Option<Vec<Value>>,
    /// `none`, `auto`, `required`, or an object that names a function.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<Value>,
    /// The older form of `tool_choice`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub function_call: Option<Value>,
    /// `false`: at most one call in an answer.
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    /// Most tokens that the model thinks before it answers.
    #[serde(default, alias = "thinking_token_budget", deserialize_with = "number::optional")]
    pub thinking_budget: Option<i64>,
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

impl ChatRequest {
    /// The conversation, as a template takes it. `parse_special`: where the request does not say.
    ///
    /// # Errors
    /// No message; parts, fields or variables that are not supported.
    pub fn conversation(
        &self,
        language: &dyn Language,
        asked: &Asked,
        parse_special: bool,
    ) -> Result<Conversation, ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::field("messages", "Expected at least one message, got none."));
        }
        let messages = self.messages.iter().enumerate();
        let mut messages: Vec<Map<String, Value>> = messages
            .map(|(index, message)| message.for_template(index))
            .collect::<Result<_, _>>()?;
        let mut variables = self.variables(language)?;
        let shown: Vec<&Tool> = asked.shown().iter().collect();
        let format = ToolFormat::of(language);
        if format == ToolFormat::Harmony {
            messages = in_channels(messages);
        }
        if format == ToolFormat::Generic {
            in_words(&mut messages, &shown, language);
        } else if !shown.is_empty() {
            let tools = shown.iter().map(|tool| tool.for_template()).collect();
            variables.insert("tools".into(), Value::Array(tools));
        }
        Ok(Conversation {
            messages,
            variables,
            ending: self.ending()?,
            special_in_text: self.parse_special.unwrap_or(parse_special),
        })
    }

    fn variables(&self, language: &dyn Language) -> Result<Map<String, Value>, ApiError> {
        let mut variables = self.chat_template_kwargs.clone().unwrap_or_default();
        if let Some(name) = OWN_VARIABLES.into_iter().find(|name| variables.contains_key(*name)) {
            let param = format!("chat_template_kwargs.{name}");
            let message = format!("{name} has a field of its own and cannot be a variable.");
            return Err(ApiError::field(param, message));
        }
        if let Some(effort) = &self.reasoning_effort {
            if !language.template_reads("reasoning_effort") {
                let message = "The model's chat template does not read reasoning_effort.";
                return Err(ApiError::unsupported("reasoning_effort", message));
            }
            variables.insert("reasoning_effort".into(), effort.as_str().into());
        }
        Ok(variables)
    }

    fn ending(&self) -> Result<Ending, ApiError> {
        match (self.continue_final_message.unwrap_or(false), self.add_generation_prompt) {
            (true, Some(true)) => Err(ApiError::field(
                "continue_final_message",
                "continue_final_message and add_generation_prompt exclude each other.",
            )),
            (true, _) => Ok(Ending::Continue),
            (false, Some(false)) => Ok(Ending::Nothing),
            (false, _) => Ok(Ending::NewMessage),
        }
    }

    /// What is asked of the answers: tools, grammars, reasoning.
    ///
    /// # Errors
    /// Definitions and choices of another form, two grammars, a negative budget other than -1.
    pub fn asked(&self) -> Result<Asked, ApiError> {
        let tools = definitions(self.tools.as_deref(), self.functions.as_deref())?;
        let choice =
            ToolChoice::of(self.tool_choice.as_ref(), self.function_call.as_ref(), &tools)?;
        let legacy = self.functions.as_ref().is_some_and(|functions| !functions.is_empty());
        let thinking_budget = match self.thinking_budget {
            None | Some(-1) => None,
            Some(budget) => Some(usize::try_from(budget).map_err(|_| {
                let message =
                    format!("Expected a budget of 0 or more tokens, or -1, got {budget}.");
                ApiError::field("thinking_budget", message)
            })?),
        };
        Ok(Asked {
            structured: self.structured().resolve()?,
            tools,
            choice,
            parallel: self.parallel_tool_calls.unwrap_or(true) && !legacy,
            legacy,
            thinking_budget,
        })
    }

    fn structured(&self) -> StructuredFields<'_> {
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
            repeat_last_n: self.repeat_last_n,
            seed: self.seed,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
        }
    }
}
