//! A model's text layer behind the server's interface.

use speckv::token::Token;
use speckv_formats::chat_template::{self, UserText};
use speckv_local::{
    failure::chain,
    text::{ModelText, Piece, TextDecoder},
};
use speckv_serve::language::{Conversation, Decoder, Ending, Language, LanguageError, Said};

/// [`ModelText`] as the server's [`Language`].
pub struct ServedText {
    text: ModelText,
    longest_token: usize,
}

/// How many times as long as its tokens a text can be: Unicode's normal form C makes three
/// characters of a Hangul syllable one.
const NORMALIZED: usize = 3;

impl ServedText {
    /// Of a model.
    #[must_use]
    pub fn new(text: ModelText) -> Self {
        let tokenizer = text.tokenizer();
        let tokens = 0..u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        let longest = tokens.filter_map(|token| Some(tokenizer.piece(token)?.len())).max();
        let longest_token = NORMALIZED * longest.unwrap_or(1);
        ServedText { text, longest_token }
    }
}

impl Language for ServedText {
    fn vocab_size(&self) -> usize {
        self.text.tokenizer().vocab_size()
    }

    fn encode(
        &self,
        text: &str,
        special: bool,
        add_special: bool,
    ) -> Result<Vec<Token>, LanguageError> {
        self.text
            .tokenizer()
            .encode(text, special, add_special)
            .map_err(|error| LanguageError::Encode(chain(&error)))
    }

    fn decode(&self, tokens: &[Token]) -> String {
        self.text.tokenizer().decode(tokens, false)
    }

    fn bytes(&self, token: Token) -> Vec<u8> {
        self.text.tokenizer().piece(token).unwrap_or_default().to_vec()
    }

    fn is_control(&self, token: Token) -> bool {
        self.text.tokenizer().is_special(token)
    }

    fn longest_token(&self) -> usize {
        self.longest_token
    }

    fn prompt(
        &self,
        conversation: &Conversation,
        most_bytes: usize,
    ) -> Result<Vec<Token>, LanguageError> {
        let prompt = self
            .text
            .template()
            .prompt(&chat_template::Conversation {
                messages: &conversation.messages,
                variables: &conversation.variables,
                ending: match conversation.ending {
                    Ending::NewMessage => chat_template::Ending::NewMessage,
                    Ending::Nothing => chat_template::Ending::Nothing,
                    Ending::Continue => chat_template::Ending::Continue,
                },
            })
            .map_err(|error| LanguageError::Template(chain(&error)))?;
        let bytes = prompt.text().len();
        if bytes > most_bytes {
            return Err(LanguageError::TooLong { bytes, most: most_bytes });
        }
        let user_text = match conversation.special_in_text {
            true => UserText::ParseSpecial,
            false => UserText::Plain,
        };
        prompt
            .encode(self.text.tokenizer(), user_text)
            .map_err(|error| LanguageError::Encode(chain(&error)))
    }

    fn template_reads(&self, name: &str) -> bool {
        self.text.template().reads(name)
    }

    fn end_tokens(&self) -> &[Token] {
        self.text.end_tokens()
    }

    fn stop_strings(&self) -> Vec<String> {
        self.text.stop_strings()
    }

    fn decoder(&self, continues: bool, stops: Vec<String>) -> Box<dyn Decoder> {
        Box::new(Streaming(self.text.decoder(continues, stops)))
    }
}

struct Streaming(TextDecoder);

impl Decoder for Streaming {
    fn push(&mut self, token: Token) -> Said {
        said(self.0.push(token))
    }

    fn finish(&mut self) -> Said {
        said(self.0.finish())
    }
}

fn said(Piece { text, stopped, held }: Piece) -> Said {
    Said { text, stopped, held }
}

#[cfg(test)]
mod tests {
    use speckv_formats::{
        chat_template::ChatTemplate, gguf::Gguf, tiny::Tiny, tokenizer::Tokenizer,
    };

    use super::*;

    #[test]
    fn conversations_are_rendered_by_the_models_template() {
        let file =
            Gguf::from_bytes(Tiny::default().to_bytes().expect("a tiny model")).expect("a file");
        let tokenizer = Tokenizer::from_gguf(file.metadata()).expect("a tokenizer");
        let template = ChatTemplate::from_gguf(file.metadata(), &tokenizer).expect("a template");
        let served = ServedText::new(ModelText::new(tokenizer, template));
        let message = serde_json::json!({"role": "user", "content": "hi"});
        let conversation = Conversation {
            messages: vec![message.as_object().cloned().expect("an object")],
            ..Default::default()
        };
        let text = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
        let tokens = served.encode(text, true, false).expect("tokens");
        assert_eq!(served.prompt(&conversation, 1000), Ok(tokens));
        assert!(matches!(
            served.prompt(&conversation, text.len() - 1),
            Err(LanguageError::TooLong { .. })
        ));
    }
}
