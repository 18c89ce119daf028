//! The index of texts as rows; `crate::index` knows what is in them. The rows of a segment are named by its id in the
//! upper bits and what they are of its in the lower ones.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use super::{
    Content, DbError, Tx, int,
    read::{COLUMNS, read_summary},
    uint,
};
use crate::{
    id::Seq,
    index::{Class, Docs, Limits, Segment, Written},
    query::Order,
    record::ExchangeSummary,
};

/// Bits of a row's number below its segment's.
const ROW_BITS: u32 = 24;
/// Bits of a group's number below its class's.
const GROUP_BITS: u32 = 20;

/// What a segment is of which no exchange is left.
const EMPTY: &str = "NOT EXISTS (SELECT 1 FROM exchanges WHERE seq BETWEEN segments.first AND segments.last)";

/// A run of seqs without a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexGap {
    /// Seqs, both included.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Whether no segment follows, so that more is to come.
    pub(crate) is_open: bool,
}

/// The first row of a segment and the last.
fn rows_of(segment: u64) -> (i64, i64) {
    (int(segment << ROW_BITS), int((segment + 1) << ROW_BITS) - 1)
}

impl Tx<'_> {
    /// The segments that reach into a run of seqs, in order.
    pub(crate) fn segments(&self, first: u64, last: u64, order: Order) -> Result<Vec<Segment>, DbError> {
        let direction = match order {
            Order::Ascending => "ASC",
            Order::Descending => "DESC",
        };
        let sql = format!(
            "SELECT id, first, last FROM segments WHERE first <= ?2 AND last >= ?1 ORDER BY first {direction}"
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        let rows = statement.query_map(params![int(first), int(last)], |row| {
            Ok(Segment { id: uint(row.get(0)?), first: uint(row.get(1)?), last: uint(row.get(2)?) })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The exchanges of a segment; `None` where it is none any more.
    pub(crate) fn segment_docs(&self, segment: &Segment) -> Result<Option<Docs>, DbError> {
        let mut statement = self.sql.prepare_cached("SELECT docs FROM segments WHERE id = ?")?;
        let docs = statement
            .query_row([int(segment.id)], |row| Ok(Docs::decode(segment.first, row.get_ref(0)?.as_blob()?)));
        Ok(docs.optional()?)
    }

    /// Hands the URLs of a segment to `look`, row by row.
    pub(crate) fn segment_urls(&self, segment: u64, mut look: impl FnMut(&[u8])) -> Result<(), DbError> {
        let mut statement =
            self.sql.prepare_cached("SELECT text FROM segment_urls WHERE id BETWEEN ? AND ? ORDER BY id")?;
        let (first, last) = rows_of(segment);
        let mut rows = statement.query(params![first, last])?;
        while let Some(row) = rows.next()? {
            look(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
        }
        Ok(())
    }

    /// Hands a group of rows of bits to `look`; `None` where none is set.
    pub(crate) fn segment_bits(
        &self,
        segment: u64,
        class: Class,
        group: usize,
        mut look: impl FnMut(Option<&[u8]>),
    ) -> Result<(), DbError> {
        let mut statement = self.sql.prepare_cached("SELECT bits FROM segment_bits WHERE id = ?")?;
        let mut rows = statement.query([bits_row(segment, class, group)])?;
        match rows.next()? {
            Some(row) => look(Some(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)),
            None => look(None),
        }
        Ok(())
    }

    /// The next run of seqs that has no segment, and enough for one: `least` exchanges between two segments, and behind
    /// the last, where more may come, as many or as large ones as make it whole.
    pub(crate) fn index_gap(&self, least: usize, limits: &Limits) -> Result<Option<IndexGap>, DbError> {
        let mut first = 0;
        for segment in self.segments(0, i64::MAX as u64, Order::Ascending)? {
            if let Some(last) = segment.first.checked_sub(1)
                && first <= last
                && let Some((first, held, _)) = self.held_from(first, last, least)?
                && held >= least as u64
            {
                return Ok(Some(IndexGap { first, last, is_open: false }));
            }
            first = segment.last + 1;
        }
        let last = i64::MAX as u64;
        let held = self.held_from(first, last, limits.exchanges)?;
        let enough =
            held.filter(|(_, held, bytes)| *held >= limits.exchanges as u64 || *bytes >= limits.text_bytes);
        Ok(enough.map(|(first, ..)| IndexGap { first, last, is_open: true }))
    }

    /// The first exchange of a run of seqs, how many of at most `most` there are from there on, and their bytes.
    fn held_from(&self, first: u64, last: u64, most: usize) -> Result<Option<(u64, u64, u64)>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT min(seq), count(*), coalesce(sum(bytes), 0) FROM
             (SELECT seq, bytes FROM exchanges WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?)",
        )?;
        let bounds = params![int(first), int(last), int(most as u64)];
        let (begin, held, bytes): (Option<i64>, i64, i64) =
            statement.query_row(bounds, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(begin.map(|begin| (uint(begin), uint(held), uint(bytes))))
    }

    /// Exchanges of a run of seqs with what an index is made of, hidden ones too.
    pub(crate) fn index_chunk(
        &self,
        first: Seq,
        last: Seq,
        limit: usize,
    ) -> Result<Vec<(ExchangeSummary, Content)>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM exchanges WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?");
        let mut statement = self.sql.prepare_cached(&sql)?;
        let bounds = params![int(first.0), int(last.0), int(limit as u64)];
        let summaries = statement.query_map(bounds, read_summary)?.collect::<Result<Vec<_>, _>>()?;
        summaries
            .into_iter()
            .map(|summary| {
                let content = self.content(summary.seq, true)?;
                Ok((summary, content))
            })
            .collect()
    }

    /// Whether a segment that was made still has all exchanges of its run, and no other segment reaches into it.
    pub(crate) fn is_index_gap(&self, written: &Written, docs: &Docs) -> Result<bool, DbError> {
        if !self.segments(written.first, written.last, Order::Ascending)?.is_empty() {
            return Ok(false);
        }
        let known: BTreeSet<u64> = docs.0.iter().map(|(seq, _)| *seq).collect();
        let mut statement = self.sql.prepare_cached("SELECT seq FROM exchanges WHERE seq BETWEEN ? AND ?")?;
        let mut rows = statement.query(params![int(written.first), int(written.last)])?;
        while let Some(row) = rows.next()? {
            if !known.contains(&uint(row.get(0)?)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a segment.
    pub(crate) fn insert_segment(&self, written: &Written) -> Result<(), DbError> {
        self.sql
            .prepare_cached("INSERT INTO segments (first, last, docs) VALUES (?, ?, ?)")?
            .execute(params![int(written.first), int(written.last), written.docs])?;
        let id = uint(self.sql.last_insert_rowid());
        let (first, _) = rows_of(id);
        let mut urls = self.sql.prepare_cached("INSERT INTO segment_urls (id, text) VALUES (?, ?)")?;
        for (number, text) in (0..).zip(&written.urls) {
            urls.execute(params![first + number, text])?;
        }
        let mut bits = self.sql.prepare_cached("INSERT INTO segment_bits (id, bits) VALUES (?, ?)")?;
        for (class, group, rows) in &written.bits {
            bits.execute(params![bits_row(id, *class, *group), rows])?;
        }
        Ok(())
    }

    /// Forgets the segments that a run of seqs reaches into.
    pub(super) fn drop_segments(&self, first: Seq, last: Seq) -> Result<(), DbError> {
        let mut statement =
            self.sql.prepare_cached("DELETE FROM segments WHERE first <= ?2 AND last >= ?1")?;
        statement.execute(params![int(first.0), int(last.0)])?;
        Ok(())
    }

    /// Whether there are segments of which no exchange is left.
    pub(crate) fn has_empty_segments(&self) -> Result<bool, DbError> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM segments WHERE {EMPTY})");
        Ok(self.sql.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
    }

    /// Forgets them.
    pub(crate) fn drop_empty_segments(&self) -> Result<(), DbError> {
        self.sql.prepare_cached(&format!("DELETE FROM segments WHERE {EMPTY}"))?.execute([])?;
        Ok(())
    }

    /// A segment that is forgotten and whose rows are still there.
    pub(crate) fn orphaned_segment(&self) -> Result<Option<u64>, DbError> {
        let known: BTreeSet<u64> =
            self.segments(0, i64::MAX as u64, Order::Ascending)?.iter().map(|segment| segment.id).collect();
        for table in ["segment_urls", "segment_bits"] {
            let sql = format!("SELECT id FROM {table} WHERE id >= ? ORDER BY id LIMIT 1");
            let mut statement = self.sql.prepare_cached(&sql)?;
            let mut from = 0;
            while let Some(id) = statement.query_row([from], |row| row.get::<_, i64>(0)).optional()? {
                let segment = uint(id) >> ROW_BITS;
                if !known.contains(&segment) {
                    return Ok(Some(segment));
                }
                from = rows_of(segment).1 + 1;
            }
        }
        Ok(None)
    }

    /// Removes the rows of a segment that is forgotten.
    pub(crate) fn remove_segment_rows(&self, segment: u64) -> Result<(), DbError> {
        let (first, last) = rows_of(segment);
        for sql in [
            "DELETE FROM segment_urls WHERE id BETWEEN ? AND ?",
            "DELETE FROM segment_bits WHERE id BETWEEN ? AND ?",
        ] {
            self.sql.prepare_cached(sql)?.execute(params![first, last])?;
        }
        Ok(())
    }

    /// How many segments there are, and how many exchanges they have together.
    pub(crate) fn indexed(&self) -> Result<(u64, u64), DbError> {
        let mut statement =
            self.sql.prepare_cached("SELECT count(*), coalesce(sum(length(docs) / 3), 0) FROM segments")?;
        Ok(statement.query_row([], |row| Ok((uint(row.get(0)?), uint(row.get(1)?))))?)
    }
}

fn bits_row(segment: u64, class: Class, group: usize) -> i64 {
    int(segment << ROW_BITS | u64::from(class.0) << GROUP_BITS | group as u64)
}
