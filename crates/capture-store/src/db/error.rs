//! What the database says when it refuses.

use crate::error::{Error, ErrorKind};

/// What the database said, before it becomes an [`Error`] of the store.
#[derive(Debug)]
pub(crate) struct DbError(rusqlite::Error);

impl DbError {
    /// Whether another process holds the database and time may help.
    pub(crate) fn is_busy(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        matches!(self.0.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
    }

    /// Whether a file beside the database could not be made.
    pub(crate) fn needs_to_write(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
        matches!(self.0.sqlite_error_code(), Some(CannotOpen | ReadOnly))
    }

    fn is_disk(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
        matches!(self.0.sqlite_error_code(), Some(CannotOpen | DiskFull | ReadOnly | SystemIoFailure))
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

/// What a disk that is made to fail says, as the database would tell it (<https://sqlite.org/rescode.html>).
impl From<std::io::Error> for DbError {
    fn from(error: std::io::Error) -> Self {
        use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY};
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull => SQLITE_FULL,
            std::io::ErrorKind::ReadOnlyFilesystem => SQLITE_READONLY,
            _ => SQLITE_IOERR,
        };
        Self(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.to_string())))
    }
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        let kind = if error.is_disk() { ErrorKind::Disk } else { ErrorKind::Database };
        Self::with_source(kind, error.0)
    }
}
