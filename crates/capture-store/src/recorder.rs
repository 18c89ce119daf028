//! The recorder: an observer of the engine that writes what it sees, in groups, on a thread of its own.

use std::time::Duration;

use proxy_core::{Event, Observer};

use crate::{
    error::Error,
    id::{Seq, SessionId},
    session::SessionInfo,
    store::Store,
};

/// Records into a store. Clones share one writer thread, which ends when the last clone is dropped or
/// [`close`](Self::close) is called.
#[derive(Clone)]
pub struct Recorder {
    _private: (),
}

/// How to record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderConfig {
    /// Body bytes waiting for the writer at most; beyond it `Observer::ready` makes the wire wait. Default 16 MiB.
    pub max_queued_bytes: usize,
    /// The longest an ended exchange waits for its commit. Default 200 ms.
    pub commit_interval: Duration,
    /// How long an exchange goes on before it is written although it is open. Default 1 s.
    pub open_after: Duration,
    /// Bytes of one body that are stored; the rest passes and is counted. Default none.
    pub max_body_bytes: Option<u64>,
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self {
            max_queued_bytes: 16 * 1024 * 1024,
            commit_interval: Duration::from_millis(200),
            open_after: Duration::from_secs(1),
            max_body_bytes: None,
        }
    }
}

/// The session to record into.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionSpec {
    /// A new unnamed session, evicted oldest first beyond `max_bytes`.
    Scratch {
        /// Its limit; `None` for the default of 1 GiB.
        max_bytes: Option<u64>,
    },
    /// A new named session, which stops recording at `max_bytes`.
    Named {
        /// Its name.
        name: String,
        /// Its limit; `None` for no limit.
        max_bytes: Option<u64>,
    },
}

/// How the recorder stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecorderStatus {
    /// The session being recorded.
    pub session: SessionInfo,
    /// Body bytes waiting to be written.
    pub queued_bytes: usize,
    /// Bytes written since the start.
    pub bytes_written: u64,
    /// Exchanges not recorded, because the session is full or the disk failed.
    pub dropped: u64,
    /// The last commit.
    pub last_commit: Option<std::time::SystemTime>,
    /// The last failure to write, if the recorder is failing.
    pub last_error: Option<String>,
}

impl Recorder {
    /// Starts recording into a new session. One process at a time records into a store.
    ///
    /// # Errors
    /// When the store is read-only, another process records into it, or it cannot be written.
    pub fn start(store: &Store, session: SessionSpec, config: RecorderConfig) -> Result<Self, Error> {
        let _ = (store, session, config);
        todo!()
    }

    /// Ends the current session and records into a new one from here on. Exchanges that are open go on into the
    /// session they began in.
    ///
    /// # Errors
    /// When the store cannot be written; the current session goes on then.
    pub fn switch(&self, session: SessionSpec) -> Result<SessionInfo, Error> {
        let _ = session;
        todo!()
    }

    /// The session being recorded.
    #[must_use]
    pub fn session(&self) -> SessionId {
        todo!()
    }

    /// How it stands.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn status(&self) -> Result<RecorderStatus, Error> {
        todo!()
    }

    /// Waits until everything observed so far is committed (open exchanges as open), and returns the newest seq.
    /// Blocks the calling thread.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn flush(&self) -> Result<Seq, Error> {
        todo!()
    }

    /// Calls `listener` with the newest seq after each commit that made something visible or changed it, on the
    /// writer's thread. It must return at once. Replaces nothing: every listener is called.
    pub fn on_commit(&self, listener: impl Fn(Seq) + Send + Sync + 'static) {
        let _ = listener;
        todo!()
    }

    /// Writes what is left, ends the session and the thread. Exchanges still open end as failed (`shutdown`).
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn close(&self) -> Result<SessionInfo, Error> {
        todo!()
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event) {
        let _ = event;
        todo!()
    }
}
