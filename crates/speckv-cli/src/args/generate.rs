//! Arguments of the commands that write completions and man pages.

use std::path::PathBuf;

use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell that reads the script.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, in place of the first page to standard
    /// output.
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}
