//! What happens when a store is opened.

use std::{io, path::Path};

use crate::{
    db::{Connection, Mode},
    error::{Error, ErrorKind},
    files::{BodyFiles, create_private_directory, private_file},
    lock, recovery,
    session::SessionInfo,
};

/// The database's file in a store.
pub(crate) const DATABASE: &str = "store.db";

/// Creates, migrates and recovers.
pub(crate) fn prepare(directory: &Path, files: &BodyFiles) -> Result<Vec<SessionInfo>, Error> {
    let unusable = |error: io::Error| Error::with_source(ErrorKind::Directory(directory.to_owned()), error);
    create_private_directory(directory).map_err(unusable)?;
    let _opening = lock::opening(directory).map_err(unusable)?;
    let path = directory.join(DATABASE);
    // SQLite would make it readable for all; its side files take after it.
    private_file().open(&path).map_err(unusable)?;
    let mut db = Connection::open(&path, Mode::Write)?;
    check_version(directory, &db)?;
    db.migrate()?;
    match lock::try_recorder(directory).map_err(unusable)? {
        Some(_dead) => recovery::recover(directory, &db, files),
        None => Ok(Vec::new()),
    }
}

/// Checks that a store can be read as it is.
pub(crate) fn check_readable(directory: &Path) -> Result<(), Error> {
    let path = directory.join(DATABASE);
    std::fs::metadata(&path)
        .map_err(|error| Error::with_source(ErrorKind::Directory(directory.to_owned()), error))?;
    let db = Connection::open(&path, Mode::Read)?;
    let (found, known) = check_version(directory, &db)?;
    if found == 0 {
        return Err(Error::new(ErrorKind::Directory(directory.to_owned())));
    }
    if found < known {
        let path = directory.display().to_string();
        return Err(Error::new(ErrorKind::OlderSchema { path, found, known }));
    }
    Ok(())
}

fn check_version(directory: &Path, db: &Connection) -> Result<(u32, u32), Error> {
    let (found, known) = db.versions()?;
    if found > known {
        let path = directory.display().to_string();
        return Err(Error::new(ErrorKind::NewerSchema { path, found, known }));
    }
    Ok((found, known))
}
