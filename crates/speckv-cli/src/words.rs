//! A model's tokenizer and chat template, as the server knows them.

use std::sync::Arc;

use speckv::token::Token;
use speckv_formats::{
    chat_template::{self, ChatTemplate, UserText},
    tokenizer::{Passed, StopStrings, StreamDecoder, Tokenizer},
};
use speckv_local::failure::chain;
use speckv_serve::language::{Conversation, Decoder, Ending, Language, LanguageError, Said};

/// Tokenizer and template of one model.
pub struct Words {
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    longest_token: usize,
}

/// How many times as long as its tokens a text can be: Unicode's normal form C makes three
/// characters of a Hangul syllable one.
const NORMALIZED: usize = 3;

impl Words {
    /// Of a model.
    #[must_use]
    pub fn new(tokenizer: Tokenizer, template: ChatTemplate) -> Self {
        let tokens = 0..u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        let longest = tokens.filter_map(|token| Some(tokenizer.piece(token)?.len())).max();
        let longest_token = NORMALIZED * longest.unwrap_or(1);
        Words { tokenizer: Arc::new(tokenizer), template, longest_token }
    }
}

impl Language for Words {
    fn vocab_size(&self) -> usize {
        self.tokenizer.vocab_size()
    }

    fn encode(
        &self,
        text: &str,
        special: bool,
        add_special: bool,
    ) -> Result<Vec<Token>, LanguageError> {
        self.tokenizer
            .encode(text, special, add_special)
            .map_err(|error| LanguageError::Encode(chain(&error)))
    }

    fn decode(&self, tokens: &[Token]) -> String {
        self.tokenizer.decode(tokens, false)
    }

    fn bytes(&self, token: Token) -> Vec<u8> {
        self.tokenizer.piece(token).unwrap_or_default().to_vec()
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
            .template
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
            .encode(&self.tokenizer, user_text)
            .map_err(|error| LanguageError::Encode(chain(&error)))
    }

    fn template_reads(&self, name: &str) -> bool {
        self.template.reads(name)
    }

    fn end_tokens(&self) -> &[Token] {
        self.tokenizer.end_tokens()
    }

    fn stop_strings(&self) -> Vec<String> {
        self.template.stop_strings().iter().map(|&stop| stop.to_owned()).collect()
    }

    fn decoder(&self, continues: bool, stops: Vec<String>) -> Box<dyn Decoder> {
        let tokenizer = Arc::clone(&self.tokenizer);
        let stream = if continues {
            StreamDecoder::continuing(tokenizer)
        } else {
            StreamDecoder::new(tokenizer)
        };
        Box::new(Streaming { stream, stops: StopStrings::new(stops), held: 0 })
    }
}

struct Streaming {
    stream: StreamDecoder<Arc<Tokenizer>>,
    stops: StopStrings,
    held: usize, // characters
}

impl Decoder for Streaming {
    fn push(&mut self, token: Token) -> Said {
        let more = self.stream.push(token);
        let Passed { text, stopped } = self.stops.push(&more);
        self.held = (self.held + more.chars().count()).saturating_sub(text.chars().count());
        Said { text, stopped, held: self.held }
    }

    fn finish(&mut self) -> Said {
        let Passed { mut text, stopped } = self.stops.push(&self.stream.finish());
        if !stopped {
            text.push_str(&self.stops.finish());
        }
        Said { text, stopped, held: 0 }
    }
}

#[cfg(test)]
mod tests {
    use speckv_formats::{gguf::Gguf, tiny::Tiny};

    use super::*;

    fn words() -> Words {
        let file =
            Gguf::from_bytes(Tiny::default().to_bytes().expect("a tiny model")).expect("a file");
        let tokenizer = Tokenizer::from_gguf(file.metadata()).expect("a tokenizer");
        let template = ChatTemplate::from_gguf(file.metadata(), &tokenizer).expect("a template");
        Words::new(tokenizer, template)
    }

    #[test]
    fn streamed_text_is_the_decoded_text_up_to_a_stop_string() {
        let words = words();
        let tokens = words.encode("naïve – the cat", true, false).expect("tokens");
        let said = |stops: &[&str]| {
            let mut decoder =
                words.decoder(true, stops.iter().map(|&stop| stop.to_owned()).collect());
            let mut text = String::new();
            for &token in &tokens {
                let said = decoder.push(token);
                text.push_str(&said.text);
                if said.stopped {
                    return (text, true);
                }
            }
            let rest = decoder.finish();
            (text + &rest.text, rest.stopped)
        };
        assert_eq!(said(&[]), ("naïve – the cat".into(), false));
        assert_eq!(said(&["he c"]), ("naïve – t".into(), true));
        assert_eq!(said(&["cats"]), ("naïve – the cat".into(), false), "held back, and then said");
        assert_eq!(words.decode(&tokens), "naïve – the cat");
    }

    #[test]
    fn what_is_held_back_is_counted_in_characters() {
        let words = words();
        let tokens = words.encode("über cat", true, false).expect("tokens");
        let mut decoder = words.decoder(true, vec!["über cats".into()]);
        let held: Vec<usize> = tokens.iter().map(|&token| decoder.push(token).held).collect();
        assert_eq!(held.last(), Some(&"über cat".chars().count()));
        assert!(held.is_sorted(), "{held:?}");
        assert_eq!(decoder.finish(), Said { text: "über cat".into(), stopped: false, held: 0 });
    }

    #[test]
    fn conversations_are_rendered_by_the_models_template() {
        let words = words();
        let message = serde_json::json!({"role": "user", "content": "hi"});
        let conversation = Conversation {
            messages: vec![message.as_object().cloned().expect("an object")],
            ..Default::default()
        };
        let text = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
        let tokens = words.encode(text, true, false).expect("tokens");
        assert_eq!(words.prompt(&conversation, 1000), Ok(tokens));
        assert!(matches!(
            words.prompt(&conversation, text.len() - 1),
            Err(LanguageError::TooLong { .. })
        ));
    }
}
