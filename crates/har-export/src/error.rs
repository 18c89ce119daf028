//! What can fail between a HAR file and a store.

use std::{fmt, path::PathBuf};

/// An error of export or import: what failed, and why below.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The output file cannot be made or put in its place.
    #[error("write {}; check that its directory exists, is yours and has space", .0.display())]
    WriteFile(PathBuf),
    /// The writer given by the caller refused.
    #[error("write the HAR to its output")]
    Output,
    /// The input file cannot be opened or read.
    #[error("read {}; check that it exists and is readable", .0.display())]
    ReadFile(PathBuf),
    /// The reader given by the caller failed.
    #[error("read the HAR from its input")]
    Input,
    /// The input is not JSON.
    #[error(
        "read the file as JSON: {reason} at line {line} column {column}; it may be cut short or no HAR file"
    )]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The byte within the line, from 1.
        column: usize,
        /// What the JSON reader said.
        reason: String,
    },
    /// The input is JSON, but not a HAR log.
    #[error("find `log.entries` in the file: {reason}; it is JSON, but no HAR file")]
    NotHar {
        /// What is there instead.
        reason: String,
    },
    /// The input is no session of the Charles proxy, though it looks like one.
    #[error("read the file as a session of Charles: {reason}")]
    NotCharles {
        /// What is wrong with it.
        reason: String,
    },
    /// An entry cannot be imported as it is, and the import was asked to be strict.
    #[error("import entry {index}: {reason}; leave out strict to go on with a warning")]
    BadEntry {
        /// The entry's place in `log.entries`, from 0.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// What stands beside the entries cannot be imported as it is, and the import was asked to be strict.
    #[error("import the log: {reason}; leave out strict to go on with a warning")]
    BadLog {
        /// What is wrong with it.
        reason: String,
    },
    /// The store refused.
    #[error("use the store")]
    Store,
    /// A body cannot be read back from the store.
    #[error("read a stored body")]
    Body,
    /// There are more exchanges, or more bytes, than a typed HAR in memory may hold.
    #[error(
        "hold this many exchanges in memory (at most {max_entries} and {max_bytes} bytes); export a file instead"
    )]
    TooLarge {
        /// The most exchanges.
        max_entries: u64,
        /// The most bytes of JSON.
        max_bytes: u64,
    },
    /// The `har` crate does not read what was written.
    #[error("turn the log into the types of the har crate")]
    Typed,
}

impl Error {
    /// Makes an error without a cause below.
    #[must_use]
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Makes an error with its cause.
    pub(crate) fn with_source(
        kind: ErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// Tells whether the store has no such exchange any more.
    pub(crate) fn is_vanished(&self) -> bool {
        let source = self.source.as_deref().and_then(|source| source.downcast_ref::<capture_store::Error>());
        source.is_some_and(|error| matches!(error.kind(), capture_store::ErrorKind::UnknownExchange(_)))
    }

    /// The same failure under another name, its cause kept.
    pub(crate) fn renamed(self, kind: ErrorKind) -> Self {
        Self { kind, source: self.source }
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

impl From<capture_store::Error> for Error {
    fn from(error: capture_store::Error) -> Self {
        Self::with_source(ErrorKind::Store, error)
    }
}
