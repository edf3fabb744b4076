//! The growing file of an unfinished download, hashed as it grows.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Blob, DownloadError, Event};
use crate::{catalogue::Entry, interrupt::Interrupt, store::Store};

const CHUNK: usize = 1 << 20;

/// `<name>.gguf.part`: the first bytes of the model. Appending is the only way to change it, so the
/// hash never falls behind.
#[derive(Debug)]
pub(super) struct PartFile {
    path: PathBuf,
    sizes_path: PathBuf,
    wheels: PathBuf,
    file: File,
    len: u64,
    size: u64,
    hasher: Sha256,
    sha256: String,
}

impl PartFile {
    /// Opens or creates the part file of an entry and hashes what it holds. More bytes than the
    /// model has cannot be its beginning: the file starts anew.
    pub(super) fn open(
        store: &Store,
        entry: &Entry,
        interrupt: &Interrupt,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Self, DownloadError> {
        let part = PartFile::at(
            store.beside(entry, ".part"),
            entry.size,
            entry.sha256.clone(),
            interrupt,
            on_event,
        )?;
        Ok(PartFile {
            sizes_path: store.beside(entry, ".part.json"),
            wheels: store.beside(entry, ".wheels"),
            ..part
        })
    }

    /// The same of a file in the Hub's cache, under the name that other programs give it.
    pub(super) fn of_blob(
        blob: &Blob,
        interrupt: &Interrupt,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Self, DownloadError> {
        let mut path = blob.path.clone().into_os_string();
        path.push(".incomplete");
        let sha256 = blob.sha256.clone().unwrap_or_default();
        PartFile::at(path.into(), blob.size, sha256, interrupt, on_event)
    }

    fn at(
        path: PathBuf,
        size: u64,
        sha256: String,
        interrupt: &Interrupt,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Self, DownloadError> {
        let io = |error| DownloadError::io("open", &path, error);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(io)?;
        let mut len = file.metadata().map_err(io)?.len();
        if len > size {
            file.set_len(0).map_err(io)?;
            len = 0;
        }
        let mut hasher = Sha256::new();
        hash_file(&mut file, len, &mut hasher, |at| {
            on_event(Event::At(at));
            !interrupt.is_raised()
        })
        .map_err(|error| DownloadError::io("read", &path, error))?;
        if interrupt.is_raised() {
            return Err(DownloadError::Interrupted { held: len, size });
        }
        Ok(PartFile {
            sizes_path: path.with_extension("json"),
            wheels: path.with_extension("wheels"),
            path,
            file,
            len,
            size,
            hasher,
            sha256,
        })
    }

    /// Bytes held.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the whole model.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes still missing.
    pub(super) fn missing(&self) -> u64 {
        self.size - self.len
    }

    /// The checksum that the whole model must have.
    pub(super) fn expected_sha256(&self) -> &str {
        &self.sha256
    }

    /// Where the sizes of finished pieces are kept.
    pub(super) fn sizes_path(&self) -> &Path {
        &self.sizes_path
    }

    /// A folder for wheels in flight.
    pub(super) fn wheels(&self) -> &Path {
        &self.wheels
    }

    /// Adds the model's next bytes; the caller sees to it that they are at most
    /// [`missing`](Self::missing).
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        debug_assert!(bytes.len() as u64 <= self.missing());
        if let Err(error) = self.file.write_all(bytes) {
            // A write that stopped half-way has left bytes that the hash does not know; they go.
            let _ = self.file.set_len(self.len);
            return Err(match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => DownloadError::DiskFull {
                    path: self.path.clone(),
                    needed: self.missing(),
                    free: None,
                },
                _ => DownloadError::io("write", &self.path, error),
            });
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Empties the file.
    pub(super) fn restart(&mut self) -> Result<(), DownloadError> {
        self.file.set_len(0).map_err(|error| DownloadError::io("empty", &self.path, error))?;
        self.hasher = Sha256::new();
        self.len = 0;
        let _ = fs::remove_file(&self.sizes_path);
        Ok(())
    }

    /// The checksum of a complete file if it is not the model's, `None` if it is, or if none is
    /// known.
    pub(super) fn checksum_mismatch(&self) -> Option<String> {
        let got = hex(&self.hasher.clone().finalize());
        let same = self.sha256.is_empty() || got == self.sha256;
        (self.len != self.size || !same).then_some(got)
    }

    /// Gives the complete, verified file its final name and removes what helped to make it.
    pub(super) fn install(self, path: &Path) -> Result<(), DownloadError> {
        self.file.sync_all().map_err(|error| DownloadError::io("write", &self.path, error))?;
        fs::rename(&self.path, path)
            .map_err(|error| DownloadError::io("rename", &self.path, error))?;
        let _ = fs::remove_file(&self.sizes_path);
        let _ = fs::remove_dir_all(&self.wheels);
        Ok(())
    }

    /// Removes an empty part file.
    pub(super) fn discard_if_empty(self) {
        if self.len == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Checks the checksum of a file that is in place.
pub(super) fn verify(
    path: &Path,
    entry: &Entry,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), DownloadError> {
    let io = |error| DownloadError::io("read", path, error);
    let mut file = File::open(path).map_err(io)?;
    let mut hasher = Sha256::new();
    hash_file(&mut file, entry.size, &mut hasher, |at| {
        on_event(Event::At(at));
        !interrupt.is_raised()
    })
    .map_err(io)?;
    if interrupt.is_raised() {
        return Err(DownloadError::Interrupted { held: entry.size, size: entry.size });
    }
    let got = hex(&hasher.finalize());
    if got == entry.sha256 {
        Ok(())
    } else {
        Err(DownloadError::Damaged { path: path.to_owned(), expected: entry.sha256.clone(), got })
    }
}

/// Feeds the first `len` bytes of a file to `hasher`, as long as `go_on(bytes so far)` agrees.
fn hash_file(
    file: &mut File,
    len: u64,
    hasher: &mut Sha256,
    mut go_on: impl FnMut(u64) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < len && go_on(at) {
        let want = CHUNK.min(usize::try_from(len - at).unwrap_or(CHUNK));
        file.read_exact(&mut buffer[..want])?;
        hasher.update(&buffer[..want]);
        at += want as u64;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
