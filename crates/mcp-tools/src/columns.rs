//! Rows of the columns a caller chose.

use capture_store::{ExchangeSummary, Store};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use traffic_analysis::{Field, Subject};

use crate::{
    budget::{cut, json_bytes},
    error::ToolError,
};

/// Columns at most.
const MAX_COLUMNS: usize = 30;
/// Characters of a text in a row; proxy_get_exchange and get_body give it whole.
const MAX_CELL_CHARS: usize = 300;

/// Rows of chosen columns.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Table {
    /// The fields, as they were asked for.
    pub(crate) columns: Vec<String>,
    /// What each exchange has there; null for nothing. Texts are cut at 300 characters.
    pub(crate) rows: Vec<Vec<Value>>,
}

/// The columns of an answer: fields by name.
#[derive(Debug)]
pub(crate) struct Columns(Vec<Field>);

impl Columns {
    /// Reads names, if there are any.
    pub(crate) fn given(argument: &str, names: &[String]) -> Result<Option<Self>, ToolError> {
        if names.is_empty() { Ok(None) } else { Self::parse(argument, names).map(Some) }
    }

    /// Reads names; `argument` is where they were given.
    fn parse(argument: &str, names: &[String]) -> Result<Self, ToolError> {
        if names.len() > MAX_COLUMNS {
            return Err(ToolError::invalid(format!("{argument} must name at most {MAX_COLUMNS} fields")));
        }
        // Some clients write one text with commas; pointers and header names hardly ever have one.
        let names = names.iter().flat_map(|name| name.split(','));
        let fields = names.map(|name| {
            Field::parse(name).map_err(|error| {
                ToolError::invalid(format!("{argument}: there is no field {:?}", cut(&error.name, 80)))
                    .hint(format!("fields are {}", Field::known()))
            })
        });
        fields.collect::<Result<Vec<_>, _>>().map(Self)
    }

    /// A row for each exchange, as far as `budget` goes, but one at least. Blocks.
    pub(crate) fn table(
        &self,
        store: &Store,
        exchanges: &[ExchangeSummary],
        budget: usize,
    ) -> Result<Table, ToolError> {
        let columns: Vec<String> = self.0.iter().map(|field| field.name().to_owned()).collect();
        let mut room = budget.saturating_sub(1024 + json_bytes(&columns));
        let mut rows = Vec::new();
        for summary in exchanges {
            let row = self.row(&Subject::new(store, summary.clone()))?;
            let size = json_bytes(&row) + 1;
            if size > room && !rows.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            rows.push(row);
        }
        Ok(Table { columns, rows })
    }

    /// What an exchange has in each; null where it has nothing.
    fn row(&self, subject: &Subject<'_>) -> Result<Vec<Value>, ToolError> {
        let row = self.0.iter().map(|field| cell(field.of(subject))).collect();
        subject.check()?;
        Ok(row)
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
