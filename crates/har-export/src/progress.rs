//! How far an export or import has come.

/// How far it has come. Told after every few entries, and at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Entries written or read.
    pub entries: u64,
    /// Entries there are, where that is known.
    pub total_entries: Option<u64>,
    /// Bytes of JSON written or read.
    pub bytes: u64,
    /// Bytes of JSON there are, where that is known.
    pub total_bytes: Option<u64>,
}
