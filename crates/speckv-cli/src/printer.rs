//! The only place that writes: data to standard output, talk to standard error.

#![expect(
    clippy::disallowed_methods,
    reason = "NO_COLOR and TERM say whether output may be coloured"
)]

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use speckv_local::{
    failure::{Failure, Outcome},
    report::{self, Reporter, Unit},
};

use crate::progress::Progress;

/// What a command may say, and how. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    quiet: bool,
    colour: bool,
    terminal: bool,
}

impl Printer {
    /// A printer for this process: colour only on a terminal that can show it and where `NO_COLOR`
    /// is not set.
    #[must_use]
    pub fn from_environment(quiet: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Printer { quiet, colour: terminal && colour_allowed(), terminal }
    }

    /// Writes data to standard output and flushes, so that a reader sees text as it comes.
    ///
    /// # Errors
    /// A silent [`Failure`] when the reader has gone; see [`Failure::output`].
    pub fn data(&self, text: &str) -> Outcome<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Writes one JSON document and a newline to standard output.
    ///
    /// # Errors
    /// As [`data`](Self::data).
    pub fn json(&self, value: &impl serde::Serialize) -> Outcome<()> {
        let text = serde_json::to_string_pretty(value).map_err(Failure::bug)?;
        self.data(&(text + "\n"))
    }

    /// Says something in passing, dimmed, unless quiet.
    pub fn aside(&self, text: &str) {
        if !self.quiet {
            self.say(&self.paint("2", text));
        }
    }

    /// Reports a failure with its hint.
    pub fn failure(&self, failure: &Failure) {
        if !failure.is_silent() {
            self.say(&format!("{} {}", self.paint("1;31", "error:"), failure.message()));
            self.say(&format!("{} {}", self.paint("1;36", "hint:"), failure.hint()));
        }
    }

    /// Whether only results, warnings and errors are wanted.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether what is said may be coloured.
    #[must_use]
    pub fn has_colour(&self) -> bool {
        self.colour
    }

    // Standard error may be closed as well; nothing can be reported then.
    fn say(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Reporter for Printer {
    /// Writes a line to standard error, unless quiet.
    fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Writes a line to standard error, also when quiet.
    fn warning(&self, text: &str) {
        self.say(&format!("{} {text}", self.paint("1;33", "warning:")));
    }

    /// A display on standard error; none when quiet.
    fn progress(&self, label: &str, unit: Unit, patience: Duration) -> Box<dyn report::Progress> {
        Box::new(if self.quiet {
            Progress::hidden()
        } else {
            Progress::new(label, unit, patience, self.terminal)
        })
    }
}

/// Whether the environment allows colour: `NO_COLOR` unset or empty, and a terminal that is not
/// dumb.
#[must_use]
pub fn colour_allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
