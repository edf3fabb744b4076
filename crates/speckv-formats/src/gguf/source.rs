//! Where a file's bytes are: in a memory map or in memory.

use std::{
    fs::{File, Metadata},
    io,
    ops::Range,
    path::{Path, PathBuf},
    time::SystemTime,
};

use memmap2::Mmap;

use super::GgufError;
#[cfg(unix)]
use super::watch::Watch;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) enum Source {
    Map(Mapped),
    Memory(Vec<u8>),
}

/// A file in a memory map.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// Ends before the map does.
    #[cfg(unix)]
    _watch: Watch,
    map: Mmap,
    file: File,
    path: PathBuf,
    /// Length, and the time of the last change where the system has it.
    state: (u64, Option<SystemTime>),
}

fn state(facts: &Metadata) -> (u64, Option<SystemTime>) {
    (facts.len(), facts.modified().ok())
}

/// Pages are this large or a multiple of it.
#[cfg(unix)]
const PAGE: usize = 4096;

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, GgufError> {
        let io = |action| move |source| GgufError::Io { action, path: path.to_owned(), source };
        let in_file =
            |problem| GgufError::InFile { path: path.to_owned(), problem: Box::new(problem) };
        // Asked by path first, as some systems cannot open a folder at all and say so less clearly.
        let facts = std::fs::metadata(path).map_err(io("open"))?;
        if facts.is_dir() {
            return Err(in_file(GgufError::Folder));
        }
        if facts.len() == 0 && facts.is_file() {
            return Err(in_file(GgufError::Empty)); // which cannot be mapped
        }
        let file = File::open(path).map_err(io("open"))?;
        let facts = file.metadata().map_err(io("open"))?;
        // SAFETY: the map is read only and lives in `Source`. Nothing in this process writes to the
        // file. Another process that rewrites it meanwhile changes numbers, which are checked where
        // they are used; one that truncates it ends this process, see `Watch`.
        let map = unsafe { Mmap::map(&file) }.map_err(io("map"))?;
        // macOS reads little ahead in a mapped file unless told that it is read in order. Advice
        // only: a refusal changes nothing else.
        #[cfg(target_os = "macos")]
        let _ = map.advise(memmap2::Advice::Sequential);
        Ok(Self::Map(Mapped {
            #[cfg(unix)]
            _watch: Watch::new(
                map.as_ptr_range().start as usize..map.as_ptr_range().end as usize,
                path,
            ),
            map,
            file,
            path: path.to_owned(),
            state: state(&facts),
        }))
    }

    /// Refuses a file that was changed after it was opened: what was read of it may be of two
    /// versions, and what it has lost of its last page was read as zeros.
    pub(crate) fn check_unchanged(&self) -> Result<(), GgufError> {
        let Self::Map(Mapped { file, path, state: before, .. }) = self else { return Ok(()) };
        let io = |source| GgufError::Io { action: "read", path: path.clone(), source };
        let now = state(&file.metadata().map_err(io)?);
        if now == *before {
            return Ok(());
        }
        Err(GgufError::Changed { path: path.clone(), before: before.0, now: now.0 })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Map(mapped) => &mapped.map,
            Self::Memory(bytes) => bytes,
        }
    }

    /// Copies `to.len()` bytes from `start` on. Unlike a read of the map, that of a file which was
    /// truncated meanwhile is an error, not the end of the process by a signal.
    pub(crate) fn read_at(&self, start: usize, to: &mut [u8]) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Self::Map(Mapped { file, .. }) => {
                std::os::unix::fs::FileExt::read_exact_at(file, to, start as u64)
            }
            #[cfg(windows)]
            Self::Map(Mapped { file, .. }) => {
                let mut done = 0;
                while done < to.len() {
                    let at = (start + done) as u64;
                    match std::os::windows::fs::FileExt::seek_read(file, &mut to[done..], at)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        more => done += more,
                    }
                }
                Ok(())
            }
            Self::Memory(bytes) => {
                to.copy_from_slice(&bytes[start..start + to.len()]);
                Ok(())
            }
        }
    }

    /// Lets the system take back the whole pages inside the range. They come back from the file on
    /// the next read.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Map(Mapped { map, .. }) = self {
            let start = range.start.next_multiple_of(PAGE);
            let end = range.end / PAGE * PAGE;
            if start < end && end <= map.len() {
                // SAFETY: the range lies inside the map, which is shared, read only and backed by
                // the file: dropped pages are read again with the same bytes, so no reference into
                // the map sees a change. Where pages are larger than `PAGE`, a neighbour's bytes in
                // the same page are dropped and read again likewise.
                let advised = unsafe {
                    map.unchecked_advise_range(
                        memmap2::UncheckedAdvice::DontNeed,
                        start,
                        end - start,
                    )
                };
                // Advice only: a system that refuses keeps the pages, and nothing else changes.
                drop(advised);
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}
