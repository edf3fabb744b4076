//! `POST /tokenize` and `POST /detokenize`, with the fields of both llama.cpp and vLLM.

use serde::{Deserialize, Serialize};
use speckv::token::Token;
use utoipa::ToSchema;

use super::number;

/// Text to cut into tokens.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct TokenizeRequest {
    /// The text.
    #[serde(alias = "prompt")]
    pub content: String,
    /// The model's name, as `/v1/models` lists it; may be left out.
    #[serde(default)]
    pub model: Option<String>,
    /// Put the tokens that begin and end a text.
    #[serde(default, alias = "add_special_tokens")]
    pub add_special: bool,
    /// Find control tokens by their spelling.
    #[serde(default = "yes")]
    pub parse_special: bool,
    /// Say the text of each token.
    #[serde(default, alias = "return_token_strs")]
    pub with_pieces: bool,
}

fn yes() -> bool {
    true
}

/// Tokens of a text.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TokenizeAnswer {
    /// Ids.
    pub tokens: Vec<Token>,
    /// Number of tokens.
    pub count: usize,
    /// Most tokens of prompt and answer.
    pub max_model_len: usize,
    /// Text of each token, if asked for; bytes that are no character of their own become U+FFFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pieces: Option<Vec<String>>,
}

/// Tokens to turn into text.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct DetokenizeRequest {
    /// The model's name, as `/v1/models` lists it; may be left out.
    #[serde(default)]
    pub model: Option<String>,
    /// Ids.
    #[serde(deserialize_with = "number::list")]
    pub tokens: Vec<Token>,
}

/// Text of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DetokenizeAnswer {
    /// The text, as llama.cpp names it.
    pub content: String,
    /// The text, as vLLM names it.
    pub prompt: String,
}
