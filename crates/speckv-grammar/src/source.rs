//! What an answer may be.

use serde_json::Value;

/// What an answer may be, before it is compiled.
#[derive(Debug, Clone, PartialEq)]
pub enum GrammarSource {
    /// JSON that fits a schema, on one line with one space after each comma and colon.
    JsonSchema(Value),
    /// A grammar in the Lark dialect of `llguidance`.
    Lark(String),
    /// A grammar in llama.cpp's GBNF.
    Gbnf(String),
    /// A regular expression that the whole answer matches.
    Regex(String),
    /// One of these texts.
    Choices(Vec<String>),
}

/// Most bytes of a source that are compiled.
pub(crate) const MOST_BYTES: usize = 256 * 1024;
/// Most brackets within brackets.
pub(crate) const MOST_NESTING: usize = 100;

impl GrammarSource {
    /// Any JSON object.
    #[must_use]
    pub fn json_object() -> Self {
        GrammarSource::JsonSchema(serde_json::json!({"type": "object"}))
    }

    /// A grammar whose dialect is seen from its text: GBNF rules are written with `::=`.
    #[must_use]
    pub fn grammar(text: &str) -> Self {
        if text.contains("::=") {
            GrammarSource::Gbnf(text.to_owned())
        } else {
            GrammarSource::Lark(text.to_owned())
        }
    }

    /// How deep its brackets are nested, those within literals counted too. Parsers are recursive.
    pub(crate) fn nesting(&self) -> usize {
        let (GrammarSource::Lark(text) | GrammarSource::Gbnf(text) | GrammarSource::Regex(text)) =
            self
        else {
            return 0; // schemas have a check of their own
        };
        let (mut depth, mut most) = (0_usize, 0);
        for byte in text.bytes() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            most = most.max(depth);
        }
        most
    }

    /// Bytes of the source.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            GrammarSource::JsonSchema(schema) => schema.to_string().len(),
            GrammarSource::Lark(text) | GrammarSource::Gbnf(text) | GrammarSource::Regex(text) => {
                text.len()
            }
            GrammarSource::Choices(choices) => choices.iter().map(String::len).sum(),
        }
    }
}

/// A Lark grammar of the texts.
pub(crate) fn choices_to_lark(choices: &[String]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| quoted(choice)).collect();
    format!("start: {}\n", quoted.join(" | "))
}

/// A text as a Lark string, which is written as in JSON.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
