//! What is noted of exchanges by blocks of seqs, so that runs of them are counted and bounded by adding up.

use std::{collections::BTreeMap, ops::RangeInclusive, time::SystemTime};

use rusqlite::{OptionalExtension, params};

use super::{DbError, FactsPlace, Filter, Tx, codes::nanos, filing::Outlook, int, uint};
use crate::id::{Seq, SessionId};

/// Seqs in one row of `spans` or `tallies`.
pub(super) const SPAN: u64 = 4096;
/// Blocks that a span of time begins or ends in, whose rows are looked at to count; imports bring in more of them.
const MAX_PARTIAL: usize = 4;

/// The exchanges that a transaction adds, by blocks of seqs: when they began, and how many of each session there are.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    runs: Vec<Added>,
    /// The first and the last.
    seqs: Option<(Seq, Seq)>,
}

/// Exchanges of one session in one block. Those of a transaction come one after the other.
#[derive(Debug)]
struct Added {
    session: SessionId,
    block: u64,
    exchanges: u64,
    first: SystemTime,
    last: SystemTime,
}

impl Spans {
    /// Takes an exchange in.
    pub(crate) fn note(&mut self, seq: Seq, session: SessionId, began: SystemTime) {
        let block = seq.0 / SPAN;
        match self.runs.last_mut().filter(|run| run.block == block && run.session == session) {
            Some(run) => {
                run.exchanges += 1;
                run.first = began.min(run.first);
                run.last = began.max(run.last);
            }
            None => self.runs.push(Added { session, block, exchanges: 1, first: began, last: began }),
        }
        let (least, most) = self.seqs.unwrap_or((seq, seq));
        self.seqs = Some((least.min(seq), most.max(seq)));
    }

    /// Widens and adds to what is stored, and files blocks that are full. A segment of the index that the exchanges come
    /// into is none any more.
    pub(crate) fn write(self, tx: &Tx<'_>) -> Result<(), DbError> {
        let mut blocks: Vec<u64> = self.runs.iter().map(|run| run.block).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let mut widen = tx.sql.prepare_cached(
            "INSERT INTO spans (block, first, last) VALUES (?1, ?2, ?3)
             ON CONFLICT (block) DO UPDATE SET first = min(first, ?2), last = max(last, ?3)",
        )?;
        let mut add = tx.sql.prepare_cached(
            "INSERT INTO tallies (session, block, exchanges) VALUES (?1, ?2, ?3)
             ON CONFLICT (session, block) DO UPDATE SET exchanges = exchanges + ?3",
        )?;
        for Added { session, block, exchanges, first, last } in self.runs {
            widen.execute(params![int(block), nanos(first), nanos(last)])?;
            add.execute(params![int(session.0), int(block), int(exchanges)])?;
        }
        if let Some((first, last)) = self.seqs {
            tx.drop_segments(first, last)?;
            tx.filed_more(&blocks, last)?;
        }
        Ok(())
    }
}

/// Takes removed exchanges of a session, ascending, off what is counted and filed. With the last of a block goes what its
/// exchanges shared.
pub(super) fn untally(
    tx: &Tx<'_>,
    session: SessionId,
    seqs: impl Iterator<Item = u64>,
    outlook: Outlook,
) -> Result<(), DbError> {
    let mut removed: BTreeMap<u64, u64> = BTreeMap::new();
    for seq in seqs {
        *removed.entry(seq / SPAN).or_default() += 1;
    }
    let mut subtract = tx.sql.prepare_cached(
        "UPDATE tallies SET exchanges = exchanges - ?3 WHERE session = ?1 AND block = ?2 RETURNING exchanges",
    )?;
    let mut forget = tx.sql.prepare_cached("DELETE FROM tallies WHERE session = ?1 AND block = ?2")?;
    for (&block, count) in &removed {
        let key = (int(session.0), int(block));
        let left: Option<i64> =
            subtract.query_row(params![key.0, key.1, int(*count)], |row| row.get(0)).optional()?;
        if left.is_some_and(|left| left <= 0) {
            forget.execute(params![key.0, key.1])?;
            tx.remove_facts(FactsPlace::at(session, block))?;
        }
    }
    let blocks: Vec<u64> = removed.into_keys().collect();
    tx.filed_less(&blocks, outlook)
}

impl Tx<'_> {
    /// How many exchanges of a session, or of all that are visible, lie in a range: whole blocks are added up, and what
    /// lies beside them is counted row by row.
    pub(crate) fn count_held(
        &self,
        session: Option<SessionId>,
        range: &RangeInclusive<u64>,
    ) -> Result<u64, DbError> {
        let (first, last) = (*range.start(), *range.end());
        let (from, to) = (first.div_ceil(SPAN), last.saturating_add(1) / SPAN);
        if from >= to {
            return self.count_rows(session, first, last);
        }
        let mut statement = self.sql.prepare_cached(
            "SELECT coalesce(sum(exchanges), 0) FROM tallies WHERE block >= ?1 AND block < ?2
             AND session IN (SELECT id FROM sessions WHERE hidden = 0 AND (?3 IS NULL OR id = ?3))",
        )?;
        let bounds = params![int(from), int(to), session.map(|id| int(id.0))];
        let whole = uint(statement.query_row(bounds, |row| row.get(0))?);
        let before = if first < from * SPAN { self.count_rows(session, first, from * SPAN - 1)? } else { 0 };
        let after = if to * SPAN <= last { self.count_rows(session, to * SPAN, last)? } else { 0 };
        Ok(before + whole + after)
    }

    fn count_rows(&self, session: Option<SessionId>, first: u64, last: u64) -> Result<u64, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT count(*) FROM exchanges WHERE seq BETWEEN ?1 AND ?2
             AND session IN (SELECT id FROM sessions WHERE hidden = 0 AND (?3 IS NULL OR id = ?3))",
        )?;
        let session = session.map(|id| int(id.0));
        let bounds = params![int(first), int(last), session];
        Ok(uint(statement.query_row(bounds, |row| row.get(0))?))
    }

    /// How many pass a filter that asks for a time and nothing else: blocks that lie in it whole are added up. `None`
    /// where it asks for more, or many blocks lie in it in part.
    pub(super) fn count_began(
        &self,
        filter: &Filter,
        range: &RangeInclusive<u64>,
    ) -> Result<Option<u64>, DbError> {
        if !filter.asks_time_only() {
            return Ok(None);
        }
        let (from, to) = (filter.from.map_or(i64::MIN, nanos), filter.to.map_or(i64::MAX, nanos));
        let mut statement = self.sql.prepare_cached(
            "SELECT block, first >= ?3 AND last <= ?4 FROM spans
             WHERE block BETWEEN ?1 AND ?2 AND last >= ?3 AND first <= ?4 ORDER BY block",
        )?;
        let bounds = params![int(range.start() / SPAN), int(range.end() / SPAN), from, to];
        let blocks = statement
            .query_map(bounds, |row| Ok((uint(row.get(0)?), row.get::<_, bool>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        if blocks.iter().filter(|(_, whole)| !whole).count() > MAX_PARTIAL {
            return Ok(None);
        }
        let mut count = 0;
        for run in blocks.chunk_by(|(block, whole), (next, also)| block + 1 == *next && *whole && *also) {
            let (Some((first, whole)), Some((last, _))) = (run.first(), run.last()) else { continue };
            let first = (first * SPAN).max(*range.start());
            let last = (last * SPAN + SPAN - 1).min(*range.end());
            count += if *whole {
                self.count_held(filter.session, &(first..=last))?
            } else {
                let (condition, values) = filter.sql(first, last);
                let sql = format!("SELECT count(*) FROM exchanges WHERE {condition}");
                let mut statement = self.sql.prepare_cached(&sql)?;
                uint(statement.query_row(rusqlite::params_from_iter(&values), |row| row.get(0))?)
            };
        }
        Ok(Some(count))
    }
}
