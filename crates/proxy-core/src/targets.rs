//! Target patterns: which hosts and ports a road or an exception is for, as people write them in lists.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{hosts::is_host_name, listener::AddressRange};

/// Entries a list may have; a longer one is refused.
const MAX_ENTRIES: usize = 1_000;

/// The text is no target pattern, or no list of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTargetError {
    /// It is no pattern.
    #[error(
        "read {0:?} as a target; write a host name, `*.example.com`, an IP address, a range like 10.0.0.0/8, or `*`, each \
         with or without `:port`"
    )]
    Pattern(String),
    /// The list is too long.
    #[error("take more than 1000 targets in one list; leave some out, or use a wider pattern")]
    TooMany,
}

/// Where something goes, as people write it in a list: `api.example.com`, `*.example.com`, `192.0.2.1`, `10.0.0.0/8`,
/// `fd00::/8`, or `*`, each with or without a port (`[::1]:8080`).
///
/// Names match in whatever case. `*.example.com` matches every name below `example.com`, not `example.com` itself.
/// Ranges match targets that are named by address only: what a name resolves to is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPattern {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// One name.
    Exact(String),
    /// Every name below; begins with the dot.
    Below(String),
    /// A name and every name below.
    Domain(String),
    Address(IpAddr),
    Range(AddressRange),
    /// `localhost`, names below it (RFC 6761 section 6.3), and loopback addresses.
    Loopback,
    /// Names without a dot.
    Plain,
}

/// Whether a bare name in a list stands for the names below it as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Exact,
    Domains,
}

impl TargetPattern {
    /// Tells whether a target is meant; `host` comes without brackets.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|own| own == port) && self.hosts.match_host(host)
    }

    /// Tells whether a target is meant that was found at `address`; `host` comes without brackets.
    pub(crate) fn matches_at(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let is_there = || match &self.hosts {
            Hosts::Address(own) => address.to_canonical() == *own,
            Hosts::Range(range) => range.contains(address),
            _ => false,
        };
        self.matches(host, port) || (self.port.is_none_or(|own| own == port) && is_there())
    }

    fn parse(text: &str, names: Names) -> Result<Self, ParseTargetError> {
        let refuse = || ParseTargetError::Pattern(shown(text));
        let (host, port) = split_port(text).ok_or_else(refuse)?;
        let hosts = Hosts::parse(host, names).ok_or_else(refuse)?;
        Ok(Self { hosts, port })
    }
}

/// Splits off `:port`; an IPv6 address has to be in brackets to have one.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let port = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u16>().ok()).flatten().filter(|port| *port != 0)
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        host.contains(':').then_some(())?;
        return match tail {
            "" => Some((host, None)),
            _ => Some((host, Some(port(tail.strip_prefix(':')?)?))),
        };
    }
    match text.split_once(':') {
        Some((host, digits)) if !digits.contains(':') => Some((host, Some(port(digits)?))),
        _ => Some((text, None)),
    }
}

impl Hosts {
    fn parse(text: &str, names: Names) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        if let Ok(range) = text.parse() {
            return Some(Self::Range(range));
        }
        let lower = text.to_ascii_lowercase();
        if names == Names::Domains {
            match lower.as_str() {
                "localhost" | "loopback" | "<loopback>" => return Some(Self::Loopback),
                "<local>" => return Some(Self::Plain),
                _ => {}
            }
        }
        let (below, name) = match lower.strip_prefix("*.") {
            Some(name) => (true, name),
            None if names == Names::Domains => (false, lower.strip_prefix('.').unwrap_or(&lower)),
            None => (false, lower.as_str()),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if !is_host_name(name) || name.starts_with('.') {
            return None;
        }
        Some(match names {
            _ if below => Self::Below(format!(".{name}")),
            Names::Exact => Self::Exact(name.to_owned()),
            Names::Domains => Self::Domain(name.to_owned()),
        })
    }

    fn match_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = || host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        match self {
            Self::All => true,
            Self::Exact(name) => host.eq_ignore_ascii_case(name),
            Self::Below(suffix) => ends_with(host, suffix),
            Self::Domain(name) => {
                host.eq_ignore_ascii_case(name)
                    || (ends_with(host, name)
                        && host.as_bytes().get(host.len() - name.len() - 1) == Some(&b'.'))
            }
            Self::Address(own) => address().is_some_and(|address| address == *own),
            Self::Range(range) => address().is_some_and(|address| range.contains(address)),
            Self::Loopback => is_localhost(host) || address().is_some_and(|address| address.is_loopback()),
            Self::Plain => !host.contains(['.', ':']),
        }
    }
}

/// Whether `host` is longer than `suffix` and ends with it, in whatever case.
fn ends_with(host: &str, suffix: &str) -> bool {
    let at = host.len().saturating_sub(suffix.len());
    at > 0 && host.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
}

/// Whether a name is one for this machine (RFC 6761 section 6.3).
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || ends_with(host, ".localhost")
}

impl FromStr for TargetPattern {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        Self::parse(text.trim(), Names::Exact)
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.hosts {
            Hosts::All => "*".to_owned(),
            Hosts::Exact(name) | Hosts::Domain(name) => name.clone(),
            Hosts::Below(suffix) => format!("*{suffix}"),
            Hosts::Address(address) => address.to_string(),
            Hosts::Range(range) => range.to_string(),
            Hosts::Loopback => "localhost".to_owned(),
            Hosts::Plain => "<local>".to_owned(),
        };
        match self.port {
            None => f.write_str(&host),
            Some(port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Some(port) => write!(f, "{host}:{port}"),
        }
    }
}

/// Targets that go without a parent proxy, in the forms of the `no_proxy` variable, separated by commas or spaces.
///
/// `example.com` and `.example.com` match the name and every name below it (as in curl), `*.example.com` those below
/// it only, `*` everything; `localhost` (or `loopback`) matches `localhost` and every loopback address, `<local>` every
/// name without a dot. Addresses and ranges match targets named by address. Each may have a `:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<TargetPattern>);

impl NoProxy {
    /// Tells whether a target goes without a parent proxy; `host` comes without brackets.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|target| target.matches(host, port))
    }

    /// Tells whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its entries as they would be written.
    pub fn entries(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(TargetPattern::to_string)
    }
}

impl FromStr for NoProxy {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        let is_separator = |c: char| c == ',' || c.is_ascii_whitespace();
        let mut targets = Vec::new();
        for entry in text.split(is_separator).filter(|entry| !entry.is_empty()) {
            if targets.len() == MAX_ENTRIES {
                return Err(ParseTargetError::TooMany);
            }
            targets.push(TargetPattern::parse(entry, Names::Domains)?);
        }
        Ok(Self(targets))
    }
}

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, target) in self.0.iter().enumerate() {
            write!(f, "{}{target}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// As much of a text as an error says.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_their_targets_and_nothing_else() {
        for (pattern, host, port, expected) in [
            ("example.com", "EXAMPLE.com", 1, true),
            ("example.com", "a.example.com", 1, false),
            ("example.com:443", "example.com", 443, true),
            ("example.com:443", "example.com", 444, false),
            ("*.example.com", "a.B.Example.com.", 1, true),
            ("*.example.com", "example.com", 1, false),
            ("*.example.com", "badexample.com", 1, false),
            ("*", "anything", 1, true),
            ("*:80", "anything", 80, true),
            ("*:80", "anything", 81, false),
            ("10.0.0.0/8", "10.255.0.1", 1, true),
            ("10.0.0.0/8", "11.0.0.0", 1, false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", 1, true),
            ("10.0.0.0/8:8080", "10.0.0.1", 8080, true),
            ("0.0.0.0/0", "192.0.2.1", 1, true),
            ("0.0.0.0/0", "2001:db8::1", 1, false),
            ("fd00::/8", "fd12::1", 1, true),
            ("[fd00::/8]:443", "fd12::1", 443, true),
            ("[fd00::/8]:443", "fd12::1", 80, false),
            ("::1", "0:0:0:0:0:0:0:1", 1, true),
            ("[::1]:1", "::1", 1, true),
            ("127.0.0.1", "127.0.0.1", 1, true),
            ("localhost", "127.0.0.1", 1, false),
        ] {
            let parsed: TargetPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(host, port), expected, "{pattern} {host}:{port}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "",
            "*.",
            "a b",
            "http://x",
            "a*b",
            "x/y",
            "x:0",
            "x:99999",
            "x:",
            "[::1",
            "[x]:1",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            ".example.com",
            "[::1]x",
        ] {
            assert!(bad.parse::<TargetPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_proxy_lists_have_the_usual_forms() {
        for (list, host, port, expected) in [
            ("example.com", "example.com", 1, true),
            ("example.com", "a.example.com", 1, true),
            ("example.com", "badexample.com", 1, false),
            (".example.com", "a.example.com", 1, true),
            (".example.com", "example.com", 1, true),
            ("*.example.com", "example.com", 1, false),
            ("a.test, b.test:81 c.test", "b.test", 81, true),
            ("a.test, b.test:81 c.test", "b.test", 80, false),
            ("a.test, b.test:81 c.test", "x.c.test", 80, true),
            ("*", "x", 1, true),
            ("localhost", "127.0.0.9", 1, true),
            ("loopback", "localhost", 1, true),
            ("<loopback>", "::1", 1, true),
            ("localhost", "api.localhost", 1, true),
            ("<local>", "intranet", 1, true),
            ("<local>", "intranet.example", 1, false),
            ("<local>", "::1", 1, false),
            ("169.254.0.0/16,10.0.0.0/8", "10.9.8.7", 1, true),
            ("[::1]:81", "::1", 81, true),
            ("", "x", 1, false),
            (" , ,", "x", 1, false),
        ] {
            let parsed: NoProxy = list.parse().unwrap();
            assert_eq!(parsed.matches(host, port), expected, "{list} {host}:{port}");
        }
        assert!("good, b d/x".parse::<NoProxy>().is_err());
        let long = "x,".repeat(MAX_ENTRIES + 1);
        assert_eq!(long.parse::<NoProxy>(), Err(ParseTargetError::TooMany));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", host in "\\PC{0,20}", port: u16) {
            if let Ok(pattern) = text.parse::<TargetPattern>() {
                let _ = pattern.matches(&host, port);
                prop_assert_eq!(pattern.to_string().parse::<TargetPattern>(), Ok(pattern));
            }
            if let Ok(list) = text.parse::<NoProxy>() {
                let _ = list.matches(&host, port);
                prop_assert_eq!(list.to_string().parse::<NoProxy>(), Ok(list));
            }
        }

        #[test]
        fn a_list_matches_what_one_of_its_entries_does(
            entries in prop::collection::vec("(\\*\\.|\\.)?[ab]{1,2}\\.(c|d)(:[12])?|10\\.0\\.0\\.0/[0-9]|\\*:[12]", 0..5),
            host in "([ab]{1,2}\\.)?[ab]{1,2}\\.(c|d)|10\\.0\\.[0-9]\\.1|1\\.2\\.3\\.4",
            port in 1_u16..3,
        ) {
            let list: NoProxy = entries.join(",").parse().unwrap();
            let any = entries.iter().any(|entry| entry.parse::<NoProxy>().unwrap().matches(&host, port));
            prop_assert_eq!(list.matches(&host, port), any);
        }
    }
}
