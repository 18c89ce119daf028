//! What is changed in a request before it is sent again.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use http::Version;
use proxy_core::{Headers, RequestHead, Scheme};

use crate::form;

/// What is changed in each request. Nothing by default.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Changes {
    /// Where it goes in place of its own scheme and authority.
    pub target: Option<Target>,
    /// Fields that are set, or taken out. The first of a name keeps its place.
    pub headers: Vec<(String, Option<String>)>,
    /// Query parameters that are set, or taken out.
    pub parameters: Vec<(String, Option<String>)>,
    /// Texts that are replaced by others in the target, in values of fields and in the body.
    pub replacements: Vec<(String, String)>,
    /// What `{{name}}` stands for there.
    pub variables: BTreeMap<String, String>,
}

/// Where requests go in place of where they went: `https://staging.example.com`, `http://127.0.0.1:8080/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    authority: String,
    /// What stands before each path; without a slash at its end.
    prefix: String,
}

/// The text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a target; write http://HOST[:PORT][/PREFIX] or https://HOST[:PORT][/PREFIX]")]
pub struct ParseTargetError(String);

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        let refused = || ParseTargetError(text.chars().take(200).collect());
        let head = RequestHead::get(text).map_err(|_| refused())?;
        let prefix = head.target.trim_end_matches('/').to_owned();
        if head.target.contains('?') || head.host().is_empty() {
            return Err(refused());
        }
        Ok(Self { scheme: head.scheme, authority: head.authority, prefix })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority, self.prefix)
    }
}

impl Changes {
    /// Whether bodies have to be looked at.
    pub(super) fn reads_bodies(&self) -> bool {
        !self.replacements.is_empty() || !self.variables.is_empty()
    }

    /// Changes a head.
    pub(super) fn head(&self, head: &mut RequestHead) {
        for (name, value) in &self.parameters {
            head.target = with_parameter(&head.target, name, value.as_deref());
        }
        if let Cow::Owned(changed) = self.text(&head.target) {
            head.target = changed;
        }
        if let Some(target) = &self.target {
            target.apply(head);
        }
        for (name, value) in &self.headers {
            match value {
                Some(value) => set(&mut head.headers, head.version, name, value),
                None => head.headers.remove(name),
            }
        }
        if self.reads_bodies() {
            head.headers = head
                .headers
                .iter()
                .map(|field| match self.bytes(&field.value) {
                    Some(changed) => proxy_core::Header::new(field.name.clone(), changed),
                    None => field.clone(),
                })
                .collect();
        }
    }

    /// Changes a text.
    pub(super) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut out = Cow::Borrowed(text);
        for (from, to) in &self.replacements {
            if !from.is_empty() && out.contains(from) {
                out = out.replace(from, to).into();
            }
        }
        if !self.variables.is_empty() && out.contains("{{") {
            out = self.filled(&out).into();
        }
        out
    }

    /// Changes bytes that are a text; `None` where nothing is changed.
    fn bytes(&self, bytes: &[u8]) -> Option<String> {
        match self.text(std::str::from_utf8(bytes).ok()?) {
            Cow::Owned(changed) if changed.as_bytes() != bytes => Some(changed),
            _ => None,
        }
    }

    /// Puts values in the place of `{{name}}`; of names without one nothing is changed.
    fn filled(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let value = after
                .split_once("}}")
                .and_then(|(name, after)| Some((self.variables.get(name.trim())?, after)));
            out.push_str(before);
            match value {
                Some((value, after)) => {
                    out.push_str(value);
                    rest = after;
                }
                None => {
                    out.push_str("{{");
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

impl Target {
    fn apply(&self, head: &mut RequestHead) {
        let was = std::mem::replace(&mut head.authority, self.authority.clone());
        head.scheme = self.scheme;
        if head.target.starts_with('/') {
            head.target.insert_str(0, &self.prefix);
        }
        if was != self.authority && head.headers.contains("host") {
            head.headers.set("host", self.authority.clone());
        }
    }
}

/// Sets a field; one that is new gets its name in lower case in HTTP/2 (RFC 9113 section 8.2).
fn set(headers: &mut Headers, version: Version, name: &str, value: &str) {
    let is_lower = version == Version::HTTP_2 && !headers.contains(name);
    let name = if is_lower { name.to_ascii_lowercase() } else { name.to_owned() };
    headers.set(&name, value.to_owned());
}

/// A target with a parameter set in the place of the first of its name, or at the end; or with all of them taken out.
fn with_parameter(target: &str, name: &str, value: Option<&str>) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut parts: Vec<Cow<'_, str>> = Vec::new();
    let mut is_set = false;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        if form::decoded(pair.split('=').next().unwrap_or(pair)) != name {
            parts.push(pair.into());
        } else if let (Some(value), false) = (value, is_set) {
            parts.push(format!("{}={}", encoded(name), encoded(value)).into());
            is_set = true;
        }
    }
    if let (Some(value), false) = (value, is_set) {
        parts.push(format!("{}={}", encoded(name), encoded(value)).into());
    }
    match parts.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", parts.join("&")),
    }
}

/// Percent-encodes what is not unreserved (RFC 3986 section 2.3); braces stay, for variables.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'{' | b'}' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
