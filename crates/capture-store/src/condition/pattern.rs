//! What a text is compared with.

use std::fmt;

use memchr::memchr2_iter;
use regex::bytes::{Regex, RegexBuilder};

/// A compiled expression takes no more memory than this, however it is written.
const MAX_EXPRESSION_BYTES: usize = 1024 * 1024;

/// What a text is compared with, without regard to (ASCII) case.
#[derive(Clone)]
pub struct Pattern(Kind);

#[derive(Clone)]
enum Kind {
    /// Lower case, as are the next three.
    Contains(String),
    Equals(String),
    StartsWith(String),
    EndsWith(String),
    Expression(Regex),
}

/// The text is no regular expression, or one too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the regular expression: {0}")]
pub struct PatternError(String);

impl Pattern {
    /// The text contains this.
    #[must_use]
    pub fn contains(text: &str) -> Self {
        Self(Kind::Contains(text.to_ascii_lowercase()))
    }

    /// The text is this.
    #[must_use]
    pub fn equals(text: &str) -> Self {
        Self(Kind::Equals(text.to_ascii_lowercase()))
    }

    /// The text begins with this.
    #[must_use]
    pub fn starts_with(text: &str) -> Self {
        Self(Kind::StartsWith(text.to_ascii_lowercase()))
    }

    /// The text ends with this.
    #[must_use]
    pub fn ends_with(text: &str) -> Self {
        Self(Kind::EndsWith(text.to_ascii_lowercase()))
    }

    /// The text has a match of this regular expression (the syntax of the `regex` crate), in whatever case unless it
    /// begins with `(?-i)`.
    ///
    /// # Errors
    /// When it cannot be read, or would take more than 1 MiB compiled.
    pub fn regex(expression: &str) -> Result<Self, PatternError> {
        let built = RegexBuilder::new(expression)
            .case_insensitive(true)
            .size_limit(MAX_EXPRESSION_BYTES)
            .dfa_size_limit(MAX_EXPRESSION_BYTES)
            .build();
        built.map(|regex| Self(Kind::Expression(regex))).map_err(|error| PatternError(brief(&error)))
    }

    /// The whole text matches this, where `*` stands for any characters.
    ///
    /// # Errors
    /// When it is too large.
    pub fn glob(text: &str) -> Result<Self, PatternError> {
        if !text.contains('*') {
            return Ok(Self::equals(text));
        }
        if let Some(rest) = text.strip_prefix('*').filter(|rest| !rest.contains('*')) {
            return Ok(Self::ends_with(rest));
        }
        if let Some(rest) = text.strip_suffix('*').filter(|rest| !rest.contains('*')) {
            return Ok(Self::starts_with(rest));
        }
        let mut expression = String::from("(?s)^");
        for letter in text.chars() {
            match letter {
                '*' => expression.push_str(".*"),
                letter => expression.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
            }
        }
        expression.push('$');
        Self::regex(&expression)
    }

    /// Whether a text is as this says.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.0 {
            Kind::Contains(needle) => contains(text, needle.as_bytes()),
            Kind::Equals(whole) => text.eq_ignore_ascii_case(whole.as_bytes()),
            Kind::StartsWith(start) => {
                text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()))
            }
            Kind::EndsWith(end) => {
                let at = text.len().checked_sub(end.len());
                at.is_some_and(|at| text[at..].eq_ignore_ascii_case(end.as_bytes()))
            }
            Kind::Expression(regex) => regex.is_match(text),
        }
    }

    /// The text that is to be contained, where that is all it says; in lower case.
    pub(crate) fn needle(&self) -> Option<&str> {
        match &self.0 {
            Kind::Contains(needle) => Some(needle),
            _ => None,
        }
    }

    /// The text that the whole has to be, where that is all it says; in lower case.
    pub(crate) fn whole(&self) -> Option<&str> {
        match &self.0 {
            Kind::Equals(whole) => Some(whole),
            _ => None,
        }
    }

    /// A text that is contained in whatever matches, in lower case.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &self.0 {
            Kind::Contains(text) | Kind::Equals(text) | Kind::StartsWith(text) | Kind::EndsWith(text) => {
                Some(text)
            }
            Kind::Expression(_) => None,
        }
    }

    /// As one text, to be handed to the database and read back by [`decode`](Self::decode).
    pub(crate) fn encode(&self) -> String {
        let (tag, text) = match &self.0 {
            Kind::Contains(text) => ('c', text.as_str()),
            Kind::Equals(text) => ('e', text.as_str()),
            Kind::StartsWith(text) => ('s', text.as_str()),
            Kind::EndsWith(text) => ('z', text.as_str()),
            Kind::Expression(regex) => ('r', regex.as_str()),
        };
        format!("{tag}{text}")
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(encoded: &str) -> Result<Self, PatternError> {
        let mut letters = encoded.chars();
        let tag = letters.next();
        let text = letters.as_str();
        Ok(match tag {
            Some('c') => Self::contains(text),
            Some('e') => Self::equals(text),
            Some('s') => Self::starts_with(text),
            Some('z') => Self::ends_with(text),
            _ => return Self::regex(text),
        })
    }
}

/// Whether `text` contains `needle`, which is in lower case.
fn contains(text: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let Some(last_start) = text.len().checked_sub(needle.len()) else { return false };
    memchr2_iter(*first, first.to_ascii_uppercase(), &text[..=last_start])
        .any(|at| text[at..at + needle.len()].eq_ignore_ascii_case(needle))
}

/// What is wrong with an expression, on one line.
fn brief(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large; write a shorter one".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Contains(text) => write!(f, "contains {text:?}"),
            Kind::Equals(text) => write!(f, "is {text:?}"),
            Kind::StartsWith(text) => write!(f, "begins {text:?}"),
            Kind::EndsWith(text) => write!(f, "ends {text:?}"),
            Kind::Expression(regex) => write!(f, "matches {:?}", regex.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_compares_without_case() {
        let glob = |text| Pattern::glob(text).unwrap();
        for (pattern, text, holds) in [
            (Pattern::contains("Pi/V"), "/api/v1", true),
            (Pattern::contains(""), "", true),
            (Pattern::contains("longer"), "long", false),
            (Pattern::equals("GET"), "get", true),
            (Pattern::equals("GET"), "gets", false),
            (glob("*.Example.com"), "api.EXAMPLE.com", true),
            (glob("*.example.com"), "example.com", false),
            (glob("/v1/*"), "/V1/x/y", true),
            (glob("/v*/x?y/z"), "/v1/a/x?y/z", true),
            (glob("/v*/*/z"), "/v1/x/y/zz", false),
            (glob("a.c*d"), "abcd", false),
            (Pattern::regex("^/v[0-9]+$").unwrap(), "/V12", true),
            (Pattern::regex("(?-i)^/v").unwrap(), "/V12", false),
        ] {
            assert_eq!(pattern.matches(text.as_bytes()), holds, "{pattern:?} {text}");
            assert_eq!(Pattern::decode(&pattern.encode()).unwrap(), pattern);
        }
    }

    #[test]
    fn an_expression_that_is_none_says_why_on_one_line() {
        let error = Pattern::regex("a(b").unwrap_err().to_string();
        assert_eq!(error, "read the regular expression: unclosed group");
        let large = Pattern::regex(r"\w{2000}{9}").unwrap_err().to_string();
        assert!(large.ends_with("it is too large; write a shorter one"), "{large}");
    }
}
