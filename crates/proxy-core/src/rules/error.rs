//! What keeps rules from being taken.

use std::{error::Error as StdError, fmt, path::PathBuf};

/// Why a rule or a file of rules was not taken; the rules there were stay.
///
/// `Display` is a fragment that fits after "failed to", and says where the problem is: the file, the line and column,
/// and the path inside, `rules[3].when.url.regex`.
#[derive(Debug)]
pub struct RuleError {
    pub(super) kind: RuleErrorKind,
    pub(super) place: Box<Place>,
    pub(super) source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// The text is no rule.
    #[error("read {what}: {problem}")]
    Parse {
        /// `a rule`, `the rules`.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The file has a version that this program does not know.
    #[error("read the rules: they have version {0}, and this program knows version 1 (use a newer program)")]
    Version(u64),
    /// There is no rule with this id.
    #[error("find rule {0:?} (list the rules to see their ids)")]
    UnknownId(String),
    /// There is a rule with this id already.
    #[error("add rule {0:?}: there is one with this id (update it, or leave the id out to get a new one)")]
    DuplicateId(String),
    /// There are too many.
    #[error("hold more than {0} rules (remove some)")]
    TooMany(usize),
    /// The file cannot be read or written, or its name says neither TOML nor JSON.
    #[error("{0}")]
    File(String),
}

/// Where in what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file.
    pub file: Option<PathBuf>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1.
    pub column: Option<usize>,
    /// The path inside, `rules[3].when.url.regex`; empty for the whole.
    pub path: String,
}

impl RuleError {
    pub(super) fn new(kind: RuleErrorKind) -> Self {
        Self { kind, place: Box::default(), source: None }
    }

    pub(super) fn parse(what: &'static str, problem: impl Into<String>) -> Self {
        Self::new(RuleErrorKind::Parse { what, problem: problem.into() })
    }

    /// Puts a path before the one there is.
    pub(super) fn within(mut self, outer: &str) -> Self {
        self.place.path = match self.place.path.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &RuleErrorKind {
        &self.kind
    }

    /// Where.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        self.place.fmt(f)
    }
}

/// ` (in x.toml, line 3, column 7, at rules[0].when)`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.file.as_ref().map(|file| format!("in {}", file.display())));
        parts.extend(self.line.map(|line| format!("line {line}")));
        parts.extend(self.column.map(|column| format!("column {column}")));
        parts.extend((!self.path.is_empty()).then(|| format!("at {}", self.path)));
        if parts.is_empty() { Ok(()) } else { write!(f, " ({})", parts.join(", ")) }
    }
}

impl StdError for RuleError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<RuleErrorKind> for RuleError {
    fn from(kind: RuleErrorKind) -> Self {
        Self::new(kind)
    }
}
