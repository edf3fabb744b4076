//! Chat templates: a list of messages becomes the text that a model was trained to answer.
//!
//! Templates are Jinja programs inside model files. They are rendered as the `transformers` library
//! does: blocks are trimmed, Python's string and dictionary methods work, `raise_exception`,
//! `strftime_now` and `tojson` exist, and `tools` and `documents` are none.
//!
//! A template is foreign code. Its steps, its output and its recursion are bounded; the memory of
//! the strings that it joins on the way is not, as in Jinja's own sandbox.

#![expect(
    clippy::disallowed_methods,
    reason = "`render` prints the present date; `render_at` takes it"
)]

mod date;
mod environment;
mod error;
mod fallback;

use std::{path::Path, time::SystemTime};

use minijinja::{Environment, Value, context};

pub use self::{error::TemplateError, fallback::Origin};
use crate::{gguf::Metadata, tokenizer::Tokenizer};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// Renders conversations. Made once per model.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
    origin: Origin,
}

/// Name of the one template in its environment; it stands in error messages.
const NAME: &str = "chat_template";

/// Steps that a template may take: at first, more for each message, and at most. Published
/// templates take some dozens to hundreds a message; one that loops over huge ranges fails within a
/// second instead of hanging.
const FIRST_STEPS: u64 = 200_000;
const STEPS_PER_MESSAGE: u64 = 5_000;
const MOST_STEPS: u64 = 2_000_000;

/// Stack for rendering, in bytes; only what is touched takes memory. A value can be nested as deep
/// as there are steps, and is freed recursively: for [`MOST_STEPS`] that is enough, where a
/// caller's stack might not be.
const STACK_BYTES: usize = 128 << 20;

impl ChatTemplate {
    /// Reads a template. `bos_token` and `eos_token` are the texts that the template may write at
    /// the ends; empty if there are none.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`] if it is not a Jinja template.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, TemplateError> {
        Self::with_origin(source, bos_token, eos_token, Origin::Model)
    }

    fn with_origin(
        source: &str,
        bos: &str,
        eos: &str,
        origin: Origin,
    ) -> Result<Self, TemplateError> {
        let mut environment = environment::new();
        environment
            .add_template_owned(NAME, environment::without_generation_blocks(source))
            .map_err(|error| TemplateError::syntax(&error))?;
        Ok(Self { environment, bos_token: bos.to_owned(), eos_token: eos.to_owned(), origin })
    }

    /// The template in a model file, `tokenizer.chat_template`; without one, a fallback that
    /// [`Self::origin`] tells of.
    ///
    /// # Errors
    /// A template that does not parse, or an entry that is not text.
    pub fn from_gguf(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        match metadata.opt_string("tokenizer.chat_template")? {
            Some(source) => {
                let (bos, eos) = ends(tokenizer);
                Self::new(source, bos, eos)
            }
            None => Ok(Self::fallback(tokenizer)),
        }
    }

    /// The template in a Hugging Face folder: `chat_template.jinja`, else `chat_template` in
    /// `tokenizer_config.json`, else a fallback.
    ///
    /// # Errors
    /// A file that cannot be read, a template that does not parse.
    pub fn from_folder(folder: &Path, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        match source_in_folder(folder)? {
            Some(source) => {
                let (bos, eos) = ends(tokenizer);
                Self::new(&source, bos, eos)
            }
            None => Ok(Self::fallback(tokenizer)),
        }
    }

    /// Where the template comes from. Anything but [`Origin::Model`] deserves a word to the user:
    /// the model was not trained on it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The text for a conversation; with `add_generation_prompt` it ends where the assistant's turn
    /// begins.
    ///
    /// Reads the clock if the template asks for the date.
    ///
    /// # Errors
    /// [`TemplateError::Raised`] if the template refuses the conversation,
    /// [`TemplateError::Render`] if it fails, [`TemplateError::TooManySteps`] or
    /// [`TemplateError::TooLong`] if it does not come to an end.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        self.render_at(messages, add_generation_prompt, SystemTime::now())
    }

    /// As [`Self::render`], with the time that `strftime_now` tells (in UTC).
    ///
    /// # Errors
    /// See [`Self::render`].
    pub fn render_at(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        now: SystemTime,
    ) -> Result<String, TemplateError> {
        let fail = |message: String| TemplateError::Render { line: 0, message };
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || self.run(messages, add_generation_prompt, now))
                .map_err(|error| fail(format!("no thread to render it on: {error}")))?
                .join()
                .unwrap_or_else(|_| Err(fail("the template engine broke down".to_owned())))
        })
    }

    fn run(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        now: SystemTime,
    ) -> Result<String, TemplateError> {
        let mut environment = self.environment.clone();
        let steps =
            STEPS_PER_MESSAGE.saturating_mul(messages.len() as u64).saturating_add(FIRST_STEPS);
        environment.set_fuel(Some(steps.min(MOST_STEPS)));
        environment.add_function("strftime_now", move |format: &str| date::format(now, format));
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role, content => message.content })
            .collect();
        let context = context! {
            messages,
            add_generation_prompt,
            bos_token => self.bos_token,
            eos_token => self.eos_token,
            tools => Value::from(()),
            documents => Value::from(()),
        };
        let template =
            environment.get_template(NAME).map_err(|error| TemplateError::syntax(&error))?;
        let mut output = environment::Output::default();
        match template.render_captured_to(context, &mut output) {
            _ if output.is_full() => Err(TemplateError::TooLong { limit: environment::MOST_BYTES }),
            Ok(_) => output.into_text(),
            Err(error) => Err(TemplateError::render(&error)),
        }
    }
}

/// The text of a Hugging Face folder's template, if it has one.
pub(crate) fn source_in_folder(folder: &Path) -> Result<Option<String>, TemplateError> {
    let read = |name: &str| {
        let path = folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TemplateError::Io { path, source }),
        }
    };
    if let Some(source) = read("chat_template.jinja")? {
        return Ok(Some(source));
    }
    let Some(config) = read("tokenizer_config.json")? else { return Ok(None) };
    let config: serde_json::Value = serde_json::from_str(&config).map_err(|error| {
        TemplateError::Json { path: folder.join("tokenizer_config.json"), source: error }
    })?;
    let template = match &config["chat_template"] {
        // Several templates by name: the one for chats is called `default`.
        serde_json::Value::Array(named) => named
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str()),
        template => template.as_str(),
    };
    Ok(template.map(str::to_owned))
}

/// Texts of the tokens that begin and end a text.
fn ends(tokenizer: &Tokenizer) -> (&str, &str) {
    let text =
        |token: Option<_>| token.and_then(|token| tokenizer.token_text(token)).unwrap_or_default();
    (text(tokenizer.bos()), text(tokenizer.eos()))
}
