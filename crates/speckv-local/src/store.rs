//! Where models lie on this machine.

#![expect(clippy::disallowed_methods, reason = "the environment says where models and caches are")]

use std::path::{Path, PathBuf};

use crate::catalogue::Entry;

/// The folder of installed models.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// What is there of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// An unfinished download of so many bytes.
    Partial(u64),
    /// A file of the right size.
    Ready,
    /// A file of another size: not the catalogue's.
    WrongSize(u64),
}

/// The user's cache folder: `$XDG_CACHE_HOME`, else `~/.cache`, on macOS `~/Library/Caches`.
/// Without `HOME` the system's list of users tells the home folder.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    let in_home = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    variable("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(in_home)))
        .or_else(|| variable("LOCALAPPDATA"))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Store {
    /// A store in the given folder, which need not exist yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Store { folder }
    }

    /// The user's store: `$SPECKV_MODELS`, else `speckv/models` in the user's cache folder
    /// (`$XDG_CACHE_HOME`, else `~/.cache`). `None` if none of them names a place.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        variable("SPECKV_MODELS")
            .or_else(|| cache_folder().map(|cache| cache.join("speckv").join("models")))
            .map(Store::new)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where an entry's file is, or will be.
    #[must_use]
    pub fn path(&self, entry: &Entry) -> PathBuf {
        self.beside(entry, "")
    }

    /// A path beside an entry's file, with a suffix: `.part`, `.lock`.
    #[must_use]
    pub fn beside(&self, entry: &Entry, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}.gguf{suffix}", entry.name))
    }

    /// What is there of an entry. A file counts by its size; its checksum was verified when it was
    /// installed.
    #[must_use]
    pub fn state(&self, entry: &Entry) -> State {
        let length = |path: PathBuf| {
            std::fs::metadata(path).ok().filter(|meta| meta.is_file()).map(|meta| meta.len())
        };
        match length(self.path(entry)) {
            Some(bytes) if bytes == entry.size => State::Ready,
            Some(bytes) => State::WrongSize(bytes),
            None => match length(self.beside(entry, ".part")) {
                Some(bytes) if bytes > 0 => State::Partial(bytes),
                _ => State::Absent,
            },
        }
    }
}
