//! Whether the database holds together.

use rusqlite::params;

use super::{
    BodyRow, DbError, Tx, int,
    read::{BODY_COLUMNS, read_body, read_detail},
    uint,
    write::Hash,
};
use crate::{
    id::{Seq, SessionId},
    record::BodySide,
};

/// A body as verification sees it.
pub(crate) struct BodyCheck {
    pub(crate) seq: Seq,
    pub(crate) side: BodySide,
    pub(crate) hash: Option<Hash>,
    pub(crate) body: BodyRow,
}

impl Tx<'_> {
    /// What SQLite finds wrong with the database's own structure.
    pub(crate) fn structure_problems(&self, most: usize) -> Result<Vec<String>, DbError> {
        let mut statement = self.sql.prepare(&format!("PRAGMA quick_check({most})"))?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    /// Rows that point to nothing, told in words.
    pub(crate) fn dangling(&self, most: usize) -> Result<Vec<String>, DbError> {
        let mut found = Vec::new();
        for (sql, what) in [
            (
                "SELECT seq FROM exchanges WHERE seq NOT IN (SELECT seq FROM details) LIMIT ?",
                "has no details",
            ),
            (
                "SELECT seq FROM exchanges WHERE session NOT IN (SELECT id FROM sessions) LIMIT ?",
                "belongs to no session",
            ),
            (
                "SELECT id / 2 FROM bodies WHERE id / 2 NOT IN (SELECT seq FROM exchanges) LIMIT ?",
                "is gone, and its body is there",
            ),
            (
                "SELECT id / 2 FROM bodies WHERE file IS NOT NULL AND file NOT IN (SELECT id FROM files) LIMIT ?",
                "has a body in a file that is not known",
            ),
            (
                "SELECT seq FROM details WHERE facts IS NOT NULL AND facts NOT IN (SELECT id FROM facts) LIMIT ?",
                "has connections whose facts are gone",
            ),
            (
                "SELECT DISTINCT seq FROM messages WHERE seq NOT IN (SELECT seq FROM exchanges) LIMIT ?",
                "is gone, and its messages are there",
            ),
        ] {
            let mut statement = self.sql.prepare_cached(sql)?;
            let seqs = statement.query_map([int(most as u64)], |row| Ok(Seq(uint(row.get(0)?))))?;
            for seq in seqs {
                found.push(format!("exchange {} {what}", seq?));
            }
        }
        let mut statement = self.sql.prepare_cached(
            "SELECT s.id, s.exchanges, coalesce(h.held, 0) FROM sessions s
             LEFT JOIN (SELECT session, count(*) AS held FROM exchanges GROUP BY session) h ON h.session = s.id
             WHERE s.hidden = 0 AND s.exchanges <> coalesce(h.held, 0) LIMIT ?",
        )?;
        let counts = statement.query_map([int(most as u64)], |row| {
            let (id, said, held): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("session {} says it holds {said} exchanges, and holds {held}", SessionId(uint(id))))
        })?;
        found.extend(counts.collect::<Result<Vec<_>, _>>()?);
        let mut statement = self.sql.prepare_cached(
            "SELECT coalesce(t.session, h.session), t.exchanges, h.held FROM tallies t
             FULL JOIN (SELECT session, seq / 4096 AS block, count(*) AS held FROM exchanges GROUP BY 1, 2) h
             ON h.session = t.session AND h.block = t.block
             WHERE t.exchanges IS NOT h.held LIMIT ?",
        )?;
        let tallies = statement.query_map([int(most as u64)], |row| {
            let (tallied, held): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
            let (tallied, held) = (tallied.unwrap_or(0), held.unwrap_or(0));
            Ok(format!(
                "session {} has a tally of {tallied} exchanges in a block where it holds {held}",
                SessionId(uint(row.get(0)?))
            ))
        })?;
        found.extend(tallies.collect::<Result<Vec<_>, _>>()?);
        found.extend(self.postings_problems(most)?);
        Ok(found)
    }

    /// Bodies of the seqs after one, in order, with the bytes that stand in the database.
    pub(crate) fn bodies_after(
        &self,
        after: i64,
        last: Seq,
        limit: usize,
    ) -> Result<Vec<(i64, BodyCheck)>, DbError> {
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT b.id, b.hash, {BODY_COLUMNS} WHERE b.id > ? AND b.id < ? ORDER BY b.id LIMIT ?"
        ))?;
        let end = int(last.0).saturating_add(1).saturating_mul(2);
        let rows = statement.query_map(params![after, end, int(limit as u64)], |row| {
            let id: i64 = row.get(0)?;
            let side = if id % 2 == 0 { BodySide::Request } else { BodySide::Response };
            let check = BodyCheck {
                seq: Seq(uint(id / 2)),
                side,
                hash: row.get_ref(1)?.as_blob_or_null()?.and_then(|hash| hash.try_into().ok()),
                body: read_body(row, 2)?,
            };
            Ok((id, check))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The first and the last seq of a session, or of all.
    pub(crate) fn span_of(&self, session: Option<SessionId>) -> Result<Option<(Seq, Seq)>, DbError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT min(seq), max(seq) FROM exchanges WHERE ?1 IS NULL OR session = ?1")?;
        let bounds: (Option<i64>, Option<i64>) =
            statement.query_row([session.map(|id| int(id.0))], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(bounds.0.zip(bounds.1).map(|(first, last)| (Seq(uint(first)), Seq(uint(last)))))
    }

    /// Details of the seqs after one, in order; of one session's, or all.
    pub(crate) fn details_after(
        &self,
        after: Seq,
        session: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<(Seq, Vec<u8>)>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT e.seq, d.detail, f.data FROM exchanges e JOIN details d ON d.seq = e.seq
             LEFT JOIN facts f ON f.id = d.facts WHERE e.seq > ?1 AND (?2 IS NULL OR e.session = ?2) ORDER BY e.seq LIMIT ?3",
        )?;
        let session = session.map(|id| int(id.0));
        let rows = statement.query_map(params![int(after.0), session, int(limit as u64)], |row| {
            Ok((Seq(uint(row.get(0)?)), read_detail(row, 1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
