//! Where a model keeps its templates.

use std::path::Path;

use serde_json::Value;

use super::TemplateError;
use crate::gguf::Metadata;

/// Key of a GGUF file for the template of chats; others follow after a dot.
const KEY: &str = "tokenizer.chat_template";

/// The sources of a model's templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// For chats.
    pub default: Option<String>,
    /// For chats with tools, if it is another.
    pub tool_use: Option<String>,
}

impl Sources {
    /// Of a GGUF file: `tokenizer.chat_template` and `tokenizer.chat_template.tool_use`.
    pub(crate) fn in_metadata(metadata: &Metadata) -> Result<Self, TemplateError> {
        let text = |key: &str| metadata.opt_string(key).map(|text| text.map(str::to_owned));
        Ok(Self { default: text(KEY)?, tool_use: text(&format!("{KEY}.tool_use"))? })
    }

    /// The entries of a GGUF file.
    pub(crate) fn keys(self) -> Vec<(String, crate::gguf::Value)> {
        let named = [(KEY.to_owned(), self.default), (format!("{KEY}.tool_use"), self.tool_use)];
        named.into_iter().filter_map(|(key, text)| Some((key, text?.into()))).collect()
    }

    /// Of a folder, each from the first of these files that has it: `chat_template.jinja` and
    /// `additional_chat_templates/NAME.jinja`, `tokenizer_config.json`, `chat_template.json`.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, TemplateError> {
        let mut found = Self {
            default: read(&folder.join("chat_template.jinja"))?,
            tool_use: read(&folder.join("additional_chat_templates").join("tool_use.jinja"))?,
        };
        if found.default.is_none() {
            found.default = read(&folder.join("additional_chat_templates").join("default.jinja"))?;
        }
        if found.default.is_some() {
            return Ok(found);
        }
        for name in ["tokenizer_config.json", "chat_template.json"] {
            let path = folder.join(name);
            let Some(text) = read(&path)? else { continue };
            let json: Value = serde_json::from_str(&text)
                .map_err(|source| TemplateError::Json { path, source })?;
            found.take(&json["chat_template"]);
        }
        Ok(found)
    }

    /// One template, or several as a list of `name` and `template` or as an object by name.
    fn take(&mut self, templates: &Value) {
        let named = |wanted: &str| match templates {
            Value::Array(list) => list
                .iter()
                .find(|entry| entry["name"] == wanted)
                .and_then(|entry| entry["template"].as_str()),
            Value::Object(by_name) => by_name.get(wanted).and_then(Value::as_str),
            one => one.as_str().filter(|_| wanted == "default"),
        };
        let text = |wanted: &str| named(wanted).map(str::to_owned);
        self.default = self.default.take().or_else(|| text("default"));
        self.tool_use = self.tool_use.take().or_else(|| text("tool_use"));
    }
}

fn read(path: &Path) -> Result<Option<String>, TemplateError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TemplateError::Io { path: path.to_owned(), source }),
    }
}
