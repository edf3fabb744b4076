//! Chat templates: a list of messages becomes the text that a model was trained to answer.
//!
//! Templates are Jinja programs inside model files. They are rendered as the `transformers` library
//! does: blocks are trimmed, Python's string and dictionary methods work, `raise_exception`,
//! `strftime_now` and `tojson` exist, and `tools` and `documents` are none unless they are given.
//!
//! A template is a program that is not trusted. Its steps, the memory of its values, the length of
//! its text and its recursion are limited, and every operation counts to the limits.

mod conversation;
mod date;
mod error;
mod fallback;
mod prompt;
mod sources;

use std::{path::Path, time::SystemTime};

use serde_json::{Value, json};

use self::conversation::{Accepted, NEEDLE};
pub(crate) use self::sources::Sources;
pub use self::{
    conversation::Conversation,
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
            default: Loaded {
                template: Template::parse("")?,
                accepted: Accepted { text: true, parts: true },
            },
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
        if source.len() > MOST_SOURCE {
            return Err(TemplateError::Source { got: source.len(), limit: MOST_SOURCE });
        }
        let accepted = Accepted { text: true, parts: true };
        let mut loaded = Loaded { template: Template::parse(source)?, accepted };
        let probe = |content: Value| {
            let mut conversation = Conversation::new(&[]);
            conversation.messages.push(json!({"role": "user", "content": content}));
            self.rendered(&loaded, &conversation, SystemTime::UNIX_EPOCH).ok()
        };
        let text = probe(NEEDLE.into());
        let parts = probe(json!([{"type": "text", "text": NEEDLE}]));
        let written = |rendered: &Option<Rendered>| rendered.as_ref().map(|it| it.text.clone());
        let (text, parts) = (written(&text), written(&parts));
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

    /// The text for a conversation, with the local time of this machine if the template asks.
    ///
    /// # Errors
    /// [`TemplateError::Raised`] if the template refuses the conversation,
    /// [`TemplateError::Render`] if it fails, [`TemplateError::TooManySteps`],
    /// [`TemplateError::TooMuchMemory`] or [`TemplateError::TooLong`] if it exceeds a limit.
    pub fn prompt(&self, conversation: &Conversation) -> Result<Prompt, TemplateError> {
        self.prompt_at(conversation, SystemTime::now())
    }

    /// As [`Self::prompt`], with the moment that `strftime_now` tells in local time.
    ///
    /// # Errors
    /// See [`Self::prompt`].
    pub fn prompt_at(
        &self,
        conversation: &Conversation,
        now: SystemTime,
    ) -> Result<Prompt, TemplateError> {
        let has_tools = conversation.tools.as_array().is_some_and(|tools| !tools.is_empty());
        let loaded = self.tool_use.as_ref().filter(|_| has_tools).unwrap_or(&self.default);
        let mut prompt = Prompt::new(self.rendered(loaded, conversation, now)?);
        if conversation.continue_final_message {
            let last = conversation.messages.last().map(|message| &message["content"]);
            let content = match last {
                Some(Value::String(text)) => Some(text.as_str()),
                Some(Value::Array(parts)) => {
                    parts.iter().rev().find_map(|part| part["text"].as_str())
                }
                _ => None,
            };
            let content = content.ok_or(TemplateError::Continue("its content is not text"))?;
            if !prompt.cut_after(content) {
                return Err(TemplateError::Continue("the template changes its content"));
            }
        }
        Ok(prompt)
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
        let conversation = Conversation { add_generation_prompt, ..Conversation::new(messages) };
        self.prompt_at(&conversation, now).map(Prompt::into_text)
    }

    fn rendered(
        &self,
        loaded: &Loaded,
        conversation: &Conversation,
        now: SystemTime,
    ) -> Result<Rendered, TemplateError> {
        let bytes = conversation.bytes();
        let more = (conversation.messages.len() as u64).saturating_mul(STEPS_PER_MESSAGE);
        let limits = Limits {
            steps: FIRST_STEPS.saturating_add(more).saturating_add(bytes).min(MOST_STEPS),
            memory: bytes.saturating_mul(MEMORY_PER_BYTE).saturating_add(FIRST_MEMORY),
            output: MOST_BYTES,
        };
        let limits = Limits { memory: limits.memory.min(MOST_MEMORY), ..limits };
        let adapted = conversation.messages.iter().map(|message| loaded.accepted.adapt(message));
        let messages = Value::Array(adapted.collect());
        let prompt = Value::Bool(conversation.add_generation_prompt);
        let mut variables = vec![
            ("messages", &messages),
            ("tools", &conversation.tools),
            ("documents", &conversation.documents),
            ("add_generation_prompt", &prompt),
        ];
        let more = conversation.variables.iter();
        variables.extend(more.map(|(name, value)| (name.as_str(), value)));
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

/// Texts of the tokens that begin and end a text.
fn ends(tokenizer: &Tokenizer) -> (&str, &str) {
    let text =
        |token: Option<_>| token.and_then(|token| tokenizer.token_text(token)).unwrap_or_default();
    (text(tokenizer.bos()), text(tokenizer.eos()))
}
