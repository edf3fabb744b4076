//! `speckv completions`: a script that completes commands and options in a shell.

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use speckv_local::failure::Outcome;

use crate::{
    args::{Cli, CompletionsArgs},
    printer::Printer,
};

/// Prints the script.
///
/// # Errors
/// Standard output that is closed.
pub(super) fn run(args: &CompletionsArgs, printer: &Printer) -> Outcome<()> {
    printer.data(&script(args.shell))
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "speckv", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for &shell in Shell::value_variants() {
            let script = script(shell);
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(script.contains("max-tokens"), "{shell} completes options");
        }
    }
}
