//! How model families write calls of tools.

use serde_json::{Value, json};
use speckv_grammar::GrammarSource;

use super::Tool;
use crate::{grammars::token_of, language::Language};

/// How a model writes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolFormat {
    /// `<tool_call>{"name": ..., "arguments": ...}</tool_call>`: Hermes, Qwen, SmolLM.
    Hermes,
    /// `{"name": ..., "parameters": ...}`, perhaps after `<|python_tag|>`: Llama 3.
    Llama,
    /// `[TOOL_CALLS]` and a list of calls, or a name with `[ARGS]`: Mistral.
    Mistral,
    /// Hermes' format, described to the model in a message since its template knows no tools:
    /// Gemma and others.
    Generic,
}

impl ToolFormat {
    /// The format that the model's chat template describes.
    #[must_use]
    pub fn of(language: &dyn Language) -> Self {
        let reads = |name: &str| language.template_reads(name);
        match () {
            () if !reads("tools") => ToolFormat::Generic,
            () if reads("TOOL_CALLS") => ToolFormat::Mistral,
            () if reads("tool_call") => ToolFormat::Hermes,
            () if reads("ipython") || reads("python_tag") => ToolFormat::Llama,
            () => ToolFormat::Hermes,
        }
    }

    /// What stands before a call.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            ToolFormat::Hermes | ToolFormat::Generic => "<tool_call>",
            ToolFormat::Llama => "<|python_tag|>",
            ToolFormat::Mistral => "[TOOL_CALLS]",
        }
    }

    /// What stands after a call.
    #[must_use]
    pub fn closing_tag(self) -> &'static str {
        match self {
            ToolFormat::Hermes | ToolFormat::Generic => "</tool_call>",
            ToolFormat::Llama | ToolFormat::Mistral => "",
        }
    }

    /// Whether a call may stand without its tag at the beginning of an answer.
    #[must_use]
    pub fn calls_without_tag(self) -> bool {
        self == ToolFormat::Llama
    }

    /// What the arguments are called.
    fn arguments(self) -> &'static str {
        if self == ToolFormat::Llama { "parameters" } else { "arguments" }
    }

    /// The grammar of calls of these tools, the first tag included. `answer`: another grammar that
    /// the answer may fit instead, a JSON schema.
    #[must_use]
    pub fn calls(
        self,
        language: &dyn Language,
        tools: &[&Tool],
        parallel: bool,
        answer: Option<&Value>,
    ) -> GrammarSource {
        let tag = |text: &str| tag(language, text);
        let call = format!("call: %json {}\n", self.call_schema(tools));
        let calls = match self {
            ToolFormat::Hermes | ToolFormat::Generic => {
                let one =
                    format!("{} \"\\n\" call \"\\n\" {}", tag(self.tag()), tag(self.closing_tag()));
                if parallel { format!("{one} (\"\\n\" {one})*") } else { one }
            }
            ToolFormat::Llama => "call".to_owned(),
            ToolFormat::Mistral if parallel => {
                format!("{} \"[\" call (\", \" call)* \"]\"", tag(self.tag()))
            }
            ToolFormat::Mistral => format!("{} \"[\" call \"]\"", tag(self.tag())),
        };
        GrammarSource::Lark(match answer {
            None => format!("start: {calls}\n{call}"),
            Some(schema) => {
                let schema = with_layout(schema.clone());
                format!("start: calls | answer\ncalls: {calls}\nanswer: %json {schema}\n{call}")
            }
        })
    }

    /// What follows the tag of a call that the model has begun by itself; `None` where calls have no
    /// tag that is always there.
    #[must_use]
    pub fn after_tag(self, language: &dyn Language, tools: &[&Tool]) -> Option<GrammarSource> {
        let call = format!("call: %json {}\n", self.call_schema(tools));
        let rest = match self {
            ToolFormat::Hermes | ToolFormat::Generic => {
                let close = tag(language, self.closing_tag());
                format!("start: \"\\n\" call \"\\n\" {close}\n")
            }
            ToolFormat::Llama | ToolFormat::Mistral => return None,
        };
        Some(GrammarSource::Lark(rest + &call))
    }

    /// The schema of a call of one of the tools.
    fn call_schema(self, tools: &[&Tool]) -> Value {
        let mut definitions = serde_json::Map::new();
        let calls: Vec<Value> = tools
            .iter()
            .enumerate()
            .map(|(index, tool)| {
                let name = format!("t{index}");
                let mut parameters = tool.parameters.clone();
                move_references(&mut parameters, &format!("#/$defs/{name}"));
                definitions.insert(name.clone(), parameters);
                json!({
                    "type": "object",
                    "properties": {
                        "name": {"const": tool.name},
                        (self.arguments()): {"$ref": format!("#/$defs/{name}")},
                    },
                    "required": ["name", self.arguments()],
                    "additionalProperties": false,
                })
            })
            .collect();
        with_layout(json!({"anyOf": calls, "$defs": definitions}))
    }

    /// What a model whose template knows no tools is told.
    #[must_use]
    pub fn instructions(tools: &[&Tool]) -> String {
        let definitions: Vec<String> =
            tools.iter().map(|tool| tool.for_template().to_string()).collect();
        format!(
            "You may call one or more functions to assist with the user query.\n\n\
             You are provided with function signatures within <tools></tools> XML tags:\n\
             <tools>\n{}\n</tools>\n\n\
             For each function call, return a JSON object with function name and arguments within \
             <tool_call></tool_call> XML tags:\n\
             <tool_call>\n{{\"name\": <function-name>, \"arguments\": <args-json-object>}}\n\
             </tool_call>",
            definitions.join("\n")
        )
    }
}

/// A tag in a Lark grammar: a control token where it is one, else its text.
fn tag(language: &dyn Language, text: &str) -> String {
    match token_of(language, text) {
        Some(token) if language.is_control(token) && text.starts_with('<') => text.to_owned(),
        Some(token) if language.is_control(token) => format!("<[{token}]>"),
        _ => Value::from(text).to_string(),
    }
}

/// A schema whose JSON has the layout of all answers.
fn with_layout(mut schema: Value) -> Value {
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
fn move_references(schema: &mut Value, root: &str) {
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
