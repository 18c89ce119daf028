//! How lists show exchanges: in short rows of at most [`ROW_BYTES`], in columns that were chosen, or as the server shows
//! them that a tool stands in for.

use capture_store::{ExchangeSummary, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    budget::fit,
    columns::{Columns, Table},
    error::ToolError,
};

/// Bytes of JSON that a short row has at most.
pub(crate) const ROW_BYTES: usize = 160;

/// What in `fields` asks for the rows of the server that a tool stands in for.
const REFERENCE: &str = "*";

/// The short row of a tool: its columns, in order. One with a question mark is there only if an exchange has anything in
/// it; what a tool knows beyond the fields of an exchange is in `added`, too.
#[derive(Debug)]
pub(crate) struct Short {
    pub(crate) columns: &'static [&'static str],
    /// Names of the tool's own.
    pub(crate) added: &'static [&'static str],
}

/// The short row of tools that list exchanges by age. What is under way has no `ms`.
pub(crate) const BY_AGE: Short = Short {
    columns: &["id", "ts", "ms", "method", "status", "url", "bytes", "kind?", "failure?"],
    added: &[],
};

/// The columns of a list.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Fields {
    /// Columns: id, ms, status, url, resp.header.server, req.json./a/b; ["*"] for whole rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 30), inner(length(max = 200)))]
    fields: Vec<String>,
}

/// What to show of each exchange.
pub(crate) enum Rows {
    /// Columns.
    Columns(Columns),
    /// What the reference server shows.
    Reference,
}

/// A page of a list, one of both.
pub(crate) struct Listing<T> {
    pub(crate) table: Option<Table>,
    pub(crate) whole: Option<Vec<T>>,
    /// How many rows there are.
    pub(crate) shown: usize,
}

impl Fields {
    /// What they ask for; without any the short row.
    pub(crate) fn rows(&self, short: &Short) -> Result<Rows, ToolError> {
        match self.fields.as_slice() {
            [] => Ok(Rows::Columns(Columns::short(short)?)),
            [only] if only.trim() == REFERENCE => Ok(Rows::Reference),
            names if names.iter().any(|name| name.trim() == REFERENCE) => {
                Err(ToolError::invalid("fields: \"*\" stands for whole rows and goes with no other")
                    .hint("give [\"*\"], or names only"))
            }
            names => Columns::parse("fields", names, short.added).map(Rows::Columns),
        }
    }

    /// The same, but where none are given, whole rows if `whole`.
    pub(crate) fn rows_or(&self, short: &Short, whole: bool) -> Result<Rows, ToolError> {
        if whole && self.fields.is_empty() { Ok(Rows::Reference) } else { self.rows(short) }
    }
}

impl Rows {
    /// A row for each exchange as far as `budget` goes, but one at least. `added` tells what the tool's own columns hold
    /// of the exchange at an index; `whole` gives the reference server's rows. Blocks.
    pub(crate) fn list<T: Serialize>(
        &self,
        (store, exchanges): (&Store, &[ExchangeSummary]),
        budget: usize,
        added: &dyn Fn(usize, &str) -> Value,
        whole: impl FnOnce() -> Result<Vec<T>, ToolError>,
    ) -> Result<Listing<T>, ToolError> {
        match self {
            Self::Columns(columns) => {
                let table = columns.table((store, exchanges), budget, added)?;
                Ok(Listing { shown: table.rows.len(), table: Some(table), whole: None })
            }
            Self::Reference => {
                let (whole, _) = fit(whole()?, budget);
                Ok(Listing { shown: whole.len(), table: None, whole: Some(whole) })
            }
        }
    }
}

/// For tools without columns of their own.
pub(crate) fn nothing(_: usize, _: &str) -> Value {
    Value::Null
}
