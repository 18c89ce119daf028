//! Hosts a rule is for.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};

use super::pattern::{ParsePatternError, Pattern};
use crate::head::split_authority;

/// A host as a rule names it, compared in whatever case.
///
/// In files: `example.com`, `*.example.com` (every name below, not the name itself), `api-*.example.com`, each with an
/// optional `:port`, an IP address (`[::1]:8080` with a port), or a pattern in map form, `{ regex = "..." }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMatch {
    form: Form,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// In lower case.
    Exact(String),
    /// What names below it end with, in lower case, with the leading dot.
    Below(String),
    /// Ignores case, except for a regex that says otherwise; hosts are put in lower case first.
    Fits { written: Pattern, used: Pattern },
}

/// How a host matcher can be looked up.
pub(super) enum HostKey<'h> {
    Exact(&'h str),
    /// Without the leading dot.
    Below(&'h str),
}

impl HostMatch {
    /// Reads a host with an optional port.
    ///
    /// # Errors
    /// When the text is no host: a URL, a path, or empty.
    pub fn parse(text: &str) -> Result<Self, ParsePatternError> {
        let (host, port) = split_authority(text);
        let whole = port.is_some() || host == text || text == format!("[{host}]");
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) || !byte.is_ascii();
        if !whole || host.is_empty() || !(is_address || host.bytes().all(named)) || host.len() > 255 {
            let shown: String = text.chars().take(100).collect();
            return Err(ParsePatternError(format!(
                "{shown:?} is no host; write a host name, `*.example.com`, an IP address, each with an optional \
                 `:port`, and put a path or a scheme in `path`, `scheme` or `url`"
            )));
        }
        let form = match host.strip_prefix("*.") {
            Some(below) if !below.contains('*') && !below.is_empty() => Form::Below(format!(".{below}")),
            _ if host.contains('*') => {
                Form::Fits { written: Pattern::glob(&*host), used: Pattern::glob(host) }
            }
            _ => Form::Exact(host),
        };
        Ok(Self { form, port })
    }

    /// Takes any pattern, which sees the host in lower case and without a port.
    ///
    /// # Errors
    /// When it cannot be made to ignore case.
    pub fn fitting(pattern: Pattern) -> Result<Self, ParsePatternError> {
        let used = pattern.clone().ignore_case()?;
        Ok(Self { form: Form::Fits { written: pattern, used }, port: None })
    }

    /// Tells whether a host, in lower case and without port and brackets, and a port are meant.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|asked| asked != port) {
            return false;
        }
        match &self.form {
            Form::Exact(exact) => host == exact,
            Form::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Form::Fits { used, .. } => used.matches(host),
        }
    }

    /// A text that every matching host holds.
    pub(super) fn required_literal(&self) -> Option<Cow<'_, str>> {
        match &self.form {
            Form::Exact(text) | Form::Below(text) => Some(Cow::Borrowed(text)),
            Form::Fits { used, .. } => used.required_literal(),
        }
    }

    pub(super) fn key(&self) -> Option<HostKey<'_>> {
        match &self.form {
            Form::Exact(exact) => Some(HostKey::Exact(exact)),
            Form::Below(suffix) => Some(HostKey::Below(suffix.trim_start_matches('.'))),
            Form::Fits { .. } => None,
        }
    }
}

impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Exact(exact) if exact.contains(':') && self.port.is_some() => write!(f, "[{exact}]"),
            Form::Exact(exact) => f.write_str(exact),
            Form::Below(suffix) => write!(f, "*{suffix}"),
            Form::Fits { written, .. } => written.fmt(f),
        }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = HostMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host (`example.com`, `*.example.com`), or a pattern in map form")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HostMatch, E> {
        HostMatch::parse(text).map_err(E::custom)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<HostMatch, A::Error> {
        let pattern = Pattern::deserialize(MapAccessDeserializer::new(map))?;
        HostMatch::fitting(pattern).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for HostMatch {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader)
    }
}

impl Serialize for HostMatch {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        match (&self.form, self.port) {
            (Form::Fits { written, .. }, None) => written.serialize(sink),
            // A glob with a port: what `parse` made of a text.
            (Form::Fits { written, .. }, Some(port)) => {
                let text = written.glob_text().unwrap_or_default();
                sink.serialize_str(&format!("{text}:{port}"))
            }
            _ => sink.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_with_and_without_port() {
        for (pattern, host, port, expected) in [
            ("Example.COM", "example.com", 443, true),
            ("example.com:8443", "example.com", 8443, true),
            ("example.com:8443", "example.com", 443, false),
            ("*.example.com", "a.b.example.com", 80, true),
            ("*.example.com", "example.com", 80, false),
            ("*.example.com", "badexample.com", 80, false),
            ("api-*.example.com", "api-1.example.com", 80, true),
            ("api-*.example.com:81", "api-1.example.com", 80, false),
            ("*", "whatever", 80, true),
            ("::1", "::1", 80, true),
            ("[::1]:8080", "::1", 8080, true),
            ("[::1]:8080", "::1", 80, false),
        ] {
            let parsed = HostMatch::parse(pattern).unwrap();
            assert_eq!(parsed.matches(host, port), expected, "{pattern} {host}:{port}");
            let text = serde_json::to_string(&parsed).unwrap();
            assert_eq!(serde_json::from_str::<HostMatch>(&text).unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in ["", "http://x", "x/y", "a b", "x:y", "x:99999", "."] {
            assert!(HostMatch::parse(bad).is_err(), "{bad}");
        }
    }
}
