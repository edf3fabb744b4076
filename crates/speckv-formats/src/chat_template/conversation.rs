//! What a template gets: messages, tools and variables.

use serde_json::{Map, Value, json};

use super::Message;

/// Everything that a template can read. The names are those of `apply_chat_template`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// The messages: objects with `role`, `content` and what else the template knows, such as
    /// `tool_calls` or `reasoning_content`. Content is a string, or a list of parts such as
    /// `{"type": "text", "text": ".."}`.
    pub messages: Vec<Value>,
    /// Tools that the model may call, as the template reads them; null for none.
    pub tools: Value,
    /// Documents for models that answer from documents; null for none.
    pub documents: Value,
    /// Further variables, such as `enable_thinking`. They come after the others and replace them.
    pub variables: Map<String, Value>,
    /// Ends the text where the assistant's turn begins.
    pub add_generation_prompt: bool,
    /// Ends the text after the content of the last message, so that the model continues it.
    pub continue_final_message: bool,
}

impl Conversation {
    /// Messages of plain text, and the beginning of the assistant's turn.
    pub fn new(messages: &[Message]) -> Self {
        let message =
            |Message { role, content }: &Message| json!({"role": role, "content": content});
        Self {
            messages: messages.iter().map(message).collect(),
            add_generation_prompt: true,
            ..Self::default()
        }
    }

    /// About how many bytes the strings of the conversation take; bounds a rendering.
    pub(super) fn bytes(&self) -> u64 {
        let variables = self.variables.values();
        let values = self.messages.iter().chain([&self.tools, &self.documents]).chain(variables);
        values.map(bytes).sum()
    }
}

fn bytes(value: &Value) -> u64 {
    8 + match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| key.len() as u64 + 32 + bytes(value)).sum()
        }
        _ => 0,
    }
}

/// Which kinds of content a template writes, found by rendering a probe of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub text: bool,
    pub parts: bool,
}

/// The text that a probe looks for.
pub(super) const NEEDLE: &str = "speckv probes content";

impl Accepted {
    /// Of the texts that the template writes for content as a string and as parts.
    pub fn new(text: Option<&str>, parts: Option<&str>) -> Self {
        let has = |written: Option<&str>| written.is_some_and(|written| written.contains(NEEDLE));
        // A list that is printed as it is shows its keys.
        let printed =
            parts.is_some_and(|written| written.contains("'type'") || written.contains("\"type\""));
        Self { text: has(text), parts: has(parts) && !printed }
    }

    /// The content in the kind that the template takes. Parts become one text with line ends
    /// between, if all of them are text and the template does not take parts; a string becomes one
    /// part if the template takes only parts.
    pub fn adapt(self, message: &Value) -> Value {
        let mut adapted = message.clone();
        let Some(content) = adapted.get_mut("content") else { return adapted };
        match content {
            Value::Array(parts) if !self.parts => {
                let texts: Option<Vec<&str>> = parts.iter().map(text_of).collect();
                if let Some(texts) = texts {
                    *content = texts.join("\n").into();
                }
            }
            Value::String(text) if self.parts && !self.text => {
                *content = json!([{"type": "text", "text": text}]);
            }
            _ => {}
        }
        adapted
    }
}

fn text_of(part: &Value) -> Option<&str> {
    match part {
        Value::String(text) => Some(text),
        part => part.get("text")?.as_str(),
    }
}
