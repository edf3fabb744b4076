//! The tokenizer of the `tokenizers` library, which runs a `tokenizer.json`.

use std::{ops::Range, sync::OnceLock};

use speckv::token::Token;
use tokenizers::ModelWrapper;

use super::{TokenType, TokenizerError, special::Matcher, table::Texts};

/// The library's tokenizer, and twins that take special tokens for text, made when they are first
/// needed: the library has that choice as a state, not as an argument.
pub(super) struct Library {
    parsing: tokenizers::Tokenizer,
    plain: OnceLock<tokenizers::Tokenizer>,
    /// As `plain`, for text that does not begin the input.
    later: OnceLock<tokenizers::Tokenizer>,
    control: Matcher,
}

impl Library {
    pub(super) fn new(
        mut parsing: tokenizers::Tokenizer,
        texts: &Texts,
        types: &[TokenType],
    ) -> Result<Self, TokenizerError> {
        let control = Matcher::new(texts, types, |kind| kind == TokenType::Control)?;
        // Settings of training, which would cut prompts, fill them up, or cut words at random.
        let failed = |error: tokenizers::Error| TokenizerError::Library(error.to_string());
        parsing.with_truncation(None).map_err(failed)?.with_padding(None);
        if let ModelWrapper::BPE(model) = parsing.get_model()
            && model.dropout.is_some()
        {
            let mut model = model.clone();
            model.dropout = None;
            parsing.with_model(model);
        }
        Ok(Self { parsing, plain: OnceLock::new(), later: OnceLock::new(), control })
    }

    pub(super) fn encode(
        &self,
        text: &str,
        parse_special: bool,
        add_special: bool,
    ) -> Result<Vec<Token>, TokenizerError> {
        ids(if parse_special { &self.parsing } else { self.plain() }, text, add_special)
    }

    /// See [`super::Tokenizer::encode_marked`].
    pub(super) fn encode_marked(
        &self,
        text: &str,
        data: &[Range<usize>],
        add_special: bool,
    ) -> Result<Vec<Token>, TokenizerError> {
        let touches = |found: &Range<usize>| {
            let at = data.partition_point(|range| range.end <= found.start);
            data.get(at).is_some_and(|range| range.start < found.end)
        };
        if !self.control.find(text).any(|(found, _)| touches(&found)) {
            return ids(&self.parsing, text, add_special);
        }
        let added = self.parsing.get_added_tokens_decoder();
        let strips = |token: Token, left: bool| {
            added.get(&token).is_some_and(|added| if left { added.lstrip } else { added.rstrip })
        };
        let (mut tokens, mut from, mut after) = (Vec::new(), 0, None);
        let found = self.control.find_outside(text, data);
        let end = (text.len()..text.len(), None);
        for (range, token) in found.into_iter().map(|(at, token)| (at, Some(token))).chain([end]) {
            let mut part = &text[from..range.start];
            if after.is_some_and(|token| strips(token, false)) {
                part = part.trim_start();
            }
            if token.is_some_and(|token| strips(token, true)) {
                part = part.trim_end();
            }
            if !part.is_empty() {
                let tokenizer = if from == 0 { self.plain() } else { self.later() };
                tokens.extend(ids(tokenizer, part, false)?);
            }
            tokens.extend(token);
            (from, after) = (range.end, token);
        }
        match add_special {
            true => self.surrounded(tokens),
            false => Ok(tokens),
        }
    }

    /// Tokens with those that the tokenizer puts at the ends.
    fn surrounded(&self, tokens: Vec<Token>) -> Result<Vec<Token>, TokenizerError> {
        let (bare, with) = (ids(&self.parsing, "a", false)?, ids(&self.parsing, "a", true)?);
        let at = with.windows(bare.len().max(1)).position(|window| window == bare).unwrap_or(0);
        let after = (at + bare.len()).min(with.len());
        Ok([&with[..at], &tokens, &with[after..]].concat())
    }

    fn plain(&self) -> &tokenizers::Tokenizer {
        self.plain.get_or_init(|| {
            let mut twin = self.parsing.clone();
            twin.set_encode_special_tokens(true);
            twin
        })
    }

    fn later(&self) -> &tokenizers::Tokenizer {
        self.later.get_or_init(|| {
            let text = self.parsing.to_string(false).unwrap_or_default();
            let text = text.replace(r#""prepend_scheme":"first""#, r#""prepend_scheme":"never""#);
            let twin = text.parse::<tokenizers::Tokenizer>();
            let mut twin = twin.unwrap_or_else(|_| self.parsing.clone());
            twin.set_encode_special_tokens(true);
            twin
        })
    }
}

fn ids(
    tokenizer: &tokenizers::Tokenizer,
    text: &str,
    add_special: bool,
) -> Result<Vec<Token>, TokenizerError> {
    let encoding = tokenizer
        .encode_fast(text, add_special)
        .map_err(|error| TokenizerError::Library(error.to_string()))?;
    Ok(encoding.get_ids().to_vec())
}
