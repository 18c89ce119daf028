//! What is wrong with a filter, and where.

use std::{fmt, ops::Range};

/// A filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterError {
    /// What is wrong, and the way out; one line.
    pub message: String,
    /// Where, as bytes of the filter.
    pub span: Range<usize>,
    /// Where it begins, in characters from 1.
    pub column: usize,
    filter: String,
}

impl FilterError {
    pub(super) fn new(filter: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = span.start.min(filter.len());
        let column = filter.get(..start).map_or(0, |before| before.chars().count()) + 1;
        Self { message: message.into(), span, column, filter: filter.to_owned() }
    }

    /// Two lines for a terminal: the filter, and below it a mark under what is wrong.
    #[must_use]
    pub fn caret(&self) -> String {
        let marked = self.filter.get(self.span.clone()).map_or(1, |text| text.chars().count().max(1));
        let line: String = self.filter.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{line}\n{}{}", " ".repeat(self.column - 1), "^".repeat(marked))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the filter at column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for FilterError {}
