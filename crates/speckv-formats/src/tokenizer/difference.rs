use std::fmt;

use speckv::token::Token;

use super::{TokenType, Tokenizer};

/// The first token on which two vocabularies differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The token.
    pub token: Token,
    /// Its text in the one vocabulary; none if the token is not in use there.
    pub ours: Option<String>,
    /// Its text in the other; none if the token is not in use there.
    pub theirs: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |text: &Option<String>| {
            text.as_ref().map_or("nothing".to_owned(), |text| format!("{text:?}"))
        };
        write!(
            f,
            "token {} is {} in one and {} in the other",
            self.token,
            show(&self.ours),
            show(&self.theirs)
        )
    }
}

impl Tokenizer {
    /// The first token whose text is not the same in both vocabularies; none if a draft and a
    /// target may share tokens.
    ///
    /// Tokens that are not in use and tokens whose text is a placeholder's, such as `[PAD151700]`,
    /// count as absent: sizes that differ by padding alone (151936 and 152064) are the same
    /// vocabulary, whatever type the padding has. Tokens with one text are the same token.
    pub fn first_difference(&self, other: &Tokenizer) -> Option<Difference> {
        let used = |tokenizer: &Self, token| {
            let kind = tokenizer.token_type(token)?;
            let text = tokenizer.token_text(token)?;
            (kind != TokenType::Unused && !is_placeholder(token, text)).then(|| text.to_owned())
        };
        let size = self.vocab_size().max(other.vocab_size()) as Token;
        (0..size)
            // Equal texts are by far the most: compare them without copying.
            .filter(|&token| self.token_text(token) != other.token_text(token))
            .map(|token| Difference { token, ours: used(self, token), theirs: used(other, token) })
            .find(|difference| difference.ours != difference.theirs)
    }
}

/// Whether a text is one that converters give to tokens that only fill a vocabulary up.
fn is_placeholder(token: Token, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let text = text.trim_matches(|c| matches!(c, '[' | ']' | '<' | '>' | '|'));
    let names = ["pad", "dummy", "unused", "extra_id", "empty", "extra", "reserved"];
    let number = names.into_iter().find_map(|name| text.strip_prefix(name));
    // The placeholder's own number: text such as `<unused5>` at another place may be in use.
    number.is_some_and(|number| number.trim_matches('_').parse() == Ok(token))
}
