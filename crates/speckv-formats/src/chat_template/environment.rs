//! The Jinja environment of the `transformers` library.

use std::io;

use minijinja::{
    Environment, Error, ErrorKind, Value,
    value::{Kwargs, ValueKind},
};
use regex::Regex;
use serde::Serialize;

use super::{TemplateError, error::Raised};

/// Most bytes that a template may write: more than any context holds.
pub(super) const MOST_BYTES: usize = 64 << 20;

pub(super) fn new() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(|output, state, value| match value.kind() {
        // As Python spells them.
        ValueKind::Bool => {
            output.write_str(if value.is_true() { "True" } else { "False" }).map_err(Error::from)
        }
        ValueKind::None => output.write_str("None").map_err(Error::from),
        _ => minijinja::escape_formatter(output, state, value),
    });
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
    });
    environment
}

/// `{% generation %}` marks the assistant's words for training and changes no text; the engine does
/// not know it. It becomes a block that is always taken, with the same trimming.
pub(super) fn without_generation_blocks(source: &str) -> String {
    // A constant pattern, compiled by every test of this room.
    let tag = Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("constant pattern");
    tag.replace_all(source, |found: &regex::Captures| {
        let name = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {name} {}%}}", &found[1], &found[3])
    })
    .into_owned()
}

/// JSON as Python's `json.dumps` writes it with `ensure_ascii=False`: a space after `,` and `:`,
/// nothing escaped for HTML.
fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, OneLine)),
        Some(width) => {
            let indent = vec![b' '; width.min(64)];
            let pretty = serde_json::ser::PrettyFormatter::with_indent(&indent);
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, pretty))
        }
    };
    let fail = |reason: String| Error::new(ErrorKind::BadSerialization, reason);
    written.map_err(|error| fail(error.to_string()))?;
    // Safe: the text is not escaped again, whatever the template is called.
    String::from_utf8(bytes).map(Value::from_safe_string).map_err(|error| fail(error.to_string()))
}

struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Collects what a template writes, up to [`MOST_BYTES`].
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    full: bool,
}

impl Output {
    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn into_text(self) -> Result<String, TemplateError> {
        String::from_utf8(self.bytes).map_err(|_| TemplateError::NotText)
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MOST_BYTES {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
