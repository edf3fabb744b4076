//! Fields that limit what an answer may be, by the names that OpenAI, vLLM and llama.cpp give them.

use serde_json::{Map, Value};
use speckv_grammar::GrammarSource;

use crate::error::ApiError;

/// What limits the answer, and the field that says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Structured {
    /// The field, as a path into the request.
    pub field: String,
    /// What the answer may be.
    pub source: GrammarSource,
}

/// The fields as they stand in a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct StructuredFields<'a> {
    /// OpenAI's `response_format`.
    pub response_format: Option<&'a Value>,
    /// llama.cpp's `json_schema`.
    pub json_schema: Option<&'a Value>,
    /// llama.cpp's `grammar`.
    pub grammar: Option<&'a str>,
    /// vLLM's `guided_json`.
    pub guided_json: Option<&'a Value>,
    /// vLLM's `guided_regex`.
    pub guided_regex: Option<&'a str>,
    /// vLLM's `guided_choice`.
    pub guided_choice: Option<&'a [String]>,
    /// vLLM's `guided_grammar`.
    pub guided_grammar: Option<&'a str>,
    /// vLLM's `structured_outputs`.
    pub structured_outputs: Option<&'a Map<String, Value>>,
}

impl StructuredFields<'_> {
    /// What limits the answer; `None` for nothing.
    ///
    /// # Errors
    /// A field of another form, or two fields at once.
    pub fn resolve(&self) -> Result<Option<Structured>, ApiError> {
        let mut found = Vec::new();
        let mut add = |field: &str, source: GrammarSource| {
            found.push(Structured { field: field.to_owned(), source });
        };
        if let Some(format) = self.response_format {
            if let Some((field, source)) = response_format(format)? {
                add(&field, source);
            }
        }
        for (field, schema) in
            [("json_schema", self.json_schema), ("guided_json", self.guided_json)]
        {
            if let Some(schema) = schema {
                add(field, GrammarSource::JsonSchema(parsed(field, schema)?));
            }
        }
        for (field, grammar) in [("grammar", self.grammar), ("guided_grammar", self.guided_grammar)]
        {
            if let Some(grammar) = said(grammar) {
                add(field, GrammarSource::grammar(grammar));
            }
        }
        if let Some(regex) = said(self.guided_regex) {
            add("guided_regex", GrammarSource::Regex(regex.to_owned()));
        }
        if let Some(choices) = self.guided_choice.filter(|choices| !choices.is_empty()) {
            add("guided_choice", GrammarSource::Choices(choices.to_vec()));
        }
        if let Some(outputs) = self.structured_outputs {
            for (field, source) in structured_outputs(outputs)? {
                add(&field, source);
            }
        }
        if let [first, second, ..] = &found[..] {
            let message =
                format!("Expected one of {} and {}, got both.", first.field, second.field);
            return Err(ApiError::field(second.field.clone(), message));
        }
        Ok(found.pop())
    }
}

/// A text that is not empty.
fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// OpenAI's format of an answer: `text`, `json_object` or `json_schema`.
fn response_format(format: &Value) -> Result<Option<(String, GrammarSource)>, ApiError> {
    let kind = format["type"].as_str().unwrap_or_default();
    match kind {
        "text" => Ok(None),
        "json_object" => {
            // llama.cpp takes a schema here.
            let source = match format.get("schema").filter(|schema| !schema.is_null()) {
                Some(schema) => GrammarSource::JsonSchema(schema.clone()),
                None => GrammarSource::json_object(),
            };
            Ok(Some(("response_format".to_owned(), source)))
        }
        "json_schema" => {
            let schema = [&format["json_schema"]["schema"], &format["schema"]];
            let Some(schema) = schema.into_iter().find(|schema| !schema.is_null()) else {
                return Err(ApiError::field(
                    "response_format.json_schema.schema",
                    "Expected a JSON schema, got none.",
                ));
            };
            let field = "response_format.json_schema.schema".to_owned();
            Ok(Some((field, GrammarSource::JsonSchema(schema.clone()))))
        }
        "grammar" => {
            let Some(grammar) = format["grammar"].as_str() else {
                return Err(ApiError::field("response_format.grammar", "Expected a grammar."));
            };
            Ok(Some(("response_format.grammar".to_owned(), GrammarSource::grammar(grammar))))
        }
        other => {
            let message =
                format!("Expected text, json_object, json_schema or grammar, got {other:?}.");
            Err(ApiError::field("response_format.type", message))
        }
    }
}

/// A schema, which some clients send as a text of JSON.
fn parsed(field: &str, schema: &Value) -> Result<Value, ApiError> {
    let Value::String(text) = schema else { return Ok(schema.clone()) };
    serde_json::from_str(text)
        .map_err(|error| ApiError::field(field, format!("The schema is not JSON: {error}.")))
}

fn structured_outputs(
    outputs: &Map<String, Value>,
) -> Result<Vec<(String, GrammarSource)>, ApiError> {
    let mut found = Vec::new();
    for (name, value) in outputs.iter().filter(|(_, value)| !value.is_null()) {
        let field = format!("structured_outputs.{name}");
        let wrong = |expected: &str| {
            Err(ApiError::field(field.clone(), format!("Expected {expected}, got {value}.")))
        };
        let source = match (name.as_str(), value) {
            ("json", schema) => GrammarSource::JsonSchema(parsed(&field, schema)?),
            ("json_object", Value::Bool(true)) => GrammarSource::json_object(),
            ("json_object", Value::Bool(false)) => continue,
            ("json_object", _) => return wrong("true or false"),
            ("regex", Value::String(regex)) => GrammarSource::Regex(regex.clone()),
            ("grammar", Value::String(grammar)) => GrammarSource::grammar(grammar),
            ("regex" | "grammar", _) => return wrong("a text"),
            ("choice", choices) => match serde_json::from_value(choices.clone()) {
                Ok(choices) => GrammarSource::Choices(choices),
                Err(_) => return wrong("a list of texts"),
            },
            // White space is as this server writes it in any case.
            ("disable_any_whitespace" | "disable_fallback" | "backend", _) => continue,
            _ => {
                let message = format!(
                    "{field} is not supported: json, json_object, regex, grammar and choice are."
                );
                return Err(ApiError::unsupported(&field, message));
            }
        };
        found.push((field, source));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn format(format: Value) -> Result<Option<Structured>, String> {
        let fields = StructuredFields { response_format: Some(&format), ..Default::default() };
        fields.resolve().map_err(|error| error.body.param.expect("a field"))
    }

    #[test]
    fn formats_of_openai_and_llama_cpp_are_read() {
        let schema = json!({"type": "integer"});
        let source = |value| format(value).expect("good").map(|found| found.source);
        assert_eq!(source(json!({"type": "text"})), None);
        assert_eq!(source(json!({"type": "json_object"})), Some(GrammarSource::json_object()));
        let expected = Some(GrammarSource::JsonSchema(schema.clone()));
        for value in [
            json!({"type": "json_object", "schema": schema}),
            json!({"type": "json_schema", "schema": schema}),
            json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema}}),
        ] {
            assert_eq!(source(value.clone()), expected, "{value}");
        }
        assert_eq!(format(json!({"type": "yaml"})), Err("response_format.type".into()));
        assert_eq!(
            format(json!({"type": "json_schema"})),
            Err("response_format.json_schema.schema".into())
        );
    }

    #[test]
    fn fields_of_vllm_are_read_and_two_at_once_are_refused() {
        let resolve = |fields: &StructuredFields<'_>| {
            fields.resolve().map_err(|error| error.body.param.expect("a field"))
        };
        let choices = ["a".to_owned()];
        let fields = StructuredFields { guided_choice: Some(&choices), ..Default::default() };
        let found = resolve(&fields).expect("good").expect("a choice");
        assert_eq!(found.source, GrammarSource::Choices(vec!["a".into()]));
        let both = StructuredFields { guided_regex: Some("a"), ..fields };
        assert_eq!(resolve(&both), Err("guided_choice".into()));
        for (outputs, source) in [
            (json!({"json": "{\"type\": \"null\"}"}), Ok(json!({"type": "null"}))),
            (json!({"json": {"type": "null"}}), Ok(json!({"type": "null"}))),
            (json!({"structural_tag": "x"}), Err("structured_outputs.structural_tag")),
            (json!({"choice": 3}), Err("structured_outputs.choice")),
            (json!({"json": "{"}), Err("structured_outputs.json")),
        ] {
            let outputs = outputs.as_object().expect("an object");
            let fields =
                StructuredFields { structured_outputs: Some(outputs), ..Default::default() };
            let found = resolve(&fields).map(|found| found.expect("one").source);
            assert_eq!(
                found,
                source.map(GrammarSource::JsonSchema).map_err(str::to_owned),
                "{outputs:?}"
            );
        }
        let empty = StructuredFields { grammar: Some(""), ..Default::default() };
        assert_eq!(resolve(&empty), Ok(None));
    }
}
