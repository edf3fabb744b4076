//! One file and one function per command.

mod models;
mod pull;

use crate::{args::Command, failure::Outcome, printer::Printer};

/// Runs a command.
///
/// # Errors
/// What the command could not do.
pub fn run(command: Command, printer: &Printer) -> Outcome<()> {
    match command {
        Command::Pull(args) => pull::run(&args, printer),
        Command::Models(args) => models::run(&args, printer),
    }
}
