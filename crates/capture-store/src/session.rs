//! Sessions: named or unnamed runs of exchanges.

use std::time::{Duration, SystemTime};

use crate::id::SessionId;

/// A session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// Its name; scratch sessions have none.
    pub name: Option<String>,
    /// What it is.
    pub kind: SessionKind,
    /// How it stands.
    pub state: SessionState,
    /// When it began.
    pub started_at: SystemTime,
    /// When it ended.
    pub ended_at: Option<SystemTime>,
    /// Exchanges it holds now.
    pub exchanges: u64,
    /// Bytes it takes on disk, bodies included, within a page.
    pub bytes: u64,
    /// The limit of `bytes`.
    pub max_bytes: Option<u64>,
    /// The limit of `exchanges`, beyond which the oldest go.
    pub max_exchanges: Option<u64>,
    /// The age beyond which exchanges go.
    pub max_age: Option<Duration>,
    /// A comment kept with it.
    pub comment: Option<String>,
    /// Words it is marked with.
    pub tags: Vec<String>,
    /// Exchanges evicted to stay under the limit.
    pub evicted: u64,
    /// Exchanges that passed after the limit stopped a named session, and so are not recorded.
    pub not_recorded: u64,
    /// What a start after a crash found.
    pub recovery: Option<Recovery>,
    /// The last failure to write into it, also when writing succeeded since.
    pub last_error: Option<String>,
}

/// What to change of a session; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionEdit {
    /// Its name; empty takes it away.
    pub name: Option<String>,
    /// Its comment; empty takes it away.
    pub comment: Option<String>,
    /// Its tags, in place of those it has.
    pub tags: Option<Vec<String>>,
}

/// What a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionKind {
    /// Unnamed, evicted oldest first under its limit.
    Scratch,
    /// Named, kept until its limit, then it stops recording and says so.
    Named,
    /// Read from a file.
    Imported,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// Being recorded.
    Active,
    /// Full: it reached its limit and records no more.
    Full,
    /// Closed properly.
    Stopped,
    /// Closed after a crash, with what was committed.
    Recovered,
}

/// What a start after a crash found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// When it was recovered.
    pub at: SystemTime,
    /// Exchanges that had begun and were recorded, but whose end was not: closed as failed (`crash`).
    pub unfinished: u64,
    /// Bytes of body tails that no committed exchange names, removed.
    pub dropped_bytes: u64,
    /// The longest span before the crash whose exchanges may be missing, in milliseconds.
    pub window_ms: u64,
}
