//! Reading the fields of a request, each of which must be known.

use serde_json::{Map, Value, json};

use crate::{api::fields, error::ApiError};

/// The fields of an object that were not read yet.
pub(super) struct Fields {
    left: Map<String, Value>,
    path: String,
}

impl Fields {
    /// Of an object at this path; the path of a request itself is empty.
    pub(super) fn new(object: Map<String, Value>, path: impl Into<String>) -> Self {
        Fields { left: object, path: path.into() }
    }

    /// Of a value that must be an object.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn of(value: Value, path: impl Into<String>) -> Result<Self, ApiError> {
        let path = path.into();
        match value {
            Value::Object(object) => Ok(Fields::new(object, path)),
            other => Err(ApiError::field(path, format!("Expected an object, got {other}."))),
        }
    }

    /// The path of a field.
    pub(super) fn path(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// Takes a field; `None` where it is absent or null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.left.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes a text.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                Err(ApiError::field(self.path(name), format!("Expected a text, got {other}.")))
            }
        }
    }

    /// Takes a list; an absent one is empty.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, ApiError> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => {
                Err(ApiError::field(self.path(name), format!("Expected a list, got {other}.")))
            }
        }
    }

    /// Takes a switch; an absent one is `default`.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn switch(&mut self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => {
                let message = format!("Expected true or false, got {other}.");
                Err(ApiError::field(self.path(name), message))
            }
        }
    }

    /// Moves fields to a chat request, by the names that they have here and there.
    pub(super) fn pass(&mut self, names: &[(&str, &str)], chat: &mut Map<String, Value>) {
        for (name, there) in names {
            if let Some(value) = self.take(name) {
                chat.insert((*there).to_owned(), value);
            }
        }
    }

    /// Moves `tools` to a chat request.
    ///
    /// # Errors
    /// Tools of another type, fields that are not known.
    pub(super) fn tools(
        &mut self,
        form: &ToolFields,
        chat: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let path = self.path("tools");
        let tools = self.list("tools")?.into_iter().enumerate();
        let tools = tools.map(|(index, tool)| form.read(tool, format!("{path}[{index}]")));
        let tools: Vec<Value> = tools.collect::<Result<_, ApiError>>()?;
        if !tools.is_empty() {
            chat.insert("tools".into(), tools.into());
        }
        Ok(())
    }

    /// Takes fields that cannot change the answer.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            let _ = self.take(name);
        }
    }

    /// Refuses the first field that is left.
    ///
    /// # Errors
    /// One is left.
    pub(super) fn end(self) -> Result<(), ApiError> {
        match self.left.iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(fields::unknown(&self.path(name))),
            None => Ok(()),
        }
    }
}

/// How an interface defines a tool.
pub(super) struct ToolFields {
    /// The type of functions.
    pub kind: &'static str,
    /// A tool without a type is one.
    pub is_default: bool,
    /// The field with the schema of the arguments.
    pub parameters: &'static str,
    /// Fields that cannot change the answer.
    pub ignored: &'static [&'static str],
}

impl ToolFields {
    /// A tool as a chat request has it.
    fn read(&self, tool: Value, path: String) -> Result<Value, ApiError> {
        let mut fields = Fields::of(tool, path)?;
        let default = if self.is_default { self.kind } else { "" };
        let kind = fields.text("type")?.unwrap_or_else(|| default.to_owned());
        if kind != self.kind {
            let message =
                format!("Only tools of the type {:?} are supported, got {kind:?}.", self.kind);
            return Err(ApiError::unsupported(&fields.path("type"), message));
        }
        let mut function = Map::new();
        let names =
            [("name", "name"), ("description", "description"), (self.parameters, "parameters")];
        fields.pass(&names, &mut function);
        fields.ignore(self.ignored);
        fields.end()?;
        Ok(json!({"type": "function", "function": function}))
    }
}

/// A text, or the texts of a list of parts of these types, joined.
///
/// # Errors
/// Parts of other types.
pub(super) fn text_of(content: Value, kinds: &[&str], path: &str) -> Result<String, ApiError> {
    let parts = match content {
        Value::String(text) => return Ok(text),
        Value::Null => return Ok(String::new()),
        Value::Array(parts) => parts,
        other => {
            let message = format!("Expected a text or a list of parts, got {other}.");
            return Err(ApiError::field(path, message));
        }
    };
    let mut whole = String::new();
    for (index, part) in parts.iter().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        match part["text"].as_str().filter(|_| kinds.contains(&kind)) {
            Some(text) => whole.push_str(text),
            None => {
                let message =
                    format!("Expected a part of type {}, got {kind:?}.", kinds.join(" or "));
                return Err(ApiError::field(format!("{path}[{index}]"), message));
            }
        }
    }
    Ok(whole)
}

/// An object of these fields.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
