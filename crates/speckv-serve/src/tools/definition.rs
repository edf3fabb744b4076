//! Definitions of tools.

use serde_json::{Map, Value, json};

use crate::error::ApiError;

/// A function that a model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The schema of its arguments, an object.
    pub parameters: Value,
}

/// Most tools of a request.
const MOST_TOOLS: usize = 128;

impl Tool {
    /// The definition as chat templates take it.
    #[must_use]
    pub fn for_template(&self) -> Value {
        let mut function = Map::new();
        function.insert("name".into(), self.name.as_str().into());
        function.insert("description".into(), self.description.clone().unwrap_or_default().into());
        function.insert("parameters".into(), self.parameters.clone());
        json!({"type": "function", "function": function})
    }

    /// Reads a function: `name`, `description`, `parameters`.
    ///
    /// # Errors
    /// A name that is not 1 to 64 letters, digits, `_`, `-` and `.`; parameters that are no object.
    pub fn of(function: &Value, path: &str) -> Result<Self, ApiError> {
        let name = function["name"].as_str().unwrap_or_default();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            let got = &function["name"];
            let message =
                format!("Expected a name of 1 to 64 letters, digits, _, - and ., got {got}.");
            return Err(ApiError::field(format!("{path}.name"), message));
        }
        let parameters = match &function["parameters"] {
            Value::Null => json!({"type": "object", "properties": {}}),
            parameters @ Value::Object(_) => parameters.clone(),
            other => {
                let message = format!("Expected a JSON schema of an object, got {other}.");
                return Err(ApiError::field(format!("{path}.parameters"), message));
            }
        };
        let description = function["description"].as_str().map(str::to_owned);
        Ok(Tool { name: name.to_owned(), description, parameters })
    }
}

/// The tools of a request, from `tools` or its older form `functions`.
///
/// # Errors
/// Both at once, too many, two with one name, other types than `function`, definitions of another
/// form.
pub fn definitions(
    tools: Option<&[Value]>,
    functions: Option<&[Value]>,
) -> Result<Vec<Tool>, ApiError> {
    let (tools, functions) = (tools.unwrap_or_default(), functions.unwrap_or_default());
    if !tools.is_empty() && !functions.is_empty() {
        return Err(ApiError::field("functions", "Expected one of tools and functions, got both."));
    }
    let mut found: Vec<Tool> = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let kind = tool["type"].as_str().unwrap_or("function");
        if kind != "function" {
            let message =
                format!("Only tools of the type \"function\" are supported, got {kind:?}.");
            return Err(ApiError::unsupported(&format!("tools[{index}].type"), message));
        }
        found.push(Tool::of(&tool["function"], &format!("tools[{index}].function"))?);
    }
    for (index, function) in functions.iter().enumerate() {
        found.push(Tool::of(function, &format!("functions[{index}]"))?);
    }
    let field = if functions.is_empty() { "tools" } else { "functions" };
    if found.len() > MOST_TOOLS {
        let message = format!("Expected at most {MOST_TOOLS} tools, got {}.", found.len());
        return Err(ApiError::field(field, message));
    }
    for (index, tool) in found.iter().enumerate() {
        if found[..index].iter().any(|other| other.name == tool.name) {
            let message = format!("There are two tools with the name {:?}.", tool.name);
            return Err(ApiError::field(format!("{field}[{index}]"), message));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_of_both_forms_are_read_and_wrong_ones_are_refused_by_path() {
        let f = json!({"name": "f", "description": "d", "parameters": {"type": "object"}});
        let tool = json!({"type": "function", "function": f});
        let tools = definitions(Some(&[tool.clone()]), None).expect("good");
        assert_eq!(tools, definitions(None, Some(&[f.clone()])).expect("good"));
        assert_eq!(tools[0].for_template(), tool);
        let wrong = |tools: &[Value], functions: &[Value]| {
            let error = definitions(Some(tools), Some(functions)).expect_err("wrong");
            error.body.param.expect("a field")
        };
        assert_eq!(wrong(&[tool.clone()], &[f.clone()]), "functions");
        assert_eq!(wrong(&[json!({"type": "web_search"})], &[]), "tools[0].type");
        assert_eq!(wrong(&[json!({"type": "function"})], &[]), "tools[0].function.name");
        assert_eq!(wrong(&[], &[json!({"name": "a b"})]), "functions[0].name");
        assert_eq!(wrong(&[], &[json!({"name": "a", "parameters": 3})]), "functions[0].parameters");
        assert_eq!(wrong(&[tool.clone(), tool], &[]), "tools[1]");
    }
}
