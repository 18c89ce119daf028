//! Search and replace.

use std::{borrow::Cow, fmt};

use regex::bytes::Captures;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pattern::{ParsePatternError, Regex};

/// A search and what to put in the place of what is found.
///
/// In files `{ find = "http:", with = "https:" }` for a literal, or `{ regex = "v(\\d+)", with = "v$1-beta" }`, where
/// `$1` and `${name}` are the regex's groups and `$$` is a dollar sign. Every place is replaced; with
/// `first_only = true` the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    search: Search,
    with: String,
    first_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Search {
    Literal(String),
    Regex(Regex),
}

/// The result would be larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keep the result of a replacement under {0} bytes")]
pub struct TooLarge(pub usize);

impl Replace {
    /// Searches for a literal, which is not empty.
    ///
    /// # Errors
    /// When it is empty.
    pub fn literal(find: impl Into<String>, with: impl Into<String>) -> Result<Self, ParsePatternError> {
        let find = find.into();
        if find.is_empty() {
            return Err(ParsePatternError("what to find is empty".to_owned()));
        }
        Ok(Self { search: Search::Literal(find), with: with.into(), first_only: false })
    }

    /// Searches for a regex.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn regex(regex: impl Into<String>, with: impl Into<String>) -> Result<Self, ParsePatternError> {
        let search = Search::Regex(Regex::new(regex.into(), false)?);
        Ok(Self { search, with: with.into(), first_only: false })
    }

    /// Replaces the first place only.
    #[must_use]
    pub fn first_only(mut self) -> Self {
        self.first_only = true;
        self
    }

    /// The text with its replacements; `None` when nothing was found.
    ///
    /// # Errors
    /// When the result would be larger than `limit` bytes.
    pub fn apply(&self, text: &[u8], limit: usize) -> Result<Option<Vec<u8>>, TooLarge> {
        match &self.search {
            Search::Literal(find) => {
                let places = memchr::memmem::find_iter(text, find.as_bytes());
                let places = places.map(|at| (at..at + find.len(), Cow::Borrowed(self.with.as_bytes())));
                self.splice(text, places, limit)
            }
            Search::Regex(regex) => {
                let places = regex.compiled.captures_iter(text).filter_map(|captures| {
                    let place = captures.get(0)?.range();
                    Some((place, Cow::Owned(self.expanded(&captures, limit))))
                });
                self.splice(text, places, limit)
            }
        }
    }

    /// What stands in the place of one match: all of it, or more than `limit` bytes of it.
    ///
    /// Reference by reference, since `$0$0$0...` over a long match is many times what a body may be.
    fn expanded(&self, captures: &Captures<'_>, limit: usize) -> Vec<u8> {
        let mut with = Vec::new();
        let mut rest = self.with.as_str();
        while !rest.is_empty() && with.len() <= limit {
            let own = if rest.starts_with("$$") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) };
            let end = rest[own..].find('$').map_or(rest.len(), |at| own + at);
            captures.expand(&rest.as_bytes()[..end], &mut with);
            rest = &rest[end..];
        }
        with
    }

    fn splice<'w>(
        &self,
        text: &[u8],
        places: impl Iterator<Item = (std::ops::Range<usize>, Cow<'w, [u8]>)>,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, TooLarge> {
        let mut out = Vec::new();
        let (mut copied, mut found) = (0, false);
        for (place, with) in places.take(if self.first_only { 1 } else { usize::MAX }) {
            found = true;
            out.extend_from_slice(&text[copied..place.start]);
            out.extend_from_slice(&with);
            copied = place.end;
            if out.len() > limit {
                return Err(TooLarge(limit));
            }
        }
        if !found {
            return Ok(None);
        }
        out.extend_from_slice(&text[copied..]);
        if out.len() > limit { Err(TooLarge(limit)) } else { Ok(Some(out)) }
    }
}

impl fmt::Display for Replace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.search {
            Search::Literal(find) => write!(f, "{find:?} -> {:?}", self.with),
            Search::Regex(regex) => write!(f, "/{}/ -> {:?}", regex.text, self.with),
        }
    }
}

/// The written form; also part of a body edit's.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    find: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regex: Option<Regex>,
    with: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    first_only: bool,
}

/// The parts of a written replacement, as far as they are there.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) find: Option<String>,
    pub(super) regex: Option<Regex>,
    pub(super) with: Option<String>,
    pub(super) first_only: bool,
}

impl Replace {
    pub(super) fn from_parts(parts: Parts) -> Result<Self, ParsePatternError> {
        let Some(with) = parts.with else {
            return Err(ParsePatternError("what to put there is missing: `with`".to_owned()));
        };
        let mut replace = match (parts.find, parts.regex) {
            (Some(find), None) => Self::literal(find, with)?,
            (None, Some(regex)) => Self { search: Search::Regex(regex), with, first_only: false },
            _ => {
                let problem = "a replacement has exactly one of `find` and `regex`";
                return Err(ParsePatternError(problem.to_owned()));
            }
        };
        replace.first_only = parts.first_only;
        Ok(replace)
    }

    pub(super) fn to_parts(&self) -> Parts {
        let (find, regex) = match &self.search {
            Search::Literal(find) => (Some(find.clone()), None),
            Search::Regex(regex) => (None, Some(regex.clone())),
        };
        Parts { find, regex, with: Some(self.with.clone()), first_only: self.first_only }
    }
}

impl<'de> Deserialize<'de> for Replace {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let Form { find, regex, with, first_only } = Form::deserialize(source)?;
        Self::from_parts(Parts { find, regex, with: Some(with), first_only }).map_err(de::Error::custom)
    }
}

impl Serialize for Replace {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        let Parts { find, regex, with, first_only } = self.to_parts();
        Form { find, regex, with: with.unwrap_or_default(), first_only }.serialize(sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(replace: &Replace, text: &str) -> Option<String> {
        replace.apply(text.as_bytes(), 1000).unwrap().map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_place_is_replaced_unless_only_the_first_is_asked_for() {
        let literal = Replace::literal("a", "bb").unwrap();
        assert_eq!(applied(&literal, "xaya").as_deref(), Some("xbbybb"));
        assert_eq!(applied(&literal.first_only(), "xaya").as_deref(), Some("xbbya"));
        let regex = Replace::regex(r"v(?P<n>\d+)", "v${n}0 $$").unwrap();
        assert_eq!(applied(&regex, "/v1/v2").as_deref(), Some("/v10 $/v20 $"));
        assert_eq!(applied(&regex, "none"), None);
        assert_eq!(applied(&Replace::regex("", "-").unwrap(), "ab").as_deref(), Some("-a-b-"));
    }

    #[test]
    fn references_are_read_as_one_by_one() {
        let whole = regex::bytes::Regex::new("(a)(?P<n>b+)").unwrap();
        for with in ["$1$2", "$$1$n", "$n$$$1x", "é$1é", "$", "$$$", "${n}$0", "$1a", "x"] {
            let replace = Replace::regex("(a)(?P<n>b+)", with).unwrap();
            let expected = whole.replace_all(b"-abb-", with.as_bytes()).into_owned();
            assert_eq!(replace.apply(b"-abb-", 1000).unwrap().unwrap(), expected, "{with}");
        }
    }

    #[test]
    fn one_match_many_times_over_is_cut_off_at_the_limit() {
        let text = vec![b'x'; 1 << 20];
        let replace = Replace::regex("(?s).*", "$0".repeat(1 << 16)).unwrap();
        let compiled = regex::bytes::Regex::new("(?s).*").unwrap();
        let captures = compiled.captures(&text).unwrap();
        assert!(replace.expanded(&captures, 1 << 20).len() <= 2 << 20);
        assert_eq!(replace.apply(&text, 1 << 20), Err(TooLarge(1 << 20)));
    }

    #[test]
    fn a_result_over_the_limit_is_refused() {
        let replace = Replace::regex("", "0123456789").unwrap();
        assert_eq!(replace.apply(&[b'x'; 200], 1000), Err(TooLarge(1000)));
    }
}
