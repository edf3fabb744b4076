//! Tokens to text, as they come, up to a stop string.

use std::sync::Arc;

use speckv::token::Token;
use speckv_formats::tokenizer::{Passed, StopStrings, StreamDecoder, Tokenizer};

/// What a token adds to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Text that is certain: whole characters, and no part of a stop string.
    pub text: String,
    /// Whether a stop string was found; nothing follows.
    pub stopped: bool,
    /// Characters that are held back since they may begin a stop string.
    pub held: usize,
}

/// The text of one answer.
pub struct TextDecoder {
    stream: StreamDecoder<Arc<Tokenizer>>,
    stops: StopStrings,
    held: usize, // characters
    stopped: bool,
}

impl TextDecoder {
    /// A decoder; see [`ModelText::decoder`](super::ModelText::decoder).
    #[must_use]
    pub fn new(tokenizer: Arc<Tokenizer>, continues: bool, stops: Vec<String>) -> Self {
        let stream = if continues {
            StreamDecoder::continuing(tokenizer)
        } else {
            StreamDecoder::new(tokenizer)
        };
        TextDecoder { stream, stops: StopStrings::new(stops), held: 0, stopped: false }
    }

    /// Takes the answer's next token.
    pub fn push(&mut self, token: Token) -> Piece {
        let more = self.stream.push(token);
        let Passed { text, stopped } = self.stops.push(&more);
        self.stopped |= stopped;
        self.held = (self.held + more.chars().count()).saturating_sub(text.chars().count());
        Piece { text, stopped, held: self.held }
    }

    /// Ends the answer: the text that was held back, unless a stop string was found.
    pub fn finish(&mut self) -> Piece {
        if self.stopped {
            return Piece { text: String::new(), stopped: true, held: 0 };
        }
        let Passed { mut text, stopped } = self.stops.push(&self.stream.finish());
        self.stopped = stopped;
        if !stopped {
            text.push_str(&self.stops.finish());
        }
        Piece { text, stopped, held: 0 }
    }
}

/// The pieces of text of an iterator of tokens; see [`text_of`].
pub struct TextOf<'a, I> {
    tokens: I,
    decoder: &'a mut TextDecoder,
    ended: bool,
}

/// Adapts an iterator of tokens to one of tokens with their text. It ends after a stop string. What
/// the decoder still holds when the tokens end, [`TextDecoder::finish`] gives.
pub fn text_of<I, E>(tokens: I, decoder: &mut TextDecoder) -> TextOf<'_, I>
where
    I: Iterator<Item = Result<Token, E>>,
{
    TextOf { tokens, decoder, ended: false }
}

impl<I, E> Iterator for TextOf<'_, I>
where
    I: Iterator<Item = Result<Token, E>>,
{
    type Item = Result<(Token, Piece), E>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.tokens.next()? {
            Ok(token) => {
                let piece = self.decoder.push(token);
                self.ended = piece.stopped;
                Some(Ok((token, piece)))
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use speckv_formats::{chat_template::ChatTemplate, gguf::Gguf, tiny::Tiny};

    use super::{super::ModelText, *};

    fn text() -> ModelText {
        let file =
            Gguf::from_bytes(Tiny::default().to_bytes().expect("a tiny model")).expect("a file");
        let tokenizer = Tokenizer::from_gguf(file.metadata()).expect("a tokenizer");
        let template = ChatTemplate::from_gguf(file.metadata(), &tokenizer).expect("a template");
        ModelText::new(tokenizer, template)
    }

    fn encoded(text: &ModelText, content: &str) -> Vec<Token> {
        text.tokenizer().encode(content, true, false).expect("tokens")
    }

    #[test]
    fn streamed_text_is_the_decoded_text_up_to_a_stop_string() {
        let text = text();
        let tokens = encoded(&text, "naïve – the cat");
        let said = |stops: &[&str]| {
            let mut decoder =
                text.decoder(true, stops.iter().map(|&stop| stop.to_owned()).collect());
            let fed = tokens.iter().map(|&token| Ok::<_, ()>(token));
            let pieces: Vec<Piece> =
                text_of(fed, &mut decoder).map(|piece| piece.expect("no error").1).collect();
            let stopped = pieces.last().is_some_and(|piece| piece.stopped);
            let said: String = pieces.into_iter().map(|piece| piece.text).collect();
            let rest = decoder.finish();
            assert_eq!(stopped, rest.stopped);
            (said + &rest.text, rest.stopped)
        };
        assert_eq!(said(&[]), ("naïve – the cat".into(), false));
        assert_eq!(said(&["he c"]), ("naïve – t".into(), true));
        assert_eq!(said(&["cats"]), ("naïve – the cat".into(), false), "held back, then given");
        assert_eq!(text.tokenizer().decode(&tokens, false), "naïve – the cat");
    }

    #[test]
    fn what_is_held_back_is_counted_in_characters() {
        let text = text();
        let tokens = encoded(&text, "über cat");
        let mut decoder = text.decoder(true, vec!["über cats".into()]);
        let held: Vec<usize> = tokens.iter().map(|&token| decoder.push(token).held).collect();
        assert_eq!(held.last(), Some(&"über cat".chars().count()));
        assert!(held.is_sorted(), "{held:?}");
        assert_eq!(decoder.finish(), Piece { text: "über cat".into(), stopped: false, held: 0 });
    }

    #[test]
    fn an_error_ends_the_text() {
        let text = text();
        let mut decoder = text.decoder(false, Vec::new());
        let tokens = [Ok(65), Err("broken"), Ok(66)];
        let pieces: Vec<_> = text_of(tokens.into_iter(), &mut decoder).collect();
        assert!(pieces.len() == 2 && pieces[1] == Err("broken"), "{pieces:?}");
    }
}
