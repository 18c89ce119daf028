//! Writing a session from somewhere else than the wire.

use bytes::Bytes;

use crate::{
    error::Error,
    id::Seq,
    record::{Exchange, StoredMessage},
    session::SessionInfo,
};

/// A session being imported. Nothing of it is visible until [`finish`](Self::finish); dropping it leaves no trace.
pub struct ImportSession {
    _private: (),
}

/// One exchange to import. `exchange.summary.seq` and `.session` are given anew. A body whose
/// [`Recorded::identity`](crate::Recorded) is set is stored as already decoded.
pub struct ImportedExchange {
    /// The exchange.
    pub exchange: Exchange,
    /// The request's body as on the wire, or decoded where `exchange.request_body.identity` says so.
    pub request_body: Option<Bytes>,
    /// The response's body as on the wire, or decoded where `exchange.response_body.identity` says so.
    pub response_body: Option<Bytes>,
    /// WebSocket messages.
    pub messages: Vec<StoredMessage>,
}

impl ImportSession {
    /// Adds one exchange.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add(&mut self, exchange: ImportedExchange) -> Result<Seq, Error> {
        let _ = exchange;
        todo!()
    }

    /// Makes the session visible, stopped.
    ///
    /// # Errors
    /// When the store cannot be written; nothing is left behind then.
    pub fn finish(self) -> Result<SessionInfo, Error> {
        todo!()
    }
}
