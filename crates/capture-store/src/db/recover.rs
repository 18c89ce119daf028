//! Closing what a crash left open.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use super::{
    DbError, Tx,
    codes::{nanos, session_kind, session_state, state},
    int, uint,
};
use crate::files::OnDisk;
use crate::{
    id::SessionId,
    session::{SessionKind, SessionState},
};
use proxy_core::FailureKind;

impl Tx<'_> {
    /// Sessions that are open, or hold open exchanges. With no live recorder they are what a crash left.
    pub(crate) fn unclosed_sessions(&self) -> Result<Vec<SessionId>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT id FROM sessions WHERE hidden = 0
             AND (state IN (?, ?) OR (kind <> ? AND id IN (SELECT session FROM exchanges WHERE state = 0)))",
        )?;
        // An imported exchange may have been open where it comes from, and stays so.
        let open = [
            session_state(SessionState::Active),
            session_state(SessionState::Full),
            session_kind(SessionKind::Imported),
        ];
        let rows = statement.query_map(open, |row| Ok(SessionId(uint(row.get(0)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Closes a session as recovered and its open exchanges as failed. `dropped_bytes` is what was removed of its
    /// body files.
    pub(crate) fn close_after_crash(&self, session: SessionId, dropped_bytes: u64) -> Result<(), DbError> {
        let unfinished = self
            .sql
            .prepare_cached("UPDATE exchanges SET state = ?, failure = ?, failure_detail = '' WHERE session = ? AND state = 0")?
            .execute(params![state::FAILED, FailureKind::Crash.code(), int(session.0)])?;
        let now = nanos(SystemTime::now());
        self.sql
            .prepare_cached(
                "UPDATE sessions SET state = ?, ended_at = coalesce(ended_at, ?), recovered_at = ?,
                 unfinished = ?, dropped_bytes = ? WHERE id = ?",
            )?
            .execute(params![
                session_state(SessionState::Recovered),
                now,
                now,
                int(unfinished as u64),
                int(dropped_bytes),
                int(session.0)
            ])?;
        Ok(())
    }

    /// What lies on disk under a number by its row; `None` where no row names it, or its bytes stand in the row.
    pub(crate) fn file_length(&self, file: u64) -> Result<Option<OnDisk>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT coalesce(stored, length), coding IS NOT NULL FROM files WHERE id = ? AND data IS NULL",
        )?;
        let read = |row: &rusqlite::Row<'_>| Ok(OnDisk { bytes: uint(row.get(0)?), is_frame: row.get(1)? });
        Ok(statement.query_row([int(file)], read).optional()?)
    }
}
