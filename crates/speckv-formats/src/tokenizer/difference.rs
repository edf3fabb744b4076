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
    /// Tokens that are not in use count as absent, so sizes that differ by padding alone (151936
    /// and 152064) are the same vocabulary.
    pub fn first_difference(&self, other: &Tokenizer) -> Option<Difference> {
        let used = |tokenizer: &Self, token| {
            let kind = tokenizer.token_type(token)?;
            (kind != TokenType::Unused)
                .then(|| tokenizer.token_text(token).map(str::to_owned))
                .flatten()
        };
        let size = self.vocab_size().max(other.vocab_size()) as Token;
        (0..size)
            .filter(|&token| {
                // Equal texts are by far the most: compare them without copying.
                self.token_type(token) != other.token_type(token)
                    || self.token_text(token) != other.token_text(token)
            })
            .map(|token| Difference { token, ours: used(self, token), theirs: used(other, token) })
            .find(|difference| difference.ours != difference.theirs)
    }
}
