//! Postings as they are written: blocks of seqs are filed when they are full, and unfiled by what changes their rows.
//!
//! A filed block has a posting for each value that its rows have in the columns of [`POSTED`], and they say exactly what
//! the rows say. A block in `unfiled` has none, and is looked at row by row. Every way in that adds, changes or removes
//! rows says so here, in its own transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    DbError, Tx,
    driver::Column,
    gather::{POSTED, Term, bounds, gather, offset_of},
    int,
    posting::{Offsets, encode},
    tally::SPAN,
    uint,
};
use crate::id::Seq;

/// Blocks filed in a transaction beside as many as it added to.
const MORE_AT_ONCE: usize = 2;
/// Columns of [`POSTED`] that change while an exchange is open: status and response content type.
const CHANGING: std::ops::Range<usize> = 2..4;

/// What is to be expected of a block that is no longer filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It is filed again when there is time.
    Stays,
    /// More of it goes with the next commits; it is filed again when the store is next opened, if it is there then.
    Wanes,
}

/// What an exchange of a filed block had in the columns that change.
pub(super) type Posted = [Option<Term>; CHANGING.end - CHANGING.start];

impl Tx<'_> {
    /// Takes note of blocks that exchanges were added to, and files some that are full. `last` is the last seq of what was
    /// added.
    pub(super) fn filed_more(&self, blocks: &[u64], last: Seq) -> Result<(), DbError> {
        for block in blocks {
            unfile(self.sql, *block, Outlook::Stays)?;
        }
        let newest = last.max(self.newest_seq()?);
        self.file_some(newest.0.saturating_add(1) / SPAN, blocks.len() + MORE_AT_ONCE)
    }

    /// Takes note of blocks, ascending, that exchanges were removed from, and files some before them.
    pub(super) fn filed_less(&self, blocks: &[u64], outlook: Outlook) -> Result<(), DbError> {
        for block in blocks {
            unfile(self.sql, *block, outlook)?;
            let (first, last) = bounds(*block);
            let mut forget = self.sql.prepare_cached(
                "DELETE FROM unfiled WHERE block = ?1
                 AND NOT EXISTS (SELECT 1 FROM exchanges WHERE seq BETWEEN ?2 AND ?3)",
            )?;
            forget.execute(params![int(*block), first, last])?;
        }
        match (blocks.last(), outlook) {
            // What is removed next may be of the last of them.
            (Some(last), Outlook::Stays) => self.file_some(*last, blocks.len() + MORE_AT_ONCE),
            _ => Ok(()),
        }
    }

    /// Files blocks below one, the newest first, at most so many; none that wanes.
    pub(super) fn file_some(&self, below: u64, most: usize) -> Result<(), DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT block FROM unfiled WHERE wanes = 0 AND block < ?1 ORDER BY block DESC LIMIT ?2",
        )?;
        let due = statement
            .query_map(params![int(below), int(most as u64)], |row| Ok(uint(row.get(0)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        due.into_iter().try_for_each(|block| file(self.sql, block))
    }

    /// Files what is full and was left unfiled, at most so many blocks, where nobody records.
    pub(crate) fn file_left(&self, most: usize) -> Result<(), DbError> {
        self.sql.prepare_cached("UPDATE unfiled SET wanes = 0 WHERE wanes <> 0")?.execute([])?;
        self.file_some(self.newest_seq()?.0.saturating_add(1) / SPAN, most)
    }

    /// Whether [`file_left`](Self::file_left) would find anything.
    pub(crate) fn has_left(&self) -> Result<bool, DbError> {
        let below = self.newest_seq()?.0.saturating_add(1) / SPAN;
        let mut statement =
            self.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM unfiled WHERE block < ?)")?;
        Ok(statement.query_row([int(below)], |row| row.get(0))?)
    }

    /// What the postings have of an exchange that is about to change; `None` where its block is not filed.
    pub(super) fn posted(&self, seq: Seq) -> Result<Option<Posted>, DbError> {
        if wanes(self.sql, seq.0 / SPAN)?.is_some() {
            return Ok(None);
        }
        let mut statement =
            self.sql.prepare_cached("SELECT status, response_content_type FROM exchanges WHERE seq = ?")?;
        let read = |row: &rusqlite::Row<'_>| Ok([Term::of(row.get_ref(0)?), Term::of(row.get_ref(1)?)]);
        Ok(statement.query_row([int(seq.0)], read).optional()?)
    }

    /// Brings the postings in line with an exchange that changed.
    pub(super) fn repost(&self, seq: Seq, before: &Posted) -> Result<(), DbError> {
        let Some(now) = self.posted(seq)? else { return Ok(()) };
        for (field, (before, now)) in CHANGING.zip(before.iter().zip(&now)) {
            if before == now {
                continue;
            }
            if let Some(term) = before {
                change(self.sql, seq, field, term, Offsets::remove)?;
            }
            if let Some(term) = now {
                change(self.sql, seq, field, term, Offsets::insert)?;
            }
        }
        Ok(())
    }

    /// Blocks whose postings are not what their rows are, told in words.
    pub(crate) fn postings_problems(&self, most: usize) -> Result<Vec<String>, DbError> {
        let mut found = Vec::new();
        let mut blocks = self.sql.prepare_cached(
            "SELECT block FROM tallies UNION SELECT block FROM postings UNION SELECT block FROM unfiled",
        )?;
        let mut blocks = blocks.query([])?;
        while let (Some(row), true) = (blocks.next()?, found.len() < most) {
            let block = uint(row.get(0)?);
            let filed = wanes(self.sql, block)?.is_none();
            let rows = gather(self.sql, block)?;
            for (field, (rows, column)) in rows.into_iter().zip(POSTED).enumerate() {
                let wanted = if filed { rows.into_sorted() } else { Vec::new() };
                if postings(self.sql, block, field)? != wanted {
                    let (first, last) = bounds(block);
                    found.push(format!(
                        "exchanges e{first} to e{last} have postings of their {} that are not what their rows say",
                        column.name()
                    ));
                }
            }
        }
        found.extend(self.term_problems(most)?);
        Ok(found)
    }

    /// Values that are said to be in more or fewer blocks than there are postings of them.
    fn term_problems(&self, most: usize) -> Result<Vec<String>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "WITH held AS (SELECT field, value, count(*) AS blocks, min(block) AS first, max(block) AS last
               FROM postings GROUP BY field, value)
             SELECT coalesce(t.field, h.field) FROM terms t FULL JOIN held h ON h.field = t.field AND h.value = t.value
             WHERE t.blocks IS NOT h.blocks OR t.first > h.first OR t.last < h.last LIMIT ?",
        )?;
        let fields = statement.query_map([int(most as u64)], |row| Ok(uint(row.get(0)?)))?;
        let told = |field: u64| {
            let column = usize::try_from(field).ok().and_then(|field| POSTED.get(field));
            let name = column.map_or("unknown column", |column| column.name());
            format!("a value of {name} is in other blocks than its postings say")
        };
        Ok(fields.map(|field| field.map(told)).collect::<Result<_, _>>()?)
    }
}

impl Column {
    /// Its number among those that postings are kept of.
    pub(super) fn field(self) -> Option<i64> {
        let at = POSTED.iter().position(|column| *column == self)?;
        i64::try_from(at).ok()
    }
}

/// Files all that is full; for a store that had no postings.
pub(super) fn file_all(sql: &Connection) -> Result<(), DbError> {
    let mut blocks = sql.prepare(
        "SELECT block FROM unfiled WHERE (block + 1) * 4096 <= 1 + (SELECT value FROM counters WHERE name = 'seq')
         ORDER BY block",
    )?;
    let blocks = blocks.query_map([], |row| Ok(uint(row.get(0)?)))?.collect::<Result<Vec<_>, _>>()?;
    blocks.into_iter().try_for_each(|block| file(sql, block))
}

/// Whether an unfiled block wanes; `None` where it is filed.
fn wanes(sql: &Connection, block: u64) -> Result<Option<bool>, DbError> {
    let mut statement = sql.prepare_cached("SELECT wanes FROM unfiled WHERE block = ?")?;
    Ok(statement.query_row([int(block)], |row| row.get(0)).optional()?)
}

/// Files a block that is not.
fn file(sql: &Connection, block: u64) -> Result<(), DbError> {
    let mut post = sql.prepare_cached(
        "INSERT OR REPLACE INTO postings (block, field, value, count, offsets) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (field, gathered) in (0_i64..).zip(gather(sql, block)?) {
        for (term, offsets) in gathered.into_sorted() {
            post.execute(params![int(block), field, term, int(offsets.len() as u64), encode(&offsets)])?;
            name(sql, field, &term, block)?;
        }
    }
    sql.prepare_cached("DELETE FROM unfiled WHERE block = ?")?.execute([int(block)])?;
    Ok(())
}

/// Takes a block's postings away, where it has them: its rows are about to be more, or fewer.
fn unfile(sql: &Connection, block: u64, outlook: Outlook) -> Result<(), DbError> {
    let to_wane = outlook == Outlook::Wanes;
    match wanes(sql, block)? {
        Some(wanes) if wanes || !to_wane => return Ok(()),
        Some(_) => {
            sql.prepare_cached("UPDATE unfiled SET wanes = 1 WHERE block = ?")?.execute([int(block)])?;
            return Ok(());
        }
        None => {}
    }
    let mut values = sql.prepare_cached("SELECT field, value FROM postings WHERE block = ?")?;
    let mut values = values.query([int(block)])?;
    while let Some(row) = values.next()? {
        if let Some(term) = Term::of(row.get_ref(1)?) {
            unname(sql, row.get(0)?, &term)?;
        }
    }
    sql.prepare_cached("DELETE FROM postings WHERE block = ?")?.execute([int(block)])?;
    sql.prepare_cached("INSERT INTO unfiled (block, wanes) VALUES (?, ?)")?
        .execute(params![int(block), to_wane])?;
    Ok(())
}

/// Notes that a block has postings of a value.
fn name(sql: &Connection, field: i64, term: &Term, block: u64) -> Result<(), DbError> {
    let mut statement = sql.prepare_cached(
        "INSERT INTO terms (field, value, blocks, first, last) VALUES (?1, ?2, 1, ?3, ?3)
         ON CONFLICT (field, value) DO UPDATE SET blocks = blocks + 1, first = min(first, ?3), last = max(last, ?3)",
    )?;
    statement.execute(params![field, term, int(block)])?;
    Ok(())
}

/// Notes that a block has them no more, and forgets the value with the last.
fn unname(sql: &Connection, field: i64, term: &Term) -> Result<(), DbError> {
    let mut statement = sql.prepare_cached(
        "UPDATE terms SET blocks = blocks - 1 WHERE field = ?1 AND value = ?2 RETURNING blocks",
    )?;
    let left: Option<i64> = statement.query_row(params![field, term], |row| row.get(0)).optional()?;
    if left.is_some_and(|left| left <= 0) {
        sql.prepare_cached("DELETE FROM terms WHERE field = ?1 AND value = ?2")?
            .execute(params![field, term])?;
    }
    Ok(())
}

/// Changes the posting of a value by one exchange of a filed block.
fn change(
    sql: &Connection,
    seq: Seq,
    field: usize,
    term: &Term,
    how: fn(&mut Offsets, u16),
) -> Result<(), DbError> {
    let (block, field) = (seq.0 / SPAN, int(field as u64));
    let mut read =
        sql.prepare_cached("SELECT offsets FROM postings WHERE block = ?1 AND field = ?2 AND value = ?3")?;
    let key = params![int(block), field, term];
    let before: Option<Vec<u8>> = read.query_row(key, |row| row.get(0)).optional()?;
    let mut offsets = Offsets::NONE;
    offsets.add(before.as_deref().unwrap_or_default());
    how(&mut offsets, offset_of(int(seq.0)));
    if offsets.is_empty() {
        if before.is_some() {
            sql.prepare_cached("DELETE FROM postings WHERE block = ?1 AND field = ?2 AND value = ?3")?
                .execute(key)?;
            unname(sql, field, term)?;
        }
        return Ok(());
    }
    sql.prepare_cached(
        "INSERT OR REPLACE INTO postings (block, field, value, count, offsets) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![int(block), field, term, int(offsets.count()), encode(&offsets.to_list())])?;
    if before.is_none() {
        name(sql, field, term, block)?;
    }
    Ok(())
}

/// A block's postings of a column, in the order of values. What is stored otherwise than it is written is not as it was.
fn postings(sql: &Connection, block: u64, field: usize) -> Result<Vec<(Term, Vec<u16>)>, DbError> {
    let mut statement = sql.prepare_cached(
        "SELECT value, offsets, count FROM postings WHERE block = ?1 AND field = ?2 ORDER BY value",
    )?;
    let mut rows = statement.query(params![int(block), int(field as u64)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let term = Term::of(row.get_ref(0)?).unwrap_or(Term::Number(-1));
        let stored = row.get_ref(1)?.as_bytes().map_err(rusqlite::Error::from)?.to_vec();
        let mut offsets = Offsets::NONE;
        offsets.add(&stored);
        let list = offsets.to_list();
        let whole = row.get::<_, i64>(2)? == int(list.len() as u64) && stored == encode(&list);
        found.push((term, if whole { list } else { Vec::new() }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
