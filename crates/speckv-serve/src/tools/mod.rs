//! Tools: what a request defines, how a model's format writes calls, and how answers are read.

mod call;
mod choice;
mod definition;
mod format;
mod parser;
mod reader;
mod tags;

pub use call::{CallPart, CallScanner};
pub use choice::ToolChoice;
pub use definition::{Tool, definitions};
pub use format::ToolFormat;
pub use parser::{AnswerParser, Part, ReasoningTags};
pub use reader::{CalledFunction, FunctionDelta, Read, Reader, ToolCall, ToolCallDelta};
