//! Templates for models that bring none.

use super::{ChatTemplate, ends};
use crate::tokenizer::Tokenizer;

/// Where a template comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The model's own.
    Model,
    /// ChatML, since the model brings no template but has the control tokens `<|im_start|>` and
    /// `<|im_end|>`.
    ChatMl,
    /// `User:` and `Assistant:` before each turn, since the model brings neither a template nor
    /// ChatML's tokens. Such a model ends no turn by a token: stop at
    /// [`ChatTemplate::stop_strings`].
    Plain,
}

const CHAT_ML: &str = "{% for message in messages %}\
    {{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const PLAIN: &str = "{{ bos_token }}{% for message in messages %}\
    {{ message.role | capitalize + ': ' + message.content + '\n\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

impl ChatTemplate {
    /// The template for a model that brings none: ChatML if the vocabulary has its tokens, else
    /// plain text with role prefixes.
    pub fn fallback(tokenizer: &Tokenizer) -> Self {
        let special =
            |text| tokenizer.token_id(text).is_some_and(|token| tokenizer.is_special(token));
        let (source, origin) = if special("<|im_start|>") && special("<|im_end|>") {
            (CHAT_ML, Origin::ChatMl)
        } else {
            (PLAIN, Origin::Plain)
        };
        let (bos, eos) = ends(tokenizer);
        // Both sources are constants, and a test renders both.
        Self::with_origin(source, bos, eos, origin).expect("constant template")
    }

    /// Texts at which an answer ends although no end token says so; empty except for
    /// [`Origin::Plain`].
    pub fn stop_strings(&self) -> &'static [&'static str] {
        match self.origin {
            Origin::Plain => &["\n\nUser:", "\n\nSystem:", "\n\nAssistant:"],
            Origin::Model | Origin::ChatMl => &[],
        }
    }
}
