//! Deleting exchanges: eviction, clearing, deletion of a session. What a tail may miss is noted as gone.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use super::{
    DbError, SessionDelta, Tx,
    codes::{nanos, session_kind, to_time},
    int,
    tally::untally,
    uint,
};
use crate::{
    id::{Seq, SessionId},
    session::SessionKind,
};

/// What a session has too much.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Excess {
    /// So many bytes.
    Bytes(u64),
    /// So many exchanges.
    Exchanges(u64),
    /// What began before this.
    OlderThan(SystemTime),
}

/// What was removed.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// Exchanges.
    pub(crate) exchanges: u64,
    /// What they took, as it was counted.
    pub(crate) bytes: u64,
    /// Body files that no exchange names any more; to be deleted once the transaction is committed.
    pub(crate) files: Vec<u64>,
    /// The last seq that was looked at, to go on from.
    pub(crate) last: Seq,
}

/// Seqs without a gap, all of one session.
#[derive(Clone, Copy)]
struct Run {
    first: i64,
    last: i64,
}

impl Tx<'_> {
    /// Removes the oldest ended exchanges of a session that are too much, at most `limit` of them, and counts them as
    /// evicted.
    pub(crate) fn evict(&self, session: SessionId, excess: Excess, limit: usize) -> Result<Removed, DbError> {
        let rows = match excess {
            Excess::Bytes(excess) => {
                let mut freed = 0;
                let mut rows = self.ended_exchanges(session, Seq(0), limit)?;
                rows.retain(|(_, bytes)| {
                    let wanted = freed < excess;
                    freed += if wanted { *bytes } else { 0 };
                    wanted
                });
                rows
            }
            Excess::Exchanges(count) => {
                let most = usize::try_from(count).unwrap_or(usize::MAX).min(limit);
                self.ended_exchanges(session, Seq(0), most)?
            }
            Excess::OlderThan(before) => self.older_exchanges(session, before, limit)?,
        };
        if rows.is_empty() {
            return Ok(Removed::default());
        }
        let removed = self.remove(session, &rows, Note::Gone)?;
        let evicted = SessionDelta { evicted: removed.exchanges, ..SessionDelta::default() };
        self.add_to_session(session, &evicted)?;
        Ok(removed)
    }

    /// When the first of a session's ended exchanges began.
    pub(crate) fn oldest(&self, session: SessionId) -> Result<Option<SystemTime>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT started_at FROM exchanges WHERE session = ? AND state <> 0 ORDER BY seq LIMIT 1",
        )?;
        let oldest: Option<i64> = statement.query_row([int(session.0)], |row| row.get(0)).optional()?;
        Ok(oldest.map(to_time))
    }

    /// Removes ended exchanges of a session after a seq, at most `limit`.
    pub(crate) fn clear(&self, session: SessionId, after: Seq, limit: usize) -> Result<Removed, DbError> {
        let rows = self.ended_exchanges(session, after, limit)?;
        self.remove(session, &rows, Note::Gone)
    }

    /// Hides a session that is to be deleted, and notes all it holds as gone.
    pub(crate) fn retire_session(&self, session: SessionId) -> Result<(), DbError> {
        self.set_session_hidden(session, true)?;
        let mut statement = self.sql.prepare_cached(
            "SELECT min(seq), max(seq) FROM
             (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run FROM exchanges WHERE session = ?)
             GROUP BY run ORDER BY 1",
        )?;
        let runs = statement
            .query_map([int(session.0)], |row| Ok(Run { first: row.get(0)?, last: row.get(1)? }))?
            .collect::<Result<Vec<_>, _>>()?;
        for run in runs {
            self.note_gone(session, run)?;
        }
        Ok(())
    }

    /// Removes exchanges of a hidden session, at most `limit`, ended or not.
    pub(crate) fn remove_hidden(&self, session: SessionId, limit: usize) -> Result<Removed, DbError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT seq, bytes FROM exchanges WHERE session = ? ORDER BY seq LIMIT ?")?;
        let rows = statement
            .query_map(params![int(session.0), int(limit as u64)], |row| {
                Ok((row.get::<_, i64>(0)?, uint(row.get(1)?)))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        self.remove(session, &rows, Note::Nothing)
    }

    /// The first exchanges of a session as long as they began before a time. They are recorded in the order they end, so
    /// one that began late stands in the way of older ones only until it is old itself.
    fn older_exchanges(
        &self,
        session: SessionId,
        before: SystemTime,
        limit: usize,
    ) -> Result<Vec<(i64, u64)>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT seq, bytes, started_at < ?2 FROM exchanges WHERE session = ?1 AND state <> 0 ORDER BY seq LIMIT ?3",
        )?;
        let mut rows = statement.query(params![int(session.0), nanos(before), int(limit as u64)])?;
        let mut older = Vec::new();
        while let Some(row) = rows.next()? {
            if !row.get::<_, bool>(2)? {
                break;
            }
            older.push((row.get(0)?, uint(row.get(1)?)));
        }
        Ok(older)
    }

    fn ended_exchanges(
        &self,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<(i64, u64)>, DbError> {
        // An imported exchange that was open where it comes from does not go on.
        let imported = session_kind(SessionKind::Imported);
        let mut statement = self.sql.prepare_cached(
            "SELECT seq, bytes FROM exchanges WHERE session = ?1 AND seq > ?2
             AND (state <> 0 OR (SELECT kind FROM sessions WHERE id = ?1) = ?4) ORDER BY seq LIMIT ?3",
        )?;
        let rows = statement
            .query_map(params![int(session.0), int(after.0), int(limit as u64), imported], |row| {
                Ok((row.get::<_, i64>(0)?, uint(row.get(1)?)))
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Removes these exchanges, given in ascending order.
    fn remove(&self, session: SessionId, rows: &[(i64, u64)], note: Note) -> Result<Removed, DbError> {
        let mut removed = Removed {
            exchanges: rows.len() as u64,
            bytes: rows.iter().map(|(_, bytes)| bytes).sum(),
            last: Seq(rows.last().map_or(0, |(seq, _)| uint(*seq))),
            files: Vec::new(),
        };
        for run in runs(rows) {
            self.release_files(run, &mut removed.files)?;
            for sql in [
                "DELETE FROM bodies WHERE id BETWEEN ?1 * 2 AND ?2 * 2 + 1",
                "DELETE FROM details WHERE seq BETWEEN ?1 AND ?2",
                "DELETE FROM messages WHERE seq BETWEEN ?1 AND ?2",
                "DELETE FROM exchanges WHERE seq BETWEEN ?1 AND ?2",
            ] {
                self.sql.prepare_cached(sql)?.execute(params![run.first, run.last])?;
            }
            if matches!(note, Note::Gone) {
                self.note_gone(session, run)?;
            }
        }
        untally(self, session, rows.iter().map(|(seq, _)| uint(*seq)))?;
        let delta = SessionDelta {
            exchanges: -int(removed.exchanges),
            bytes: -int(removed.bytes),
            ..SessionDelta::default()
        };
        self.add_to_session(session, &delta)?;
        Ok(removed)
    }

    /// Takes the bodies of a run off their files, and gathers the files that are left without one.
    fn release_files(&self, run: Run, unused: &mut Vec<u64>) -> Result<(), DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT file FROM bodies WHERE id BETWEEN ?1 * 2 AND ?2 * 2 + 1 AND file IS NOT NULL",
        )?;
        let files = statement
            .query_map(params![run.first, run.last], |row| row.get::<_, i64>(0))?
            .collect::<Result<Vec<_>, _>>()?;
        for file in files {
            let left: Option<(i64, bool)> = self
                .sql
                .prepare_cached("UPDATE files SET refs = refs - 1 WHERE id = ? RETURNING refs, data IS NULL")?
                .query_row([file], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (refs, on_disk) = left.unwrap_or((0, true));
            if refs <= 0 {
                self.sql.prepare_cached("DELETE FROM files WHERE id = ?")?.execute([file])?;
                if on_disk {
                    unused.push(uint(file));
                }
            }
        }
        Ok(())
    }

    /// Notes a run as gone, joined with the runs before and after it.
    fn note_gone(&self, session: SessionId, mut run: Run) -> Result<(), DbError> {
        let after: Option<i64> = self
            .sql
            .prepare_cached("DELETE FROM gone WHERE session = ? AND first = ? RETURNING last")?
            .query_row(params![int(session.0), run.last + 1], |row| row.get(0))
            .optional()?;
        run.last = after.unwrap_or(run.last);
        let joined = self
            .sql
            .prepare_cached(
                "UPDATE gone SET last = ?3 WHERE session = ?1 AND first =
                 (SELECT first FROM gone WHERE session = ?1 AND first < ?2 ORDER BY first DESC LIMIT 1)
                 AND last = ?2 - 1",
            )?
            .execute(params![int(session.0), run.first, run.last])?;
        if joined == 0 {
            self.sql
                .prepare_cached("INSERT INTO gone (session, first, last) VALUES (?, ?, ?)")?
                .execute(params![int(session.0), run.first, run.last])?;
        }
        Ok(())
    }
}

/// Whether tails hear of a removal.
#[derive(Clone, Copy)]
enum Note {
    Gone,
    Nothing,
}

/// Joins ascending seqs into runs without a gap.
fn runs(rows: &[(i64, u64)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (seq, _) in rows {
        match runs.last_mut() {
            Some(run) if run.last + 1 == *seq => run.last = *seq,
            _ => runs.push(Run { first: *seq, last: *seq }),
        }
    }
    runs
}
