//! Session rows and the store-wide counters.

use std::time::{Duration, SystemTime};

use rusqlite::{OptionalExtension, Row, params};

use super::{
    DbError, Tx, codes,
    codes::{nanos, to_time},
    int, uint,
};
use crate::{
    id::{Seq, SessionId},
    session::{Recovery, SessionEdit, SessionInfo, SessionKind, SessionState},
};

const COLUMNS: &str = "id, name, kind, state, started_at, ended_at, exchanges, bytes, max_bytes, evicted, \
                       not_recorded, window_ms, recovered_at, unfinished, dropped_bytes, last_error, comment, tags, \
                       max_exchanges, max_age_ms";

/// A session to be.
pub(crate) struct NewSession<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) kind: SessionKind,
    pub(crate) state: SessionState,
    /// Whether only its maker knows of it yet.
    pub(crate) hidden: bool,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_exchanges: Option<u64>,
    pub(crate) max_age: Option<Duration>,
    /// What a crash may cost it, in milliseconds.
    pub(crate) window_ms: u64,
}

/// What a transaction changes in a session's counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SessionDelta {
    pub(crate) exchanges: i64,
    pub(crate) bytes: i64,
    pub(crate) evicted: u64,
    pub(crate) not_recorded: u64,
}

impl Tx<'_> {
    /// Makes a session.
    pub(crate) fn create_session(&self, new: &NewSession<'_>) -> Result<SessionId, DbError> {
        self.sql
            .prepare_cached(
                "INSERT INTO sessions (name, kind, state, hidden, started_at, max_bytes, window_ms, max_exchanges,
                 max_age_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                new.name,
                codes::session_kind(new.kind),
                codes::session_state(new.state),
                new.hidden,
                nanos(SystemTime::now()),
                new.max_bytes.map(int),
                int(new.window_ms),
                new.max_exchanges.map(int),
                new.max_age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            ])?;
        Ok(SessionId(uint(self.sql.last_insert_rowid())))
    }

    /// One session that is not hidden.
    pub(crate) fn session(&self, id: SessionId) -> Result<Option<SessionInfo>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ? AND hidden = 0");
        Ok(self.sql.prepare_cached(&sql)?.query_row([int(id.0)], read_session).optional()?)
    }

    /// All sessions that are not hidden, newest first.
    pub(crate) fn sessions(&self) -> Result<Vec<SessionInfo>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE hidden = 0 ORDER BY id DESC");
        let mut statement = self.sql.prepare_cached(&sql)?;
        let rows = statement.query_map([], read_session)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Sessions that someone began to make or to delete, and did not finish.
    pub(crate) fn hidden_sessions(&self) -> Result<Vec<SessionId>, DbError> {
        let mut statement = self.sql.prepare_cached("SELECT id FROM sessions WHERE hidden <> 0")?;
        let rows = statement.query_map([], |row| Ok(SessionId(uint(row.get(0)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Changes how a session stands; one that ends gets its end.
    pub(crate) fn set_session_state(&self, id: SessionId, state: SessionState) -> Result<(), DbError> {
        let ended = match state {
            SessionState::Active | SessionState::Full => None,
            SessionState::Stopped | SessionState::Recovered => Some(nanos(SystemTime::now())),
        };
        self.sql
            .prepare_cached("UPDATE sessions SET state = ?, ended_at = coalesce(?, ended_at) WHERE id = ?")?
            .execute(params![codes::session_state(state), ended, int(id.0)])?;
        Ok(())
    }

    /// Changes what people say of a session.
    pub(crate) fn edit_session(&self, id: SessionId, edit: &SessionEdit) -> Result<(), DbError> {
        let tags = edit.tags.as_ref().map(|tags| serde_json::Value::from(tags.clone()).to_string());
        self.sql
            .prepare_cached(
                "UPDATE sessions SET name = iif(?1 IS NULL, name, nullif(?1, '')),
                 comment = iif(?2 IS NULL, comment, nullif(?2, '')), tags = coalesce(?3, tags) WHERE id = ?4",
            )?
            .execute(params![edit.name, edit.comment, tags, int(id.0)])?;
        Ok(())
    }

    /// Notes the last failure to write.
    pub(crate) fn set_session_error(&self, id: SessionId, error: &str) -> Result<(), DbError> {
        self.sql
            .prepare_cached("UPDATE sessions SET last_error = ? WHERE id = ?")?
            .execute(params![error, int(id.0)])?;
        Ok(())
    }

    /// Hides a session from everybody, or shows it.
    pub(crate) fn set_session_hidden(&self, id: SessionId, hidden: bool) -> Result<(), DbError> {
        self.sql
            .prepare_cached("UPDATE sessions SET hidden = ? WHERE id = ?")?
            .execute(params![hidden, int(id.0)])?;
        Ok(())
    }

    /// Adds to a session's counts.
    pub(crate) fn add_to_session(&self, id: SessionId, delta: &SessionDelta) -> Result<(), DbError> {
        self.sql
            .prepare_cached(
                "UPDATE sessions SET exchanges = max(0, exchanges + ?), bytes = max(0, bytes + ?),
                 evicted = evicted + ?, not_recorded = not_recorded + ? WHERE id = ?",
            )?
            .execute(params![
                delta.exchanges,
                delta.bytes,
                int(delta.evicted),
                int(delta.not_recorded),
                int(id.0)
            ])?;
        Ok(())
    }

    /// Forgets a session that holds nothing any more.
    pub(crate) fn delete_session_row(&self, id: SessionId) -> Result<(), DbError> {
        self.sql.prepare_cached("DELETE FROM sessions WHERE id = ?")?.execute([int(id.0)])?;
        Ok(())
    }

    /// Notes what the file a session was imported from said of itself.
    pub(crate) fn set_foreign_facts(&self, id: SessionId, facts: &str) -> Result<(), DbError> {
        self.sql
            .prepare_cached("UPDATE sessions SET foreign_facts = ? WHERE id = ?")?
            .execute(params![facts, int(id.0)])?;
        Ok(())
    }

    /// What the file a session was imported from said of itself.
    pub(crate) fn foreign_facts(&self, id: SessionId) -> Result<Option<String>, DbError> {
        let mut statement =
            self.sql.prepare_cached("SELECT foreign_facts FROM sessions WHERE id = ? AND hidden = 0")?;
        Ok(statement.query_row([int(id.0)], |row| row.get(0)).optional()?.flatten())
    }

    /// The last seq that was given.
    pub(crate) fn newest_seq(&self) -> Result<Seq, DbError> {
        let mut statement = self.sql.prepare_cached("SELECT value FROM counters WHERE name = 'seq'")?;
        Ok(Seq(uint(statement.query_row([], |row| row.get(0))?)))
    }

    /// Notes the last seq that was given.
    pub(crate) fn set_newest_seq(&self, seq: Seq) -> Result<(), DbError> {
        self.sql.prepare_cached("UPDATE counters SET value = ? WHERE name = 'seq'")?.execute([int(seq.0)])?;
        Ok(())
    }

    /// Reserves `count` numbers for body files and returns the first.
    pub(crate) fn reserve_files(&self, count: u64) -> Result<u64, DbError> {
        let mut statement = self
            .sql
            .prepare_cached("UPDATE counters SET value = value + ? WHERE name = 'file' RETURNING value")?;
        let last: i64 = statement.query_row([int(count)], |row| row.get(0))?;
        Ok(uint(last) - count + 1)
    }
}

fn read_session(row: &Row<'_>) -> rusqlite::Result<SessionInfo> {
    let recovered_at: Option<i64> = row.get(12)?;
    let recovery = match recovered_at {
        None => None,
        Some(at) => Some(Recovery {
            at: to_time(at),
            unfinished: uint(row.get(13)?),
            dropped_bytes: uint(row.get(14)?),
            window_ms: uint(row.get(11)?),
        }),
    };
    Ok(SessionInfo {
        id: SessionId(uint(row.get(0)?)),
        name: row.get(1)?,
        kind: codes::to_session_kind(row.get(2)?),
        state: codes::to_session_state(row.get(3)?),
        started_at: to_time(row.get(4)?),
        ended_at: row.get::<_, Option<i64>>(5)?.map(to_time),
        exchanges: uint(row.get(6)?),
        bytes: uint(row.get(7)?),
        max_bytes: row.get::<_, Option<i64>>(8)?.map(uint),
        evicted: uint(row.get(9)?),
        not_recorded: uint(row.get(10)?),
        recovery,
        last_error: row.get(15)?,
        comment: row.get(16)?,
        tags: serde_json::from_str(&row.get::<_, String>(17)?).unwrap_or_default(),
        max_exchanges: row.get::<_, Option<i64>>(18)?.map(uint),
        max_age: row.get::<_, Option<i64>>(19)?.map(|millis| Duration::from_millis(uint(millis))),
    })
}
