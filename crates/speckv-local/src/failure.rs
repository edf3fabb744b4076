//! How a command ends badly: a message, a next step, and an exit status.

use std::{fmt::Display, io, path::Path};

/// Hint for a file that contradicts itself.
pub const DAMAGED: &str = "the file may be damaged: fetch it again and compare its checksum";

/// A command's result.
pub type Outcome<T> = Result<T, Failure>;

/// Why a command failed and what the user can do next. There is no way to make one without a hint.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    hint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    Bug,
    Interrupted,
    /// The reader of standard output has gone: there is nobody to tell.
    Closed,
}

impl Failure {
    /// A failure of the work itself; exit status 1.
    pub fn new(message: impl Display, hint: impl Display) -> Self {
        Failure { kind: Kind::Failed, message: message.to_string(), hint: hint.to_string() }
    }

    /// Arguments that do not go together; exit status 2.
    pub fn usage(message: impl Display, hint: impl Display) -> Self {
        Failure { kind: Kind::Usage, ..Failure::new(message, hint) }
    }

    /// What an argument's parser says, with the hint that it ends with, else `hint`; exit status 2.
    pub fn told(words: &str, hint: &str) -> Self {
        let (message, hint) = words.split_once("\nhint: ").unwrap_or((words, hint));
        Failure::usage(message, hint)
    }

    /// Stopped by the user; exit status 130.
    pub fn interrupted(message: impl Display, hint: impl Display) -> Self {
        Failure { kind: Kind::Interrupted, ..Failure::new(message, hint) }
    }

    /// A broken promise of this program; exit status 70.
    pub fn bug(place: impl Display) -> Self {
        let hint = "this is a bug in speckv; please report it with the command line that showed it";
        Failure { kind: Kind::Bug, ..Failure::new(format!("internal error: {place}"), hint) }
    }

    /// An input or output failure, with the path that it was about.
    pub fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => {
                "check the spelling of the path; `speckv models` lists the models known by name"
            }
            io::ErrorKind::PermissionDenied => {
                "check the permissions of this path and of its folder"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free some disk space and try again"
            }
            io::ErrorKind::IsADirectory => "give the path of a file, not of a folder",
            _ => "check that the path is right and its disk healthy, and try again",
        };
        Failure::new(format!("cannot {action} {}: {error}", path.display()), hint)
    }

    /// A failure from a library error: its chain of causes as the message, its own hint if it has
    /// one, else `hint`.
    pub fn from_error(
        error: &(dyn std::error::Error + 'static),
        own: Option<&str>,
        hint: &str,
    ) -> Self {
        Failure::new(chain(error), own.unwrap_or(hint))
    }

    /// The same failure about something in particular.
    #[must_use]
    pub fn about(self, what: impl Display) -> Self {
        Failure { message: format!("{what}: {}", self.message), ..self }
    }

    /// What the program says about itself, without the hint.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The next step.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// Whether nothing should be said: standard output was closed by its reader.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.kind == Kind::Closed
    }

    /// Exit status: 0 when the reader of the output left, 1 failed, 2 usage, 70 bug, 130
    /// interrupted.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self.kind {
            Kind::Closed => 0,
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Bug => 70,
            Kind::Interrupted => 130,
        }
    }

    /// A failure to write to standard output. A closed pipe is an ending, not an error: `speckv run
    /// ... | head -1`.
    #[must_use]
    pub fn output(error: &io::Error) -> Self {
        let failure = Failure::new(
            format!("cannot write to standard output: {error}"),
            "check where the output is sent; a full disk is the usual reason",
        );
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure { kind: Kind::Closed, ..failure },
            _ => failure,
        }
    }
}

/// An error and its causes, each said once, separated by colons.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
