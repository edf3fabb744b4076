//! The `speckv` command line as a library, so that its parts can be tested without a process.
//!
//! The road of every invocation: typed [`args`] -> resolved settings -> one function per command in
//! [`commands`] -> a [`printer::Printer`] for what it says and an exit status for how it ended.

#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

pub mod answer;
pub mod args;
pub mod commands;
pub mod comparison;
pub mod curve;
pub mod device;
pub mod doctor;
pub mod grammar;
pub mod identity_prompts;
pub mod interrupt;
pub mod model_facts;
pub mod pace;
pub mod perplexity;
pub mod printer;
pub mod progress;
pub mod prompt;
pub mod reference;
pub mod row_curve;
pub mod served_text;
pub mod serving;
pub mod settings;
pub mod stats;
pub mod table;
pub mod terminal_text;
pub mod verdict;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::Mutex,
};

use speckv_local::failure::Failure;

/// Reads the process's arguments, runs the command, reports a failure, and gives the exit status.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let printer = printer::Printer::from_environment(cli.quiet);
    match guarded(|| commands::run(cli.command, &printer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            printer.failure(&failure);
            ExitCode::from(failure.status())
        }
    }
}

/// Runs `body`; a panic inside becomes a [`Failure`] that asks for a report, in place of the
/// runtime's own message.
fn guarded(body: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    static WHERE: Mutex<Option<String>> = Mutex::new(None);
    panic::set_hook(Box::new(|info| {
        if let Ok(mut place) = WHERE.lock() {
            place.get_or_insert_with(|| info.to_string().replace('\n', " "));
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let place = WHERE.lock().ok().and_then(|mut place| place.take()).unwrap_or_default();
        Err(Failure::bug(place))
    })
}
