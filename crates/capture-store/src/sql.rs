//! Questions in SQL, which can only read.

use std::time::Duration;

/// A statement and its bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sql {
    /// One `SELECT` over the views of docs/sql.md.
    pub statement: String,
    /// How long it may run. Default 10 s.
    pub timeout: Duration,
    /// Rows given at most. Default 10,000.
    pub max_rows: usize,
    /// Bytes of values given at most. Default 64 MiB.
    pub max_bytes: usize,
}

impl Sql {
    /// A statement with the default bounds.
    #[must_use]
    pub fn new(statement: impl Into<String>) -> Self {
        Self {
            statement: statement.into(),
            timeout: Duration::from_secs(10),
            max_rows: 10_000,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What a statement gave.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SqlAnswer {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each with a value for each column.
    pub rows: Vec<Vec<SqlValue>>,
    /// Whether there were more rows than the bounds allow.
    pub truncated: bool,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}
