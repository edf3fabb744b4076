use std::path::PathBuf;

use minijinja::{Error, ErrorKind};

/// Why a conversation could not become text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The source is not a Jinja template.
    #[error("the chat template does not parse at line {line}: {message}")]
    Syntax {
        /// Line in the template, from 1; 0 if unknown.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template refused the conversation by `raise_exception`.
    #[error("the chat template refuses the conversation at line {line}: {message}")]
    Raised {
        /// Line in the template, from 1; 0 if unknown.
        line: usize,
        /// The template's own words.
        message: String,
    },
    /// The template failed.
    #[error("the chat template fails at line {line}: {message}")]
    Render {
        /// Line in the template, from 1; 0 if unknown.
        line: usize,
        /// What went wrong there.
        message: String,
    },
    /// The template did not come to an end within its steps.
    #[error("the chat template takes too many steps, at last at line {line}")]
    TooManySteps {
        /// Line in the template, from 1; 0 if unknown.
        line: usize,
    },
    /// The text became longer than any prompt.
    #[error("the chat template writes more than {limit} bytes")]
    TooLong {
        /// Most bytes.
        limit: usize,
    },
    /// The message that is to be continued is empty, or the template does not write its text.
    #[error("the last message cannot be continued: its text is not in what the template writes")]
    NothingToContinue,
    /// The template wrote bytes that are not text.
    #[error("the chat template writes bytes that are not UTF-8")]
    NotText,
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{} is not JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The metadata entry is not text.
    #[error(transparent)]
    Metadata(#[from] crate::gguf::GgufError),
}

/// The words of `raise_exception`, carried through the template engine as an error's source.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub String);

impl TemplateError {
    pub(super) fn syntax(error: &Error) -> Self {
        Self::Syntax { line: line(error), message: message(error) }
    }

    pub(super) fn render(error: &Error) -> Self {
        let line = line(error);
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(raised) = current.downcast_ref::<Raised>() {
                return Self::Raised { line, message: raised.0.clone() };
            }
            if current
                .downcast_ref::<Error>()
                .is_some_and(|error| error.kind() == ErrorKind::OutOfFuel)
            {
                return Self::TooManySteps { line };
            }
            cause = current.source();
        }
        Self::Render { line, message: message(error) }
    }

    /// What to do about this error, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Raised { .. } => {
                "change the conversation as the message asks: many templates want user and assistant to take turns"
            }
            Self::NothingToContinue => {
                "give the last message some text, or leave out continue_final_message"
            }
            Self::Syntax { .. }
            | Self::Render { .. }
            | Self::TooManySteps { .. }
            | Self::TooLong { .. }
            | Self::NotText => {
                "the template is part of the model; use another file of the model, or a raw prompt without a template"
            }
            Self::Io { .. } => "check that the file exists and may be read",
            Self::Metadata(error) => return error.hint(),
            Self::Json { .. } => "the file may be damaged: fetch it again and compare its checksum",
        })
    }
}

fn line(error: &Error) -> usize {
    error.line().unwrap_or(0)
}

fn message(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
