//! Exchanges copied within a store, as rows: bodies in files are shared, not copied.

use rusqlite::params;

use super::{DbError, Tx, int, uint};
use crate::id::{Seq, SessionId};

/// What was copied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) exchanges: u64,
    pub(crate) bytes: u64,
}

impl Tx<'_> {
    /// Copies an exchange with all it has into a session, under a new seq; one that went meanwhile is none.
    pub(crate) fn copy_exchange(&self, from: Seq, to: Seq, session: SessionId) -> Result<Copied, DbError> {
        let exchanges = self
            .sql
            .prepare_cached(
                "INSERT INTO exchanges (seq, session, kind, state, started_at, duration, method, scheme, host, port,
                 url, target, http_version, status, request_content_type, response_content_type, request_body_bytes,
                 response_body_bytes, messages, bytes, failure, failure_detail)
                 SELECT ?2, ?3, kind, state, started_at, duration, method, scheme, host, port,
                 url, target, http_version, status, request_content_type, response_content_type, request_body_bytes,
                 response_body_bytes, messages, bytes, failure, failure_detail FROM exchanges WHERE seq = ?1",
            )?
            .execute(params![int(from.0), int(to.0), int(session.0)])?;
        if exchanges == 0 {
            return Ok(Copied::default());
        }
        // What it shares with others of its session it has for itself here.
        if let Some(detail) = self.detail(from)? {
            let mut details = self.sql.prepare_cached("INSERT INTO details (seq, detail) VALUES (?, ?)")?;
            details.execute(params![int(to.0), detail])?;
        }
        for sql in [
            "INSERT INTO bodies (id, length, hash, file, data, plain, coding)
             SELECT id - ?1 * 2 + ?2 * 2, length, hash, file, data, plain, coding FROM bodies
             WHERE id BETWEEN ?1 * 2 AND ?1 * 2 + 1",
            "INSERT INTO messages (seq, number, at, direction, kind, length, flags, data)
             SELECT ?2, number, at, direction, kind, length, flags, data FROM messages WHERE seq = ?1 ORDER BY number",
        ] {
            self.sql.prepare_cached(sql)?.execute(params![int(from.0), int(to.0)])?;
        }
        let mut files = self.sql.prepare_cached(
            "SELECT file FROM bodies WHERE id BETWEEN ?1 * 2 AND ?1 * 2 + 1 AND file IS NOT NULL",
        )?;
        let files =
            files.query_map([int(to.0)], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
        for file in files {
            self.sql.prepare_cached("UPDATE files SET refs = refs + 1 WHERE id = ?")?.execute([file])?;
        }
        let mut bytes = self.sql.prepare_cached("SELECT bytes FROM exchanges WHERE seq = ?")?;
        Ok(Copied { exchanges: 1, bytes: uint(bytes.query_row([int(to.0)], |row| row.get(0))?) })
    }
}
