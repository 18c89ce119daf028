//! Host patterns: which hosts a setting is for.

use std::{fmt, str::FromStr};

/// A host as people write it in a list: `api.example.com`, `*.example.com`, or `*` for every host.
///
/// Matching ignores case. `*.example.com` matches every name below `example.com`, not `example.com` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    All,
    Exact(String),
    Below(String),
}

/// The text is no host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a host pattern; write a host name, an IP address, `*.example.com`, or `*`")]
pub struct ParseHostPatternError(String);

impl FromStr for HostPattern {
    type Err = ParseHostPatternError;

    fn from_str(text: &str) -> Result<Self, ParseHostPatternError> {
        let refuse = || ParseHostPatternError(text.chars().take(100).collect());
        if text == "*" {
            return Ok(Self(Pattern::All));
        }
        let (below, host) = match text.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, text),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if !is_address && !is_host_name(host) {
            return Err(refuse());
        }
        let host = host.to_ascii_lowercase();
        Ok(Self(if below { Pattern::Below(format!(".{host}")) } else { Pattern::Exact(host) }))
    }
}

impl HostPattern {
    /// Tells whether `host` (without port and brackets) is meant.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        match &self.0 {
            Pattern::All => true,
            Pattern::Exact(exact) => host.eq_ignore_ascii_case(exact),
            Pattern::Below(suffix) => {
                let at = host.len().saturating_sub(suffix.len());
                at > 0 && host.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::All => f.write_str("*"),
            Pattern::Exact(host) => f.write_str(host),
            Pattern::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// Tells whether a text is a host name as far as its characters go.
pub(crate) fn is_host_name(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_hosts_in_whatever_case() {
        for (pattern, host, expected) in [
            ("example.com", "EXAMPLE.com", true),
            ("example.com", "a.example.com", false),
            ("*.example.com", "a.B.Example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*", "anything", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "::1", true),
            ("example.com", "example.com.", true),
        ] {
            let parsed: HostPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "*.", "a b", "http://x", "a*b", "x/y"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
