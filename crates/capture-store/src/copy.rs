//! A part of what is there, as a session of its own.

use crate::{
    db::{Connection, NewSession, SessionDelta, Spans},
    error::{Error, ErrorKind},
    files::BodyFiles,
    id::{Seq, SessionId},
    query::{Order, Query},
    recovery,
    session::{SessionInfo, SessionKind, SessionState},
    store::Store,
};

/// Exchanges copied in one transaction at most, so that a recorder waits little for the next.
const CHUNK_EXCHANGES: usize = 500;

/// Copies what a query finds into a new session, which is visible when it is whole.
pub(crate) fn copy(
    store: &Store,
    db: &Connection,
    files: &BodyFiles,
    query: &Query,
    name: &str,
) -> Result<SessionInfo, Error> {
    // What comes while this copies is not asked for; nor are the copies.
    let newest = store.newest()?;
    let tx = db.begin()?;
    let session = tx.create_session(&NewSession {
        name: Some(name),
        kind: SessionKind::Imported,
        state: SessionState::Stopped,
        hidden: true,
        max_bytes: None,
        max_exchanges: None,
        max_age: None,
        window_ms: 0,
    })?;
    tx.commit()?;
    let bounded = Query {
        before: Some(query.before.unwrap_or(Seq(u64::MAX)).min(Seq(newest.0 + 1))),
        order: Order::Ascending,
        offset: 0,
        limit: CHUNK_EXCHANGES,
        ..query.clone()
    };
    let copied = fill(store, db, bounded, session);
    if copied.is_err() {
        // What cannot be removed now is removed when the store is next opened.
        if let Err(error) = recovery::delete_hidden(db, files, session) {
            tracing::warn!(%error, "removing an unfinished copy failed");
        }
    }
    copied
}

fn fill(store: &Store, db: &Connection, mut query: Query, session: SessionId) -> Result<SessionInfo, Error> {
    loop {
        let page = store.query(&query)?;
        let tx = db.begin()?;
        let mut newest = tx.newest_seq()?;
        let mut delta = SessionDelta::default();
        let mut spans = Spans::default();
        for item in &page.items {
            let seq = Seq(newest.0 + 1);
            let copied = tx.copy_exchange(item.seq, seq, session)?;
            if copied.exchanges > 0 {
                newest = seq;
                delta.exchanges += 1;
                delta.bytes += i64::try_from(copied.bytes).unwrap_or(i64::MAX);
                spans.note(seq, session, item.started_at);
            }
        }
        spans.write(&tx)?;
        tx.set_newest_seq(newest)?;
        tx.add_to_session(session, &delta)?;
        if !page.more {
            tx.set_session_hidden(session, false)?;
            tx.set_session_state(session, SessionState::Stopped)?;
        }
        let info = tx.session(session)?;
        tx.commit()?;
        if !page.more {
            return info.ok_or_else(|| Error::new(ErrorKind::UnknownSession(session)));
        }
        query.after = page.items.last().map(|item| item.seq);
    }
}
