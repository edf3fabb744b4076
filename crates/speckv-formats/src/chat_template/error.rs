use std::path::PathBuf;

use crate::jinja::{Failure, SyntaxError};

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
    /// The source of a template is too long.
    #[error("the chat template has {got} bytes, expected at most {limit}")]
    Source {
        /// Bytes of the source.
        got: usize,
        /// Most bytes.
        limit: usize,
    },
    /// The template refused the conversation by `raise_exception`.
    #[error("the chat template refuses the conversation at line {line}: {message}")]
    Raised {
        /// Line in the template, from 1; 0 if unknown.
        line: usize,
        /// The message of the template.
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
    #[error("the chat template takes more than {limit} steps, at last at line {line}")]
    TooManySteps {
        /// Line in the template, from 1; 0 if unknown.
        line: usize,
        /// Most steps for this conversation.
        limit: u64,
    },
    /// The values of the template took too much memory.
    #[error("the values of the chat template take more than {limit} bytes at line {line}")]
    TooMuchMemory {
        /// Line in the template, from 1; 0 if unknown.
        line: usize,
        /// Most bytes for this conversation.
        limit: u64,
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

impl From<SyntaxError> for TemplateError {
    fn from(SyntaxError { line, message }: SyntaxError) -> Self {
        Self::Syntax { line, message }
    }
}

impl TemplateError {
    /// Of a failed rendering with this many steps allowed.
    pub(super) fn render(line: usize, failure: Failure, steps: u64) -> Self {
        match failure {
            Failure::Steps => Self::TooManySteps { line, limit: steps },
            Failure::Memory(limit) => Self::TooMuchMemory { line, limit },
            Failure::Output(limit) => Self::TooLong { limit },
            Failure::Raised(message) => Self::Raised { line, message },
            Failure::Other(message) => Self::Render { line, message },
        }
    }

    /// What to do about this error, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Raised { .. } => {
                "change the conversation as the message asks: many templates want user and \
                 assistant to take turns"
            }
            Self::Syntax { .. }
            | Self::Source { .. }
            | Self::Render { .. }
            | Self::TooManySteps { .. }
            | Self::TooMuchMemory { .. }
            | Self::TooLong { .. } => {
                "the template is part of the model; use another file of the model, or a raw prompt \
                 without a template"
            }
            Self::NothingToContinue => {
                "give the last message some text, or leave out continue_final_message"
            }
            Self::Io { .. } => "check that the file exists and may be read",
            Self::Metadata(error) => return error.hint(),
            Self::Json { .. } => "the file may be damaged: fetch it again and compare its checksum",
        })
    }
}
