//! Tools: what a request defines, how a model's format writes calls, and how answers are read.

mod call;
mod channel_grammar;
mod channels;
mod choice;
mod definition;
mod format;
mod lark;
mod parser;
mod part;
mod reader;
mod tagged;
mod tags;

pub use channel_grammar::ChannelGrammar;
pub use channels::{ChannelParser, ChannelStart, harmony};
pub use choice::ToolChoice;
pub use definition::{Tool, definitions};
pub use format::{CallStart, ToolFormat};
pub use parser::AnswerParser;
pub use part::{Part, ReasoningTags};
pub use reader::{CalledFunction, FunctionDelta, Read, Reader, ToolCall, ToolCallDelta};
