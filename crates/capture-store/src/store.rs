//! The store: a directory holding sessions.

use std::path::Path;

use crate::{
    error::Error,
    id::{Seq, SessionId},
    import::ImportSession,
    query::{Page, Query, Tail},
    record::{Body, BodySide, Exchange, StoredMessage},
    search::{Search, SearchPage},
    session::SessionInfo,
};

/// A store, open. Clones share it. Every method blocks on the disk: call from a blocking thread.
#[derive(Clone)]
pub struct Store {
    _private: (),
}

/// How to open a store.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreConfig {
    /// Open for reading only: nothing is created, migrated or recovered.
    pub read_only: bool,
}

impl Store {
    /// Opens the store in `directory`, creating it (0700) where it does not exist, migrating an older schema, and
    /// closing sessions that a crash left open as recovered (unless a live process records there).
    ///
    /// # Errors
    /// When the directory cannot be used, or a newer schema is found.
    pub fn open(directory: impl AsRef<Path>, config: StoreConfig) -> Result<Self, Error> {
        let _ = (directory.as_ref(), config);
        todo!()
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        todo!()
    }

    /// Sessions that this opening recovered after a crash.
    #[must_use]
    pub fn recovered(&self) -> &[SessionInfo] {
        todo!()
    }

    /// Recovers again on request: sessions left open by a process that is gone. One session, or all.
    ///
    /// # Errors
    /// When the session is unknown, or is being recorded.
    pub fn recover(&self, session: Option<SessionId>) -> Result<Vec<SessionInfo>, Error> {
        let _ = session;
        todo!()
    }

    /// All sessions, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, Error> {
        todo!()
    }

    /// One session.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn session(&self, id: SessionId) -> Result<SessionInfo, Error> {
        let _ = id;
        todo!()
    }

    /// Deletes a session with all it holds.
    ///
    /// # Errors
    /// When there is no such session, or it is being recorded.
    pub fn delete_session(&self, id: SessionId) -> Result<(), Error> {
        let _ = id;
        todo!()
    }

    /// Deletes the exchanges of a session that have ended, and says how many. Works while it is being recorded.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn clear_session(&self, id: SessionId) -> Result<u64, Error> {
        let _ = id;
        todo!()
    }

    /// Answers a query.
    ///
    /// # Errors
    /// When a session is named that does not exist, or the store cannot be read.
    pub fn query(&self, query: &Query) -> Result<Page, Error> {
        let _ = query;
        todo!()
    }

    /// What came after a cursor; of the query, the filters and `limit` count.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn tail(&self, cursor: Seq, query: &Query) -> Result<Tail, Error> {
        let _ = (cursor, query);
        todo!()
    }

    /// The newest seq there is, or the last that was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn newest(&self) -> Result<Seq, Error> {
        todo!()
    }

    /// One exchange.
    ///
    /// # Errors
    /// When it is not there.
    pub fn exchange(&self, seq: Seq) -> Result<Exchange, Error> {
        let _ = seq;
        todo!()
    }

    /// One body, open for reading; `None` where the message has none.
    ///
    /// # Errors
    /// When the exchange is not there or the body cannot be read.
    pub fn body(&self, seq: Seq, side: BodySide) -> Result<Option<Body>, Error> {
        let _ = (seq, side);
        todo!()
    }

    /// WebSocket messages of an exchange from `from` on, at most `limit` (0 means 1,000).
    ///
    /// # Errors
    /// When the exchange is not there.
    pub fn messages(&self, seq: Seq, from: u64, limit: usize) -> Result<Vec<StoredMessage>, Error> {
        let _ = (seq, from, limit);
        todo!()
    }

    /// Looks for a text.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn search(&self, search: &Search) -> Result<SearchPage, Error> {
        let _ = search;
        todo!()
    }

    /// Begins to import a session named `name`.
    ///
    /// # Errors
    /// When the store is read-only or cannot be written.
    pub fn import(&self, name: &str, max_bytes: Option<u64>) -> Result<ImportSession, Error> {
        let _ = (name, max_bytes);
        todo!()
    }
}
