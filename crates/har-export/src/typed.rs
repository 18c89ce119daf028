//! A small log as the types of the `har` crate.

use std::io;

use capture_store::{Query, Store};
use har::Har;

use crate::{
    error::{Error, ErrorKind},
    export::{ExportOptions, write},
};

/// The most exchanges a typed log holds.
pub const MAX_TYPED_ENTRIES: u64 = 1_000;

/// The most bytes of JSON a typed log is made from.
pub const MAX_TYPED_BYTES: u64 = 32 * 1024 * 1024;

/// Gives the exchanges a query names as the types of the `har` crate, for programs that work on them.
///
/// These types know HAR 1.2 alone: WebSocket messages and what else stands in `_` fields are only in files.
///
/// # Errors
/// When there are more than [`MAX_TYPED_ENTRIES`] exchanges or [`MAX_TYPED_BYTES`] of JSON, or the store cannot be
/// read.
pub fn to_har(store: &Store, query: &Query, options: &ExportOptions) -> Result<Har, Error> {
    let too_large =
        || Error::new(ErrorKind::TooLarge { max_entries: MAX_TYPED_ENTRIES, max_bytes: MAX_TYPED_BYTES });
    let mut query = query.clone();
    let limit = usize::try_from(MAX_TYPED_ENTRIES).unwrap_or(usize::MAX);
    if query.limit == 0 || query.limit > limit {
        query.limit = limit + 1;
    }
    let mut json = Bounded(Vec::new());
    let summary = write(store, &query, &mut json, options).map_err(|error| match error.kind() {
        ErrorKind::Output => too_large(),
        _ => error,
    })?;
    if summary.entries > MAX_TYPED_ENTRIES {
        return Err(too_large());
    }
    har::from_slice(&json.0).map_err(|error| Error::with_source(ErrorKind::Typed, error))
}

/// Bytes in memory, up to the limit.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > MAX_TYPED_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
