//! Deleting exchanges: eviction, clearing, deletion of a session. What a tail may miss is noted as gone.

use std::{collections::BTreeMap, time::SystemTime};

use rusqlite::{OptionalExtension, params};

use super::{
    DbError, SessionDelta, Tx,
    codes::{nanos, session_kind, to_time},
    filing::Outlook,
    int,
    tally::untally,
    uint,
};
use crate::{
    id::{Seq, SessionId},
    session::SessionKind,
};

/// The exchanges `e` of the session `?1`, from blocks `t` of 4,096 seqs that hold some of it, to be ordered by `t.block`
/// and `e.seq`: so they are read, without sorting.
const HELD: &str = "FROM tallies t CROSS JOIN exchanges e WHERE t.session = ?1
    AND e.seq BETWEEN t.block * 4096 AND t.block * 4096 + 4095 AND e.session = ?1";

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
            Excess::Bytes(excess) => self.ended_exchanges(session, Seq(0), limit, excess)?,
            Excess::Exchanges(count) => {
                let most = usize::try_from(count).unwrap_or(usize::MAX).min(limit);
                self.ended_exchanges(session, Seq(0), most, u64::MAX)?
            }
            Excess::OlderThan(before) => self.older_exchanges(session, before, limit)?,
        };
        if rows.is_empty() {
            return Ok(Removed::default());
        }
        let removed = self.remove(session, &rows, Note::Evicted)?;
        let evicted = SessionDelta { evicted: removed.exchanges, ..SessionDelta::default() };
        self.add_to_session(session, &evicted)?;
        Ok(removed)
    }

    /// When the first of a session's ended exchanges began.
    pub(crate) fn oldest(&self, session: SessionId) -> Result<Option<SystemTime>, DbError> {
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT e.started_at {HELD} AND e.state <> 0 ORDER BY t.block, e.seq LIMIT 1"
        ))?;
        let oldest: Option<i64> = statement.query_row([int(session.0)], |row| row.get(0)).optional()?;
        Ok(oldest.map(to_time))
    }

    /// Removes ended exchanges of a session after a seq, at most `limit`.
    pub(crate) fn clear(&self, session: SessionId, after: Seq, limit: usize) -> Result<Removed, DbError> {
        let rows = self.ended_exchanges(session, after, limit, u64::MAX)?;
        self.remove(session, &rows, Note::Gone)
    }

    /// Hides a session that is to be deleted, and notes all it holds as gone.
    pub(crate) fn retire_session(&self, session: SessionId) -> Result<(), DbError> {
        self.set_session_hidden(session, true)?;
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT min(seq), max(seq) FROM
             (SELECT e.seq AS seq, e.seq - row_number() OVER (ORDER BY e.seq) AS run {HELD})
             GROUP BY run ORDER BY 1"
        ))?;
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
            .prepare_cached(&format!("SELECT e.seq, e.bytes {HELD} ORDER BY t.block, e.seq LIMIT ?2"))?;
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
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT e.seq, e.bytes, e.started_at < ?2 {HELD} AND e.state <> 0 ORDER BY t.block, e.seq LIMIT ?3"
        ))?;
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

    /// The first ended exchanges of a session after a seq: at most `limit`, and no more than take `bytes` together. No
    /// row behind them is looked at.
    fn ended_exchanges(
        &self,
        session: SessionId,
        after: Seq,
        limit: usize,
        bytes: u64,
    ) -> Result<Vec<(i64, u64)>, DbError> {
        // An imported exchange that was open where it comes from does not go on.
        let imported = session_kind(SessionKind::Imported);
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT e.seq, e.bytes {HELD} AND t.block >= ?2 / 4096 AND e.seq > ?2
             AND (e.state <> 0 OR (SELECT kind FROM sessions WHERE id = ?1) = ?4) ORDER BY t.block, e.seq LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![int(session.0), int(after.0), int(limit as u64), imported])?;
        let (mut ended, mut taken) = (Vec::new(), 0_u64);
        while taken < bytes
            && let Some(row) = rows.next()?
        {
            let (seq, more) = (row.get(0)?, uint(row.get(1)?));
            taken = taken.saturating_add(more);
            ended.push((seq, more));
        }
        Ok(ended)
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
            if note != Note::Nothing {
                self.note_gone(session, run)?;
            }
        }
        untally(self, session, rows.iter().map(|(seq, _)| uint(*seq)), note.outlook())?;
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
        // Many share few.
        let mut bodies: BTreeMap<i64, i64> = BTreeMap::new();
        let mut rows = statement.query(params![run.first, run.last])?;
        while let Some(row) = rows.next()? {
            *bodies.entry(row.get(0)?).or_default() += 1;
        }
        let mut release = self
            .sql
            .prepare_cached("UPDATE files SET refs = refs - ?2 WHERE id = ?1 RETURNING refs, data IS NULL")?;
        for (file, count) in bodies {
            let left: Option<(i64, bool)> =
                release.query_row(params![file, count], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
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
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    Gone,
    /// They do, and more goes soon.
    Evicted,
    Nothing,
}

impl Note {
    fn outlook(self) -> Outlook {
        match self {
            Self::Evicted => Outlook::Wanes,
            Self::Gone | Self::Nothing => Outlook::Stays,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{BodyContent, Connection, ExchangeRow, Mode, NewSession, Spans},
        record::{BodySide, ExchangeState, ExchangeSummary},
        session::SessionState,
    };

    /// What exchanges take, by their seq from 1 on.
    const BYTES: [u64; 9] = [10, 20, 5, 40, 1, 100, 30, 30, 7];
    /// The one that goes on.
    const OPEN: u64 = 4;

    fn filled(directory: &std::path::Path) -> (Connection, SessionId) {
        let mut db = Connection::open(&directory.join("store.db"), Mode::Write).unwrap();
        db.migrate().unwrap();
        let tx = db.begin().unwrap();
        let session = tx
            .create_session(&NewSession {
                name: None,
                kind: SessionKind::Scratch,
                state: SessionState::Active,
                hidden: false,
                max_bytes: None,
                max_exchanges: None,
                max_age: None,
                window_ms: 0,
            })
            .unwrap();
        let file = tx.put_content(3, &[7; 32], b"abc", false).unwrap();
        tx.count_content(file, BYTES.len() as u64 - 1).unwrap();
        let mut spans = Spans::default();
        for (seq, bytes) in (1..).map(Seq).zip(BYTES) {
            let mut summary = ExchangeSummary::empty();
            (summary.seq, summary.session) = (seq, session);
            summary.state = if seq.0 == OPEN { ExchangeState::Open } else { ExchangeState::Response };
            tx.insert_exchange(&ExchangeRow { columns: (&summary).into(), detail: b"", facts: None, bytes })
                .unwrap();
            let content = BodyContent::Shared { file, length: 3, plain: true };
            tx.put_body(seq, BodySide::Response, content, None).unwrap();
            spans.note(seq, session, SystemTime::UNIX_EPOCH);
        }
        spans.write(&tx).unwrap();
        tx.commit().unwrap();
        (db, session)
    }

    fn seqs(tx: &Tx<'_>) -> Vec<u64> {
        let mut statement = tx.sql.prepare("SELECT seq FROM exchanges ORDER BY seq").unwrap();
        statement.query_map([], |row| Ok(uint(row.get(0)?))).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_oldest_ended_exchanges_go_until_enough_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let (db, session) = filled(directory.path());
        for excess in 1..=BYTES.iter().sum() {
            for limit in [1, 3, 100] {
                let tx = db.begin().unwrap();
                let removed = tx.evict(session, Excess::Bytes(excess), limit).unwrap();
                let (mut freed, mut left) = (0, Vec::new());
                for (seq, bytes) in (1..).zip(BYTES) {
                    let goes =
                        seq != OPEN && freed < excess && removed.exchanges > (seq - 1 - left.len() as u64);
                    freed += if goes { bytes } else { 0 };
                    left.extend((!goes).then_some(seq));
                }
                assert_eq!(seqs(&tx), left, "{excess} bytes, {limit} at most");
                assert_eq!(removed.bytes, freed);
                let ended: u64 = BYTES.iter().sum::<u64>() - BYTES[OPEN as usize - 1];
                assert!(removed.exchanges == limit as u64 || freed >= excess.min(ended));
            }
        }
    }

    #[test]
    fn a_content_that_many_share_goes_with_the_last_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let (db, session) = filled(directory.path());
        let tx = db.begin().unwrap();
        let refs = |tx: &Tx<'_>| -> Option<i64> {
            tx.sql.query_row("SELECT refs FROM files", [], |row| row.get(0)).optional().unwrap()
        };
        assert_eq!(refs(&tx), Some(9));
        let removed = tx.evict(session, Excess::Exchanges(5), 100).unwrap();
        assert_eq!((removed.exchanges, refs(&tx)), (5, Some(4)));
        assert_eq!(tx.evict(session, Excess::Exchanges(100), 100).unwrap().exchanges, 3);
        assert_eq!(refs(&tx), Some(1));
        tx.set_session_hidden(session, true).unwrap();
        assert_eq!(tx.remove_hidden(session, 100).unwrap().exchanges, 1);
        assert_eq!(refs(&tx), None);
    }
}
