//! Conversations that own their parts.

use serde_json::{Map, Value, json};
use speckv_formats::chat_template::{ChatTemplate, Conversation, Ending, Prompt, TemplateError};

/// What a [`Conversation`] borrows.
#[derive(Clone, Default)]
pub(crate) struct Talk {
    pub messages: Vec<Map<String, Value>>,
    pub variables: Map<String, Value>,
    pub ending: Ending,
}

impl Talk {
    /// Messages by role and content.
    pub(crate) fn new<C: Into<Value> + Clone>(turns: &[(&str, C)]) -> Self {
        let message = |(role, content): &(&str, C)| {
            let content: Value = content.clone().into();
            json!({"role": role, "content": content}).as_object().cloned().unwrap_or_default()
        };
        Self { messages: turns.iter().map(message).collect(), ..Self::default() }
    }

    pub(crate) fn prompt(&self, template: &ChatTemplate) -> Result<Prompt, TemplateError> {
        let Self { messages, variables, ending } = self;
        template.prompt(&Conversation { messages, variables, ending: *ending })
    }
}
