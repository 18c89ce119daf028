//! Records every exchange of `proxy-core` to disk and answers questions about them.
//!
//! What enters: [`proxy_core::Event`]s, through a [`Recorder`]. What leaves: typed answers of a [`Store`], to this
//! process and to others reading beside it. What it does not know: HAR, MCP, command lines.
//!
//! A store is a directory: a SQLite database, and a file for each body larger than 128 KiB. In it are sessions, each a
//! run of exchanges; an exchange has a [`Seq`], given in the order exchanges become visible, which is the cursor for
//! [`Store::query`] and [`Store::tail`].
//!
//! ```
//! use std::{sync::Arc, time::{Duration, SystemTime}};
//!
//! use capture_store::{BodySide, Query, Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
//! use proxy_core::{
//!     ClientFacts, ConnectionId, Ending, Event, EventKind, ExchangeId, Headers, Observer, Outcome, RequestHead,
//!     ResponseHead, ResponseSource, Scheme, Sizes, Timings,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let store = Store::open(directory.path(), StoreConfig::default())?;
//! let recorder = Recorder::start(&store, SessionSpec::Scratch { max_bytes: None }, RecorderConfig::default())?;
//!
//! // A proxy tells its observer the life of each exchange; here it is told by hand.
//! let tell = |kind| recorder.observe(&Event { exchange: ExchangeId(1), at: Duration::ZERO, kind });
//! let head = RequestHead {
//!     method: http::Method::GET,
//!     scheme: Scheme::Https,
//!     authority: "example.test".to_owned(),
//!     target: "/greeting".to_owned(),
//!     version: http::Version::HTTP_11,
//!     headers: Headers::new(),
//! };
//! let client = ClientFacts::new(ConnectionId(1), "127.0.0.1:50000".parse()?, "127.0.0.1:8080".parse()?);
//! tell(EventKind::Request { client: Arc::new(client), head: Arc::new(head), started_at: SystemTime::now() });
//! let head = Arc::new(ResponseHead::new(http::StatusCode::OK));
//! tell(EventKind::Response { head, source: ResponseSource::Upstream });
//! tell(EventKind::ResponseBody("Hello".into()));
//! tell(EventKind::Ended(Box::new(Ending::new(Outcome::Response, Timings::default(), Sizes::default()))));
//!
//! // Commits come by themselves, some milliseconds after an exchange ended; this waits for one.
//! recorder.flush()?;
//! let page = store.query(&Query::default())?;
//! assert_eq!(page.items[0].url, "https://example.test/greeting");
//! let body = store.body(page.items[0].seq, BodySide::Response)?.ok_or("no body")?;
//! assert_eq!(body.decode(1024).bytes, "Hello");
//! recorder.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! Start reading at `writer` for the way in, at `answer` for the way out, at `db::schema` for what is stored.

mod answer;
mod assemble;
mod bulk;
mod charset;
mod condition;
mod contents;
mod copy;
mod db;
mod decode;
mod detail;
mod error;
mod faults;
mod files;
mod filter;
mod held;
mod id;
mod import;
mod import_body;
mod import_row;
mod index;
mod lock;
mod matching;
mod needle;
mod opening;
mod packing;
mod plan;
mod query;
mod queue;
mod readers;
mod record;
mod recorder;
mod recovery;
mod reserve;
mod retrieve;
mod scan;
mod search;
pub mod secrets;
mod session;
mod sql;
mod stage;
mod statement;
mod store;
mod summary;
mod template;
mod told;
mod verify;
mod whole;
mod writer;

pub use bulk::{Batch, Recalled};
pub use condition::{
    Condition, Cost, Network, NumberField, Pattern, PatternError, PeerSide, StateFilter, TextField,
};
pub use error::{Error, ErrorKind};
pub use faults::{DiskFaults, DiskOperation};
pub use filter::{Candidate, FilterError, SessionFilter, complete, parse, parse_at};
pub use id::{ParseIdError, Seq, SessionId};
pub use import::{ImportSession, ImportedExchange};
pub use import_body::{ImportBody, ImportMessages, NextMessage, SpooledMessages};
pub use index::IndexStatus;
pub use query::{Order, Page, Query, StatusFilter, Tail};
pub use record::{
    Body, BodySide, Decoded, Exchange, ExchangeKind, ExchangeState, ExchangeSummary, Peer, Recorded,
    StoredMessage,
};
pub use recorder::{
    IndexPolicy, OnDiskFailure, Recorder, RecorderConfig, RecorderState, RecorderStatus, SessionSpec,
    SyncPolicy,
};
pub use search::{Place, Search, SearchHit, SearchPage};
pub use session::{Recovery, SessionEdit, SessionInfo, SessionKind, SessionState};
pub use sql::{Sql, SqlAnswer, SqlValue};
pub use store::{Store, StoreConfig};
pub use template::path_template;
pub use verify::{Problem, Verification};
