//! How model families write calls of tools.

use serde_json::{Value, json};
use speckv_grammar::{Begins, GrammarSource};

use super::{
    Tool,
    channel_grammar::call_headers,
    lark::{move_references, quoted, tag, with_layout},
};
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
    /// Messages in channels, of which those to `functions.NAME` are calls: gpt-oss.
    Harmony,
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
            () if reads("channel") && reads("analysis") => ToolFormat::Harmony,
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
            ToolFormat::Harmony => "",
        }
    }

    /// What stands after a call.
    #[must_use]
    pub fn closing_tag(self) -> &'static str {
        match self {
            ToolFormat::Hermes | ToolFormat::Generic => "</tool_call>",
            ToolFormat::Llama | ToolFormat::Mistral | ToolFormat::Harmony => "",
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
    /// the answer may fit instead, a JSON schema. For [`Harmony`](Self::Harmony) see
    /// [`ChannelGrammar`](super::ChannelGrammar).
    #[must_use]
    pub fn calls(
        self,
        language: &dyn Language,
        tools: &[&Tool],
        parallel: bool,
        answer: Option<&Value>,
    ) -> GrammarSource {
        let tag = |text: &str| tag(language, text);
        let mut call = format!("call: %json {}\n", self.call_schema(tools));
        let calls = match self {
            ToolFormat::Hermes | ToolFormat::Generic => {
                let one =
                    format!("{} \"\\n\" call \"\\n\" {}", tag(self.tag()), tag(self.closing_tag()));
                if parallel { format!("{one} (\"\\n\" {one})*") } else { one }
            }
            ToolFormat::Llama | ToolFormat::Harmony => "call".to_owned(),
            ToolFormat::Mistral if token_of(language, ARGUMENTS).is_some() => {
                call = named_calls(language, tools, "call");
                let one = format!("{} call", tag(self.tag()));
                if parallel { format!("({one})+") } else { one }
            }
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

    /// How calls may begin that the model makes by itself, and what may follow.
    #[must_use]
    pub fn starts(
        self,
        language: &dyn Language,
        tools: &[&Tool],
        parallel: bool,
    ) -> Vec<CallStart> {
        let call = format!("call: %json {}\n", self.call_schema(tools));
        let tag = |text: &str| tag(language, text);
        let (texts, begins, lark) = match self {
            ToolFormat::Hermes | ToolFormat::Generic => {
                let close = tag(self.closing_tag());
                let lark = format!("start: \"\\n\" call \"\\n\" {close}\n{call}");
                (vec![self.tag().to_owned()], Begins::After, lark)
            }
            // The calls are the whole answer. Its beginning is a call where it names a tool.
            ToolFormat::Llama => {
                let name = |tool: &&Tool| format!("{{\"name\": {}", quoted(&tool.name));
                let names = tools.iter().map(name);
                let texts = names.flat_map(|name| [format!("{}{name}", self.tag()), name]);
                let more = if parallel { " (\"; \" call)*" } else { "" };
                let lark = format!("start: {}? call{more}\n{call}", tag(self.tag()));
                (texts.collect(), Begins::With, lark)
            }
            ToolFormat::Mistral => {
                let more = if parallel { " (\", \" call)*" } else { "" };
                let lark = format!(
                    "start: \" \"? \"[\" call{more} \"]\" | named\n{call}{}",
                    named_calls(language, tools, "named")
                );
                (vec![self.tag().to_owned()], Begins::After, lark)
            }
            ToolFormat::Harmony => {
                let start = |tool: &&Tool| CallStart {
                    texts: call_headers(tool),
                    begins: Begins::After,
                    grammar: GrammarSource::JsonSchema(tool.parameters.clone()),
                };
                return tools.iter().map(start).collect();
            }
        };
        vec![CallStart { texts, begins, grammar: GrammarSource::Lark(lark) }]
    }

    /// Whether the answer ends with what [`starts`](Self::starts) begins.
    #[must_use]
    pub fn ends_with_calls(self, parallel: bool) -> bool {
        !parallel || matches!(self, ToolFormat::Llama | ToolFormat::Harmony)
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

/// How calls may begin.
#[derive(Debug, Clone, PartialEq)]
pub struct CallStart {
    /// Texts by which they begin.
    pub texts: Vec<String>,
    /// Where the grammar begins.
    pub begins: Begins,
    /// What they are.
    pub grammar: GrammarSource,
}

/// Stands between a name and arguments where the vocabulary of a Mistral has it.
const ARGUMENTS: &str = "[ARGS]";

/// A rule of a name with arguments.
fn named_calls(language: &dyn Language, tools: &[&Tool], rule: &str) -> String {
    let names: Vec<String> = (0..tools.len()).map(|index| format!("{rule}{index}")).collect();
    let between = match token_of(language, ARGUMENTS) {
        Some(_) => tag(language, ARGUMENTS),
        None => String::new(),
    };
    let mut rules = format!("{rule}: {}\n", names.join(" | "));
    for (index, tool) in tools.iter().enumerate() {
        let (name, schema) = (quoted(&tool.name), with_layout(tool.parameters.clone()));
        rules.push_str(&format!(
            "{rule}{index}: {name} {between} arguments{index}\narguments{index}: %json {schema}\n"
        ));
    }
    rules
}
