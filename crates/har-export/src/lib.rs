//! HAR 1.2 out of and into a `capture-store`.

mod blame;
mod body;
mod clock;
mod compose;
mod cookie;
mod entry;
mod error;
mod export;
mod extra;
mod form;
mod import;
mod json;
mod lenient;
mod log;
mod message;
mod parse;
mod progress;
mod resource;
mod text;
mod tree;
mod typed;
mod url;
mod version;

pub use error::{Error, ErrorKind};
pub use export::{ExportOptions, ExportSummary, export, write};
pub use import::{ImportOptions, ImportSummary, Warning, import, read};
pub use progress::Progress;
pub use typed::{MAX_TYPED_BYTES, MAX_TYPED_ENTRIES, to_har};

#[cfg(test)]
mod round_trip;
#[cfg(test)]
#[path = "../tests/it/schema.rs"]
mod schema;
