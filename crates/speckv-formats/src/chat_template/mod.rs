//! Chat templates: a list of messages becomes the text that a model was trained to answer.
//!
//! Templates are Jinja programs inside model files. They are rendered as the `transformers` library
//! does: blocks are trimmed, Python's string and dictionary methods work, `raise_exception`,
//! `strftime_now` and `tojson` exist, and `tools` and `documents` are none unless they are given.
//!
//! A template is a program that is not trusted. Its steps, the memory of its values, the length of
//! its text and its recursion are limited, and every operation counts to the limits.

#![expect(
    clippy::disallowed_methods,
    reason = "`render` prints the present date; `render_at` takes it"
)]

mod content;
mod conversation;
mod date;
mod error;
mod fallback;
mod prompt;
mod sources;

use std::{path::Path, time::SystemTime};

use serde_json::{Map, Value, json};

use self::content::{Accepted, NEEDLE};
pub(crate) use self::sources::Sources;
pub use self::{
    conversation::{Conversation, Ending},
    error::TemplateError,
    fallback::Origin,
    prompt::{Prompt, UserText},
};
use crate::{
    gguf::Metadata,
    jinja::{Inputs, Limits, Rendered, Template},
    tokenizer::Tokenizer,
};

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
    default: Loaded,
    /// For conversations with tools.
    tool_use: Option<Loaded>,
    bos_token: String,
    eos_token: String,
    origin: Origin,
}

/// A template, and which content it writes.
#[derive(Debug)]
struct Loaded {
    source: String, // as it was written
    template: Template,
    accepted: Accepted,
}

/// Most bytes of a template's source. Published ones have up to 30 kB.
const MOST_SOURCE: usize = 1 << 20;

/// Steps that a template may take: at first, more for each message and each byte, and at most. A
/// step takes about a tenth of a microsecond. Published templates take some hundreds a message.
const FIRST_STEPS: u64 = 1_000_000;
const STEPS_PER_MESSAGE: u64 = 10_000;
const MOST_STEPS: u64 = 20_000_000;

/// Bytes that the values of a template may take: at first, more for each byte of the conversation,
/// and at most.
const FIRST_MEMORY: u64 = 32 << 20;
const MEMORY_PER_BYTE: u64 = 32;
const MOST_MEMORY: u64 = 512 << 20;

/// Most bytes that a template may write: more than any context holds.
const MOST_BYTES: usize = 32 << 20;

impl ChatTemplate {
    /// Reads a template. `bos_token` and `eos_token` are the texts that the template may write at
    /// the ends; empty if there are none.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`] if it is not a Jinja template.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, TemplateError> {
        let sources = Sources { default: Some(source.to_owned()), tool_use: None };
        Self::from_sources(&sources, bos_token, eos_token)
    }

    fn from_sources(sources: &Sources, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        // A model with a template for tools only uses it for everything.
        let default = sources.default.as_ref().or(sources.tool_use.as_ref());
        let default = default.map_or("", String::as_str);
        let mut made = Self::with_origin(default, bos, eos, Origin::Model)?;
        if let Some(source) = sources.tool_use.as_ref().filter(|_| sources.default.is_some()) {
            made.tool_use = Some(made.load(source)?);
        }
        Ok(made)
    }

    fn with_origin(
        source: &str,
        bos: &str,
        eos: &str,
        origin: Origin,
    ) -> Result<Self, TemplateError> {
        let mut made = Self {
            default: Loaded::new("")?,
            tool_use: None,
            bos_token: bos.to_owned(),
            eos_token: eos.to_owned(),
            origin,
        };
        made.default = made.load(source)?;
        Ok(made)
    }

    /// Parses a template and finds out which content it writes.
    fn load(&self, source: &str) -> Result<Loaded, TemplateError> {
        let mut loaded = Loaded::new(source)?;
        let probe = |content: Value| {
            let Value::Object(message) = json!({"role": "user", "content": content}) else {
                return None;
            };
            let (messages, variables) = ([message], Map::new());
            let ending = Ending::NewMessage;
            let conversation = Conversation { messages: &messages, variables: &variables, ending };
            let rendered = self.rendered(&loaded, &conversation, SystemTime::UNIX_EPOCH);
            rendered.ok().map(|rendered| rendered.text)
        };
        let text = probe(NEEDLE.into());
        let parts = probe(json!([{"type": "text", "text": NEEDLE}]));
        loaded.accepted = Accepted::new(text.as_deref(), parts.as_deref());
        Ok(loaded)
    }

    /// The templates in a model file, `tokenizer.chat_template` and
    /// `tokenizer.chat_template.tool_use`; without one, a fallback that [`Self::origin`] tells of.
    ///
    /// # Errors
    /// A template that does not parse, or an entry that is not text.
    pub fn from_gguf(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        Self::of(&Sources::in_metadata(metadata)?, tokenizer)
    }

    /// The templates in a Hugging Face folder: `chat_template.jinja` and
    /// `additional_chat_templates/tool_use.jinja`, else `chat_template` in `tokenizer_config.json`
    /// or in `chat_template.json`, else a fallback.
    ///
    /// # Errors
    /// A file that cannot be read, a template that does not parse.
    pub fn from_folder(folder: &Path, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        Self::of(&Sources::in_folder(folder)?, tokenizer)
    }

    fn of(sources: &Sources, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        if *sources == Sources::default() {
            return Ok(Self::fallback(tokenizer));
        }
        let (bos, eos) = ends(tokenizer);
        Self::from_sources(sources, bos, eos)
    }

    /// Gives content to the template as it is, and not in the kind that it was found to write.
    #[must_use]
    pub fn with_any_content(mut self) -> Self {
        for loaded in std::iter::once(&mut self.default).chain(&mut self.tool_use) {
            loaded.accepted = Accepted { text: true, parts: true };
        }
        self
    }

    /// Where the template comes from. Anything but [`Origin::Model`] deserves a word to the user:
    /// the model was not trained on it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The text for messages up to where the assistant's turn begins, and which bytes came from
    /// them.
    ///
    /// # Errors
    /// See [`Self::prompt`].
    pub fn prompt_of(&self, messages: &[Message]) -> Result<Prompt, TemplateError> {
        self.prompt_for(messages, true, SystemTime::now())
    }

    /// The text for messages; with `add_generation_prompt` it ends where the assistant's turn
    /// begins. [`Self::prompt`] also says which bytes came from the messages.
    ///
    /// # Errors
    /// See [`Self::prompt`].
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        self.render_at(messages, add_generation_prompt, SystemTime::now())
    }

    /// As [`Self::render`], with the moment that `strftime_now` tells in local time.
    ///
    /// # Errors
    /// See [`Self::prompt`].
    pub fn render_at(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        now: SystemTime,
    ) -> Result<String, TemplateError> {
        self.prompt_for(messages, add_generation_prompt, now).map(Prompt::into_text)
    }

    fn prompt_for(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        now: SystemTime,
    ) -> Result<Prompt, TemplateError> {
        let message = |Message { role, content }: &Message| {
            let fields = [("role", role), ("content", content)];
            fields.map(|(name, text)| (name.to_owned(), text.as_str().into())).into_iter().collect()
        };
        let messages: Vec<Map<String, Value>> = messages.iter().map(message).collect();
        let ending = if add_generation_prompt { Ending::NewMessage } else { Ending::Nothing };
        let conversation = Conversation { messages: &messages, variables: &Map::new(), ending };
        self.prompt_at(&conversation, now)
    }

    fn rendered(
        &self,
        loaded: &Loaded,
        conversation: &Conversation<'_>,
        now: SystemTime,
    ) -> Result<Rendered, TemplateError> {
        let &Conversation { messages, variables: given, ending } = conversation;
        let bytes: u64 = messages
            .iter()
            .chain([given])
            .flatten()
            .map(|(key, value)| conversation::entry_bytes(key, value))
            .sum();
        let more = (messages.len() as u64).saturating_mul(STEPS_PER_MESSAGE);
        let limits = Limits {
            steps: FIRST_STEPS.saturating_add(more).saturating_add(bytes).min(MOST_STEPS),
            memory: bytes.saturating_mul(MEMORY_PER_BYTE).saturating_add(FIRST_MEMORY),
            output: MOST_BYTES,
        };
        let limits = Limits { memory: limits.memory.min(MOST_MEMORY), ..limits };
        let adapted = messages.iter().map(|message| loaded.accepted.adapt(message));
        let messages = Value::Array(adapted.collect());
        let prompt = Value::Bool(ending == Ending::NewMessage);
        let mut variables = vec![("tools", &Value::Null), ("documents", &Value::Null)];
        variables.extend(given.iter().map(|(name, value)| (name.as_str(), value)));
        // What follows cannot be replaced.
        variables.extend([("messages", &messages), ("add_generation_prompt", &prompt)]);
        let constants =
            [("bos_token", self.bos_token.as_str()), ("eos_token", self.eos_token.as_str())];
        let strftime = |format: &str| date::format(now, format);
        let inputs = Inputs { variables: &variables, constants: &constants, strftime: &strftime };
        loaded
            .template
            .render(&inputs, limits)
            .map_err(|(line, failure)| TemplateError::render(line, failure, limits.steps))
    }
}

impl Loaded {
    /// A template that is taken to write any content.
    fn new(source: &str) -> Result<Self, TemplateError> {
        if source.len() > MOST_SOURCE {
            return Err(TemplateError::Source { got: source.len(), limit: MOST_SOURCE });
        }
        let accepted = Accepted { text: true, parts: true };
        Ok(Self { source: source.to_owned(), template: Template::parse(source)?, accepted })
    }
}

/// Texts of the tokens that begin and end a text.
fn ends(tokenizer: &Tokenizer) -> (&str, &str) {
    let text =
        |token: Option<_>| token.and_then(|token| tokenizer.token_text(token)).unwrap_or_default();
    (text(tokenizer.bos()), text(tokenizer.eos()))
}
