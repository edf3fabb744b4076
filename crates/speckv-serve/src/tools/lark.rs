//! Parts of grammars in the Lark dialect of `llguidance`.

use serde_json::{Value, json};

use crate::{grammars::token_of, language::Language};

/// A tag: a control token where it is one, else its text.
pub(super) fn tag(language: &dyn Language, text: &str) -> String {
    match token_of(language, text) {
        Some(token) if language.is_control(token) && text.starts_with('<') => text.to_owned(),
        Some(token) if language.is_control(token) => format!("<[{token}]>"),
        _ => quoted(text),
    }
}

/// A text.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A schema whose JSON has the layout of all answers.
pub(super) fn with_layout(mut schema: Value) -> Value {
    if !schema.is_object() {
        schema = json!({});
    }
    schema["x-guidance"] = json!({
        "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false,
        "coerce_one_of": true,
    });
    schema
}

/// Makes references to the root of a schema references to where it now stands.
pub(super) fn move_references(schema: &mut Value, root: &str) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::String(target) if name == "$ref" => {
                        if let Some(rest) = target.strip_prefix('#') {
                            *target = format!("{root}{rest}");
                        }
                    }
                    value => move_references(value, root),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| move_references(value, root)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_follow_a_schema_to_its_new_place() {
        let mut schema = json!({"properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#"}},
            "$defs": {"x": {"items": [{"$ref": "other.json"}]}}});
        move_references(&mut schema, "#/$defs/t0");
        assert_eq!(schema["properties"]["a"]["$ref"], "#/$defs/t0/$defs/x");
        assert_eq!(schema["properties"]["b"]["$ref"], "#/$defs/t0");
        assert_eq!(schema["$defs"]["x"]["items"][0]["$ref"], "other.json");
    }
}
