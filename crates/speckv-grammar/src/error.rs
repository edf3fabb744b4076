//! Why a grammar cannot be used.

/// A grammar that does not compile, or a vocabulary that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// The vocabulary has no tokens, or no token that ends an answer.
    #[error("the model's vocabulary cannot be used with grammars: {0}")]
    Vocabulary(String),
    /// A JSON schema is wrong, not supported, or no answer fits it.
    #[error("the schema at {path} cannot be used: {message}")]
    Schema {
        /// The place in the schema, as a JSON pointer with `#` for the whole.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// A grammar, regular expression or list of choices is wrong.
    #[error("{message}")]
    Grammar {
        /// What is wrong.
        message: String,
    },
    /// The source is larger than what is compiled.
    #[error("expected at most {most} bytes of grammar, got {got}")]
    TooLarge {
        /// Bytes of the source.
        got: usize,
        /// Most bytes.
        most: usize,
    },
}

/// The first line of an error with the location that may follow it.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut line = lines.first().copied().unwrap_or("it is not valid").to_owned();
    if line.len() > 400 {
        line.truncate((0..=400).rfind(|&at| line.is_char_boundary(at)).unwrap_or(0));
        line.push_str(" ...");
    }
    line
}
