//! Conditions that postings or an index lead to: columns with few different values, or whose index has few rows.

use rusqlite::types::Value;

use super::{codes, filter::state_code};
use crate::condition::{Condition, NumberField, StateFilter, TextField};
use crate::record::ExchangeKind;

/// What leads to rows: exchanges where one of these columns has one of the values its condition admits.
#[derive(Clone, Debug)]
pub(super) struct Driver {
    /// Each column once.
    pub(super) parts: Vec<(Column, Condition)>,
    /// Whether all of them are as asked; otherwise more is to be asked of each.
    pub(super) exact: bool,
}

/// A column with postings, or with an index of what is not usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Host,
    Method,
    Status,
    ResponseType,
    Failure,
    Kind,
    State,
}

impl Column {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Method => "method",
            Self::Status => "status",
            Self::ResponseType => "response_content_type",
            Self::Failure => "failure",
            Self::Kind => "kind",
            Self::State => "state",
        }
    }

    /// The index of its own that it has instead of postings, and what has to be said for SQLite to see that this index of
    /// some rows has all that are asked for.
    pub(super) fn index(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Failure => Some(("exchanges_by_failure", "failure IS NOT NULL AND")),
            Self::Kind => Some(("exchanges_by_kind", "kind <> 0 AND")),
            Self::State => Some(("exchanges_by_state", "state <> 1 AND")),
            Self::Host | Self::Method | Self::Status | Self::ResponseType => None,
        }
    }

    /// The column of a text.
    pub(super) fn of_text(field: TextField) -> Option<Self> {
        match field {
            TextField::Host => Some(Self::Host),
            TextField::Method => Some(Self::Method),
            TextField::ResponseType => Some(Self::ResponseType),
            TextField::Failure => Some(Self::Failure),
            _ => None,
        }
    }

    /// The column that alone decides on a condition of one part.
    fn of(condition: &Condition) -> Option<Self> {
        match condition {
            Condition::Text(field, _) => Self::of_text(*field),
            Condition::Number(NumberField::Status, ..) => Some(Self::Status),
            Condition::Kind(kind) if *kind != ExchangeKind::Http => Some(Self::Kind),
            Condition::State(state) if *state != StateFilter::Response => Some(Self::State),
            _ => None,
        }
    }
}

impl Driver {
    /// The columns that lead to what a condition holds for, where there are.
    pub(super) fn of(condition: &Condition) -> Option<Self> {
        match condition {
            Condition::Any(parts) if !parts.is_empty() => {
                let mut joined = Self { parts: Vec::new(), exact: true };
                for part in parts {
                    let part = Self::of(part)?;
                    joined.exact &= part.exact;
                    part.parts.into_iter().for_each(|(column, condition)| joined.take(column, condition));
                }
                Some(joined)
            }
            Condition::All(parts) => {
                let mut drivers: Vec<Self> = parts.iter().filter_map(Self::of).collect();
                let column = drivers.first().and_then(Self::only_column);
                let one = column.is_some()
                    && drivers.len() == parts.len()
                    && drivers.iter().all(|driver| driver.exact && driver.only_column() == column);
                match column.filter(|_| one) {
                    Some(column) => Some(Self { parts: vec![(column, condition.clone())], exact: true }),
                    // One of them narrows down; the others are asked of each row.
                    None if drivers.is_empty() => None,
                    None => Some(Self { exact: false, ..drivers.swap_remove(0) }),
                }
            }
            _ => Some(Self { parts: vec![(Column::of(condition)?, condition.clone())], exact: true }),
        }
    }

    /// The column, where it is only one.
    fn only_column(&self) -> Option<Column> {
        match &self.parts[..] {
            [(column, _)] => Some(*column),
            _ => None,
        }
    }

    fn take(&mut self, column: Column, condition: Condition) {
        match self.parts.iter_mut().find(|(known, _)| *known == column) {
            Some((_, Condition::Any(conditions))) => conditions.push(condition),
            Some((_, known)) => *known = Condition::Any(vec![known.clone(), condition]),
            None => self.parts.push((column, condition)),
        }
    }
}

/// Whether a condition admits a value of its column.
pub(super) fn admits(condition: &Condition, value: &Value) -> bool {
    match (condition, value) {
        (Condition::Any(parts), value) => parts.iter().any(|part| admits(part, value)),
        (Condition::All(parts), value) => parts.iter().all(|part| admits(part, value)),
        (Condition::Text(_, pattern), Value::Text(text)) => pattern.matches(text.as_bytes()),
        (Condition::Number(_, from, to), Value::Integer(number)) => {
            u64::try_from(*number).is_ok_and(|number| (*from..=*to).contains(&number))
        }
        (Condition::State(state), Value::Integer(code)) => state_code(*state) == *code,
        (Condition::Kind(kind), Value::Integer(code)) => codes::exchange_kind(*kind) == *code,
        _ => false,
    }
}

/// The values that a condition admits of a column, where it names them as they are stored: hosts are stored in lower
/// case.
pub(super) fn named(column: Column, condition: &Condition) -> Option<Vec<Value>> {
    if column != Column::Host {
        return None;
    }
    match condition {
        Condition::Text(TextField::Host, pattern) => Some(vec![Value::Text(pattern.whole()?.to_owned())]),
        Condition::Any(parts) => {
            let named: Option<Vec<_>> = parts.iter().map(|part| named(column, part)).collect();
            let mut values: Vec<Value> = named?.into_iter().flatten().collect();
            values.dedup();
            Some(values)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::parse;

    #[test]
    fn indexes_are_found_for_what_they_lead_to() {
        for (filter, columns, exact) in [
            ("host:a.test", Some(vec![Column::Host]), true),
            ("status:404,5xx", Some(vec![Column::Status]), true),
            ("is:error", Some(vec![Column::State, Column::Status]), true),
            ("host:a.test or status:404", Some(vec![Column::Host, Column::Status]), true),
            ("(host:a.test path:/x) or status:404", Some(vec![Column::Host, Column::Status]), false),
            ("is:websocket", Some(vec![Column::Kind]), true),
            ("kind:http", None, false),
            ("host:a.test or path:/x", None, false),
            ("path:/x", None, false),
        ] {
            let driver = Driver::of(&parse(filter).unwrap().simplified());
            let found = driver.as_ref().map(|driver| {
                let mut columns: Vec<_> = driver.parts.iter().map(|(column, _)| *column).collect();
                columns.sort_by_key(|column| column.name());
                columns
            });
            let expected = columns.map(|mut columns| {
                columns.sort_by_key(|column: &Column| column.name());
                columns
            });
            assert_eq!(found, expected, "{filter}");
            assert_eq!(driver.is_some_and(|driver| driver.exact), exact, "{filter}");
        }
    }
}
