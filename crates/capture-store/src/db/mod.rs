//! The database: rows in and out. No other module names SQLite.
//!
//! Start at [`schema`] for what is stored, at [`connection`] for how it is opened, at [`write`](mod@write) for the
//! path of a recorded exchange and at [`read`] for the way back.

mod codes;
mod connection;
mod delete;
mod filter;
mod read;
mod recover;
mod schema;
mod sessions;
mod write;

pub(crate) use connection::{Connection, Mode, Tx};
pub(crate) use filter::Filter;
pub(crate) use read::{BodyRow, BodySource, Content};
pub(crate) use sessions::{NewSession, SessionDelta};
pub(crate) use write::{BodyContent, ExchangeRow};

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

    fn is_disk(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, SystemIoFailure};
        matches!(self.0.sqlite_error_code(), Some(CannotOpen | DiskFull | SystemIoFailure))
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
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

/// A count as SQLite stores it. Counts beyond 2^63 do not occur.
fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A stored count. Negative ones are not written.
fn uint(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
