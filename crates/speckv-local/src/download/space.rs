//! Room on the disk.

use std::path::Path;

use super::DownloadError;

/// Room for one wheel and its neighbours beside the file itself.
const MARGIN: u64 = 128 << 20;

/// Fails early if the disk of `folder` has no room for `needed` more bytes and a wheel; says
/// nothing where that is unknown.
pub(super) fn check(folder: &Path, needed: u64) -> Result<(), DownloadError> {
    let wanted = if needed == 0 { 0 } else { needed + MARGIN };
    match free(folder) {
        Some(free) if free < wanted => Err(DownloadError::DiskFull {
            path: folder.to_owned(),
            needed: wanted,
            free: Some(free),
        }),
        _ => Ok(()),
    }
}

#[cfg(unix)]
#[allow(clippy::useless_conversion, reason = "the fields are u32 on some systems")]
fn free(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    u64::from(stat.f_bavail).checked_mul(u64::from(stat.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}
