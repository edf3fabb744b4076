//! Where an answer begins: in reasoning, in a channel, or after reasoning that is over.

use speckv::token::Token;

use crate::{
    grammars::token_of,
    language::Language,
    tools::{ChannelStart, ReasoningTags, ToolFormat, harmony},
};

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// What the end of a prompt says of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PromptEnd {
    /// The tags of the model's reasoning, if the answer may begin with it.
    pub reasoning: Option<ReasoningTags>,
    /// The prompt ends with reasoning that is over.
    pub has_reasoned: bool,
    /// Where the answer begins in a format with channels.
    pub channels: Option<ChannelStart>,
}

impl PromptEnd {
    /// Of a prompt for this model.
    pub(super) fn of(language: &dyn Language, prompt: &[Token]) -> Self {
        if ToolFormat::of(language) == ToolFormat::Harmony {
            let channels = Some(channel_start(language, prompt));
            return PromptEnd { reasoning: None, has_reasoned: false, channels };
        }
        let tail = language.decode(&prompt[prompt.len().saturating_sub(16)..]);
        let tail = tail.trim_end();
        let has_reasoned = tail.ends_with(CLOSE);
        let reasons = language.template_reads("think") || token_of(language, CLOSE).is_some();
        let is_open = tail.ends_with(OPEN);
        let reasoning = (reasons && !has_reasoned).then_some(ReasoningTags {
            open: OPEN,
            close: CLOSE,
            is_open,
        });
        PromptEnd { reasoning, has_reasoned, channels: None }
    }
}

fn channel_start(language: &dyn Language, prompt: &[Token]) -> ChannelStart {
    let place = |tokens: &[Token], mark: &str| {
        let mark = token_of(language, mark)?;
        tokens.iter().rposition(|&token| token == mark)
    };
    let last = place(prompt, harmony::START).map_or(&[][..], |at| &prompt[at + 1..]);
    match place(last, harmony::MESSAGE) {
        None => ChannelStart::Header(language.decode(last)),
        Some(at) if place(&last[at..], harmony::END).is_some() => ChannelStart::Between,
        Some(at) => ChannelStart::Message(language.decode(&last[..at])),
    }
}
