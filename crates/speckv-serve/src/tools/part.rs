//! What an answer is made of.

/// More of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Content(String),
    /// What the model thinks before it answers.
    Reasoning(String),
    /// A call begins.
    Call {
        /// Its number in the answer, from 0.
        index: usize,
        /// The function.
        name: String,
    },
    /// More of the text of a call's arguments.
    Arguments {
        /// The call's number.
        index: usize,
        /// The text.
        text: String,
    },
}

/// The tags around reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasoningTags {
    /// The tag before it.
    pub open: &'static str,
    /// The tag after it.
    pub close: &'static str,
    /// The prompt has the first tag already.
    pub is_open: bool,
}

/// Adds text to the last part, or as a part of its own.
pub(super) fn content(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Content(before)) => before.push_str(text),
        _ => parts.push(Part::Content(text.to_owned())),
    }
}
