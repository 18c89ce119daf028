//! What can fail in the store.

use std::{fmt, path::PathBuf};

/// An error of the store: what failed, and why below.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The directory cannot be made, read or written.
    #[error("open the store at {}; check that the directory exists and is yours", .0.display())]
    Directory(PathBuf),
    /// Another process is recording into this store.
    #[error("record into {}: another wirescope is recording there; choose another --store", .0.display())]
    Locked(PathBuf),
    /// The store was written by a newer version.
    #[error(
        "open the store at {path}: its schema is version {found}, this wirescope knows up to {known}; use a newer wirescope or another --store"
    )]
    NewerSchema {
        /// The store.
        path: String,
        /// Its schema version.
        found: u32,
        /// The newest version this crate knows.
        known: u32,
    },
    /// The store was written by an older version, and was opened for reading only.
    #[error(
        "read the store at {path}: its schema is version {found}, {known} is wanted; open it for writing once, which migrates it"
    )]
    OlderSchema {
        /// The store.
        path: String,
        /// Its schema version.
        found: u32,
        /// The version that is read.
        known: u32,
    },
    /// The store was written by an older version, which still writes to it.
    #[error(
        "bring the store at {path} from schema version {found} to {known}: an older wirescope is writing to it; stop it first"
    )]
    OlderWriter {
        /// The store.
        path: String,
        /// Its schema version.
        found: u32,
        /// The version that is wanted.
        known: u32,
    },
    /// The store was not closed before it came where it cannot be written to.
    #[error(
        "read the store at {}: what was recorded last stands in its log, which cannot be read where nothing can be written; \
         copy the store to where it can be, or close it before it is moved", .0.display()
    )]
    UnreadLog(PathBuf),
    /// There is no such session.
    #[error("find session {0}; list the sessions to see which there are")]
    UnknownSession(crate::SessionId),
    /// There is no such exchange, or it was evicted.
    #[error("find exchange {0}; it was never recorded, or evicted, cleared or deleted since")]
    UnknownExchange(crate::Seq),
    /// The session is being recorded into.
    #[error("change session {0} while it is being recorded; stop it first")]
    SessionActive(crate::SessionId),
    /// The store was opened for reading only.
    #[error("write to a store that was opened for reading only")]
    ReadOnly,
    /// The database refused.
    #[error("use the store's database")]
    Database,
    /// The SQL cannot be run.
    #[error("run the SQL: {0}")]
    Sql(String),
    /// The SQL ran longer than it may.
    #[error("finish the SQL within {0:?}; ask for less, or allow more time")]
    SqlTimeout(std::time::Duration),
    /// A body's file is missing or damaged.
    #[error("read the body of exchange {0}")]
    Body(crate::Seq),
    /// The recorder is gone.
    #[error("reach the recorder; it has stopped")]
    RecorderStopped,
    /// The disk is full or failing.
    #[error("write to the store; check free space and the disk")]
    Disk,
}

impl Error {
    /// Makes an error without a cause below.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Makes an error with its cause.
    pub fn with_source(kind: ErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::with_source(ErrorKind::Disk, error)
    }
}

impl From<crate::detail::Damaged> for Error {
    fn from(error: crate::detail::Damaged) -> Self {
        Self::with_source(ErrorKind::Database, error)
    }
}
