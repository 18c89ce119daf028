//! Patterns for text: what a matcher compares a URL, a header's value or a body with.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::value::MapAccessDeserializer};

use super::wording::Wording;

/// The longest pattern accepted, in bytes.
pub const MAX_PATTERN_BYTES: usize = 8 * 1024;
/// The most memory a compiled regex may take, in bytes; a larger one is refused.
const MAX_REGEX_BYTES: usize = 1024 * 1024;

/// What a text or a body is compared with.
///
/// In files a bare string is a glob: `*` stands for any run of bytes, also an empty one and over any `/`, everything
/// else for itself, and the whole text has to fit (so a string without `*` is an exact comparison). The other kinds are
/// maps with one key: `{ contains = "x" }`, `{ exact = "a*b" }`, `{ regex = "^a+$" }`, each with an optional
/// `ignore_case = true` (ASCII letters; for a regex what Unicode says).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    kind: Kind,
    ignore_case: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Exact(String),
    Contains(String),
    Glob(Glob),
    Regex(Regex),
}

/// The text cannot be used as a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParsePatternError(pub(super) String);

impl Pattern {
    /// The text itself, whole.
    #[must_use]
    pub fn exact(text: impl Into<String>) -> Self {
        Self { kind: Kind::Exact(text.into()), ignore_case: false }
    }

    /// Any text that holds this.
    #[must_use]
    pub fn contains(text: impl Into<String>) -> Self {
        Self { kind: Kind::Contains(text.into()), ignore_case: false }
    }

    /// A text in which `*` stands for any run of bytes.
    #[must_use]
    pub fn glob(text: impl Into<String>) -> Self {
        Self { kind: Kind::Glob(Glob::new(text.into())), ignore_case: false }
    }

    /// A regular expression of the `regex` crate's syntax, found anywhere unless it is anchored. It runs in time linear
    /// in the text.
    ///
    /// # Errors
    /// When it does not parse, or takes more than a MiB compiled.
    pub fn regex(text: impl Into<String>) -> Result<Self, ParsePatternError> {
        Ok(Self { kind: Kind::Regex(Regex::new(text.into(), false)?), ignore_case: false })
    }

    /// Makes upper and lower case the same.
    ///
    /// # Errors
    /// When the pattern is a regex that grows over its limit by that.
    pub fn ignore_case(mut self) -> Result<Self, ParsePatternError> {
        self.ignore_case = true;
        if let Kind::Regex(regex) = &self.kind {
            self.kind = Kind::Regex(Regex::new(regex.text.clone(), true)?);
        }
        Ok(self)
    }

    /// Tells whether the text fits.
    #[must_use]
    pub fn matches(&self, text: impl AsRef<[u8]>) -> bool {
        let text = text.as_ref();
        match (&self.kind, self.ignore_case) {
            (Kind::Exact(exact), false) => text == exact.as_bytes(),
            (Kind::Exact(exact), true) => text.eq_ignore_ascii_case(exact.as_bytes()),
            (Kind::Contains(part), false) => memchr::memmem::find(text, part.as_bytes()).is_some(),
            (Kind::Contains(part), true) => find_ignoring_case(text, part.as_bytes()).is_some(),
            (Kind::Glob(glob), ignore_case) => glob.matches(text, ignore_case),
            (Kind::Regex(regex), _) => regex.compiled.is_match(text),
        }
    }

    /// The same pattern for URLs, whose scheme and host have no case: those parts of a literal are put in lower case.
    pub(super) fn for_url(&self) -> Self {
        let kind = match &self.kind {
            Kind::Exact(text) => Kind::Exact(lower_origin(text)),
            Kind::Glob(glob) => Kind::Glob(Glob::new(lower_origin(&glob.text))),
            other => other.clone(),
        };
        Self { kind, ignore_case: self.ignore_case }
    }

    /// The only text that matches, where there is only one.
    pub(super) fn only_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Exact(text) if !self.ignore_case => Some(text),
            Kind::Glob(glob) if !self.ignore_case && !glob.text.contains('*') => Some(&glob.text),
            _ => None,
        }
    }

    /// The text of a glob.
    pub(super) fn glob_text(&self) -> Option<&str> {
        if let Kind::Glob(glob) = &self.kind { Some(&glob.text) } else { None }
    }

    /// A text that every matching text holds, in whatever ASCII case; the longest one found.
    #[must_use]
    pub(super) fn required_literal(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            Kind::Exact(text) | Kind::Contains(text) => Some(Cow::Borrowed(text.as_str())),
            Kind::Glob(glob) => glob.text.split('*').max_by_key(|part| part.len()).map(Cow::Borrowed),
            Kind::Regex(regex) => super::literal::required(&regex.text, self.ignore_case).map(Cow::Owned),
        }
        .filter(|literal| !literal.is_empty())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Exact(text) => write!(f, "is {text:?}"),
            Kind::Contains(text) => write!(f, "contains {text:?}"),
            Kind::Glob(glob) => write!(f, "fits {:?}", glob.text),
            Kind::Regex(regex) => write!(f, "matches /{}/", regex.text),
        }?;
        if self.ignore_case { f.write_str(", ignoring case") } else { Ok(()) }
    }
}

/// Puts the scheme and the authority of a URL, as far as they are written out, in lower case.
fn lower_origin(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    if start == 0 {
        return text.to_owned();
    }
    let end = text[start..].find('/').map_or(text.len(), |at| start + at);
    format!("{}{}", text[..end].to_ascii_lowercase(), &text[end..])
}

/// Where `part` begins in `text`, in whatever ASCII case.
pub(super) fn find_ignoring_case(text: &[u8], part: &[u8]) -> Option<usize> {
    let Some(first) = part.first() else { return Some(0) };
    let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    memchr::memchr2_iter(lower, upper, text)
        .find(|&at| text.get(at..at + part.len()).is_some_and(|here| here.eq_ignore_ascii_case(part)))
}

/// A text with `*` for any run of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Glob {
    text: String,
}

impl Glob {
    fn new(text: String) -> Self {
        Self { text }
    }

    /// Greedy from the left: once a part is found as early as possible, nothing is lost by keeping it there, so that
    /// the time is at most the text's length times the longest part's.
    fn matches(&self, text: &[u8], ignore_case: bool) -> bool {
        let same = |a: &[u8], b: &[u8]| if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
        let mut parts = self.text.as_bytes().split(|byte| *byte == b'*');
        let first = parts.next().unwrap_or_default();
        let Some(last) = parts.next_back() else { return same(text, first) };
        if text.len() < first.len() + last.len() {
            return false;
        }
        let (head, rest) = text.split_at(first.len());
        let (mut middle, tail) = rest.split_at(rest.len() - last.len());
        if !same(head, first) || !same(tail, last) {
            return false;
        }
        for part in parts {
            let found = if ignore_case {
                find_ignoring_case(middle, part)
            } else {
                memchr::memmem::find(middle, part)
            };
            let Some(at) = found else { return false };
            middle = &middle[at + part.len()..];
        }
        true
    }
}

/// A compiled regular expression that knows its text.
#[derive(Clone, Debug)]
pub(super) struct Regex {
    pub(super) text: String,
    pub(super) compiled: regex::bytes::Regex,
}

impl Regex {
    pub(super) fn new(text: String, ignore_case: bool) -> Result<Self, ParsePatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            let problem = format!("a regex is at most {MAX_PATTERN_BYTES} bytes long");
            return Err(ParsePatternError(problem));
        }
        let compiled = regex::bytes::RegexBuilder::new(&text)
            .case_insensitive(ignore_case)
            .size_limit(MAX_REGEX_BYTES)
            .dfa_size_limit(MAX_REGEX_BYTES)
            .build()
            .map_err(|error| ParsePatternError(one_line(&error.to_string())))?;
        Ok(Self { text, compiled })
    }
}

/// The regex crate draws a picture over several lines; its last line says what is wrong.
fn one_line(text: &str) -> String {
    let last = text.lines().next_back().unwrap_or(text).trim();
    let last = last.strip_prefix("error: ").unwrap_or(last);
    format!("the regex does not compile: {last}")
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Regex {}

impl<'de> Deserialize<'de> for Regex {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(source)?, false).map_err(de::Error::custom)
    }
}

impl Serialize for Regex {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.serialize_str(&self.text)
    }
}

/// The map form of a pattern.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exact: Option<Wording>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contains: Option<Wording>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    glob: Option<Wording>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regex: Option<Regex>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ignore_case: bool,
}

impl TryFrom<Form> for Pattern {
    type Error = ParsePatternError;

    fn try_from(form: Form) -> Result<Self, ParsePatternError> {
        let pattern = match (form.exact, form.contains, form.glob, form.regex) {
            (Some(text), None, None, None) => Self::exact(text.0),
            (None, Some(text), None, None) => Self::contains(text.0),
            (None, None, Some(text), None) => Self::glob(text.0),
            (None, None, None, Some(regex)) => Self { kind: Kind::Regex(regex), ignore_case: false },
            _ => {
                let problem = "a pattern has exactly one of `exact`, `contains`, `glob` and `regex`";
                return Err(ParsePatternError(problem.to_owned()));
            }
        };
        if form.ignore_case { pattern.ignore_case() } else { Ok(pattern) }
    }
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Pattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text (`*` stands for anything), or a map with `exact`, `contains`, `glob` or `regex`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
        Ok(Pattern::glob(Wording::parse(text)?.0))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Pattern, A::Error> {
        let form = Form::deserialize(MapAccessDeserializer::new(map))?;
        Pattern::try_from(form).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        let wording = |text: &String| Some(Wording(text.clone()));
        let mut form = Form { ignore_case: self.ignore_case, ..Form::default() };
        match &self.kind {
            Kind::Glob(glob) if !self.ignore_case => return sink.serialize_str(&glob.text),
            Kind::Glob(glob) => form.glob = wording(&glob.text),
            Kind::Exact(text) => form.exact = wording(text),
            Kind::Contains(text) => form.contains = wording(text),
            Kind::Regex(regex) => form.regex = Some(regex.clone()),
        }
        form.serialize(sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_the_whole_text() {
        for (glob, text, expected) in [
            ("/api/*", "/api/users/1?x=1", true),
            ("/api/*", "/v1/api/users", false),
            ("/api", "/api", true),
            ("/api", "/api/", false),
            ("*", "", true),
            ("*.js", "a.js", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
            ("*ab*abc", "ababc", true),
            ("*ab*abc", "abc", false),
        ] {
            assert_eq!(Pattern::glob(glob).matches(text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn case_counts_unless_it_is_said_not_to() {
        for pattern in [
            Pattern::exact("Abc"),
            Pattern::contains("bC"),
            Pattern::glob("a*C"),
            Pattern::regex("^aBc$").unwrap(),
        ] {
            assert!(!pattern.matches("ABC"), "{pattern}");
            assert!(pattern.ignore_case().unwrap().matches("ABC"));
        }
    }

    #[test]
    fn each_kind_reads_back_as_it_was_written() {
        for pattern in [
            Pattern::exact("a*"),
            Pattern::contains("a"),
            Pattern::glob("a*"),
            Pattern::glob("a*").ignore_case().unwrap(),
            Pattern::regex("a+").unwrap(),
            Pattern::regex("a+").unwrap().ignore_case().unwrap(),
        ] {
            let text = serde_json::to_string(&pattern).unwrap();
            assert_eq!(serde_json::from_str::<Pattern>(&text).unwrap(), pattern, "{text}");
        }
    }

    #[test]
    fn a_regex_that_would_take_too_much_is_refused() {
        let refused = Pattern::regex(r"(\w{1000}){1000}").unwrap_err().to_string();
        assert!(refused.contains("does not compile"), "{refused}");
    }
}
