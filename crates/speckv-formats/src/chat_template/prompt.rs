//! A rendered conversation, and its tokens.

use std::ops::Range;

use speckv::token::Token;

use crate::{
    jinja::Rendered,
    tokenizer::{Tokenizer, TokenizerError},
};

/// Whether the text of messages can become control tokens.
///
/// A user who writes `<|im_end|>` could otherwise end the own turn and write the system's.
/// llama.cpp marks the input of its template engine and does not parse special tokens in it; vLLM,
/// SGLang and `transformers` parse the whole text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserText {
    /// Spellings of control tokens in messages are text. Only the template writes control tokens.
    #[default]
    Plain,
    /// Spellings of control tokens become control tokens wherever they stand.
    ParseSpecial,
}

/// The text of a conversation. It knows which bytes the conversation brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    rendered: Rendered,
}

impl From<String> for Prompt {
    /// A text of which nothing came from a conversation.
    fn from(text: String) -> Self {
        Self { rendered: Rendered { text, data: Vec::new() } }
    }
}

impl Prompt {
    pub(super) fn new(rendered: Rendered) -> Self {
        Self { rendered }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.rendered.text
    }

    /// The text itself.
    pub fn into_text(self) -> String {
        self.rendered.text
    }

    /// Ranges of bytes that came from the conversation, in order and apart from each other.
    pub fn data(&self) -> &[Range<usize>] {
        &self.rendered.data
    }

    /// The tokens of the text.
    ///
    /// # Errors
    /// See [`Tokenizer::encode`].
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        user_text: UserText,
    ) -> Result<Vec<Token>, TokenizerError> {
        self.encode_from(0, tokenizer, user_text)
    }

    /// The tokens of the text after the first `from` bytes, for callers that have those of the
    /// text before.
    ///
    /// # Errors
    /// See [`Tokenizer::encode`].
    ///
    /// # Panics
    /// If `from` is inside a character or behind the end.
    pub fn encode_from(
        &self,
        from: usize,
        tokenizer: &Tokenizer,
        user_text: UserText,
    ) -> Result<Vec<Token>, TokenizerError> {
        let Rendered { text, data } = &self.rendered;
        if user_text == UserText::ParseSpecial {
            return tokenizer.encode(&text[from..], true, false);
        }
        let rest = data.iter().filter(|range| range.end > from);
        let data: Vec<Range<usize>> =
            rest.map(|range| range.start.saturating_sub(from)..range.end - from).collect();
        tokenizer.encode_marked(&text[from..], &data, false)
    }

    /// Cuts the text.
    pub(super) fn truncate(&mut self, kept: usize) {
        let Rendered { text, data } = &mut self.rendered;
        text.truncate(kept);
        data.retain_mut(|range| {
            range.end = range.end.min(kept);
            range.start < range.end
        });
    }
}
