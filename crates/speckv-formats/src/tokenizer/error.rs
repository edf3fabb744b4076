use std::path::PathBuf;

/// Why a tokenizer could not be built, or a text not be turned into tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The vocabulary has no tokens.
    #[error("expected a vocabulary, got one without tokens")]
    Empty,
    /// The vocabulary needs more than 4 GiB of text.
    #[error("expected at most 4 GiB of token text, got more")]
    TooLarge,
    /// The tokenizer model is not one of [`super::MODELS`].
    #[error("expected a tokenizer model among {}, got `{got}`", super::MODELS.join(", "))]
    UnknownModel {
        /// The model's name in the file.
        got: String,
    },
    /// The file does not say how text is cut before merging.
    #[error(
        "the tokenizer does not say how it cuts text before merging (`tokenizer.ggml.pre` is \
         missing)"
    )]
    MissingPreTokenizer,
    /// The way to cut text before merging is not known here.
    #[error("expected a pre-tokenizer among {}, got `{got}`", supported.join(", "))]
    UnknownPreTokenizer {
        /// The pre-tokenizer's name in the file.
        got: String,
        /// Every name that works.
        supported: Vec<&'static str>,
    },
    /// Two lists about the same tokens differ in length.
    #[error("expected {expected} {what}, one per token, got {got}")]
    Length {
        /// The list.
        what: &'static str,
        /// Tokens in the vocabulary.
        expected: usize,
        /// Entries in the list.
        got: usize,
    },
    /// A number is not the type of a token.
    #[error("expected a token type from 1 to 6 for token {token}, got {got}")]
    UnknownType {
        /// The token.
        token: usize,
        /// The number in the file.
        got: i64,
    },
    /// An entry of a GGUF file that would change the tokens, or may do so.
    #[error("{name}: expected {expected}: it may change how text becomes tokens")]
    Entry {
        /// The entry.
        name: String,
        /// What would change nothing.
        expected: String,
    },
    /// A file beside `tokenizer.json` gives a token another number than it would have.
    #[error("{}: expected the number {expected} for the token {text:?}, got {got}", path.display())]
    AddedToken {
        /// The file.
        path: PathBuf,
        /// The token's text.
        text: String,
        /// The number that the tokenizer gives it.
        expected: u64,
        /// The number in the file.
        got: u64,
    },
    /// The way in which text is normalized before it is cut is not known here.
    #[error("expected NFC as tokenizer.ggml.normalizer, got `{got}`")]
    UnknownNormalizer {
        /// The normalizer's name in the file.
        got: String,
    },
    /// A named token is not in the vocabulary.
    #[error("{what} names token {token}, but the vocabulary has {size} tokens")]
    OutOfRange {
        /// What names it.
        what: String,
        /// The identifier.
        token: u64,
        /// Tokens in the vocabulary.
        size: usize,
    },
    /// A merge cannot be carried out.
    #[error("merge {index}, {merge:?}: {reason}")]
    Merge {
        /// Its place in the list, that is its rank.
        index: usize,
        /// As in the file.
        merge: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A score is not a number.
    #[error("expected a number as the score of token {token}, got {score}")]
    Score {
        /// The token.
        token: usize,
        /// The score in the file.
        score: f32,
    },
    /// The vocabulary has neither a token for this text nor an unknown token.
    #[error("the vocabulary has no token for {text:?}, and no unknown token")]
    NoToken {
        /// The text.
        text: String,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `tokenizer.json` or a file beside it is not what it should be.
    #[error("{}: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The `tokenizers` library failed on a text.
    #[error("the tokenizer of tokenizer.json failed: {0}")]
    Library(String),
    /// A metadata entry is missing or of another type.
    #[error(transparent)]
    Metadata(#[from] crate::gguf::GgufError),
}

impl TokenizerError {
    /// The next step for the reader of this error, if there is one.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::MissingPreTokenizer => {
                "convert the model again with a current converter, which writes \
                 `tokenizer.ggml.pre`"
            }
            Self::UnknownModel { .. } | Self::UnknownPreTokenizer { .. } | Self::Entry { .. } => {
                "another pre-tokenizer would give other tokens than the model was trained on; use \
                 a model from a supported family"
            }
            Self::Json { .. } | Self::AddedToken { .. } => {
                "use the `tokenizer.json` that was published with the model, unchanged"
            }
            Self::Io { .. } => "check that the file exists and may be read",
            Self::Library(_) | Self::NoToken { .. } => return None,
            Self::Metadata(error) => return error.hint(),
            _ => "the file may be damaged: fetch it again and compare its checksum",
        })
    }
}
