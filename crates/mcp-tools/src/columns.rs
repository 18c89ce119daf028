//! Rows of columns: those of a tool's short row, or those a caller chose.

use capture_store::{ExchangeSummary, Store};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use traffic_analysis::{Field, Subject};

use crate::{
    budget::{cut, cut_json, cut_url_json, json_bytes},
    error::ToolError,
    rows::{ROW_BYTES, Short},
};

/// Columns at most.
const MAX_COLUMNS: usize = 30;
/// Characters of a text in a row; proxy_get_exchange and get_body give it whole.
const MAX_CELL_CHARS: usize = 300;
/// Bytes that every text of a short row may have.
const LEAST_TEXT_BYTES: usize = 24;
/// `null` and its comma.
const NULL_BYTES: usize = 5;

/// Rows of columns.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Table {
    /// The columns' names.
    pub(crate) columns: Vec<String>,
    /// What each exchange has there; null for nothing. Long texts are cut.
    pub(crate) rows: Vec<Vec<Value>>,
}

/// The columns of an answer: fields by name.
#[derive(Debug)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    /// Whether a row has [`ROW_BYTES`] at most.
    short: bool,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// Of an exchange; else the tool's own.
    field: Option<Field>,
    /// Left out where no row has anything.
    optional: bool,
}

impl Columns {
    /// The columns of a short row.
    pub(crate) fn short(short: &Short) -> Result<Self, ToolError> {
        let read = |name: &&str| {
            let plain = name.trim_end_matches('?');
            let mut column = Column::parse("columns", plain, short.added)?;
            column.optional = plain != *name;
            Ok(column)
        };
        let columns = short.columns.iter().map(read).collect::<Result<_, ToolError>>()?;
        Ok(Self { columns, short: true })
    }

    /// Reads names; `argument` is where they were given, `added` are those of the tool's own.
    pub(crate) fn parse(argument: &str, names: &[String], added: &[&str]) -> Result<Self, ToolError> {
        if names.len() > MAX_COLUMNS {
            return Err(ToolError::invalid(format!("{argument} must name at most {MAX_COLUMNS} fields"))
                .hint("name those that the question is about"));
        }
        // Some clients write one text with commas; pointers and header names hardly ever have one.
        let names = names.iter().flat_map(|name| name.split(','));
        let columns = names.map(|name| Column::parse(argument, name, added)).collect::<Result<_, _>>()?;
        Ok(Self { columns, short: false })
    }

    /// A row for each exchange, as far as `budget` goes, but one at least. `added` tells what the tool's own columns hold
    /// of the exchange at an index. Blocks.
    pub(crate) fn table(
        &self,
        (store, exchanges): (&Store, &[ExchangeSummary]),
        budget: usize,
        added: &dyn Fn(usize, &str) -> Value,
    ) -> Result<Table, ToolError> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let mut room = budget.saturating_sub(1024 + json_bytes(&names));
        let mut shown: Vec<bool> = self.columns.iter().map(|column| !column.optional).collect();
        let mut rows: Vec<Vec<Value>> = Vec::new();
        for (index, summary) in exchanges.iter().enumerate() {
            let row = self.row(&Subject::new(store, summary.clone()), &|name| added(index, name))?;
            let begun = shown.iter().zip(&row).map(|(shown, cell)| *shown || !cell.is_null());
            let begun: Vec<bool> = begun.collect();
            let hidden = begun.iter().filter(|shown| !**shown).count();
            // Rows that are there already get a null where a column begins.
            let grown = begun.iter().zip(&shown).filter(|(now, before)| now != before).count() * rows.len();
            let size = json_bytes(&row) + 1 + NULL_BYTES * grown - NULL_BYTES * hidden;
            if size > room && !rows.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            shown = begun;
            rows.push(row);
        }
        let columns = picked(names, &shown).into_iter().map(str::to_owned).collect();
        Ok(Table { columns, rows: rows.into_iter().map(|row| picked(row, &shown)).collect() })
    }

    /// What an exchange has in each; null where it has nothing.
    fn row(&self, subject: &Subject<'_>, added: &dyn Fn(&str) -> Value) -> Result<Vec<Value>, ToolError> {
        let mut row: Vec<Value> = self
            .columns
            .iter()
            .map(|column| {
                let value =
                    column.field.as_ref().map_or_else(|| added(&column.name), |field| field.of(subject));
                // That it is plain HTTP says nothing.
                if column.optional && value == "http" { Value::Null } else { cell(value) }
            })
            .collect();
        subject.check()?;
        if self.short {
            shorten(&mut row);
        }
        Ok(row)
    }
}

impl Column {
    fn parse(argument: &str, name: &str, added: &[&str]) -> Result<Self, ToolError> {
        let name = name.trim();
        if added.contains(&name) {
            return Ok(Self { name: name.to_owned(), field: None, optional: false });
        }
        let field = Field::parse(name).map_err(|error| {
            let own = added.iter().fold(String::new(), |own, name| format!("{own}{name}, "));
            ToolError::invalid(format!("{argument}: there is no field {:?}", cut(&error.name, 80)))
                .hint(format!("fields are {own}{}; [\"*\"] gives whole rows", Field::known()))
        })?;
        Ok(Self { name: field.name().to_owned(), field: Some(field), optional: false })
    }
}

/// The items of which `keep` says so.
fn picked<T>(items: Vec<T>, keep: &[bool]) -> Vec<T> {
    items.into_iter().zip(keep).filter(|(_, keep)| **keep).map(|(item, _)| item).collect()
}

/// Cuts texts, the last first, until the row has [`ROW_BYTES`].
fn shorten(row: &mut [Value]) {
    for index in (0..row.len()).rev() {
        let excess = json_bytes(&row).saturating_sub(ROW_BYTES);
        if excess == 0 {
            return;
        }
        if let Some(Value::String(text)) = row.get_mut(index) {
            let bytes = json_bytes(&*text);
            if bytes > LEAST_TEXT_BYTES {
                let most = bytes.saturating_sub(excess).max(LEAST_TEXT_BYTES);
                *text = if text.contains("://") { cut_url_json(text, most) } else { cut_json(text, most) };
            }
        }
    }
}

/// A value short enough for a row.
fn cell(value: Value) -> Value {
    match value {
        Value::String(text) => cut(&text, MAX_CELL_CHARS).into(),
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            if text.len() <= MAX_CELL_CHARS { value } else { cut(&text, MAX_CELL_CHARS).into() }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_is_cut_from_its_end_to_160_bytes() {
        let url = format!("https://example.test/{}", "\"é/".repeat(60));
        // Where both are long the last is cut first, to the least that a text may have.
        for tail in ["", "a word", &"what was found ".repeat(20)] {
            let mut row = vec![json!("e123456"), json!(1_772_359_200_000_u64), json!(url), json!(tail)];
            shorten(&mut row);
            assert!(json_bytes(&row) <= ROW_BYTES, "{row:?}");
            assert!(json_bytes(&row) > ROW_BYTES - 8, "{row:?}");
            assert_eq!((&row[0], &row[1]), (&json!("e123456"), &json!(1_772_359_200_000_u64)));
        }
        let mut short = vec![json!("e1"), json!("https://example.test/"), Value::Null];
        let before = short.clone();
        shorten(&mut short);
        assert_eq!(short, before);
    }
}
