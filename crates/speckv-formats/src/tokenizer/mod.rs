//! Text to tokens and back.
//!
//! A [`Tokenizer`] is built from a [`Vocabulary`], which [`Tokenizer::from_gguf`] reads from the
//! metadata of a model file, or from a `tokenizer.json`. [`StreamDecoder`] and [`StopStrings`] are
//! adapters around a stream of tokens and of text.

mod added;
mod byte_level;
mod difference;
mod ends;
mod error;
mod json;
mod library;
mod merge;
mod metadata;
mod pre;
mod sentencepiece;
mod special;
mod stop;
mod stream;
mod table;
mod vocabulary;

use std::{borrow::Cow, ops::Range};

use speckv::token::Token;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use self::{
    byte_level::ByteLevel,
    library::Library,
    pre::PreTokenizer,
    sentencepiece::SentencePiece,
    special::{Fragment, Specials},
    stream::Assembler,
    table::{Bytes, Texts},
};
pub use self::{
    difference::Difference,
    error::TokenizerError,
    metadata::MODELS,
    pre::pre_tokenizers,
    stop::{Passed, StopStrings},
    stream::StreamDecoder,
    vocabulary::{Model, TokenType, Vocabulary},
};

/// Turns text into the tokens that a model was trained on, and tokens into text.
pub struct Tokenizer {
    texts: Texts,
    pieces: Bytes,
    types: Vec<TokenType>,
    engine: Engine,
    leading_space: LeadingSpace,
    bos: Option<Token>,
    eos: Option<Token>,
    end_tokens: Vec<Token>,
}

enum Engine {
    ByteLevel { model: ByteLevel, rule: Rule },
    SentencePiece { model: SentencePiece, rule: Rule },
    Library(Box<Library>),
}

/// What happens around the model: special tokens in the text, and at its ends.
struct Rule {
    specials: Specials,
    nfc: bool,
    first: Option<Token>,
    last: Option<Token>,
}

/// The space that encoding puts before text, and decoding takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeadingSpace {
    /// None is put.
    Kept,
    /// One is put at the start.
    AtStart,
    /// One is put at the start and after each special or user-defined token.
    AfterSpecial,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("bos", &self.bos)
            .field("end_tokens", &self.end_tokens)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Builds a tokenizer.
    ///
    /// # Errors
    /// An empty vocabulary, lists of different lengths, identifiers outside of it, merges of texts
    /// that are no tokens, scores that are no numbers, a pre-tokenizer that is not one of
    /// [`pre_tokenizers`].
    pub fn from_vocabulary(vocabulary: Vocabulary) -> Result<Self, TokenizerError> {
        let Vocabulary { tokens, types, model, nfc, bos, eos, unknown, .. } = vocabulary;
        let Vocabulary { end_tokens, add_bos, add_eos, .. } = vocabulary;
        let size = tokens.len();
        if size == 0 {
            return Err(TokenizerError::Empty);
        }
        if types.len() != size {
            return Err(TokenizerError::Length {
                what: "token types",
                expected: size,
                got: types.len(),
            });
        }
        let named = [("BOS", bos), ("EOS", eos), ("the unknown token", unknown)];
        let named = named.into_iter().filter_map(|(what, token)| Some((what, token?)));
        for (what, token) in named.chain(end_tokens.iter().map(|&token| ("an end of text", token)))
        {
            if token as usize >= size {
                return Err(TokenizerError::OutOfRange {
                    what: what.to_owned(),
                    token: token.into(),
                    size,
                });
            }
        }
        let texts = Texts::new(&tokens, &types)?;
        let rule = Rule {
            specials: Specials::new(&texts, &types)?,
            nfc,
            first: bos.filter(|_| add_bos),
            last: eos.filter(|_| add_eos),
        };
        let ends = special::end_tokens(eos.into_iter().chain(end_tokens), &texts, &types);
        let mut pieces = Bytes::default();
        let (engine, leading_space) = match model {
            Model::ByteLevel { merges, pre } => {
                for (text, kind) in tokens.iter().zip(&types) {
                    match kind {
                        TokenType::Normal | TokenType::Byte => {
                            pieces.push(&byte_level::spelled_bytes(text))?
                        }
                        TokenType::Unused => pieces.push(b"")?,
                        _ => pieces.push(text.as_bytes())?,
                    }
                }
                let model =
                    ByteLevel::new(&texts, &types, &merges, PreTokenizer::new(&pre)?, unknown)?;
                (Engine::ByteLevel { model, rule }, LeadingSpace::Kept)
            }
            Model::SentencePiece { scores, add_space_prefix } => {
                for (text, kind) in tokens.iter().zip(&types) {
                    match (kind, sentencepiece::spelled_byte(text)) {
                        (TokenType::Byte, Some(byte)) => pieces.push(&[byte])?,
                        (TokenType::Normal, _) => {
                            pieces.push(text.replace(sentencepiece::SPACE, " ").as_bytes())?
                        }
                        (TokenType::Unused, _) => pieces.push(b"")?,
                        _ => pieces.push(text.as_bytes())?,
                    }
                }
                let model = SentencePiece::new(&texts, &types, scores, add_space_prefix, unknown)?;
                let space =
                    if add_space_prefix { LeadingSpace::AfterSpecial } else { LeadingSpace::Kept };
                (Engine::SentencePiece { model, rule }, space)
            }
        };
        Ok(Self { texts, pieces, types, engine, leading_space, bos, eos, end_tokens: ends })
    }

    /// Number of tokens, padding included.
    pub fn vocab_size(&self) -> usize {
        self.texts.len()
    }

    /// The tokens of a text.
    ///
    /// `parse_special`: control tokens are found in the text by their spelling, the leftmost first,
    /// of those the longest. Only for text whose author may steer the model, such as a rendered
    /// chat template. User-defined tokens are always found.
    ///
    /// `add_special`: puts BOS first and EOS last where the model's metadata asks for it; not BOS
    /// if the text begins with it.
    ///
    /// # Errors
    /// [`TokenizerError::NoToken`] if the vocabulary cannot spell the text and has no unknown
    /// token.
    pub fn encode(
        &self,
        text: &str,
        parse_special: bool,
        add_special: bool,
    ) -> Result<Vec<Token>, TokenizerError> {
        match &self.engine {
            Engine::ByteLevel { rule, .. } | Engine::SentencePiece { rule, .. } => {
                let fragments = rule.specials.split(text, parse_special);
                self.encode_fragments(fragments, text.len(), rule, add_special)
            }
            Engine::Library(library) => library.encode(text, parse_special, add_special),
        }
    }

    /// The tokens of a text in which control tokens are found outside of the ranges `data` only.
    ///
    /// Text is cut and merged as if there were no ranges: only a control token's spelling that
    /// touches a range is text. With no ranges the tokens are those of [`Self::encode`] with
    /// `parse_special`.
    ///
    /// # Errors
    /// See [`Self::encode`].
    ///
    /// # Panics
    /// If a range is not in the text, cuts a character, or is not after the one before it.
    pub fn encode_marked(
        &self,
        text: &str,
        data: &[Range<usize>],
        add_special: bool,
    ) -> Result<Vec<Token>, TokenizerError> {
        match &self.engine {
            Engine::ByteLevel { rule, .. } | Engine::SentencePiece { rule, .. } => {
                let fragments = rule.specials.split_marked(text, data);
                self.encode_fragments(fragments, text.len(), rule, add_special)
            }
            Engine::Library(library) => library.encode_marked(text, data, add_special),
        }
    }

    fn encode_fragments(
        &self,
        fragments: Vec<Fragment<'_>>,
        bytes: usize,
        rule: &Rule,
        add_special: bool,
    ) -> Result<Vec<Token>, TokenizerError> {
        let mut tokens = Vec::with_capacity(bytes / 3 + 2);
        let mut after_special = true;
        for fragment in fragments {
            match fragment {
                Fragment::Token(token) => tokens.push(token),
                Fragment::Text(text) => {
                    let normal = match rule.nfc && !is_nfc(text) {
                        true => Cow::Owned(text.nfc().collect::<String>()),
                        false => Cow::Borrowed(text),
                    };
                    let (texts, types) = (&self.texts, &self.types);
                    match &self.engine {
                        Engine::ByteLevel { model, .. } => {
                            model.encode(&normal, texts, types, &mut tokens)?;
                        }
                        Engine::SentencePiece { model, .. } => {
                            model.encode(&normal, after_special, texts, types, &mut tokens)?;
                        }
                        Engine::Library(_) => {}
                    }
                }
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
        if add_special {
            if let Some(first) = rule.first.filter(|first| tokens.first() != Some(first)) {
                tokens.insert(0, first);
            }
            tokens.extend(rule.last);
        }
        Ok(tokens)
    }

    /// The text of tokens: their bytes joined, then read as UTF-8, with U+FFFD for what is not.
    ///
    /// `skip_special` leaves out control and unknown tokens. Tokens that are not in use have no
    /// text; those outside the vocabulary become U+FFFD. A space that [`Self::encode`] has put
    /// before text is taken away again.
    pub fn decode(&self, tokens: &[Token], skip_special: bool) -> String {
        let mut assembler = Assembler::new(self, skip_special);
        for &token in tokens {
            assembler.push(self, token);
        }
        String::from_utf8_lossy(&assembler.bytes).into_owned()
    }

    /// The bytes that a token stands for, which may be part of a character; of a special token, its
    /// spelling. None outside the vocabulary.
    pub fn piece(&self, token: Token) -> Option<&[u8]> {
        self.pieces.get(token)
    }

    /// A token as the vocabulary spells it. None outside the vocabulary.
    pub fn token_text(&self, token: Token) -> Option<&str> {
        self.texts.text(token)
    }

    /// The token that the vocabulary spells so.
    pub fn token_id(&self, text: &str) -> Option<Token> {
        self.texts.token(text)
    }

    /// What a token is for. None outside the vocabulary.
    pub fn token_type(&self, token: Token) -> Option<TokenType> {
        self.types.get(token as usize).copied()
    }

    /// Tokens after which generation ends; may be empty.
    ///
    /// First those that the model names: in GGUF `tokenizer.ggml.eos_token_id`, `.eot_token_id`,
    /// `.eom_token_id`, `.eos_token_ids`; beside a `tokenizer.json`, `eos_token` in
    /// `tokenizer_config.json` or `special_tokens_map.json`, and `eos_token_id` in
    /// `generation_config.json` or, if that has none, in `config.json`. Then control tokens by
    /// whose text model families are known to end a turn or a text, such as `<|im_end|>`,
    /// `<|eot_id|>`, `<end_of_turn>`, `<|endoftext|>`: files often name only one of several, and a
    /// model that is not stopped at the others goes on and answers itself. Ordinary and
    /// user-defined tokens with such a text are not taken, since text may contain them.
    pub fn end_tokens(&self) -> &[Token] {
        &self.end_tokens
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<Token> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<Token> {
        self.eos
    }

    /// The tokens from number `count` on, up to the first special one after it. Byte-pair
    /// vocabularies are in the order in which their tokens were merged, and those of several
    /// languages often begin with the tokens of one and append the others': what comes late is what
    /// most texts never use. A guess, made without any text, at what a draft need not be able to
    /// propose.
    pub fn rare(&self, count: usize) -> Range<Token> {
        let all = u32::try_from(count).unwrap_or(u32::MAX)
            ..u32::try_from(self.vocab_size()).unwrap_or(u32::MAX);
        let kept = |token: &Token| self.is_special(*token) || self.end_tokens().contains(token);
        let end = all.clone().find(kept).unwrap_or(all.end);
        all.start..end.max(all.start)
    }

    /// Whether a token is a control or unknown token, which is not text.
    pub fn is_special(&self, token: Token) -> bool {
        self.token_type(token).is_some_and(TokenType::is_special)
    }

    /// Whether a token comes from text that was encoded, not from a spelling found in it.
    fn is_text(&self, token: Token) -> bool {
        !self.is_special(token) && self.token_type(token) != Some(TokenType::UserDefined)
    }
}
