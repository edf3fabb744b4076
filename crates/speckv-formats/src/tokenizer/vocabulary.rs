use speckv::token::Token;

/// What a token is for; the numbers are those of SentencePiece and of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenType {
    /// Ordinary text.
    Normal = 1,
    /// Stands for text that the vocabulary cannot spell.
    Unknown = 2,
    /// Steers the model and is not text, for example the end of a turn.
    Control = 3,
    /// A text that is always one token.
    UserDefined = 4,
    /// Not in use, for example padding of the vocabulary to a round size.
    Unused = 5,
    /// A single byte, spelled `<0xNN>`.
    Byte = 6,
}

impl TokenType {
    /// The type with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }

    /// Whether the token is not text: [`Self::Control`] or [`Self::Unknown`].
    pub fn is_special(self) -> bool {
        matches!(self, Self::Control | Self::Unknown)
    }
}

/// How text becomes tokens.
#[derive(Clone, Debug)]
pub enum Model {
    /// Byte-pair encoding over bytes, as in GPT-2: the text is cut by the pre-tokenizer `pre`, then
    /// in each part the pair that comes first in `merges` is joined, until no pair is in the list.
    ByteLevel {
        /// Pairs of token texts with a space between, best first.
        merges: Vec<String>,
        /// Name of the pre-tokenizer, one of [`super::pre_tokenizers`].
        pre: String,
    },
    /// Byte-pair encoding of SentencePiece: neighbours whose joined text has the highest score are
    /// joined first, the leftmost among equals. Spaces are spelled U+2581.
    SentencePiece {
        /// One per token; higher is joined earlier.
        scores: Vec<f32>,
        /// Whether a space is put before text that starts the input or follows a special token.
        add_space_prefix: bool,
    },
}

/// Everything that a [`super::Tokenizer`] is made of, independent of the file that it came from.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// Texts, indexed by token.
    pub tokens: Vec<String>,
    /// Types, as many as `tokens`.
    pub types: Vec<TokenType>,
    /// How text becomes tokens.
    pub model: Model,
    /// Whether text is brought into Unicode's form NFC before it is cut.
    pub nfc: bool,
    /// Token that begins a text.
    pub bos: Option<Token>,
    /// Token that ends a text.
    pub eos: Option<Token>,
    /// Token for what cannot be spelled.
    pub unknown: Option<Token>,
    /// Tokens, besides `eos`, that the file names as ends.
    pub end_tokens: Vec<Token>,
    /// Whether `add_special` puts `bos` first.
    pub add_bos: bool,
    /// Whether `add_special` puts `eos` last.
    pub add_eos: bool,
}

impl Vocabulary {
    /// A vocabulary of ordinary tokens, without special ones.
    pub fn new<S: Into<String>>(tokens: impl IntoIterator<Item = S>, model: Model) -> Self {
        let tokens: Vec<String> = tokens.into_iter().map(Into::into).collect();
        Self {
            types: vec![TokenType::Normal; tokens.len()],
            tokens,
            model,
            nfc: false,
            bos: None,
            eos: None,
            unknown: None,
            end_tokens: Vec::new(),
            add_bos: false,
            add_eos: false,
        }
    }
}
