//! How the text of an answer becomes a message: reasoning, calls, content.

use std::hash::{BuildHasher, RandomState};

use serde::Serialize;
use utoipa::ToSchema;

use super::{AnswerParser, ChannelStart, Part, ReasoningTags, ToolFormat};

/// How the answers to a request are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// How calls are written, if there are tools.
    pub tools: Option<ToolFormat>,
    /// The tools' names.
    pub names: Vec<String>,
    /// The tags of reasoning, if the model reasons.
    pub reasoning: Option<ReasoningTags>,
    /// Where the answer begins, if it is in channels.
    pub channels: Option<ChannelStart>,
    /// The request has the older form of tools, `functions`.
    pub legacy: bool,
}

impl Reader {
    /// All of an answer is content.
    #[must_use]
    pub fn plain() -> Self {
        Reader { tools: None, names: Vec::new(), reasoning: None, channels: None, legacy: false }
    }

    /// A parser for one answer.
    #[must_use]
    pub fn parser(&self) -> AnswerParser {
        let names = self.names.clone();
        match &self.channels {
            Some(start) => AnswerParser::channels(names, start),
            None => AnswerParser::new(self.tools, names, self.reasoning),
        }
    }

    /// An id of a call: nine letters and digits, which Mistral's template asks for, after `call_`
    /// for others.
    #[must_use]
    pub fn call_id(&self) -> String {
        const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut number = RandomState::new().hash_one(());
        let letters = std::iter::repeat_with(|| {
            let letter = LETTERS[(number % 36) as usize];
            number /= 36;
            char::from(letter)
        });
        let letters: String = letters.take(9).collect();
        match self.tools {
            Some(ToolFormat::Mistral) => letters,
            _ => format!("call_{letters}"),
        }
    }

    /// The message of a whole answer.
    #[must_use]
    pub fn read(&self, text: &str) -> Read {
        let mut parser = self.parser();
        let mut read = Read::default();
        for part in parser.push(text).into_iter().chain(parser.finish()) {
            match part {
                Part::Content(text) => read.content.push_str(&text),
                Part::Reasoning(text) => read.reasoning.push_str(&text),
                Part::Call { name, .. } => read.calls.push(ToolCall {
                    id: self.call_id(),
                    kind: "function",
                    function: CalledFunction { name, arguments: String::new() },
                }),
                Part::Arguments { index, text } => {
                    if let Some(call) = read.calls.get_mut(index) {
                        call.function.arguments.push_str(&text);
                    }
                }
            }
        }
        read
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Read {
    /// Text.
    pub content: String,
    /// What the model thought.
    pub reasoning: String,
    /// Calls of tools.
    pub calls: Vec<ToolCall>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToolCall {
    /// Its id, for the message that answers it.
    pub id: String,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What is called.
    pub function: CalledFunction,
}

/// A function with arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CalledFunction {
    /// Its name.
    pub name: String,
    /// A text of JSON.
    pub arguments: String,
}

/// More of a call, in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToolCallDelta {
    /// The call's number in the answer, from 0.
    pub index: usize,
    /// Its id, when it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`, when it begins.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// What is new.
    pub function: FunctionDelta,
}

/// More of a function's call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct FunctionDelta {
    /// The function, when its call begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More of the text of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
}
