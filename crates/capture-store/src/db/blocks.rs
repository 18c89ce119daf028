//! Which exchanges of a block have one of some values: by its postings where it is filed, by its rows where it is not.

use std::{cell::RefCell, collections::BTreeMap, collections::HashMap, ops::RangeInclusive, rc::Rc};

use rusqlite::{
    OptionalExtension, params,
    types::{Value, ValueRef},
};

use super::{
    DbError, Tx,
    driver::{Column, Driver, admits, named},
    gather::{Gathered, Term, gather_column, offset_of},
    int,
    posting::Offsets,
    tally::SPAN,
    uint,
};
use crate::id::SessionId;

/// Different values of a column that are looked at before its index is given up.
pub(super) const MAX_DISTINCT: usize = 1_000;
/// Values that lead to rows.
const MAX_TERMS: usize = 64;
/// So many values in all for each that is wanted: below, a block's postings are walked, not sought one by one.
const WALKED: usize = 4;
/// Columns of unfiled blocks kept while a transaction lasts.
const MAX_LIVE: usize = 64;

/// A block of seqs that holds exchanges of a session that is asked, as far as it lies in a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) number: u64,
    /// Seqs, both included.
    pub(super) first: u64,
    pub(super) last: u64,
    is_filed: bool,
    /// Whether it holds exchanges of no other session.
    pub(super) is_pure: bool,
}

impl Block {
    /// Whether all of it lies in the range.
    pub(super) fn is_whole(&self) -> bool {
        self.last - self.first == SPAN - 1
    }

    /// The seq before its first.
    pub(super) fn start(&self) -> u64 {
        self.number * SPAN
    }
}

/// What leads to exchanges: those that have one of the values of one of the columns.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) parts: Vec<Part>,
}

/// Values of a column.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) column: Column,
    /// Ascending.
    pub(super) terms: Vec<Known>,
    /// Whether they are most of what there is.
    are_most: bool,
}

/// A value, and the filed blocks that it lies between.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) term: Term,
    first: u64,
    last: u64,
}

impl Lead {
    /// Its values.
    pub(super) fn terms(&self) -> usize {
        self.parts.iter().map(|part| part.terms.len()).sum()
    }
}

/// What was read of unfiled blocks, while nothing changes.
#[derive(Default)]
pub(super) struct Live(RefCell<HashMap<(u64, &'static str), Rc<Gathered>>>);

impl Tx<'_> {
    /// The blocks in a range that hold exchanges of a session, or of all that are visible; ascending.
    pub(super) fn blocks(
        &self,
        session: Option<SessionId>,
        range: &RangeInclusive<u64>,
    ) -> Result<Vec<Block>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT block, min(asked), block NOT IN (SELECT block FROM unfiled) FROM
             (SELECT block, session IN (SELECT id FROM sessions WHERE hidden = 0 AND (?3 IS NULL OR id = ?3)) AS asked
              FROM tallies WHERE block BETWEEN ?1 AND ?2)
             GROUP BY block HAVING max(asked) ORDER BY block",
        )?;
        let (first, last) = (*range.start(), *range.end());
        let bounds = params![int(first / SPAN), int(last / SPAN), session.map(|id| int(id.0))];
        let rows = statement.query_map(bounds, |row| {
            let number = uint(row.get(0)?);
            Ok(Block {
                number,
                first: first.max(number * SPAN),
                last: last.min(number * SPAN + SPAN - 1),
                is_pure: row.get(1)?,
                is_filed: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The values that a driver admits; `None` where they are many.
    pub(super) fn admitted(&self, driver: &Driver, blocks: &[Block]) -> Result<Option<Lead>, DbError> {
        let mut parts = Vec::with_capacity(driver.parts.len());
        for (column, condition) in &driver.parts {
            let (terms, all) = match named(*column, condition) {
                Some(values) => (self.known(*column, &values)?, usize::MAX),
                None => {
                    let Some(mut terms) = self.distinct(*column, blocks, MAX_DISTINCT)? else {
                        return Ok(None);
                    };
                    let all = terms.len();
                    terms.retain(|known| admits(condition, &known.term.to_value()));
                    (terms, all)
                }
            };
            let are_most = terms.len().saturating_mul(WALKED) > all;
            parts.push(Part { column: *column, terms, are_most });
        }
        let lead = Lead { parts };
        Ok((lead.terms() <= MAX_TERMS).then_some(lead))
    }

    /// Values that are named, and where they are.
    fn known(&self, column: Column, values: &[Value]) -> Result<Vec<Known>, DbError> {
        let mut statement =
            self.sql.prepare_cached("SELECT first, last FROM terms WHERE field = ? AND value = ?")?;
        let mut known = Vec::with_capacity(values.len());
        for term in values.iter().filter_map(|value| Term::of(value.into())) {
            let found: Option<(i64, i64)> = statement
                .query_row(params![column.field(), term], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            // In no filed block, where it is not known.
            let (first, last) = found.map_or((1, 0), |(first, last)| (uint(first), uint(last)));
            known.push(Known { term, first, last });
        }
        known.sort_unstable_by(|one, other| one.term.cmp(&other.term));
        Ok(known)
    }

    /// The different values of a column, ascending; `None` where they are more than `most`. Some may lie outside of the
    /// blocks.
    pub(super) fn distinct(
        &self,
        column: Column,
        blocks: &[Block],
        most: usize,
    ) -> Result<Option<Vec<Known>>, DbError> {
        let Some(field) = column.field() else { return self.stepped(column, most) };
        let mut statement =
            self.sql.prepare_cached("SELECT value, first, last FROM terms WHERE field = ? LIMIT ?")?;
        let mut rows = statement.query(params![field, int(most as u64).saturating_add(1)])?;
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next()? {
            if let Some(term) = Term::of(row.get_ref(0)?) {
                found.insert(term, (uint(row.get(1)?), uint(row.get(2)?)));
            }
        }
        for block in blocks.iter().filter(|block| !block.is_filed) {
            if found.len() > most {
                break;
            }
            for term in self.live(block.number, column)?.terms() {
                found.entry(term).or_insert((1, 0));
            }
        }
        let known = found.into_iter().map(|(term, (first, last))| Known { term, first, last });
        Ok((known.len() <= most).then(|| known.collect()))
    }

    /// The different values of a column with an index of its own, each found by one step into it.
    fn stepped(&self, column: Column, most: usize) -> Result<Option<Vec<Known>>, DbError> {
        let (name, Some((index, some))) = (column.name(), column.index()) else { return Ok(None) };
        let sql = format!(
            "WITH RECURSIVE found(value) AS (
               SELECT (SELECT min({name}) FROM exchanges INDEXED BY {index} WHERE {some} {name} IS NOT NULL)
               UNION ALL
               SELECT (SELECT min({name}) FROM exchanges INDEXED BY {index} WHERE {some} {name} > found.value)
               FROM found WHERE found.value IS NOT NULL LIMIT {})
             SELECT value FROM found WHERE value IS NOT NULL",
            int(most as u64).saturating_add(2)
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let term = Term::of(row.get_ref(0)?);
            found.extend(term.map(|term| Known { term, first: 0, last: u64::MAX }));
        }
        Ok((found.len() <= most).then_some(found))
    }

    /// The exchanges of a block, in the range, that leads lead to all together.
    pub(super) fn led(&self, leads: &[Lead], block: &Block) -> Result<Offsets, DbError> {
        let mut all: Option<Offsets> = None;
        for lead in leads {
            let led = self.led_by(lead, block)?;
            match &mut all {
                Some(all) => all.keep(&led),
                None => all = Some(led),
            }
            if all.is_some_and(|all| all.is_empty()) {
                break;
            }
        }
        let mut all = all.unwrap_or(Offsets::NONE);
        if !block.is_whole() {
            all.keep_between(block.first - block.start(), block.last - block.start());
        }
        Ok(all)
    }

    fn led_by(&self, lead: &Lead, block: &Block) -> Result<Offsets, DbError> {
        let mut led = Offsets::NONE;
        for part in &lead.parts {
            match part.column.field() {
                None => self.each_entry(part, block, |offset| led.insert(offset))?,
                Some(field) if block.is_filed => {
                    self.each_posting((part, field), block, "offsets", |offsets| {
                        if let ValueRef::Blob(offsets) = offsets {
                            led.add(offsets);
                        }
                    })?;
                }
                Some(_) => {
                    let live = self.live(block.number, part.column)?;
                    for known in &part.terms {
                        live.get(&known.term).iter().for_each(|offset| led.insert(*offset));
                    }
                }
            }
        }
        Ok(led)
    }

    /// How many exchanges of a block a lead leads to; those that it leads to by several columns are counted for each, and
    /// those beside the range as well.
    pub(super) fn tallied(&self, lead: &Lead, block: &Block) -> Result<u64, DbError> {
        let mut count = 0;
        for part in &lead.parts {
            match part.column.field() {
                None => self.each_entry(part, block, |_| count += 1)?,
                Some(field) if block.is_filed => {
                    self.each_posting((part, field), block, "count", |more| {
                        if let ValueRef::Integer(more) = more {
                            count += uint(more);
                        }
                    })?;
                }
                Some(_) => {
                    let live = self.live(block.number, part.column)?;
                    count += part.terms.iter().map(|known| live.get(&known.term).len() as u64).sum::<u64>();
                }
            }
        }
        Ok(count)
    }

    /// Hands a column of the postings of some values in a filed block to `visit`.
    fn each_posting(
        &self,
        (part, field): (&Part, i64),
        block: &Block,
        what: &str,
        mut visit: impl FnMut(ValueRef<'_>),
    ) -> Result<(), DbError> {
        let number = int(block.number);
        if part.are_most {
            let sql = format!("SELECT value, {what} FROM postings WHERE block = ? AND field = ?");
            let mut statement = self.sql.prepare_cached(&sql)?;
            let mut rows = statement.query(params![number, field])?;
            while let Some(row) = rows.next()? {
                let Some(term) = Term::of(row.get_ref(0)?) else { continue };
                if part.terms.binary_search_by(|known| known.term.cmp(&term)).is_ok() {
                    visit(row.get_ref(1)?);
                }
            }
            return Ok(());
        }
        let sql = format!("SELECT {what} FROM postings WHERE block = ? AND field = ? AND value = ?");
        let mut statement = self.sql.prepare_cached(&sql)?;
        for known in part.terms.iter().filter(|known| (known.first..=known.last).contains(&block.number)) {
            let mut rows = statement.query(params![number, field, known.term])?;
            if let Some(row) = rows.next()? {
                visit(row.get_ref(0)?);
            }
        }
        Ok(())
    }

    /// Hands the offsets of what an index of its own has of a column's values in a block to `visit`.
    fn each_entry(&self, part: &Part, block: &Block, mut visit: impl FnMut(u16)) -> Result<(), DbError> {
        let (name, Some((index, some))) = (part.column.name(), part.column.index()) else { return Ok(()) };
        let sql = format!(
            "SELECT seq FROM exchanges INDEXED BY {index} WHERE {some} {name} = ? AND seq BETWEEN ? AND ?"
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        for known in &part.terms {
            let mut rows = statement.query(params![known.term, int(block.first), int(block.last)])?;
            while let Some(row) = rows.next()? {
                visit(offset_of(row.get(0)?));
            }
        }
        Ok(())
    }

    /// What the rows of an unfiled block have in a column.
    fn live(&self, block: u64, column: Column) -> Result<Rc<Gathered>, DbError> {
        let key = (block, column.name());
        if let Some(live) = self.live.0.borrow().get(&key) {
            return Ok(Rc::clone(live));
        }
        let live = Rc::new(gather_column(self.sql, block, column)?);
        let mut kept = self.live.0.borrow_mut();
        if kept.len() >= MAX_LIVE {
            kept.clear();
        }
        kept.insert(key, Rc::clone(&live));
        Ok(live)
    }
}
