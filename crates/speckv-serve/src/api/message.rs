//! Messages of a conversation.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::fields;
use crate::{
    error::ApiError,
    language::Language,
    tools::{Tool, ToolFormat},
};

/// A message. Fields that are not listed are refused by name, unless they are null or cannot change
/// the answer.
#[derive(Debug, Clone, PartialEq, Default, ToSchema)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant`, `tool`, or what else the model's template knows.
    pub role: String,
    /// The text.
    pub content: Option<Content>,
    /// Name of the author, or of the tool. The model's template may read it.
    pub name: Option<String>,
    /// Tools that the assistant called. Refused where the model's template does not read them.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<Vec<Map<String, Value>>>,
    /// A call in the older form.
    #[schema(value_type = Option<Object>)]
    pub function_call: Option<Map<String, Value>>,
    /// The call that a message of the role `tool` answers.
    pub tool_call_id: Option<String>,
    /// What the assistant thought before its answer.
    pub reasoning_content: Option<String>,
    /// Fields that are refused.
    #[schema(ignore)]
    pub unknown: Vec<String>,
}

/// The text of a message: a string, or parts that are text.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or a list of parts")]
pub enum Content {
    /// Text.
    Text(String),
    /// Parts.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Default, ToSchema)]
pub struct Part {
    /// Only `text`.
    #[schema(rename = "type")]
    pub kind: String,
    /// The text.
    pub text: Option<String>,
    /// Fields that are refused.
    #[schema(ignore)]
    pub unknown: Vec<String>,
}

/// Fields of messages and their parts that cannot change the answer.
pub const HARMLESS: [(&str, &str); 8] = [
    ("id", "a name for the client's own use"),
    ("metadata", "labels for the client's own use"),
    ("annotations", "citations in an earlier answer"),
    ("cache_control", "a hint for the prompt cache"),
    ("created", "when it was written"),
    ("created_at", "when it was written"),
    ("timestamp", "when it was written"),
    ("model", "which model wrote it"),
];

/// Fields of messages that are accepted while they are empty, `false` or null.
const EMPTY: [&str; 5] = ["refusal", "prefix", "partial", "images", "audio"];

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message: an object with role and content")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
        let mut message = Message::default();
        let mut role = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "role" => role = Some(map.next_value()?),
                "content" => message.content = map.next_value()?,
                "name" => message.name = map.next_value()?,
                "tool_calls" => message.tool_calls = map.next_value()?,
                "function_call" => message.function_call = map.next_value()?,
                "tool_call_id" => message.tool_call_id = map.next_value()?,
                "reasoning_content" | "reasoning" => {
                    message.reasoning_content = map.next_value()?;
                }
                other => rest(other, &mut map, &mut message.unknown)?,
            }
        }
        message.role = role.ok_or_else(|| de::Error::missing_field("role"))?;
        Ok(message)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part: an object with type and text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
        let mut part = Part::default();
        let mut kind = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "type" => kind = Some(map.next_value()?),
                "text" => part.text = map.next_value()?,
                other => rest(other, &mut map, &mut part.unknown)?,
            }
        }
        part.kind = kind.ok_or_else(|| de::Error::missing_field("type"))?;
        Ok(part)
    }
}

/// A field that has no place of its own.
fn rest<'de, A: MapAccess<'de>>(
    name: &str,
    map: &mut A,
    unknown: &mut Vec<String>,
) -> Result<(), A::Error> {
    if HARMLESS.iter().any(|(harmless, _)| *harmless == name) {
        map.next_value::<IgnoredAny>()?;
        return Ok(());
    }
    let is_off = if EMPTY.contains(&name) {
        match map.next_value::<Value>()? {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        }
    } else {
        map.next_value::<Option<IgnoredAny>>()?.is_none()
    };
    if !is_off {
        unknown.push(name.to_owned());
    }
    Ok(())
}

impl Message {
    /// The message number `index` as a chat template takes it.
    ///
    /// # Errors
    /// Fields that are unknown, parts that are not text, tool calls that are malformed.
    pub fn for_template(&self, index: usize) -> Result<Map<String, Value>, ApiError> {
        let path = |field: &str| format!("messages[{index}].{field}");
        if let Some(name) = self.unknown.first() {
            return Err(fields::unknown(&path(name)));
        }
        // OpenAI's newer name for instructions, of which templates know the older one.
        let role = match self.role.as_str() {
            "developer" => "system",
            "function" => "tool", // the older form
            role => role,
        };
        let mut message = Map::new();
        message.insert("role".into(), role.into());
        message.insert("content".into(), self.text(index)?.into());
        for (name, value) in [
            ("name", &self.name),
            ("tool_call_id", &self.tool_call_id),
            ("reasoning_content", &self.reasoning_content),
        ] {
            if let Some(value) = value {
                message.insert(name.into(), value.as_str().into());
            }
        }
        let older = self.function_call.as_ref().map(|function| {
            Map::from_iter([("function".to_owned(), Value::Object(function.clone()))])
        });
        let calls = match older {
            Some(call) => vec![call],
            None => self.tool_calls.clone().unwrap_or_default(),
        };
        if !calls.is_empty() {
            let calls: Result<Vec<Value>, ApiError> = calls
                .iter()
                .enumerate()
                .map(|(number, call)| tool_call(call, &path(&format!("tool_calls[{number}]"))))
                .collect();
            message.insert("tool_calls".into(), calls?.into());
        }
        Ok(message)
    }

    fn text(&self, index: usize) -> Result<String, ApiError> {
        let content = self.content.as_ref();
        content.map_or(Ok(String::new()), |content| {
            content.text(&format!("messages[{index}].content"))
        })
    }
}

impl Content {
    /// The text, of parts joined. `path`: where it stands in the request.
    ///
    /// # Errors
    /// Parts that are not text, or have unknown fields.
    pub fn text(&self, path: &str) -> Result<String, ApiError> {
        let parts = match self {
            Content::Text(text) => return Ok(text.clone()),
            Content::Parts(parts) => parts,
        };
        let mut whole = String::new();
        for (place, part) in parts.iter().enumerate() {
            let path = format!("{path}[{place}]");
            if let Some(name) = part.unknown.first().filter(|_| part.kind == "text") {
                return Err(fields::unknown(&format!("{path}.{name}")));
            }
            match (part.kind.as_str(), &part.text) {
                ("text", Some(text)) => whole.push_str(text),
                (kind, _) => {
                    let message = format!(
                        "Expected a part of type \"text\" with a text, got {kind:?}; \
                         only text is supported."
                    );
                    return Err(ApiError::field(path, message));
                }
            }
        }
        Ok(whole)
    }
}

/// Says in words what a template without tools does not write: the tools, earlier calls, and what
/// they returned.
pub fn in_words(messages: &mut Vec<Map<String, Value>>, tools: &[&Tool], language: &dyn Language) {
    let text = |message: &Map<String, Value>| {
        message.get("content").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let reads_calls = language.template_reads("tool_calls");
    for message in messages.iter_mut().filter(|_| !reads_calls) {
        if let Some(Value::Array(calls)) = message.remove("tool_calls") {
            let calls = calls.iter().map(|call| {
                let Value::Object(function) = &call["function"] else { return String::new() };
                let call = serde_json::json!({
                    "name": function.get("name"), "arguments": function.get("arguments"),
                });
                format!("<tool_call>\n{call}\n</tool_call>")
            });
            let said = [text(message)].into_iter().filter(|said| !said.is_empty());
            let content = said.chain(calls).collect::<Vec<_>>().join("\n");
            message.insert("content".into(), content.into());
        }
        if message.get("role").is_some_and(|role| role == "tool") {
            let content = format!("<tool_response>\n{}\n</tool_response>", text(message));
            message.insert("role".into(), "user".into());
            message.insert("content".into(), content.into());
        }
    }
    if tools.is_empty() {
        return;
    }
    let instructions = ToolFormat::instructions(tools);
    match messages.first_mut().filter(|first| first.get("role").is_some_and(|r| r == "system")) {
        Some(system) => {
            let content = format!("{}\n\n{instructions}", text(system));
            system.insert("content".into(), content.into());
        }
        None => {
            let fields = [("role", "system".to_owned()), ("content", instructions)];
            let fields = fields.map(|(name, value)| (name.to_owned(), Value::from(value)));
            messages.insert(0, fields.into_iter().collect());
        }
    }
}

/// A call as templates take it: OpenAI writes the arguments as a text of JSON, templates expect the
/// object.
fn tool_call(call: &Map<String, Value>, path: &str) -> Result<Value, ApiError> {
    let mut call = call.clone();
    let function = call.get_mut("function").and_then(Value::as_object_mut);
    let Some(function) =
        function.filter(|function| function.get("name").is_some_and(Value::is_string))
    else {
        let message = "Expected a call with function.name, as the server's answers have it.";
        return Err(ApiError::field(format!("{path}.function"), message));
    };
    if let Some(Value::String(text)) = function.get("arguments")
        && let Ok(arguments @ Value::Object(_)) = serde_json::from_str::<Value>(text)
    {
        function.insert("arguments".into(), arguments);
    }
    Ok(Value::Object(call))
}
