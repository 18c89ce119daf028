//! HAR 1.2 out of and into a `capture-store`, streaming.
//!
//! What enters: a [`Store`](capture_store::Store) and a [`Query`](capture_store::Query), or a HAR file of whatever
//! tool. What leaves: a HAR file that other tools read, or a session in the store. What it does not know: where
//! exchanges come from, MCP, command lines.
//!
//! Neither direction holds a file, a body or a list of messages in memory: [`export()`] and [`write()`] stream them out of
//! the store into the JSON, [`import()`] and [`read()`] out of the JSON into the store. What HAR has no place for stands in a `_wirescope` object of
//! each entry, so that an import gives back the exchange that was exported. For programs that work on a few entries,
//! [`to_har`] gives the types of the [`har`] crate.
//!
//! ```
//! use capture_store::{Query, Store, StoreConfig};
//! use har_export::{ExportOptions, ImportOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let theirs = r#"{"log": {"version": "1.2", "creator": {"name": "a browser", "version": "1"}, "entries": [{
//!     "startedDateTime": "2026-11-21T02:44:18.120Z",
//!     "request": {"method": "GET", "url": "https://example.com/", "httpVersion": "h2", "headers": []},
//!     "response": {"status": 200, "headers": [], "content": {"mimeType": "text/plain", "text": "hello"}}
//! }]}}"#;
//!
//! let store = Store::open(directory.join("captures"), StoreConfig::default())?;
//! let imported = har_export::read(&store, theirs.as_bytes(), &ImportOptions::default())?;
//! assert_eq!((imported.imported, imported.warning_count), (1, 0));
//!
//! let out = directory.join("captures.har");
//! let exported = har_export::export(&store, &Query::default(), &out, &ExportOptions::default(), |_| {})?;
//! assert_eq!(exported.entries, 1);
//! # Ok(())
//! # }
//! ```

mod arrived;
mod base64_text;
mod blame;
mod body;
mod charles;
mod clock;
mod compared;
mod compose;
mod cookie;
mod copying;
mod entry;
mod error;
mod export;
mod extra;
mod facts;
mod feed;
mod foreign;
mod form;
mod import;
mod input;
mod json;
mod json_reader;
mod log;
mod log_writer;
mod merged;
mod message;
mod parse;
mod progress;
mod redact;
mod resource;
mod target;
mod text;
mod tree;
mod typed;
mod url;
mod version;
mod words;

pub use error::{Error, ErrorKind};
pub use export::{BodyLevel, ExportOptions, ExportSummary, export, write};
pub use import::{ImportOptions, ImportSummary, Warning, import, read};
pub use progress::Progress;
pub use redact::Redacted;
pub use typed::{MAX_TYPED_BYTES, MAX_TYPED_ENTRIES, to_har};

#[cfg(test)]
mod round_trip;
#[cfg(test)]
#[path = "../tests/it/schema.rs"]
mod schema;
