//! What can fail in setting a client up.

use std::{fmt, io, path::PathBuf};

/// An error of the client set-up: what failed, and why below.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<io::Error>,
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The directory cannot be made or made private.
    #[error("prepare the directory {}", .0.display())]
    Directory(PathBuf),
    /// A file cannot be written.
    #[error("write {}", .0.display())]
    File(PathBuf),
    /// The CA's PEM holds no certificate.
    #[error("read the CA certificate: the PEM text holds no CERTIFICATE block")]
    NoCertificate,
    /// Nothing says where the user's files are.
    #[error("find a place for the state: no home directory is set; name one with --state-dir")]
    NoHome,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn io(kind: ErrorKind, source: io::Error) -> Self {
        Self { kind, source: Some(source) }
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
        self.source.as_ref().map(|source| source as _)
    }
}
