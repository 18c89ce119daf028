//! What exchanges are grouped by.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    field::{Field, FieldError},
    subject::Subject,
};

/// What is kept of a value that is grouped by.
const MAX_VALUE_CHARS: usize = 200;

/// What exchanges are grouped by: a field, or the span of time they began in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    name: String,
    part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Field(Field),
    Time(Duration),
}

/// A text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is no field.
    #[error("group by that field")]
    Field(#[from] FieldError),
    /// The span of time cannot be read.
    #[error("read {0:?} as a span of time; write one like time:10s, time:5m, time:1h, time:1d")]
    Time(String),
}

/// What a group has in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyValue {
    /// Nothing is there.
    None,
    /// A number; of a span of time its beginning, in epoch milliseconds.
    Number(i64),
    /// A text, at most its first 200 characters.
    Text(String),
}

impl Key {
    /// Reads a field's name, or `time:` and a length (`time:30s`).
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let part = match text.split_once(':') {
            Some(("time" | "bucket", length)) => {
                Part::Time(length_of(length).ok_or_else(|| KeyError::Time(text.chars().take(40).collect()))?)
            }
            _ => Part::Field(Field::parse(text)?),
        };
        Ok(Self { name: text.to_owned(), part })
    }

    /// Its name, as it was written.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What an exchange has there.
    #[must_use]
    pub fn of(&self, subject: &Subject<'_>) -> KeyValue {
        match &self.part {
            Part::Field(field) => KeyValue::from(field.of(subject)),
            Part::Time(length) => {
                let since = subject.summary().started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
                let length = length.as_millis().max(1);
                KeyValue::Number(i64::try_from(since.as_millis() / length * length).unwrap_or(i64::MAX))
            }
        }
    }
}

fn length_of(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok().filter(|number| *number > 0)?;
    let millis = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

impl From<Value> for KeyValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::None,
            Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::Text(number.to_string()), Self::Number)
            }
            Value::String(text) => Self::Text(cut(text)),
            other => Self::Text(cut(other.to_string())),
        }
    }
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(MAX_VALUE_CHARS) {
        text.truncate(at);
        text.push('\u{2026}');
    }
    text
}

impl From<KeyValue> for Value {
    fn from(value: KeyValue) -> Self {
        match value {
            KeyValue::None => Self::Null,
            KeyValue::Number(number) => number.into(),
            KeyValue::Text(text) => text.into(),
        }
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}
