//! Whether and which tools an answer calls.

use serde_json::Value;

use super::Tool;
use crate::error::ApiError;

/// Whether and which tools an answer calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// None: the model does not see the tools.
    None,
    /// As the model likes.
    Auto,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

impl ToolChoice {
    /// Reads `tool_choice`, or its older form `function_call`.
    ///
    /// # Errors
    /// Another form, a tool that is not there, or a choice without tools.
    pub fn of(
        tool_choice: Option<&Value>,
        function_call: Option<&Value>,
        tools: &[Tool],
    ) -> Result<Self, ApiError> {
        let (field, value) = match (tool_choice, function_call) {
            (Some(value), _) if !value.is_null() => ("tool_choice", value),
            (_, Some(value)) => ("function_call", value),
            _ => return Ok(if tools.is_empty() { ToolChoice::None } else { ToolChoice::Auto }),
        };
        let named = value["function"]["name"].as_str().or(value["name"].as_str());
        let choice = match (value.as_str(), named) {
            (Some("none"), _) => ToolChoice::None,
            (Some("auto"), _) => ToolChoice::Auto,
            (Some("required" | "any"), _) => ToolChoice::Required,
            (_, Some(name)) => ToolChoice::Named(name.to_owned()),
            _ if value.is_null() => ToolChoice::Auto,
            _ => {
                let message = format!(
                    "Expected \"none\", \"auto\", \"required\" or the name of a function, got \
                    {value}."
                );
                return Err(ApiError::field(field, message));
            }
        };
        match &choice {
            ToolChoice::Required if tools.is_empty() => {
                Err(ApiError::field(field, format!("{field} needs tools; there are none.")))
            }
            ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => {
                let message = format!("There is no tool with the name {name:?}.");
                Err(ApiError::field(field, message))
            }
            ToolChoice::Auto if tools.is_empty() => Ok(ToolChoice::None),
            _ => Ok(choice),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn choices_are_read_in_both_forms_and_must_be_possible() {
        let tools = [Tool::of(&json!({"name": "f"}), "x").expect("a tool")];
        let choice = |value: Value| ToolChoice::of(Some(&value), None, &tools).ok();
        assert_eq!(choice(json!("none")), Some(ToolChoice::None));
        assert_eq!(choice(json!(null)), Some(ToolChoice::Auto));
        assert_eq!(choice(json!("required")), Some(ToolChoice::Required));
        let named = Some(ToolChoice::Named("f".into()));
        assert_eq!(choice(json!({"type": "function", "function": {"name": "f"}})), named);
        assert_eq!(ToolChoice::of(None, Some(&json!({"name": "f"})), &tools).ok(), named);
        assert_eq!(choice(json!({"type": "function", "function": {"name": "g"}})), None);
        assert_eq!(choice(json!("maybe")), None);
        assert!(ToolChoice::of(Some(&json!("required")), None, &[]).is_err());
        assert_eq!(ToolChoice::of(Some(&json!("auto")), None, &[]), Ok(ToolChoice::None));
        assert_eq!(ToolChoice::of(None, None, &tools), Ok(ToolChoice::Auto));
    }
}
