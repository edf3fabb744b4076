//! What chat and completion requests share: ends, lengths, streams.

use serde::Deserialize;
use serde_json::{Map, Value};
use speckv::token::Token;
use utoipa::ToSchema;

use crate::error::ApiError;

/// Texts that end an answer: one, or several.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum Stop {
    /// One text.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Most stop strings, and most bytes of one.
const MOST_STOPS: usize = 16;
const LONGEST_STOP: usize = 1024;
/// Most answers to one request.
pub const MOST_CHOICES: usize = 16;
/// Most alternatives per token.
pub const MOST_LOGPROBS: usize = 20;

/// Checks and unpacks stop strings. Empty ones, which some clients send for none, are left out.
///
/// # Errors
/// Too many or too long ones.
pub fn stops(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let mut stops = match stop {
        None => return Ok(Vec::new()),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    stops.retain(|stop| !stop.is_empty());
    if stops.len() > MOST_STOPS {
        return Err(ApiError::field(
            "stop",
            format!("Expected at most {MOST_STOPS} stop strings, got {}.", stops.len()),
        ));
    }
    if let Some(wrong) = stops.iter().find(|stop| stop.len() > LONGEST_STOP) {
        let message = format!(
            "Expected stop strings of at most {LONGEST_STOP} bytes, got one of {}.",
            wrong.len()
        );
        return Err(ApiError::field("stop", message));
    }
    Ok(stops)
}

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    /// One more chunk at the end, with the usage.
    #[serde(default)]
    pub include_usage: Option<bool>,
    /// Accepted and ignored: padding against observers of the connection.
    #[serde(default)]
    pub include_obfuscation: Option<bool>,
    /// Only `false`: usage in every chunk.
    #[serde(default)]
    pub continuous_usage_stats: Option<bool>,
}

impl StreamOptions {
    /// Whether the usage is asked for.
    ///
    /// # Errors
    /// Usage in every chunk.
    pub fn usage(options: Option<Self>) -> Result<bool, ApiError> {
        let options = options.unwrap_or_default();
        if options.continuous_usage_stats == Some(true) {
            let message = "Only include_usage is supported: usage in the last chunk.";
            return Err(ApiError::unsupported("stream_options.continuous_usage_stats", message));
        }
        Ok(options.include_usage.unwrap_or(false))
    }
}

/// Reads `logit_bias`: numbers from -100 to 100 by token id.
///
/// # Errors
/// A key that is no token of the vocabulary, a value outside the range.
pub fn biases(
    bias: Option<&Map<String, Value>>,
    vocab_size: usize,
) -> Result<Vec<(Token, f32)>, ApiError> {
    let one = |(key, value): (&String, &Value)| {
        let field = format!("logit_bias.{key}");
        let token = key.parse().ok().filter(|&token: &Token| (token as usize) < vocab_size);
        let Some(token) = token else {
            let message =
                format!("Expected a token id below {vocab_size}, got {key:?}; see /tokenize.");
            return Err(ApiError::field(field, message));
        };
        match value.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)) {
            Some(bias) => Ok((token, bias as f32)),
            None => {
                let message = format!("Expected a bias from -100 to 100, got {value}.");
                Err(ApiError::field(field, message))
            }
        }
    };
    bias.into_iter().flatten().map(one).collect()
}

/// Checks tokens that end an answer.
///
/// # Errors
/// Too many, or one outside the vocabulary.
pub fn stop_tokens(tokens: Option<Vec<Token>>, vocab_size: usize) -> Result<Vec<Token>, ApiError> {
    let tokens = tokens.unwrap_or_default();
    if tokens.len() > MOST_STOPS {
        let message = format!("Expected at most {MOST_STOPS} tokens, got {}.", tokens.len());
        return Err(ApiError::field("stop_token_ids", message));
    }
    if let Some(wrong) = tokens.iter().find(|&&token| token as usize >= vocab_size) {
        let message = format!("Expected token ids below {vocab_size}, got {wrong}.");
        return Err(ApiError::field("stop_token_ids", message));
    }
    Ok(tokens)
}

/// Refuses what contradicts a constraint on the answer.
///
/// # Errors
/// An answer that may neither end nor go on where its grammar ends.
pub fn check_with_constraint(ignore_end: bool, min_tokens: Option<u32>) -> Result<(), ApiError> {
    let wrong = match (ignore_end, min_tokens) {
        (true, _) => "ignore_eos",
        (_, Some(1..)) => "min_tokens",
        _ => return Ok(()),
    };
    let message = format!("{wrong} and a grammar, schema or tool contradict each other.");
    Err(ApiError::unsupported(wrong, message))
}

/// Number of answers.
///
/// # Errors
/// 0, or more than [`MOST_CHOICES`].
pub fn choices(n: Option<u32>) -> Result<usize, ApiError> {
    match n.unwrap_or(1) as usize {
        n if (1..=MOST_CHOICES).contains(&n) => Ok(n),
        n => Err(ApiError::field("n", format!("Expected 1 to {MOST_CHOICES} answers, got {n}."))),
    }
}

/// Number of alternatives per token.
///
/// # Errors
/// More than [`MOST_LOGPROBS`].
pub fn alternatives(param: &str, count: u32) -> Result<usize, ApiError> {
    let count = count as usize;
    if count > MOST_LOGPROBS {
        return Err(ApiError::field(
            param,
            format!("Expected at most {MOST_LOGPROBS} alternatives, got {count}."),
        ));
    }
    Ok(count)
}

/// Most tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The request gives no number.
    Default,
    /// As many as the context holds.
    Rest,
    /// So many.
    Tokens(usize),
}

/// Most tokens of an answer by the names that the field has.
///
/// # Errors
/// 0, a negative number but -1, or two names with different values.
pub fn max_tokens(named: [(&str, Option<i64>); 2]) -> Result<Length, ApiError> {
    if let [(first, Some(a)), (second, Some(b))] = named
        && a != b
    {
        return Err(ApiError::field(
            first,
            format!("{first} is {a} and {second} is {b}; give one of them."),
        ));
    }
    let given = named.into_iter().find_map(|(name, value)| Some((name, value?)));
    match given {
        None => Ok(Length::Default),
        Some((_, -1)) => Ok(Length::Rest),
        Some((_, tokens)) if tokens > 0 => {
            Ok(Length::Tokens(usize::try_from(tokens).unwrap_or(usize::MAX)))
        }
        Some((name, tokens)) => {
            let message =
                format!("{name}: expected at least 1, or -1 for the context's rest, got {tokens}.");
            Err(ApiError::field(name, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_lengths_are_in_their_ranges() {
        assert!(choices(Some(0)).is_err() && choices(Some(17)).is_err() && choices(None) == Ok(1));
        assert!(max_tokens([("a", Some(0)), ("b", None)]).is_err());
        assert!(max_tokens([("a", Some(1)), ("b", Some(2))]).is_err());
        assert!(max_tokens([("a", Some(-2)), ("b", None)]).is_err());
        assert_eq!(max_tokens([("a", Some(2)), ("b", Some(2))]), Ok(Length::Tokens(2)));
        assert_eq!(max_tokens([("a", None), ("b", Some(-1))]), Ok(Length::Rest));
        assert_eq!(max_tokens([("a", None), ("b", None)]), Ok(Length::Default));
        assert!(stops(Some(Stop::Many(vec!["x".into(); 17]))).is_err());
    }

    #[test]
    fn empty_stop_strings_are_none() {
        let stops = |stop: Stop| stops(Some(stop)).expect("good");
        assert_eq!(stops(Stop::One(String::new())), [""; 0]);
        assert_eq!(stops(Stop::Many(vec![String::new(), "fox".into()])), ["fox"]);
    }
}
