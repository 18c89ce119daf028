//! Who writes into a store, told between processes by locks on files beside the database. The kernel lets go of
//! them when a process ends, however it ends.
//!
//! - `opening.lock`: held while a store is created, migrated or recovered, one process after the other.
//! - `recorder.lock`: held by the one live recorder.
//! - `bodies.lock`: shared by all who write body files; held alone by the sweep that removes files without a row.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::files::private_file;

/// How long a recorder waits for a recovery that looks whether it lives.
const RECORDER_WAIT: Duration = Duration::from_secs(2);
const RECORDER_RETRY: Duration = Duration::from_millis(20);

/// A lock; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Waits for `opening.lock`.
pub(crate) fn opening(directory: &Path) -> io::Result<Lock> {
    let file = open(directory, "opening.lock")?;
    file.lock()?;
    Ok(Lock { _file: file })
}

/// Takes `recorder.lock`; `None` where another holds it.
pub(crate) fn try_recorder(directory: &Path) -> io::Result<Option<Lock>> {
    try_alone(open(directory, "recorder.lock")?)
}

/// Takes `recorder.lock`, waiting a little for a recovery that holds it for a moment.
pub(crate) fn recorder(directory: &Path) -> io::Result<Option<Lock>> {
    let deadline = Instant::now() + RECORDER_WAIT;
    loop {
        let lock = try_recorder(directory)?;
        if lock.is_some() || Instant::now() >= deadline {
            return Ok(lock);
        }
        thread::sleep(RECORDER_RETRY);
    }
}

/// Shares `bodies.lock`, waiting for a sweep to end.
pub(crate) fn bodies(directory: &Path) -> io::Result<Lock> {
    let file = open(directory, "bodies.lock")?;
    file.lock_shared()?;
    Ok(Lock { _file: file })
}

/// Takes `bodies.lock` alone; `None` while anyone writes body files.
pub(crate) fn try_sweep(directory: &Path) -> io::Result<Option<Lock>> {
    try_alone(open(directory, "bodies.lock")?)
}

fn open(directory: &Path, name: &str) -> io::Result<File> {
    private_file().open(directory.join(name))
}

fn try_alone(file: File) -> io::Result<Option<Lock>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
