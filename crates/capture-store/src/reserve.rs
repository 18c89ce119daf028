//! Room that is kept for getting rid of things on a disk that is full: deleting writes, too, before it frees.
//!
//! A file of zeros beside the database, made when a recorder starts. Who closes what a crash left, deletes or clears, and
//! finds the disk full, removes it and tries again.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::{
    error::{Error, ErrorKind},
    files::private_file,
};

/// What is kept: more than the database's log grows by before it is taken over.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// Its file.
const NAME: &str = "reserve";

/// Makes the file where it is missing. A disk without room for it has none to keep.
pub(crate) fn keep(directory: &Path) {
    let path = directory.join(NAME);
    if fs::metadata(&path).is_ok_and(|file| file.len() >= RESERVE_BYTES) {
        return;
    }
    let made = private_file().open(&path).and_then(|file| allocate(&file));
    if let Err(error) = made {
        tracing::debug!(%error, "no room is kept for a full disk");
        let _ = fs::remove_file(&path);
    }
}

/// Does what frees room in the end; on a full disk once more, with the reserve given up.
pub(crate) fn with_reserve<T>(
    directory: &Path,
    mut work: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    match work() {
        Err(error) if *error.kind() == ErrorKind::Disk && fs::remove_file(directory.join(NAME)).is_ok() => {
            tracing::info!("the disk is full; the room kept for that is used");
            work()
        }
        done => done,
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES)?)
}

#[cfg(not(target_os = "linux"))]
fn allocate(mut file: &File) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), RESERVE_BYTES), &mut file).map(|_| ())
}
