//! Content as a string or as a list of parts, whichever a template writes.

use serde_json::{Map, Value, json};

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
    pub(super) fn new(text: Option<&str>, parts: Option<&str>) -> Self {
        let has = |written: Option<&str>| written.is_some_and(|written| written.contains(NEEDLE));
        // A list that is printed as it is shows its keys.
        let printed =
            parts.is_some_and(|written| written.contains("'type'") || written.contains("\"type\""));
        Self { text: has(text), parts: has(parts) && !printed }
    }

    /// The content in the kind that the template takes. Parts become one text with line ends
    /// between, if all of them are text and the template does not take parts; a string becomes one
    /// part if the template takes only parts.
    pub(super) fn adapt(self, message: &Map<String, Value>) -> Value {
        let mut adapted = message.clone();
        self.adapt_content(&mut adapted);
        Value::Object(adapted)
    }

    fn adapt_content(self, message: &mut Map<String, Value>) {
        let Some(content) = message.get_mut("content") else { return };
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
    }
}

fn text_of(part: &Value) -> Option<&str> {
    match part {
        Value::String(text) => Some(text),
        part => part.get("text")?.as_str(),
    }
}
