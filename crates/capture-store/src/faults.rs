//! A disk that refuses, or takes its time, for tests of what happens then.

use std::{fmt, io, sync::Arc};

/// What a recorder is about to do to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiskOperation {
    /// Begin a transaction.
    Begin,
    /// Write an exchange's row, in the middle of a transaction.
    Row,
    /// Commit a transaction.
    Commit,
    /// Make the file of a large body.
    CreateFile,
    /// Write a piece into the file of a large body.
    WriteFile,
    /// Force a body's file to the disk.
    SyncFile,
}

type Fault = dyn Fn(DiskOperation) -> io::Result<()> + Send + Sync;

/// Makes a recorder's disk fail. Empty by default, and then it costs nothing.
#[derive(Clone, Default)]
pub struct DiskFaults(Option<Arc<Fault>>);

impl DiskFaults {
    /// Asks `fault` before each operation of the recorder, on its thread: what it returns as an error is what the disk
    /// says, and while it does not return the disk is slow.
    #[must_use]
    pub fn new(fault: impl Fn(DiskOperation) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(fault)))
    }

    /// What the disk says to an operation before it is tried.
    pub(crate) fn before(&self, operation: DiskOperation) -> io::Result<()> {
        match &self.0 {
            Some(fault) => fault(operation),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DiskFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskFaults").field(&self.0.is_some()).finish()
    }
}
