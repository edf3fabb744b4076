//! Why a download failed.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::units;

/// A source that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The source in words.
    pub source: String,
    /// Why it gave nothing.
    pub reason: String,
}

/// Why a model could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// A file or folder of the store cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "cannot ...".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The disk has too little room, seen before or while writing.
    #[error("the disk is full: {} more are needed in \
        {}{}", units::bytes(*needed), path.display(), free_text(*free))]
    DiskFull {
        /// The folder or file.
        path: PathBuf,
        /// Bytes still to write.
        needed: u64,
        /// Bytes available, where known.
        free: Option<u64>,
    },
    /// The user stopped the download.
    #[error("stopped with {} of {} downloaded", units::bytes(*held), units::bytes(*size))]
    Interrupted {
        /// Bytes that are kept.
        held: u64,
        /// Bytes of the whole file.
        size: u64,
    },
    /// The user stopped waiting for another process.
    #[error("stopped while another process was downloading the same model")]
    InterruptedWaiting,
    /// A file is in the model's place, but not the model.
    #[error("{} is not the catalogue's file: expected {expected} bytes, got {got}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The catalogue's size in bytes.
        expected: u64,
        /// The file's size in bytes.
        got: u64,
    },
    /// The file in the model's place has other content.
    #[error("{} is damaged: expected sha256 {expected}, got {got}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The catalogue's checksum.
        expected: String,
        /// The file's checksum.
        got: String,
    },
    /// A file of the Hub cannot be fetched.
    #[error("cannot fetch {name}: {reason}")]
    Failed {
        /// The file.
        name: String,
        /// Why not.
        reason: String,
    },
    /// No source gave the file.
    #[error("no source has {name}:{}", tried_text(tried))]
    Exhausted {
        /// Catalogue name.
        name: String,
        /// Where the file would be.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// Its checksum.
        sha256: String,
        /// Every source and why it failed.
        tried: Vec<Tried>,
    },
}

impl DownloadError {
    /// An input or output failure; a full disk is told apart.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        DownloadError::Io { action, path: path.to_owned(), source }
    }

    /// The next step for the user.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            DownloadError::Io { path, .. } => format!(
                "check that {} is writable, or set SPECKV_MODELS to another folder",
                path.parent().unwrap_or(path).display()
            ),
            DownloadError::DiskFull { .. } => {
                "free some space or set SPECKV_MODELS to a folder on a larger disk; what is \
                 downloaded is kept"
                    .into()
            }
            DownloadError::Interrupted { .. } => "the next `speckv pull` continues from \
                here"
                .into(),
            DownloadError::InterruptedWaiting => "run the command again once the other process \
                has finished"
                .into(),
            DownloadError::Foreign { path, .. } | DownloadError::Damaged { path, .. } => {
                format!(
                    "remove {} and pull again, or give it by its path: --model \
                    {0}",
                    path.display()
                )
            }
            DownloadError::Failed { .. } => {
                "run the command again: what was fetched is kept and continued; for a model with \
                 terms, set HF_TOKEN"
                    .into()
            }
            DownloadError::Exhausted { path, size, sha256, .. } => format!(
                "get the file elsewhere ({size} bytes, sha256 {sha256}) and place it at {}, or \
                 give any GGUF file by its path: --model FILE.gguf",
                path.display()
            ),
        }
    }
}

/// Why one source gave nothing, or why there is no point in asking another.
#[derive(Debug)]
pub(super) enum SourceError {
    /// The next source may do better.
    Unavailable(String),
    /// No source can help.
    Stop(DownloadError),
}

pub(super) type SourceResult<T> = Result<T, SourceError>;

impl From<DownloadError> for SourceError {
    fn from(error: DownloadError) -> Self {
        SourceError::Stop(error)
    }
}

fn free_text(free: Option<u64>) -> String {
    free.map_or(String::new(), |free| format!(", {} are free", units::bytes(free)))
}

fn tried_text(tried: &[Tried]) -> String {
    tried.iter().map(|tried| format!("\n  {}: {}", tried.source, tried.reason)).collect()
}
