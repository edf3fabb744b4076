//! Conversations as OpenAI's API writes them: messages with any fields, and further variables.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{ChatTemplate, Prompt, TemplateError};

/// A conversation with all that a template may read of it.
#[derive(Clone, Copy, Debug)]
pub struct Conversation<'a> {
    /// The messages: objects with `role`, `content` and what else there is.
    pub messages: &'a [Map<String, Value>],
    /// Further variables, as `chat_template_kwargs` names them, and `tools` and `documents`.
    pub variables: &'a Map<String, Value>,
    /// What follows the last message.
    pub ending: Ending,
}

/// What follows the last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ending {
    /// The beginning of the assistant's message (`add_generation_prompt`).
    #[default]
    NewMessage,
    /// Nothing.
    Nothing,
    /// The text ends where the content of the last message ends (`continue_final_message`).
    Continue,
}

impl ChatTemplate {
    /// The text for a conversation. [`Self::prompt`] also says which bytes came from it.
    ///
    /// # Errors
    /// See [`Self::prompt`].
    pub fn render_conversation(
        &self,
        conversation: &Conversation<'_>,
    ) -> Result<String, TemplateError> {
        self.prompt(conversation).map(Prompt::into_text)
    }

    /// The text for a conversation, and which of its bytes came from the conversation. A template
    /// that asks for the date is told the local time of this machine.
    ///
    /// # Errors
    /// [`TemplateError::Raised`] if the template refuses the conversation,
    /// [`TemplateError::Render`] if it fails, [`TemplateError::TooManySteps`],
    /// [`TemplateError::TooMuchMemory`] or [`TemplateError::TooLong`] if it exceeds a limit,
    /// [`TemplateError::NothingToContinue`] if the text of the message that is to be continued is
    /// not in what the template writes.
    pub fn prompt(&self, conversation: &Conversation<'_>) -> Result<Prompt, TemplateError> {
        self.prompt_at(conversation, SystemTime::now())
    }

    /// As [`Self::prompt`], with the moment that `strftime_now` tells in local time.
    ///
    /// # Errors
    /// See [`Self::prompt`].
    pub fn prompt_at(
        &self,
        conversation: &Conversation<'_>,
        now: SystemTime,
    ) -> Result<Prompt, TemplateError> {
        let tools = conversation.variables.get("tools").and_then(Value::as_array);
        let has_tools = tools.is_some_and(|tools| !tools.is_empty());
        let loaded = self.tool_use.as_ref().filter(|_| has_tools).unwrap_or(&self.default);
        let mut prompt = Prompt::new(self.rendered(loaded, conversation, now)?);
        if conversation.ending == Ending::Continue {
            let last = conversation.messages.last().and_then(|last| last.get("content"));
            // Of a list of parts, the last text.
            let last = last.and_then(|content| match content {
                Value::Array(parts) => parts.iter().rev().find_map(|part| part["text"].as_str()),
                content => content.as_str(),
            });
            let end = last.and_then(|last| end_of_last(prompt.text(), last));
            prompt.truncate(end.ok_or(TemplateError::NothingToContinue)?);
        }
        Ok(prompt)
    }

    /// Whether the template's source has `name` as a word: whether it can read such a variable or a
    /// field of this name.
    pub fn reads(&self, name: &str) -> bool {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let has = |source: &str| {
            source.match_indices(name).any(|(at, _)| {
                let (before, after) = (&source[..at], &source[at + name.len()..]);
                !before.ends_with(is_word) && !after.starts_with(is_word)
            })
        };
        std::iter::once(&self.default).chain(&self.tool_use).any(|loaded| has(&loaded.source))
    }
}

/// About how many bytes a value takes; bounds a rendering.
pub(super) fn bytes(value: &Value) -> u64 {
    8 + match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(entries) => entries.iter().map(|(key, it)| entry_bytes(key, it)).sum(),
        _ => 0,
    }
}

pub(super) fn entry_bytes(key: &str, value: &Value) -> u64 {
    key.len() as u64 + 32 + bytes(value)
}

/// Where the last occurrence of a message's text ends. Templates may trim it; then white space at
/// its end is not in the text.
fn end_of_last(text: &str, message: &str) -> Option<usize> {
    let trimmed = message.trim();
    if trimmed.is_empty() {
        return None;
    }
    let start = text.rfind(trimmed)?;
    let untrimmed = message.trim_start();
    let is_whole = text[start..].starts_with(untrimmed);
    Some(start + if is_whole { untrimmed.len() } else { trimmed.len() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\
        {% for c in m.tool_calls or [] %}[{{ c.function.name }}]{% endfor %}</>{% endfor %}\
        {% if add_generation_prompt %}<assistant>{% if enable_thinking is false %}!{% endif %}\
        {% endif %}";

    fn rendered(template: &str, messages: Value, variables: Value, ending: Ending) -> String {
        let messages: Vec<Map<String, Value>> = serde_json::from_value(messages).expect("messages");
        let variables: Map<String, Value> = serde_json::from_value(variables).expect("variables");
        let conversation = Conversation { messages: &messages, variables: &variables, ending };
        ChatTemplate::new(template, "", "")
            .and_then(|template| template.render_conversation(&conversation))
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn templates_see_all_fields_and_further_variables() {
        let messages = json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]},
        ]);
        let thinking = json!({"enable_thinking": false, "add_generation_prompt": false});
        assert_eq!(
            rendered(TEMPLATE, messages.clone(), thinking, Ending::NewMessage),
            "<user>hi</><assistant>[f]</><assistant>!",
            "a variable does not replace what the renderer sets"
        );
        assert_eq!(
            rendered(TEMPLATE, messages, json!({}), Ending::Nothing),
            "<user>hi</><assistant>[f]</>"
        );
    }

    #[test]
    fn a_continued_message_has_no_end() {
        let message = |role: &str, text: &str| json!({"role": role, "content": text});
        let talk = |text: &str| json!([message("user", "The "), message("assistant", text)]);
        let continued = |template: &str, text: &str| {
            rendered(template, talk(text), json!({}), Ending::Continue)
        };
        assert_eq!(continued(TEMPLATE, "The "), "<user>The </><assistant>The ");
        let trimming = TEMPLATE.replace("m.content", "m.content.strip()");
        assert_eq!(continued(&trimming, " The "), "<user>The</><assistant>The");
        assert!(continued("{{ messages|length }}", "gone").contains("continued"));
        assert!(continued(TEMPLATE, " ").contains("continued"));
    }

    #[test]
    fn names_are_found_as_whole_words() {
        let template = ChatTemplate::new(TEMPLATE, "", "").expect("a template");
        for name in ["tool_calls", "enable_thinking", "messages"] {
            assert!(template.reads(name), "{name}");
        }
        for name in ["tool", "thinking", "reasoning_effort"] {
            assert!(!template.reads(name), "{name}");
        }
    }
}
