//! One file and one function per command.

mod bench;
mod chat;
mod completions;
#[cfg(feature = "gpu")]
mod devices;
mod doctor;
mod evaluate;
mod export;
mod identity;
mod inspect;
mod man;
mod models;
mod paper;
mod perplexity;
mod profile;
mod pull;
mod quantize;
mod replay;
mod report;
mod run;
mod score;
mod serve;
mod tokenize;
mod train;

use speckv_local::failure::Outcome;

use crate::{args::Command, printer::Printer};

/// Runs a command.
///
/// # Errors
/// What the command could not do.
pub fn run(command: Command, printer: &Printer) -> Outcome<()> {
    match command {
        Command::Pull(args) => pull::run(&args, printer),
        Command::Models(args) => models::run(&args, printer),
        #[cfg(feature = "gpu")]
        Command::Devices(args) => devices::run(&args, printer),
        Command::Doctor(args) => doctor::run(&args, printer),
        Command::Quantize(args) => quantize::run(&args, printer),
        Command::Run(args) => run::run(&args, printer),
        Command::Chat(args) => chat::run(&args, printer),
        Command::Serve(args) => serve::run(*args, printer),
        Command::Inspect(args) => inspect::run(&args, printer),
        Command::Tokenize(args) => tokenize::run(&args, printer),
        Command::Score(args) => score::run(&args, printer),
        Command::Bench(args) => bench::run(&args, printer),
        Command::Perplexity(args) => perplexity::run(&args, printer),
        Command::Identity(args) => identity::run(&args, printer),
        Command::Profile(args) => profile::run(&args, printer),
        Command::Train(args) => train::run(&args, printer),
        Command::Replay(args) => replay::run(&args, printer),
        Command::Evaluate(args) => evaluate::run(&args, printer),
        Command::Report(args) => report::run(&args, printer),
        Command::Export(args) => export::run(&args, printer),
        Command::Paper(args) => paper::run(&args, printer),
        Command::Completions(args) => completions::run(&args, printer),
        Command::Man(args) => man::run(&args, printer),
    }
}
