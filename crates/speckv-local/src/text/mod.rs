//! Text to tokens and back: the one place for prompts, templates, decoding and stop strings.
//!
//! [`ModelText`] is a model's tokenizer with its chat template. [`Conversation`] makes prompts out
//! of turns. [`TextDecoder`] turns tokens into text up to a stop string, and [`text_of`] does so
//! for an iterator of tokens. The commands `run`, `chat` and `serve` and the Python package all use
//! these.

mod conversation;
mod decoder;
mod grammars;
mod model_text;

pub use conversation::{Conversation, Prompt, PromptEncoder};
pub use decoder::{Piece, TextDecoder, TextOf, text_of};
pub(crate) use model_text::file_name;
pub use model_text::{ModelText, tokenizer};
