//! A model's text layer behind the server's interface.

use speckv::token::Token;
use speckv_formats::chat_template::Message;
use speckv_local::{
    failure::chain,
    text::{ModelText, Piece, TextDecoder},
};
use speckv_serve::language::{Decoder, Language, LanguageError, Said, Turn};

/// [`ModelText`] as the server's [`Language`].
pub struct ServedText(pub ModelText);

impl Language for ServedText {
    fn vocab_size(&self) -> usize {
        self.0.tokenizer().vocab_size()
    }

    fn encode(
        &self,
        text: &str,
        special: bool,
        add_special: bool,
    ) -> Result<Vec<Token>, LanguageError> {
        self.0
            .tokenizer()
            .encode(text, special, add_special)
            .map_err(|error| LanguageError::Encode(chain(&error)))
    }

    fn decode(&self, tokens: &[Token]) -> String {
        self.0.tokenizer().decode(tokens, false)
    }

    fn bytes(&self, token: Token) -> Vec<u8> {
        self.0.tokenizer().piece(token).unwrap_or_default().to_vec()
    }

    fn render(&self, turns: &[Turn]) -> Result<String, LanguageError> {
        let messages: Vec<Message> = turns
            .iter()
            .map(|turn| Message::new(turn.role.as_str(), turn.content.as_str()))
            .collect();
        self.0
            .template()
            .render(&messages, true)
            .map_err(|error| LanguageError::Template(chain(&error)))
    }

    fn end_tokens(&self) -> &[Token] {
        self.0.end_tokens()
    }

    fn stop_strings(&self) -> Vec<String> {
        self.0.stop_strings()
    }

    fn decoder(&self, continues: bool, stops: Vec<String>) -> Box<dyn Decoder> {
        Box::new(Streaming(self.0.decoder(continues, stops)))
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
        let served = ServedText(ModelText::new(tokenizer, template));
        let turns = [Turn { role: "user".into(), content: "hi".into() }];
        assert_eq!(
            served.render(&turns).expect("text"),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
        );
    }
}
