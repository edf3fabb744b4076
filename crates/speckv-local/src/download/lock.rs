//! One download of a model at a time, over all processes.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    thread,
    time::Duration,
};

use super::{DownloadError, Event};
use crate::interrupt::Interrupt;

/// An advisory lock, held until dropped. The file stays: removing it would let two processes lock
/// two files of one name.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Waits for the lock.
    pub(super) fn acquire(
        path: &Path,
        interrupt: &Interrupt,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Self, DownloadError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|error| DownloadError::io("create", path, error))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if interrupt.is_raised() => {
                    return Err(DownloadError::InterruptedWaiting);
                }
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        on_event(Event::Note(
                            "another process is downloading this model; waiting for it".into(),
                        ));
                        told = true;
                    }
                    thread::sleep(Duration::from_millis(100));
                }
                // Some network file systems have no locks. Going on is no worse than their state
                // without this program.
                Err(TryLockError::Error(error))
                    if error.kind() == std::io::ErrorKind::Unsupported =>
                {
                    return Ok(Lock(file));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(DownloadError::io("lock", path, error));
                }
            }
        }
    }
}
