//! Fields of requests that the server does not know. One that could change the answer is refused by
//! name: an answer that ignores it would be a wrong answer to what was asked.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::Value;

use crate::error::ApiError;

/// Fields of requests that cannot change the answer, with the reason.
pub const HARMLESS: [(&str, &str); 17] = [
    ("user", "who asks; for the provider's statistics"),
    ("metadata", "labels for the provider's storage"),
    ("store", "whether the provider keeps the answer; this server keeps none"),
    ("service_tier", "which of a provider's queues; this server has one"),
    ("safety_identifier", "who asks; for the provider's statistics"),
    ("prompt_cache_key", "a hint for the prompt cache"),
    ("prompt_cache_retention", "a hint for the prompt cache"),
    ("priority", "order of work; clients take turns here"),
    ("request_id", "a name for logs; send the header `x-request-id`"),
    ("id_slot", "which of llama.cpp's slots"),
    ("slot_id", "which of llama.cpp's slots"),
    ("keep_alive", "how long Ollama keeps a model loaded"),
    ("timings_per_token", "llama.cpp: more numbers in chunks"),
    ("return_progress", "llama.cpp: chunks while the prompt is read"),
    ("n_keep", "llama.cpp: what is kept when the context is shifted; here it never is"),
    ("t_max_predict_ms", "llama.cpp: a time limit; see --request-timeout"),
    ("extra_headers", "an option of OpenAI's Python client that some programs send in the body"),
];

/// Fields of requests with the one value that means "off": clients send it by default. Any other
/// value is refused.
fn is_neutral(name: &str, value: &Value) -> bool {
    let number = |neutral: f64| value.as_f64() == Some(neutral);
    let is = |neutral: bool| value.as_bool() == Some(neutral);
    let empty = || match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    match name {
        "mirostat" | "dry_multiplier" | "xtc_probability" | "dynatemp_range" | "n_probs"
        | "min_keep" => number(0.0),
        "length_penalty" | "typical_p" | "typical" | "tfs_z" | "tfs" | "dynatemp_exponent"
        | "epsilon_cutoff" => number(1.0) || number(0.0),
        "top_n_sigma" | "nsigma" => number(-1.0) || number(0.0),
        "use_beam_search"
        | "early_stopping"
        | "include_stop_str_in_output"
        | "add_special_tokens"
        | "return_tokens"
        | "return_token_ids"
        | "echo"
        | "post_sampling_probs"
        | "prompt_logprobs" => is(false),
        "skip_special_tokens" | "spaces_between_special_tokens" | "samplers_default" => is(true),
        "bad_words"
        | "logits_processors"
        | "documents"
        | "lora"
        | "suffix"
        | "stop_sequences"
        | "dry_sequence_breakers" => empty(),
        "modalities" => value.as_array().is_some_and(|list| list.iter().all(|kind| kind == "text")),
        _ => false,
    }
}

/// Refuses fields of a JSON object that `T` does not have: unless they are null, harmless or have a
/// neutral value.
///
/// Bytes that are no JSON object pass: reading them as `T` gives the better error.
///
/// # Errors
/// The first such field, by name.
pub fn check<'de, T: Deserialize<'de>>(bytes: &[u8]) -> Result<(), ApiError> {
    let known = Known { names: names_of::<T>(), wrong: None };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let Ok(Some(wrong)) = json.deserialize_map(known) else { return Ok(()) };
    Err(unknown(&wrong))
}

/// The error for an unknown field.
#[must_use]
pub fn unknown(path: &str) -> ApiError {
    let message = format!(
        "The field {path} is not supported, and ignoring it could change the answer. \
         Leave it out, or send null."
    );
    ApiError::unsupported(path, message)
}

struct Known {
    names: &'static [&'static str],
    wrong: Option<String>,
}

impl<'de> Visitor<'de> for Known {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let passes = self.names.contains(&&*name)
                || HARMLESS.iter().any(|(harmless, _)| *harmless == name);
            if passes {
                map.next_value::<IgnoredAny>()?;
            } else if has_neutral_value(&name) {
                let value = map.next_value::<Value>()?;
                if !value.is_null() && !is_neutral(&name, &value) {
                    self.wrong.get_or_insert(name.into_owned());
                }
            } else if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                self.wrong.get_or_insert(name.into_owned());
            }
        }
        Ok(self.wrong)
    }
}

/// Whether some value of the field is neutral.
fn has_neutral_value(name: &str) -> bool {
    let candidates = [
        Value::from(0.0),
        Value::from(1.0),
        Value::from(-1.0),
        Value::from(false),
        Value::from(true),
        Value::Array(Vec::new()),
    ];
    candidates.iter().any(|value| is_neutral(name, value))
}

/// Names and aliases of a struct's fields, as serde's derive macro lists them.
fn names_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    let _ = T::deserialize(Names(&mut names)); // always an error; what it asked for is kept
    names
}

struct Names<'a>(&'a mut &'static [&'static str]);

#[derive(Debug)]
struct Asked;

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only the names are read")
    }
}

impl std::error::Error for Asked {}

impl de::Error for Asked {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Asked
    }
}

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        *self.0 = fields;
        Err(Asked)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{chat::ChatRequest, completion::CompletionRequest};

    fn refused<'de, T: Deserialize<'de>>(json: &str) -> Option<String> {
        check::<T>(json.as_bytes()).err().and_then(|error| error.body.param)
    }

    #[test]
    fn names_and_aliases_of_a_request_are_known() {
        let names = names_of::<ChatRequest>();
        for name in ["messages", "temperature", "repetition_penalty", "repeat_penalty", "n_predict"]
        {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(names_of::<CompletionRequest>().contains(&"prompt"));
    }

    #[test]
    fn an_unknown_field_is_refused_by_name_unless_it_is_null_or_harmless() {
        let chat = refused::<ChatRequest>;
        assert_eq!(chat(r#"{"frobnicate": 1}"#).as_deref(), Some("frobnicate"));
        assert_eq!(chat(r#"{"a": null, "b": {"c": [1, {}]}, "d": 1}"#).as_deref(), Some("b"));
        assert_eq!(chat(r#"{"frobnicate": null, "user": "me", "temperature": 1}"#), None);
        for (name, _) in HARMLESS {
            assert_eq!(chat(&format!("{{\"{name}\": {{\"x\": 1}}}}")), None, "{name}");
        }
    }

    #[test]
    fn a_neutral_value_passes_and_any_other_does_not() {
        let chat = refused::<ChatRequest>;
        assert_eq!(chat(r#"{"mirostat": 0, "use_beam_search": false, "bad_words": []}"#), None);
        assert_eq!(chat(r#"{"mirostat": 2}"#).as_deref(), Some("mirostat"));
        assert_eq!(chat(r#"{"use_beam_search": true}"#).as_deref(), Some("use_beam_search"));
        assert_eq!(chat(r#"{"bad_words": ["x"]}"#).as_deref(), Some("bad_words"));
    }

    #[test]
    fn what_is_no_object_is_left_to_the_reader() {
        for json in ["", "[1]", "null", "{", "{\"a\": }", "\"x\""] {
            assert_eq!(refused::<ChatRequest>(json), None, "{json}");
        }
    }
}
