//! Ids as people and agents write them: `e412`, `s3`. Parsed once, never joined into paths.

use std::{fmt, str::FromStr};

/// The store-wide, ever-increasing number of an exchange, given in the order exchanges become visible to readers.
/// It is the cursor for tailing: a reader that has seen `n` misses nothing by asking for what comes after `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// The number of a session in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// The text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as {expected}")]
pub struct ParseIdError {
    text: String,
    expected: &'static str,
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl FromStr for Seq {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        number(text, 'e').map(Self).ok_or_else(|| ParseIdError {
            text: text.chars().take(80).collect(),
            expected: "an exchange id (like e412)",
        })
    }
}

impl FromStr for SessionId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        number(text, 's').map(Self).ok_or_else(|| ParseIdError {
            text: text.chars().take(80).collect(),
            expected: "a session id (like s3)",
        })
    }
}

/// Reads digits with or without the prefix letter; no sign, no space, no leading zeros beyond `0` itself.
fn number(text: &str, prefix: char) -> Option<u64> {
    let digits = text.strip_prefix(prefix).unwrap_or(text);
    let canonical = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    canonical.then(|| digits.parse().ok()).flatten().filter(|number| *number <= i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_nothing_else_reads_as_one() {
        assert_eq!("e412".parse(), Ok(Seq(412)));
        assert_eq!("412".parse(), Ok(Seq(412)));
        assert_eq!("s3".parse(), Ok(SessionId(3)));
        for bad in ["", "e", "e-1", "e+1", "../e1", "e1 ", "e01", "x1", "s1", "e99999999999999999999"] {
            assert!(bad.parse::<Seq>().is_err(), "{bad}");
        }
        assert_eq!(SessionId(7).to_string(), "s7");
    }
}
