//! Which rows a question has to look at: bounds of seqs, and the values that lead to few.

use std::{fmt::Write as _, ops::RangeInclusive};

use rusqlite::{params, params_from_iter, types::Value};

use super::{
    DbError, Filter, Tx,
    blocks::{Block, Lead, MAX_DISTINCT},
    codes::nanos,
    driver::Column,
    gather::Term,
    int,
    posting::Offsets,
    read::Count,
    tally::SPAN,
    uint,
};
use crate::{condition::TextField, query::Order};

/// A value with more rows than this is common: walking all rows finds it as soon.
const COMMON: u64 = 20_000;
/// Exchanges of a block up to which each is looked up; where more are led to, the block's rows are walked.
const SPARSE: u64 = 256;
/// Postings that are looked up for a count that is to be brief: two or three milliseconds.
const MAX_POSTINGS: usize = 2_000;
/// Blocks of several sessions whose rows are looked at for it, and entries of the indexes of what is not usual.
const MAX_SHARED: usize = 4;
const MAX_ENTRIES: u64 = 20_000;

/// What follows `WHERE` to get a page of rows, order and limit included.
pub(super) struct Rows {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// What leads to the exchanges that pass a filter, all leads together, and where they lie.
struct Way {
    leads: Vec<Lead>,
    blocks: Vec<Block>,
    /// Whether all that is led to passes, the session apart; otherwise more is to be asked of each.
    is_exact: bool,
}

impl Tx<'_> {
    /// The page of a filter that is asked for; `None` where no row passes.
    pub(super) fn rows(
        &self,
        filter: &Filter,
        order: Order,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Rows>, DbError> {
        let Some(range) = self.range(filter)? else { return Ok(None) };
        let direction = direction(order);
        let Some(way) = self.way(filter, &range)? else {
            let (condition, values) = filter.sql(*range.start(), *range.end());
            let page = format!("ORDER BY seq {direction} LIMIT {} OFFSET {}", int(limit as u64), int(offset));
            return Ok(Some(Rows { sql: format!("{condition} {page}"), values }));
        };
        let seqs = self.passing(filter, &way, order, offset.saturating_add(limit as u64))?;
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX).min(seqs.len());
        if skipped == seqs.len() {
            return Ok(None);
        }
        let sql = format!("seq IN (SELECT value FROM json_each(?)) ORDER BY seq {direction}");
        Ok(Some(Rows { sql, values: vec![list(seqs[skipped..].iter().copied()).into()] }))
    }

    /// The seqs that a filter can pass at all.
    pub(crate) fn range(&self, filter: &Filter) -> Result<Option<RangeInclusive<u64>>, DbError> {
        let (mut first, mut last) = (filter.first, filter.last);
        if let Some(session) = filter.session {
            let mut statement =
                self.sql.prepare_cached("SELECT min(block), max(block) FROM tallies WHERE session = ?")?;
            let blocks: (Option<i64>, Option<i64>) =
                statement.query_row([int(session.0)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (Some(least), Some(most)) = blocks else { return Ok(None) };
            first = first.max(uint(least) * SPAN);
            last = last.min(uint(most) * SPAN + SPAN - 1);
        }
        if filter.from.is_some() || filter.to.is_some() {
            let mut statement = self.sql.prepare_cached(
                "SELECT min(block), max(block) FROM spans WHERE last >= ?1 AND first <= ?2",
            )?;
            let from = filter.from.map_or(i64::MIN, nanos);
            let to = filter.to.map_or(i64::MAX, nanos);
            let blocks: (Option<i64>, Option<i64>) =
                statement.query_row(params![from, to], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (Some(least), Some(most)) = blocks else { return Ok(None) };
            first = first.max(uint(least) * SPAN);
            last = last.min(uint(most) * SPAN + SPAN - 1);
        }
        Ok((first <= last).then_some(first..=last))
    }

    /// What leads to few rows, or to just those that pass; `None` where walking all rows is as good.
    fn way(&self, filter: &Filter, range: &RangeInclusive<u64>) -> Result<Option<Way>, DbError> {
        if filter.drivers.is_empty() {
            return Ok(None);
        }
        let blocks = self.blocks(filter.session, range)?;
        if let Some(leads) = self.exact_leads(filter, &blocks)? {
            return Ok(Some(Way { leads, blocks, is_exact: true }));
        }
        let best = self.fewest(filter, &blocks, COMMON)?.filter(|(rows, _)| *rows < COMMON);
        Ok(best.map(|(_, lead)| Way { leads: vec![lead], blocks, is_exact: false }))
    }

    /// What leads to just what a filter asks for beside a session; `None` where rows have to be looked at.
    fn exact_leads(&self, filter: &Filter, blocks: &[Block]) -> Result<Option<Vec<Lead>>, DbError> {
        if !filter.is_driven() {
            return Ok(None);
        }
        filter.drivers.iter().map(|driver| self.admitted(driver, blocks)).collect()
    }

    /// The seqs of what passes a filter, in order, and no more than `most`.
    fn passing(&self, filter: &Filter, way: &Way, order: Order, most: u64) -> Result<Vec<u64>, DbError> {
        let count = way.blocks.len();
        let mut seqs = Vec::new();
        for at in 0..count {
            let missing = most - seqs.len() as u64;
            if missing == 0 {
                break;
            }
            let block = match order {
                Order::Ascending => &way.blocks[at],
                Order::Descending => &way.blocks[count - 1 - at],
            };
            let led = self.led(&way.leads, block)?;
            if led.is_empty() {
                continue;
            }
            if !way.is_exact || !block.is_pure {
                seqs.extend(self.check(filter, block, &led, (order, missing))?);
                continue;
            }
            let found = led.to_list();
            let found = found.iter().map(|offset| block.start() + u64::from(*offset));
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            match order {
                Order::Ascending => seqs.extend(found.take(missing)),
                Order::Descending => seqs.extend(found.rev().take(missing)),
            }
        }
        Ok(seqs)
    }

    /// The seqs of those exchanges of a block that pass a filter, in order and no more than so many.
    fn check(
        &self,
        filter: &Filter,
        block: &Block,
        led: &Offsets,
        (order, most): (Order, u64),
    ) -> Result<Vec<u64>, DbError> {
        let (mut condition, mut values) = filter.sql(block.first, block.last);
        if led.count() <= SPARSE {
            condition.push_str(" AND seq IN (SELECT value FROM json_each(?))");
            let led = led.to_list().into_iter().map(|offset| block.start() + u64::from(offset));
            values.push(list(led).into());
        }
        values.push(int(most).into());
        let sql =
            format!("SELECT seq FROM exchanges WHERE {condition} ORDER BY seq {} LIMIT ?", direction(order));
        let mut statement = self.sql.prepare_cached(&sql)?;
        let seqs = statement.query_map(params_from_iter(&values), |row| Ok(uint(row.get(0)?)))?;
        Ok(seqs.collect::<Result<_, _>>()?)
    }

    /// Whether an index leads to few of the rows that a filter may pass.
    pub(crate) fn is_selective(&self, filter: &Filter) -> Result<bool, DbError> {
        let Some(range) = self.range(filter)? else { return Ok(true) };
        if filter.drivers.is_empty() {
            return Ok(false);
        }
        let blocks = self.blocks(filter.session, &range)?;
        Ok(self.fewest(filter, &blocks, COMMON)?.is_some_and(|(rows, _)| rows < COMMON))
    }

    /// Whether something leads to no more rows than this that a filter may pass.
    pub(super) fn leads_to_few(
        &self,
        filter: &Filter,
        range: &RangeInclusive<u64>,
        most: u64,
    ) -> Result<bool, DbError> {
        if filter.drivers.is_empty() {
            return Ok(false);
        }
        let blocks = self.blocks(filter.session, range)?;
        Ok(self.fewest(filter, &blocks, most + 1)?.is_some_and(|(rows, _)| rows <= most))
    }

    /// How many rows the best of the leads leads to, counted no further than `most`.
    fn fewest(&self, filter: &Filter, blocks: &[Block], most: u64) -> Result<Option<(u64, Lead)>, DbError> {
        let mut best: Option<(u64, Lead)> = None;
        for driver in &filter.drivers {
            let Some(lead) = self.admitted(driver, blocks)? else { continue };
            // One that leads to more than the best so far is of no interest.
            let most = best.as_ref().map_or(most, |(least, _)| *least);
            let mut rows = 0;
            for block in blocks.iter().rev() {
                if rows >= most {
                    break;
                }
                rows += self.tallied(&lead, block)?;
            }
            if best.is_none() || rows < most {
                best = Some((rows, lead));
            }
        }
        Ok(best)
    }

    /// How many pass a filter.
    pub(super) fn count_passing(&self, filter: &Filter, range: &RangeInclusive<u64>) -> Result<u64, DbError> {
        let Some(way) = self.way(filter, range)? else {
            let (condition, values) = filter.sql(*range.start(), *range.end());
            let sql = format!("SELECT count(*) FROM exchanges WHERE {condition}");
            let mut statement = self.sql.prepare_cached(&sql)?;
            return Ok(uint(statement.query_row(params_from_iter(&values), |row| row.get(0))?));
        };
        let mut count = 0;
        for block in &way.blocks {
            count += self.count_block(filter, &way, block)?;
        }
        Ok(count)
    }

    fn count_block(&self, filter: &Filter, way: &Way, block: &Block) -> Result<u64, DbError> {
        if way.is_exact
            && block.is_pure
            && block.is_whole()
            && let [lead] = &way.leads[..]
            && let [_] = &lead.parts[..]
        {
            return self.tallied(lead, block);
        }
        let led = self.led(&way.leads, block)?;
        if way.is_exact && block.is_pure || led.is_empty() {
            return Ok(led.count());
        }
        Ok(self.check(filter, block, &led, (Order::Ascending, SPAN))?.len() as u64)
    }

    /// How many pass a filter, where that is told by few postings; `None` where rows would have to be looked at.
    pub(super) fn count_briefly_led(
        &self,
        filter: &Filter,
        range: &RangeInclusive<u64>,
    ) -> Result<Option<Count>, DbError> {
        if !filter.is_driven() {
            return Ok(None);
        }
        let blocks = self.blocks(filter.session, range)?;
        let Some(leads) = self.exact_leads(filter, &blocks)? else { return Ok(None) };
        if blocks.iter().filter(|block| !block.is_pure).count() > MAX_SHARED {
            return Ok(None);
        }
        let entries = self.entries(&leads, range, MAX_ENTRIES)?;
        if entries >= MAX_ENTRIES {
            let alone =
                leads.len() == 1 && leads[0].parts.len() == 1 && blocks.iter().all(|block| block.is_pure);
            return Ok(alone.then_some(Count::AtLeast(entries)));
        }
        let terms: usize = leads.iter().map(Lead::terms).sum();
        let way = Way { leads, blocks, is_exact: true };
        let (mut count, mut postings) = (0, 0);
        for block in way.blocks.iter().rev() {
            if postings > MAX_POSTINGS {
                return Ok(Some(Count::AtLeast(count)));
            }
            count += self.count_block(filter, &way, block)?;
            postings += terms;
        }
        Ok(Some(Count::All(count)))
    }

    /// How many entries of indexes of their own some leads lead to, counted no further than `most`.
    fn entries(&self, leads: &[Lead], range: &RangeInclusive<u64>, most: u64) -> Result<u64, DbError> {
        let mut count = 0;
        for part in leads.iter().flat_map(|lead| &lead.parts) {
            let (name, Some((index, some))) = (part.column.name(), part.column.index()) else { continue };
            let sql = format!(
                "SELECT count(*) FROM (SELECT 1 FROM exchanges INDEXED BY {index} WHERE {some} {name} = ?
                 AND seq BETWEEN ? AND ? LIMIT ?)"
            );
            let mut statement = self.sql.prepare_cached(&sql)?;
            for known in &part.terms {
                let bounds = params![known.term, int(*range.start()), int(*range.end()), int(most - count)];
                count += uint(statement.query_row(bounds, |row| row.get(0))?);
            }
        }
        Ok(count)
    }

    /// Recorded values of a field that begin so.
    pub(crate) fn values_beginning(
        &self,
        field: TextField,
        begin: &str,
        most: usize,
    ) -> Result<Vec<String>, DbError> {
        let Some(column) = Column::of_text(field) else { return Ok(Vec::new()) };
        let blocks = self.blocks(None, &(0..=i64::MAX as u64))?;
        let values = self.distinct(column, &blocks, MAX_DISTINCT)?.unwrap_or_default();
        let texts = values.into_iter().filter_map(|known| match known.term {
            Term::Text(text) => Some(text),
            Term::Number(_) => None,
        });
        let begins =
            |text: &String| text.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin));
        Ok(texts.filter(begins).take(most).collect())
    }
}

fn direction(order: Order) -> &'static str {
    match order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    }
}

/// Numbers as a list that SQL takes as one value.
fn list(seqs: impl Iterator<Item = u64>) -> String {
    let mut list = String::from("[");
    for seq in seqs {
        let comma = if list.len() > 1 { "," } else { "" };
        // Writing to a text does not fail.
        let _ = write!(list, "{comma}{seq}");
    }
    list.push(']');
    list
}
