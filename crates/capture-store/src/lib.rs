//! Records every exchange of `proxy-core` to disk and answers questions about them.
//!
//! What enters: [`proxy_core::Event`]s, through a [`Recorder`]. What leaves: typed answers of a [`Store`], to this
//! process and to others reading beside it. What it does not know: HAR, MCP, command lines.

mod answer;
mod assemble;
mod db;
mod decode;
mod detail;
mod error;
mod files;
mod id;
mod import;
mod lock;
mod matching;
mod opening;
mod query;
mod queue;
mod readers;
mod record;
mod recorder;
mod recovery;
mod retrieve;
mod search;
mod session;
mod store;
mod writer;

pub use error::{Error, ErrorKind};
pub use id::{ParseIdError, Seq, SessionId};
pub use import::{ImportSession, ImportedExchange};
pub use query::{Order, Page, Query, StatusFilter, Tail};
pub use record::{
    Body, BodySide, Decoded, Exchange, ExchangeKind, ExchangeState, ExchangeSummary, Peer, Recorded,
    StoredMessage,
};
pub use recorder::{Recorder, RecorderConfig, RecorderStatus, SessionSpec};
pub use search::{Place, Search, SearchHit, SearchPage};
pub use session::{Recovery, SessionInfo, SessionKind, SessionState};
pub use store::{Store, StoreConfig};
