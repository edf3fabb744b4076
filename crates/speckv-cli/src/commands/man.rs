//! `speckv man`: manual pages.

use std::{fs, path::Path};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use speckv_local::failure::{Failure, Outcome};

use crate::{
    args::{Cli, ManArgs},
    printer::Printer,
};

/// Prints the page of `speckv`, or writes those of all commands into a folder.
///
/// # Errors
/// A folder or file that cannot be written.
pub(super) fn run(args: &ManArgs, printer: &Printer) -> Outcome<()> {
    let pages = pages();
    let Some(folder) = &args.output else { return printer.data(&pages[0].1) };
    write(folder, &pages).map_err(|error| {
        Failure::new(
            format!("cannot write manual pages to {}: {error}", folder.display()),
            "give a folder that can be written to",
        )
    })?;
    printer.aside(&format!("{} pages in {}", pages.len(), folder.display()));
    Ok(())
}

/// File names and contents: first the page of `speckv`, then one for each command.
fn pages() -> Vec<(String, String)> {
    let mut whole = Cli::command();
    whole.build(); // names subcommands `speckv-run` and gives them the options that all have
    let commands: Vec<Command> =
        whole.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect();
    [whole].into_iter().chain(commands).map(page).collect()
}

fn page(command: Command) -> (String, String) {
    let man = Man::new(command);
    let mut text = Vec::new();
    man.render(&mut text).expect("memory takes everything");
    (man.get_filename(), String::from_utf8_lossy(&text).into_owned())
}

fn write(folder: &Path, pages: &[(String, String)]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    pages.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options() {
        let pages = pages();
        assert_eq!(pages.len(), 1 + Cli::command().get_subcommands().count());
        for command in Cli::command().get_subcommands() {
            let name = format!("speckv-{}.1", command.get_name());
            let (_, text) = pages.iter().find(|(page, _)| *page == name).expect("a page");
            assert!(text.contains(".SH OPTIONS") && text.contains("quiet"), "{name}:\n{text}");
            let listed = pages[0].1.contains(&command.get_name().replace('-', "\\-"));
            assert!(listed, "{name} is on the first page");
        }
    }

    #[test]
    fn pages_are_written_into_a_new_folder() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("man1");
        write(&folder, &pages()).expect("written");
        let run = fs::read_to_string(folder.join("speckv-run.1")).expect("a page");
        assert!(run.contains("speckv\\-run"), "{run}");
    }
}
