//! What happens when a store is opened.

use std::{io, path::Path};

use crate::{
    db::{Connection, DbError, Mode},
    error::{Error, ErrorKind},
    files::{BodyFiles, create_private_directory, private_file},
    lock, recovery,
    reserve::with_reserve,
    session::SessionInfo,
};

/// The database's file in a store.
pub(crate) const DATABASE: &str = "store.db";

/// Blocks of exchanges filed by one opening: two or three milliseconds each.
const FILED_AT_ONCE: usize = 64;

/// Creates, migrates and recovers.
pub(crate) fn prepare(directory: &Path, files: &BodyFiles) -> Result<Vec<SessionInfo>, Error> {
    let unusable = |error: io::Error| Error::with_source(ErrorKind::Directory(directory.to_owned()), error);
    create_private_directory(directory).map_err(unusable)?;
    let _opening = lock::opening(directory).map_err(unusable)?;
    let path = directory.join(DATABASE);
    // SQLite would make it readable for all; its side files take after it.
    private_file().open(&path).map_err(unusable)?;
    let dead = lock::try_recorder(directory).map_err(unusable)?;
    let db = with_reserve(directory, || {
        let mut db = Connection::open(&path, Mode::Write)?;
        let (found, known) = db.versions()?;
        check_versions(directory, found, known)?;
        if found < known {
            // Who began with another schema goes on as it says.
            let alone = lock::try_sweep(directory).map_err(unusable)?.filter(|_| dead.is_some());
            if alone.is_none() && found > 0 {
                let path = directory.display().to_string();
                return Err(Error::new(ErrorKind::OlderWriter { path, found, known }));
            }
            db.migrate()?;
        }
        Ok(db)
    })?;
    match dead {
        Some(_dead) => {
            let closed = recovery::recover(directory, &db, files)?;
            file_left(&db);
            Ok(closed)
        }
        None => Ok(Vec::new()),
    }
}

/// Files blocks that who recorded or deleted before left unfiled. Without it, asking takes longer.
fn file_left(db: &Connection) {
    let filed = db.snapshot().and_then(|tx| tx.has_left()).and_then(|left| {
        if !left {
            return Ok(());
        }
        let tx = db.begin()?;
        tx.file_left(FILED_AT_ONCE)?;
        tx.commit()
    });
    if let Err(error) = filed {
        tracing::debug!(%error, "filing what was left unfiled failed");
    }
}

/// Checks that a store can be read as it is, and says how.
pub(crate) fn check_readable(directory: &Path) -> Result<Mode, Error> {
    let path = directory.join(DATABASE);
    std::fs::metadata(&path)
        .map_err(|error| Error::with_source(ErrorKind::Directory(directory.to_owned()), error))?;
    let (mode, (found, known)) = match versions(&path, Mode::Read) {
        Ok(versions) => (Mode::Read, versions),
        // Readers share a file beside the database, which cannot be made on a medium that is not written to.
        Err(error) if error.needs_to_write() => {
            if has_log(&path) {
                return Err(Error::with_source(
                    ErrorKind::UnreadLog(directory.to_owned()),
                    Error::from(error),
                ));
            }
            (Mode::Immutable, versions(&path, Mode::Immutable)?)
        }
        Err(error) => return Err(error.into()),
    };
    check_versions(directory, found, known)?;
    if found == 0 {
        return Err(Error::new(ErrorKind::Directory(directory.to_owned())));
    }
    if found < known {
        let path = directory.display().to_string();
        return Err(Error::new(ErrorKind::OlderSchema { path, found, known }));
    }
    Ok(mode)
}

fn versions(path: &Path, mode: Mode) -> Result<(u32, u32), DbError> {
    Connection::open(path, mode)?.versions()
}

/// Whether something that was committed stands in the database's log alone.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

fn check_versions(directory: &Path, found: u32, known: u32) -> Result<(), Error> {
    if found > known {
        let path = directory.display().to_string();
        return Err(Error::new(ErrorKind::NewerSchema { path, found, known }));
    }
    Ok(())
}
