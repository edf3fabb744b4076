//! A model's tokenizer and chat template.

use std::sync::Arc;

use speckv::token::Token;
use speckv_formats::{
    chat_template::{self, ChatTemplate, Message, Origin, UserText},
    checkpoint::Checkpoint,
    tokenizer::{Tokenizer, TokenizerError},
};

use super::{PromptEncoder, TextDecoder};
use crate::failure::{DAMAGED, Failure, Outcome};

/// What turns conversations and texts into tokens for one model, and its tokens into text.
#[derive(Debug, Clone)]
pub struct ModelText {
    tokenizer: Arc<Tokenizer>,
    template: Arc<ChatTemplate>,
}

impl ModelText {
    /// The tokenizer and template given.
    #[must_use]
    pub fn new(tokenizer: Tokenizer, template: ChatTemplate) -> Self {
        ModelText { tokenizer: Arc::new(tokenizer), template: Arc::new(template) }
    }

    /// The tokenizer and the template of a model file or folder.
    ///
    /// # Errors
    /// A vocabulary that is missing, damaged or of an unsupported kind, or a template that does not
    /// parse.
    pub fn of(file: &Checkpoint) -> Outcome<Self> {
        let tokenizer = tokenizer(file)?;
        let template = file.chat_template(&tokenizer).map_err(|error| {
            Failure::from_error(&error, error.hint(), DAMAGED).about(file_name(file))
        })?;
        Ok(Self::new(tokenizer, template))
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The chat template.
    #[must_use]
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The tokens of a text that the model continues as it is, after the token that begins texts if
    /// the model has one.
    ///
    /// # Errors
    /// If the vocabulary cannot represent the text.
    pub fn raw(&self, text: &str) -> Outcome<Vec<Token>> {
        self.tokenizer.encode(text, true, true).map_err(|error| unencodable(&error))
    }

    /// Texts that end a turn of a model without tokens for that.
    #[must_use]
    pub fn stop_strings(&self) -> Vec<String> {
        self.template.stop_strings().iter().map(|&stop| stop.to_owned()).collect()
    }

    /// Tokens that end a turn or a text.
    #[must_use]
    pub fn end_tokens(&self) -> &[Token] {
        self.tokenizer.end_tokens()
    }

    /// A warning if the model has no chat template of its own.
    #[must_use]
    pub fn template_warning(&self) -> Option<&'static str> {
        match self.template.origin() {
            Origin::Model => None,
            Origin::ChatMl => {
                Some("the model has no chat template; ChatML is used since it has its tokens")
            }
            Origin::Plain => Some(
                "the model has no chat template and was perhaps not made for chat; --raw may fit \
                 it better",
            ),
        }
    }

    /// A decoder of one answer that ends at the first of `stops`. With `continues` the answer
    /// continues the prompt's text, so a leading space belongs to it.
    #[must_use]
    pub fn decoder(&self, continues: bool, stops: Vec<String>) -> TextDecoder {
        TextDecoder::new(Arc::clone(&self.tokenizer), continues, stops)
    }
}

/// A text that the vocabulary cannot represent.
fn unencodable(error: &TokenizerError) -> Failure {
    Failure::from_error(error, error.hint(), "change the text to what the vocabulary can represent")
}

impl PromptEncoder for ModelText {
    fn render(&self, messages: &[Message]) -> Outcome<chat_template::Prompt> {
        self.template.prompt_of(messages).map_err(|error| {
            Failure::from_error(
                &error,
                error.hint(),
                "`--raw` gives the prompt to the model without its template",
            )
        })
    }

    fn encode(&self, prompt: &chat_template::Prompt, from: usize) -> Outcome<Vec<Token>> {
        prompt
            .encode_from(from, &self.tokenizer, UserText::Plain)
            .map_err(|error| unencodable(&error))
    }

    fn is_end(&self, token: Token) -> bool {
        self.end_tokens().contains(&token)
    }
}

/// The tokenizer of a model.
///
/// # Errors
/// A vocabulary that is missing, damaged or of an unsupported kind.
pub fn tokenizer(file: &Checkpoint) -> Outcome<Tokenizer> {
    file.tokenizer()
        .map_err(|error| Failure::from_error(&error, error.hint(), DAMAGED).about(file_name(file)))
}

/// A file's path for messages.
pub(crate) fn file_name(file: &Checkpoint) -> String {
    file.path().map_or_else(|| "the model".to_owned(), |path| path.display().to_string())
}
