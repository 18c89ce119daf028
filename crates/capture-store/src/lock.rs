//! Who writes into a store, told between processes by locks on files beside the database. The kernel lets go of
//! them when a process ends, however it ends.
//!
//! - `opening.lock`: held while a store is created, migrated or recovered and while a recorder starts, one after the
//!   other.
//! - `recorder.lock`: held by the one live recorder; for a moment, under `opening.lock`, by a recovery that looks
//!   whether one lives.
//! - `bodies.lock`: shared by all who write body files; held alone by the sweep that removes files without a row.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

use crate::files::private_file;

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

/// Takes `recorder.lock`; `None` where another holds it. The caller holds `opening.lock`.
pub(crate) fn try_recorder(directory: &Path) -> io::Result<Option<Lock>> {
    try_alone(open(directory, "recorder.lock")?)
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
