//! What the server needs to know of a model's language: tokens, templates, ends.

use speckv::token::Token;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// Text to tokens and back, and the model's way to hold a conversation.
pub trait Language: Send + Sync + 'static {
    /// Number of tokens that have a text.
    fn vocab_size(&self) -> usize;

    /// Tokens of a text. `special`: control tokens are found by their spelling; `add_special`: the
    /// tokens that begin and end a text are put where the model wants them.
    ///
    /// # Errors
    /// The vocabulary cannot spell the text.
    fn encode(
        &self,
        text: &str,
        special: bool,
        add_special: bool,
    ) -> Result<Vec<Token>, LanguageError>;

    /// Text of tokens, control tokens spelled out.
    fn decode(&self, tokens: &[Token]) -> String;

    /// Bytes that a token stands for, which may be a part of a character.
    fn bytes(&self, token: Token) -> Vec<u8>;

    /// The text of a conversation up to where the assistant's turn begins.
    ///
    /// # Errors
    /// The model's template refuses the conversation.
    fn render(&self, turns: &[Turn]) -> Result<String, LanguageError>;

    /// Tokens after which an answer ends.
    fn end_tokens(&self) -> &[Token];

    /// Texts that end a turn of a model without tokens for that.
    fn stop_strings(&self) -> Vec<String>;

    /// Turns an answer's tokens into text as they come. `continues`: the answer goes on with the
    /// prompt's text, so that a leading space belongs to it. `stops`: texts that end the answer and
    /// are not part of it.
    fn decoder(&self, continues: bool, stops: Vec<String>) -> Box<dyn Decoder>;
}

/// Text that is certain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// The text; empty while a character or a possible stop string is incomplete.
    pub text: String,
    /// A stop string was found: nothing more is said.
    pub stopped: bool,
    /// Complete characters that are held back since a stop string may begin with them.
    pub held: usize,
}

/// One answer's way from tokens to text.
pub trait Decoder: Send {
    /// The text that this token makes certain.
    fn push(&mut self, token: Token) -> Said;

    /// Ends the answer: what was held back.
    fn finish(&mut self) -> Said;
}

/// Why there are no tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LanguageError {
    /// The vocabulary cannot spell the text.
    #[error("the text cannot be cut into tokens: {0}")]
    Encode(String),
    /// The chat template refused.
    #[error("the model's chat template refuses the conversation: {0}")]
    Template(String),
}
