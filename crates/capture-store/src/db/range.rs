//! Which rows a question has to look at: bounds of seqs, and an index that leads to few.

use std::ops::RangeInclusive;

use rusqlite::{params, types::Value};

use super::{
    DbError, Filter, Tx,
    codes::nanos,
    driver::{Column, Driver, admits, named},
    int,
    tally::SPAN,
    uint,
};
use crate::{condition::TextField, query::Order};

/// Different values of a column that are looked at before its index is given up.
const MAX_DISTINCT: usize = 1_000;
/// Values whose runs are read side by side.
const MAX_RUNS: usize = 64;
/// A value with more rows than this is common: walking all rows finds it as soon.
const COMMON: u64 = 20_000;

/// A value of a column, whose rows lie together in the column's index.
type Run = (Column, Value);

/// What follows `WHERE` to get a page of rows, order and limit included.
pub(super) struct Rows {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
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
        let direction = match order {
            Order::Ascending => "ASC",
            Order::Descending => "DESC",
        };
        let (condition, condition_values) = filter.sql(*range.start(), *range.end());
        let page = format!("ORDER BY seq {direction} LIMIT {} OFFSET {}", int(limit as u64), int(offset));
        let Some(runs) = self.runs(filter, &range)? else {
            return Ok(Some(Rows { sql: format!("{condition} {page}"), values: condition_values }));
        };
        let mut branches = Vec::with_capacity(runs.len());
        let mut values = Vec::new();
        let most = offset.saturating_add(limit as u64);
        // Where the index says it all, the rows themselves are read of what is given only.
        let index_alone = filter.only_driver().is_some() && !self.shares(filter, &range)?;
        let (inner, inner_values) = if index_alone {
            ("seq BETWEEN ? AND ?", vec![int(*range.start()).into(), int(*range.end()).into()])
        } else {
            (condition.as_str(), condition_values.clone())
        };
        for (column, value) in runs {
            branches.push(format!(
                "SELECT seq FROM (SELECT seq FROM exchanges INDEXED BY {} WHERE {} {} = ? AND {inner}
                 ORDER BY seq {direction} LIMIT {})",
                column.index(),
                column.only(),
                column.name(),
                int(most),
            ));
            values.push(value);
            values.extend(inner_values.iter().cloned());
        }
        if branches.is_empty() {
            return Ok(None);
        }
        Ok(Some(Rows { sql: format!("seq IN ({}) {page}", branches.join(" UNION ALL ")), values }))
    }

    /// The seqs that a filter can pass at all.
    pub(crate) fn range(&self, filter: &Filter) -> Result<Option<RangeInclusive<u64>>, DbError> {
        let (mut first, mut last) = (filter.first, filter.last);
        if let Some(session) = filter.session {
            let mut statement = self.sql.prepare_cached(
                "SELECT (SELECT min(seq) FROM exchanges WHERE session = ?1), (SELECT max(seq) FROM exchanges WHERE session = ?1)",
            )?;
            let bounds: (Option<i64>, Option<i64>) =
                statement.query_row([int(session.0)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (Some(least), Some(most)) = bounds else { return Ok(None) };
            first = first.max(uint(least));
            last = last.min(uint(most));
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

    /// The values whose indexes lead to the fewest rows; `None` where walking all rows is as good.
    fn runs(&self, filter: &Filter, range: &RangeInclusive<u64>) -> Result<Option<Vec<Run>>, DbError> {
        if let Some(driver) = filter.only_driver() {
            return self.admitted(driver);
        }
        let best = self.fewest(filter, range, COMMON)?;
        Ok(best.filter(|(rows, _)| *rows < COMMON).map(|(_, values)| values))
    }

    /// Whether an index leads to few of the rows that a filter may pass.
    pub(crate) fn is_selective(&self, filter: &Filter) -> Result<bool, DbError> {
        let Some(range) = self.range(filter)? else { return Ok(true) };
        Ok(self.fewest(filter, &range, COMMON)?.is_some_and(|(rows, _)| rows < COMMON))
    }

    /// How many rows the best of the indexes leads to, counted no further than `most`, and by which values.
    pub(super) fn fewest(
        &self,
        filter: &Filter,
        range: &RangeInclusive<u64>,
        most: u64,
    ) -> Result<Option<(u64, Vec<Run>)>, DbError> {
        let mut best: Option<(u64, Vec<Run>)> = None;
        for driver in &filter.drivers {
            let Some(values) = self.admitted(driver)? else { continue };
            // One that leads to more than the best so far is of no interest.
            let most = best.as_ref().map_or(most, |(least, _)| *least);
            let mut rows = 0;
            for (column, value) in &values {
                rows += self.rows_of(*column, value, range, most - rows)?;
                if rows >= most {
                    break;
                }
            }
            if best.is_none() || rows < most {
                best = Some((rows, values));
            }
        }
        Ok(best)
    }

    /// How many rows pass a filter that asks for one indexed column and nothing else, told by its index alone and no
    /// further than `most`; `None` where rows would have to be looked at.
    pub(super) fn count_by_index(
        &self,
        filter: &Filter,
        range: &RangeInclusive<u64>,
        most: u64,
    ) -> Result<Option<u64>, DbError> {
        // An exchange may have values of several columns, but one of each.
        let Some(driver) = filter.only_driver().filter(|driver| driver.only_column().is_some()) else {
            return Ok(None);
        };
        if self.shares(filter, range)? {
            return Ok(None);
        }
        let Some(values) = self.admitted(driver)? else { return Ok(None) };
        let mut count = 0;
        for (column, value) in &values {
            count += self.rows_of(*column, value, range, most - count)?;
        }
        Ok(Some(count))
    }

    /// Whether sessions that a filter does not ask for have exchanges in a range too.
    fn shares(&self, filter: &Filter, range: &RangeInclusive<u64>) -> Result<bool, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sessions s WHERE (s.hidden <> 0 OR s.id <> ?1) AND EXISTS
             (SELECT 1 FROM exchanges INDEXED BY exchanges_by_session WHERE session = s.id AND seq BETWEEN ?2 AND ?3))",
        )?;
        let session = filter.session.map(|id| int(id.0));
        let bounds = params![session, int(*range.start()), int(*range.end())];
        Ok(statement.query_row(bounds, |row| row.get(0))?)
    }

    /// How many rows have a value, counted no further than `most`.
    fn rows_of(
        &self,
        column: Column,
        value: &Value,
        range: &RangeInclusive<u64>,
        most: u64,
    ) -> Result<u64, DbError> {
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM exchanges INDEXED BY {} WHERE {} {} = ? AND seq BETWEEN ? AND ?
             LIMIT ?)",
            column.index(),
            column.only(),
            column.name(),
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        let bounds = params![value, int(*range.start()), int(*range.end()), int(most)];
        Ok(uint(statement.query_row(bounds, |row| row.get(0))?))
    }

    /// The values that a driver admits; `None` where they are many.
    fn admitted(&self, driver: &Driver) -> Result<Option<Vec<Run>>, DbError> {
        let mut admitted = Vec::new();
        for (column, condition) in &driver.parts {
            let values = match named(*column, condition) {
                Some(values) => values,
                None => match self.distinct(*column, MAX_DISTINCT)? {
                    Some(values) => values.into_iter().filter(|value| admits(condition, value)).collect(),
                    None => return Ok(None),
                },
            };
            admitted.extend(values.into_iter().map(|value| (*column, value)));
        }
        Ok((admitted.len() <= MAX_RUNS).then_some(admitted))
    }

    /// Recorded values of a field that begin so.
    pub(crate) fn values_beginning(
        &self,
        field: TextField,
        begin: &str,
        most: usize,
    ) -> Result<Vec<String>, DbError> {
        let Some(column) = Column::of_text(field) else { return Ok(Vec::new()) };
        let values = self.distinct(column, MAX_DISTINCT)?.unwrap_or_default();
        let texts = values.into_iter().filter_map(|value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        });
        let begins =
            |text: &String| text.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin));
        Ok(texts.filter(begins).take(most).collect())
    }

    /// The different values of a column, each found by one step into its index; `None` where they are more than `most`.
    pub(super) fn distinct(&self, column: Column, most: usize) -> Result<Option<Vec<Value>>, DbError> {
        let (name, index) = (column.name(), column.index());
        let some = column.only();
        let sql = format!(
            "WITH RECURSIVE found(value) AS (
               SELECT (SELECT min({name}) FROM exchanges INDEXED BY {index} WHERE {some} {name} IS NOT NULL)
               UNION ALL
               SELECT (SELECT min({name}) FROM exchanges INDEXED BY {index} WHERE {some} {name} > found.value)
               FROM found WHERE found.value IS NOT NULL LIMIT {})
             SELECT value FROM found WHERE value IS NOT NULL",
            most + 2
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        let values = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<Value>, _>>()?;
        Ok((values.len() <= most).then_some(values))
    }
}
