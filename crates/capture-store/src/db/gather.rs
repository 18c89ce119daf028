//! What a block's rows have in the columns that postings are kept of, read from the rows themselves.

use std::collections::HashMap;

use rusqlite::{
    Connection, ToSql, params,
    types::{ToSqlOutput, Value, ValueRef},
};

use super::{DbError, driver::Column, int, tally::SPAN, uint};

/// The columns that postings are kept of; a column's number is its place here.
pub(super) const POSTED: [Column; 4] = [Column::Host, Column::Method, Column::Status, Column::ResponseType];

/// A value of such a column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Term {
    Number(i64),
    Text(String),
}

impl Term {
    /// What stands in a column; nothing, and what only damage can put there, is no term.
    pub(super) fn of(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Integer(number) => Some(Self::Number(number)),
            ValueRef::Text(text) => Some(Self::Text(std::str::from_utf8(text).ok()?.to_owned())),
            _ => None,
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Number(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text.clone()),
        }
    }
}

impl ToSql for Term {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Number(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

/// The offsets of a block's exchanges by the value they have in one column.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    numbers: HashMap<i64, Vec<u16>>,
    texts: HashMap<String, Vec<u16>>,
}

impl Gathered {
    fn take(&mut self, value: ValueRef<'_>, offset: u16) {
        match value {
            ValueRef::Integer(number) => self.numbers.entry(number).or_default().push(offset),
            ValueRef::Text(text) => {
                let Ok(text) = std::str::from_utf8(text) else { return };
                match self.texts.get_mut(text) {
                    Some(offsets) => offsets.push(offset),
                    None => _ = self.texts.insert(text.to_owned(), vec![offset]),
                }
            }
            _ => {}
        }
    }

    /// Who has a value.
    pub(super) fn get(&self, term: &Term) -> &[u16] {
        let offsets = match term {
            Term::Number(number) => self.numbers.get(number),
            Term::Text(text) => self.texts.get(text),
        };
        offsets.map_or(&[], Vec::as_slice)
    }

    /// The values.
    pub(super) fn terms(&self) -> impl Iterator<Item = Term> {
        let numbers = self.numbers.keys().map(|number| Term::Number(*number));
        numbers.chain(self.texts.keys().map(|text| Term::Text(text.clone())))
    }

    /// The values in their order, and who has them.
    pub(super) fn into_sorted(self) -> Vec<(Term, Vec<u16>)> {
        let numbers = self.numbers.into_iter().map(|(number, offsets)| (Term::Number(number), offsets));
        let texts = self.texts.into_iter().map(|(text, offsets)| (Term::Text(text), offsets));
        let mut sorted: Vec<_> = numbers.chain(texts).collect();
        sorted.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        sorted
    }
}

/// The first and the last seq of a block.
pub(super) fn bounds(block: u64) -> (i64, i64) {
    (int(block * SPAN), int(block * SPAN + SPAN - 1))
}

/// Reads a block's rows, in one pass.
pub(super) fn gather(sql: &Connection, block: u64) -> Result<[Gathered; POSTED.len()], DbError> {
    let mut statement = sql.prepare_cached(
        "SELECT seq, host, method, status, response_content_type FROM exchanges
         WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq",
    )?;
    let (first, last) = bounds(block);
    let mut rows = statement.query(params![first, last])?;
    let mut gathered: [Gathered; POSTED.len()] = Default::default();
    while let Some(row) = rows.next()? {
        let offset = offset_of(row.get(0)?);
        for (column, gathered) in (1..).zip(&mut gathered) {
            gathered.take(row.get_ref(column)?, offset);
        }
    }
    Ok(gathered)
}

/// Reads one column of a block's rows.
pub(super) fn gather_column(sql: &Connection, block: u64, column: Column) -> Result<Gathered, DbError> {
    let name = column.name();
    let mut statement = sql.prepare_cached(&format!(
        "SELECT seq, {name} FROM exchanges WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq"
    ))?;
    let (first, last) = bounds(block);
    let mut rows = statement.query(params![first, last])?;
    let mut gathered = Gathered::default();
    while let Some(row) = rows.next()? {
        gathered.take(row.get_ref(1)?, offset_of(row.get(0)?));
    }
    Ok(gathered)
}

/// Where in its block a seq lies.
pub(super) fn offset_of(seq: i64) -> u16 {
    u16::try_from(uint(seq) % SPAN).unwrap_or(0)
}
