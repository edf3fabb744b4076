//! Tokens that are found in text as they are, and tokens that end a text.

use std::{collections::BTreeMap, ops::Range};

use aho_corasick::{AhoCorasick, MatchKind};
use speckv::token::Token;

use super::{TokenType, TokenizerError, table::Texts};

/// A part of a text: one token, or text for the model.
#[derive(Debug, PartialEq)]
pub(super) enum Fragment<'t> {
    Token(Token),
    Text(&'t str),
}

#[derive(Default)]
pub(super) struct Matcher {
    found: Option<AhoCorasick>,
    tokens: Vec<Token>,
}

impl Matcher {
    /// Finds the tokens of some types.
    pub(super) fn new(
        texts: &Texts,
        types: &[TokenType],
        wanted: impl Fn(TokenType) -> bool,
    ) -> Result<Self, TokenizerError> {
        let mut by_text = BTreeMap::new();
        for (token, _) in types.iter().enumerate().filter(|(_, kind)| wanted(**kind)) {
            let text = texts.text(token as Token).unwrap_or_default();
            if !text.is_empty() {
                // Of several tokens with one text the last is meant.
                by_text.insert(text, token as Token);
            }
        }
        if by_text.is_empty() {
            return Ok(Self::default());
        }
        let found =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(by_text.keys());
        let found = found.map_err(|_| TokenizerError::TooLarge)?;
        Ok(Self { found: Some(found), tokens: by_text.into_values().collect() })
    }

    /// The tokens in the parts of a text between the ranges `data`.
    pub(super) fn find_outside(
        &self,
        text: &str,
        data: &[Range<usize>],
    ) -> Vec<(Range<usize>, Token)> {
        let (mut tokens, mut from) = (Vec::new(), 0);
        for range in data.iter().cloned().chain(std::iter::once(text.len()..text.len())) {
            let found = self.find(&text[from..range.start]);
            tokens.extend(found.map(|(at, token)| (at.start + from..at.end + from, token)));
            from = range.end;
        }
        tokens
    }

    /// Where the tokens stand, in order.
    pub(super) fn find<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (Range<usize>, Token)> + 'a {
        let found = self.found.iter().flat_map(move |found| found.find_iter(text));
        found.map(|found| (found.range(), self.tokens[found.pattern().as_usize()]))
    }
}

/// Cuts a text at tokens in their order.
fn cut(text: &str, tokens: impl Iterator<Item = (Range<usize>, Token)>) -> Vec<Fragment<'_>> {
    let mut fragments = Vec::new();
    let mut from = 0;
    for (range, token) in tokens {
        if range.start > from {
            fragments.push(Fragment::Text(&text[from..range.start]));
        }
        fragments.push(Fragment::Token(token));
        from = range.end;
    }
    if from < text.len() {
        fragments.push(Fragment::Text(&text[from..]));
    }
    fragments
}

/// Finds user-defined tokens always, control and unknown tokens on demand; the leftmost first, of
/// those the longest.
pub(super) struct Specials {
    user_defined: Matcher,
    all: Matcher,
}

impl Specials {
    pub(super) fn new(texts: &Texts, types: &[TokenType]) -> Result<Self, TokenizerError> {
        let text = |kind| kind == TokenType::UserDefined;
        Ok(Self {
            user_defined: Matcher::new(texts, types, text)?,
            all: Matcher::new(texts, types, |kind| text(kind) || kind.is_special())?,
        })
    }

    /// Cuts the text at the tokens found; parts of text are never empty.
    pub(super) fn split<'t>(&self, text: &'t str, parse_special: bool) -> Vec<Fragment<'t>> {
        let matcher = if parse_special { &self.all } else { &self.user_defined };
        cut(text, matcher.find(text))
    }

    /// As [`Self::split`] with special tokens, but those that touch a range of `data` are text.
    pub(super) fn split_marked<'t>(
        &self,
        text: &'t str,
        data: &[Range<usize>],
    ) -> Vec<Fragment<'t>> {
        let tokens = self.all.find_outside(text, data);
        // What is left has no control tokens, but user-defined ones that touch data.
        let mut fragments = Vec::new();
        for fragment in cut(text, tokens.into_iter()) {
            match fragment {
                Fragment::Text(text) => fragments.extend(self.split(text, false)),
                token => fragments.push(token),
            }
        }
        fragments
    }
}

/// Texts of control tokens by which model families end a turn or a text. Files often name only one
/// end (Qwen's instruct models name `<|im_end|>`, but fall back to `<|endoftext|>` at times), and a
/// model that is not stopped there talks on with itself.
const ENDS: &[&str] = &[
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|eot|>",
    "<|return|>",
    "<|call|>",
    "<|end|>",
    "<|END_OF_TURN_TOKEN|>",
    "<｜end▁of▁sentence｜>",
    "<EOT>",
    "</s>",
];

/// The named ends, then those that [`ENDS`] knows, each once, only tokens of type control being
/// taken by their text.
pub(super) fn end_tokens(
    named: impl Iterator<Item = Token>,
    texts: &Texts,
    types: &[TokenType],
) -> Vec<Token> {
    let control =
        |text: &str| texts.token(text).filter(|&token| types[token as usize] == TokenType::Control);
    // Where a model ends by <|return|> or <|call|>, its <|end|> only ends one message of several.
    let messages = control("<|return|>").is_some() || control("<|call|>").is_some();
    let known = ENDS
        .iter()
        .filter(|text| !(messages && **text == "<|end|>"))
        .filter_map(|text| control(text));
    let mut ends = Vec::new();
    for token in named.chain(known) {
        if !ends.contains(&token) {
            ends.push(token);
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials(tokens: &[(&str, TokenType)]) -> (Specials, Texts, Vec<TokenType>) {
        let texts: Vec<String> = tokens.iter().map(|(text, _)| (*text).to_owned()).collect();
        let types: Vec<TokenType> = tokens.iter().map(|(_, kind)| *kind).collect();
        let texts = Texts::new(&texts, &types).unwrap();
        (Specials::new(&texts, &types).unwrap(), texts, types)
    }

    #[test]
    fn the_leftmost_and_then_the_longest_token_is_found() {
        use Fragment::{Text, Token};
        let (specials, ..) = specials(&[
            ("a", TokenType::Normal),
            ("<x>", TokenType::Control),
            ("<x><y>", TokenType::UserDefined),
            ("<y>z", TokenType::Control),
            ("", TokenType::Control),
        ]);
        assert_eq!(specials.split("a<x><y>z<x>", true), [Text("a"), Token(2), Text("z"), Token(1)]);
        assert_eq!(specials.split("a<x><y>z<x>", false), [Text("a"), Token(2), Text("z<x>")]);
        assert_eq!(specials.split("", true), []);
    }

    #[test]
    fn control_tokens_that_touch_marked_text_are_text() {
        use Fragment::{Text, Token};
        let (specials, ..) = specials(&[
            ("a", TokenType::Normal),
            ("<x>", TokenType::Control),
            ("<t>", TokenType::UserDefined),
        ]);
        let text = "<x><x>b<t><x>";
        assert_eq!(specials.split_marked(text, &[]), specials.split(text, true));
        assert_eq!(
            specials.split_marked(text, &[3..10]),
            [Token(1), Text("<x>b"), Token(2), Token(1)]
        );
        // A spelling that begins in the template and ends in the data is text.
        let text = "<x>|<|x>";
        assert_eq!(specials.split_marked("<x>", &[2..3]), [Text("<x>")]);
        assert_eq!(specials.split_marked(text, &[7..8]), [Token(1), Text("|<|x>")]);
        assert_eq!(specials.split_marked("<x><x>", &[0..1, 4..5]), [Text("<x><x>")]);
    }

    #[test]
    fn ends_are_those_named_and_control_tokens_known_to_end() {
        let (_, texts, types) = specials(&[
            ("<|endoftext|>", TokenType::Control),
            ("<|im_end|>", TokenType::Control),
            ("<|eot_id|>", TokenType::Normal),
            ("<|end|>", TokenType::Control),
        ]);
        assert_eq!(end_tokens([1].into_iter(), &texts, &types), [1, 0, 3]);
        let (_, texts, types) =
            specials(&[("<|return|>", TokenType::Control), ("<|end|>", TokenType::Control)]);
        assert_eq!(
            end_tokens([].into_iter(), &texts, &types),
            [0],
            "<|end|> ends a message there, not the answer"
        );
    }
}
