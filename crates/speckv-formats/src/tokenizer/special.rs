//! Tokens that are found in text as they are, and tokens that end a text.

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
struct Matcher {
    found: Option<AhoCorasick>,
    tokens: Vec<Token>,
}

/// Finds user-defined tokens always, control and unknown tokens on demand; the leftmost first, of
/// those the longest.
pub(super) struct Specials {
    user_defined: Matcher,
    all: Matcher,
}

impl Specials {
    pub fn new(texts: &Texts, types: &[TokenType]) -> Result<Self, TokenizerError> {
        let matcher = |wanted: &dyn Fn(TokenType) -> bool| {
            let (mut tokens, mut patterns) = (Vec::new(), Vec::new());
            for (token, _) in types.iter().enumerate().filter(|(_, kind)| wanted(**kind)) {
                let text = texts.text(token as Token).unwrap_or_default();
                if !text.is_empty() {
                    tokens.push(token as Token);
                    patterns.push(text);
                }
            }
            if patterns.is_empty() {
                return Ok::<_, TokenizerError>(Matcher::default());
            }
            let found =
                AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns);
            Ok(Matcher { found: Some(found.map_err(|_| TokenizerError::TooLarge)?), tokens })
        };
        Ok(Self {
            user_defined: matcher(&|kind| kind == TokenType::UserDefined)?,
            all: matcher(&|kind| kind == TokenType::UserDefined || kind.is_special())?,
        })
    }

    /// Cuts the text at the tokens found; parts of text are never empty.
    pub fn split<'t>(&self, text: &'t str, parse_special: bool) -> Vec<Fragment<'t>> {
        let matcher = if parse_special { &self.all } else { &self.user_defined };
        let mut fragments = Vec::new();
        let mut from = 0;
        for found in matcher.found.iter().flat_map(|found| found.find_iter(text)) {
            if found.start() > from {
                fragments.push(Fragment::Text(&text[from..found.start()]));
            }
            fragments.push(Fragment::Token(matcher.tokens[found.pattern().as_usize()]));
            from = found.end();
        }
        if from < text.len() {
            fragments.push(Fragment::Text(&text[from..]));
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
