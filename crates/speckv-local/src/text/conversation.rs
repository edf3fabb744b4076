//! A conversation as messages and as the tokens that were really read and said.

use speckv::token::Token;
use speckv_formats::chat_template::{self, Message};

use crate::failure::Outcome;

/// Turns so far. The tokens of an answer stay as the model said them: its text, cut into tokens
/// again, could come out differently, and all from there on would have to be read again.
#[derive(Debug, Default)]
pub struct Conversation {
    messages: Vec<Message>,
    known: Option<Known>,
}

/// Text whose tokens are known: the last prompt and what was answered to it.
#[derive(Debug)]
struct Known {
    text: String,
    tokens: Vec<Token>,
}

/// What a conversation needs of a model.
pub trait PromptEncoder {
    /// The text of a conversation, up to where the assistant's turn begins.
    ///
    /// # Errors
    /// If the model's template refuses the conversation.
    fn render(&self, messages: &[Message]) -> Outcome<chat_template::Prompt>;

    /// The tokens of a rendered text after its first `from` bytes, none added. Text of messages
    /// makes no control tokens.
    ///
    /// # Errors
    /// If the vocabulary cannot represent the text.
    fn encode(&self, prompt: &chat_template::Prompt, from: usize) -> Outcome<Vec<Token>>;

    /// Whether a token ends a turn.
    fn is_end(&self, token: Token) -> bool;
}

/// The prompt of one turn.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// As the template renders it.
    pub text: String,
    /// As the model reads it.
    pub tokens: Vec<Token>,
}

impl Conversation {
    /// Begins with instructions, if there are any.
    #[must_use]
    pub fn new(system: Option<&str>) -> Self {
        Conversation {
            messages: system.map(|text| Message::new("system", text)).into_iter().collect(),
            known: None,
        }
    }

    /// The prompt that asks for an answer to `said`. It changes nothing: only
    /// [`answered`](Self::answered) makes it a turn.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn prompt(&self, said: &str, encoder: &impl PromptEncoder) -> Outcome<Prompt> {
        let mut messages = self.messages.clone();
        messages.push(Message::new("user", said));
        let rendered = encoder.render(&messages)?;
        // A template may trim or leave out what was said before; then all is cut into tokens anew.
        let known = self.known.as_ref().filter(|it| rendered.text().starts_with(&it.text));
        let tokens = match known {
            Some(Known { text, tokens }) => {
                [tokens.as_slice(), &encoder.encode(&rendered, text.len())?].concat()
            }
            None => encoder.encode(&rendered, 0)?,
        };
        Ok(Prompt { text: rendered.into_text(), tokens })
    }

    /// Takes a turn in: the user's words, the prompt made of them, the answer's text and tokens.
    /// `tokens` is `None` where they say more than the text, as after a stop string.
    pub fn answered(
        &mut self,
        said: &str,
        prompt: Prompt,
        text: &str,
        tokens: Option<&[Token]>,
        encoder: &impl PromptEncoder,
    ) {
        self.messages.push(Message::new("user", said));
        self.messages.push(Message::new("assistant", text));
        self.known = tokens.map(|tokens| {
            // The template writes the end of the turn itself.
            let spoken = tokens
                .split_last()
                .filter(|(last, _)| encoder.is_end(**last))
                .map_or(tokens, |(_, rest)| rest);
            Known { text: prompt.text + text, tokens: [prompt.tokens.as_slice(), spoken].concat() }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters are tokens; 1000 is another spelling of "ab", and '|' ends turns.
    struct Characters;

    impl PromptEncoder for Characters {
        fn render(&self, messages: &[Message]) -> Outcome<chat_template::Prompt> {
            let turns = messages
                .iter()
                .map(|message| format!("{}{}|", &message.role[..1], message.content.trim()));
            Ok((turns.collect::<String>() + "a").into())
        }

        fn encode(&self, prompt: &chat_template::Prompt, from: usize) -> Outcome<Vec<Token>> {
            Ok(prompt.text()[from..].chars().map(|character| character as Token).collect())
        }

        fn is_end(&self, token: Token) -> bool {
            token == '|' as Token
        }
    }

    fn ids(text: &str) -> Vec<Token> {
        Characters.encode(&text.to_owned().into(), 0).expect("always")
    }

    #[test]
    fn an_answer_keeps_the_tokens_that_were_said() {
        let mut conversation = Conversation::new(Some("x"));
        let prompt = conversation.prompt("hi", &Characters).expect("a prompt");
        assert_eq!((prompt.text.as_str(), &prompt.tokens), ("sx|uhi|a", &ids("sx|uhi|a")));
        conversation.answered("hi", prompt.clone(), "ab", Some(&[1000, '|' as Token]), &Characters);
        let next = conversation.prompt("yo", &Characters).expect("a prompt");
        assert_eq!(next.text, "sx|uhi|aab|uyo|a");
        assert_eq!(next.tokens, [prompt.tokens, vec![1000], ids("|uyo|a")].concat());
    }

    #[test]
    fn where_the_template_changes_an_answer_all_is_cut_anew() {
        let mut conversation = Conversation::new(None);
        let prompt = conversation.prompt("hi", &Characters).expect("a prompt");
        conversation.answered("hi", prompt, " ab ", Some(&[32, 1000, 32]), &Characters);
        assert_eq!(
            conversation.prompt("yo", &Characters).expect("a prompt").tokens,
            ids("uhi|aab|uyo|a")
        );
    }

    #[test]
    fn tokens_beyond_the_text_are_not_kept() {
        let mut conversation = Conversation::new(None);
        let prompt = conversation.prompt("hi", &Characters).expect("a prompt");
        conversation.answered("hi", prompt, "ab", None, &Characters);
        assert_eq!(
            conversation.prompt("yo", &Characters).expect("a prompt").tokens,
            ids("uhi|aab|uyo|a")
        );
    }
}
