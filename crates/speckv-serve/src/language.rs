//! The interface to a model's tokenizer and chat template.

use serde_json::{Map, Value};
use speckv::token::Token;

/// A conversation, as a chat template takes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversation {
    /// The messages: objects with `role`, `content` (text) and what else the template reads.
    pub messages: Vec<Map<String, Value>>,
    /// Further variables of the template, such as `enable_thinking`.
    pub variables: Map<String, Value>,
    /// What follows the last message.
    pub ending: Ending,
    /// Control tokens spelled out in the text of messages become control tokens. Without it only
    /// the template's own text may contain them.
    pub special_in_text: bool,
}

/// What follows the last message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// The beginning of the assistant's message: the answer is a new message.
    #[default]
    NewMessage,
    /// Nothing.
    Nothing,
    /// The prompt ends with the text of the last message: the answer continues it.
    Continue,
}

/// Text to tokens and back, and the model's chat template.
pub trait Language: Send + Sync + 'static {
    /// Number of tokens that have a text.
    fn vocab_size(&self) -> usize;

    /// Most bytes of text that one token can stand for.
    fn longest_token(&self) -> usize;

    /// Tokens of a text. `special`: control tokens are found by their spelling; `add_special`: the
    /// tokens that begin and end a text are added where the model expects them.
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

    /// Whether a token is a control token, which text never is.
    fn is_control(&self, token: Token) -> bool {
        let _ = token;
        false
    }

    /// The tokens of a conversation, rendered by the model's chat template. `most_bytes`: the
    /// longest text that is encoded.
    ///
    /// # Errors
    /// The template refuses the conversation, the text is longer than `most_bytes`, or the
    /// vocabulary cannot spell it.
    fn prompt(
        &self,
        conversation: &Conversation,
        most_bytes: usize,
    ) -> Result<Vec<Token>, LanguageError>;

    /// Whether the chat template reads a variable, or a field of messages, of this name.
    fn template_reads(&self, name: &str) -> bool;

    /// Tokens after which an answer ends.
    fn end_tokens(&self) -> &[Token];

    /// Texts that end a message of a model without tokens for that.
    fn stop_strings(&self) -> Vec<String>;

    /// Turns an answer's tokens into text as they come. `continues`: the answer continues the
    /// prompt's text, so that a leading space belongs to it. `stops`: texts that end the answer and
    /// are not part of it.
    fn decoder(&self, continues: bool, stops: Vec<String>) -> Box<dyn Decoder>;
}

/// Text that no later token can change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// The text; empty while a character or a possible stop string is incomplete.
    pub text: String,
    /// A stop string was found: the answer ends here.
    pub stopped: bool,
    /// Complete characters that are held back since a stop string may begin with them.
    pub held: usize,
}

/// Turns one answer's tokens into text.
pub trait Decoder: Send {
    /// Adds a token; the text that is complete with it.
    fn push(&mut self, token: Token) -> Said;

    /// Ends the answer: the text that was held back.
    fn finish(&mut self) -> Said;
}

/// Why a text or a conversation has no tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LanguageError {
    /// The vocabulary cannot spell the text.
    #[error("the text cannot be cut into tokens: {0}")]
    Encode(String),
    /// The chat template refused the conversation.
    #[error("the model's chat template refuses the conversation: {0}")]
    Template(String),
    /// The rendered conversation is longer than any text that fits the context.
    #[error("the conversation has {bytes} bytes of text, and at most {most} fit the context")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
        /// Most bytes that can fit.
        most: usize,
    },
}
