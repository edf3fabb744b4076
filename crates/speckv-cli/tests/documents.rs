//! The commands in the documentation are commands of this program.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use speckv_cli::args::Cli;

/// The repository; `None` in a package, which is without documents.
fn repository() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("docs/README.md").is_file().then_some(root)
}

/// README, guides, concepts and reference, and what the crates and benchmarks say of themselves.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = ["docs", "crates", "bench"].map(|name| root.join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry"))
        {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    let top = fs::read_dir(root).expect("the repository").filter_map(Result::ok);
    found.extend(top.map(|entry| entry.path()).filter(|path| {
        path.extension().is_some_and(|ending| ending == "md") && !path.ends_with("CHANGELOG.md")
    }));
    found.sort();
    found
}

/// Lines of code that call `speckv`, without what stands before and after the command.
fn commands(text: &str) -> Vec<String> {
    let (mut fenced, mut found) = (false, Vec::new());
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let Some(code) = line.strip_prefix("    ").or(fenced.then_some(line)) else { continue };
        let code = code.trim_start();
        let code = code.strip_prefix("SPECKV_API_KEY=a-long-secret ").unwrap_or(code);
        let code = code.replace("cargo run --release -- ", "speckv ");
        // Names of crates in a list have more room after them.
        if code.starts_with("speckv ") && !code.starts_with("speckv  ") {
            found.push(code);
        }
    }
    found
}

/// A line's words as a shell cuts them; a comment, a pipe or a redirection ends them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#' | '|' | '>' | '<') if word.is_none() => break,
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let Some(root) = repository() else {
        eprintln!("SKIPPED: this package is without documents");
        return;
    };
    let (mut checked, mut wrong) = (0, Vec::new());
    for path in documents(&root) {
        let text = fs::read_to_string(&path).expect("text");
        for line in commands(&text) {
            let parsed = Cli::try_parse_from(words(&line));
            if let Err(error) = parsed.as_ref().map_err(clap::Error::to_string) {
                wrong.push(format!("{}: {line}\n{error}", path.display()));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 40, "{checked} commands: the documents have more");
}

#[test]
fn links_in_the_documents_lead_to_files() {
    let Some(root) = repository() else { return };
    for path in documents(&root) {
        let text = fs::read_to_string(&path).expect("text");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.map(str::trim).filter(|target| !target.is_empty()) {
            if target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            let file = path.parent().expect("a folder").join(target);
            assert!(file.exists(), "{}: {target}", path.display());
        }
    }
}

/// The figures of the README's section on speed, each in one of the records that it links to.
#[test]
fn figures_of_the_readme_are_those_of_its_records() {
    let Some(root) = repository() else { return };
    let text = fs::read_to_string(root.join("README.md")).expect("text");
    let section = text.split("\n## ").find(|part| part.starts_with("How much faster"));
    let section = section.expect("a section on speed");
    let linked: Vec<&str> =
        section.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()).collect();
    let records: String = linked
        .iter()
        .filter(|target| target.starts_with("record/"))
        .map(|target| fs::read_to_string(root.join(target)).expect("a record"))
        .collect();
    let numbers = |text: &str| -> Vec<String> {
        text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
            .map(|number| number.trim_matches('.').to_owned())
            .filter(|number| number.contains('.'))
            .collect()
    };
    let known = numbers(&records);
    let prose: String = section
        .lines()
        .filter(|line| !line.contains("Qwen2.5"))
        .map(|line| format!("{line}\n"))
        .collect();
    // Addresses hold dates and names of models.
    let prose: String = prose
        .split("](")
        .enumerate()
        .map(|(index, part)| match (index, part.split_once(')')) {
            (0, _) | (_, None) => part,
            (_, Some((_, after))) => after,
        })
        .collect();
    let ours = numbers(&prose);
    assert!(ours.len() > 15, "the section has figures: {ours:?}");
    for number in ours {
        assert!(known.contains(&number), "{number} is in no record of {linked:?}");
    }
}
