//! OpenAI's predicted output.

use serde::Deserialize;
use utoipa::ToSchema;

use super::message::Content;
use crate::error::ApiError;

/// A text that large parts of the answer will probably repeat. It is no part of the prompt and does
/// not change the answer: look-up drafts from it.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Only `content`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    pub content: Content,
}

impl Prediction {
    /// The text.
    ///
    /// # Errors
    /// Another type, parts that are not text.
    pub fn text(&self) -> Result<String, ApiError> {
        if self.kind != "content" {
            let message = format!("Expected the type \"content\", got {:?}.", self.kind);
            return Err(ApiError::unsupported("prediction.type", message));
        }
        self.content.text("prediction.content")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_prediction_is_a_text_or_parts_of_it() {
        let text = |value: Value| {
            let prediction: Prediction = serde_json::from_value(value).expect("a prediction");
            prediction.text().map_err(|error| error.body.param.expect("a field"))
        };
        assert_eq!(text(json!({"type": "content", "content": "ab"})), Ok("ab".into()));
        let part = |kind: &str, text: &str| json!({"type": kind, "text": text});
        let parts = json!({"type": "content", "content": [part("text", "a"), part("text", "b")]});
        assert_eq!(text(parts), Ok("ab".into()));
        let image = json!({"type": "content", "content": [part("text", "a"), part("image", "b")]});
        assert_eq!(text(image), Err("prediction.content[1]".into()));
        let other = json!({"type": "draft", "content": "ab"});
        assert_eq!(text(other), Err("prediction.type".into()));
        let more = json!({"type": "content", "content": "ab", "weight": 1});
        assert!(serde_json::from_value::<Prediction>(more).is_err());
    }
}
