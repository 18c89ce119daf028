//! Matchers: what an exchange must be like for a rule to apply.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    chance::{Occurrence, Probability, Window},
    host::HostMatch,
    json::{JsonCheck, OneOrMany},
    network::Network,
    pattern::{ParsePatternError, Pattern},
    status::StatusMatch,
};
use crate::event::ListenerKind;

/// What an exchange must be like. Every part is optional, and all that are there must hold; a matcher without parts
/// matches every exchange. Where a part is a list, one of its entries has to hold.
///
/// Everything is compared with the request as the client sent it and the response as upstream sent it, before any
/// rule's changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Matcher {
    /// The method, any token, in whatever case.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub method: OneOrMany<String>,
    /// `http` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<SchemeMatch>,
    /// The whole URL with its query, scheme and host in lower case, default ports left out:
    /// `https://example.com/a?b=c`.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub url: OneOrMany<UrlMatch>,
    /// The host, in whatever case: `example.com`, `*.example.com`, `example.com:8443`, or a pattern in map form.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub host: OneOrMany<HostMatch>,
    /// The port, also where the URL leaves it out.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub port: OneOrMany<u16>,
    /// The path without the query, as it was received (nothing is percent-decoded).
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub path: OneOrMany<Pattern>,
    /// Parameters of the query by name, percent-decoded, `+` as a space. `true`: it is there; `false`: it is not; a
    /// pattern: one of its values fits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Presence>,
    /// Fields of the request by name, in whatever case, with [`Presence`] as for `query`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Presence>,
    /// The request's body, decoded from its content coding. Needs the body whole: over the limit for buffered bodies
    /// it does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Pattern>,
    /// Values in the request's JSON body, all of them. Needs the body whole, as `body` does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub body_json: Vec<JsonCheck>,
    /// The HTTP version of the client's side, or that it asks for a WebSocket.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub protocol: OneOrMany<Protocol>,
    /// The kind of listener the client came to.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub listener: OneOrMany<ListenerMatch>,
    /// The client's address, or the network it is in: `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub client: OneOrMany<Network>,
    /// The response's status. This and the other response parts let the rule decide when the response is there.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub status: OneOrMany<StatusMatch>,
    /// Fields of the response by name, as `headers`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_headers: BTreeMap<String, Presence>,
    /// The response's body, as `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body: Option<Pattern>,
    /// Values in the response's JSON body, as `body_json`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_body_json: Vec<JsonCheck>,
    /// Only between these times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Only the n-th exchange for which all of the above holds, counted from 1 since the rule was made or its matcher
    /// changed: `3`, or `{ from = 2, to = 5 }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nth: Option<Occurrence>,
    /// Only this share of the exchanges for which all of the above holds, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<Probability>,
}

/// A pattern for whole URLs; its scheme and host, as far as it writes them out, have no case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlMatch {
    written: Pattern,
    used: Pattern,
}

impl UrlMatch {
    /// Takes a pattern.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self { used: pattern.for_url(), written: pattern }
    }

    pub(super) fn pattern(&self) -> &Pattern {
        &self.used
    }
}

impl std::fmt::Display for UrlMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.written.fmt(f)
    }
}

impl<'de> Deserialize<'de> for UrlMatch {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Pattern::deserialize(source).map(Self::new)
    }
}

impl Serialize for UrlMatch {
    fn serialize<S: serde::Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(sink)
    }
}

/// A part that is asked for by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// It has to be there (`true`), or must not be there (`false`).
    Is(bool),
    /// One of its values has to fit.
    Fits(Pattern),
}

/// The URL's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemeMatch {
    /// Cleartext.
    Http,
    /// Over TLS.
    Https,
}

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.0.
    #[serde(rename = "http/1.0")]
    Http10,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1", alias = "http/1")]
    Http11,
    /// HTTP/2.
    #[serde(rename = "http/2", alias = "h2")]
    Http2,
    /// A request for a WebSocket, over whatever version.
    #[serde(rename = "websocket")]
    WebSocket,
}

/// The kind of listener, in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ListenerMatch {
    /// [`ListenerKind::Explicit`].
    Explicit,
    /// [`ListenerKind::Socks`].
    Socks,
    /// [`ListenerKind::Transparent`].
    Transparent,
    /// [`ListenerKind::Reverse`].
    Reverse,
    /// [`ListenerKind::Own`].
    Own,
}

impl ListenerMatch {
    pub(super) fn of(kind: ListenerKind) -> Self {
        match kind {
            ListenerKind::Explicit => Self::Explicit,
            ListenerKind::Socks => Self::Socks,
            ListenerKind::Transparent => Self::Transparent,
            ListenerKind::Reverse => Self::Reverse,
            ListenerKind::Own => Self::Own,
        }
    }
}

impl Matcher {
    /// Matches every exchange.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Matches one host: `example.com`, `*.example.com`, `example.com:8443`.
    ///
    /// # Errors
    /// When the text is no host pattern.
    pub fn host(host: &str) -> Result<Self, ParsePatternError> {
        Self::any().and_host(host)
    }

    /// Matches URLs that fit a glob or another pattern.
    pub fn url(url: impl Into<Pattern>) -> Self {
        Self { url: OneOrMany::one(UrlMatch::new(url.into())), ..Self::default() }
    }

    /// Matches paths that fit a glob or another pattern.
    pub fn path(path: impl Into<Pattern>) -> Self {
        Self::any().and_path(path)
    }

    /// Also asks for one of these hosts.
    ///
    /// # Errors
    /// When the text is no host pattern.
    pub fn and_host(mut self, host: &str) -> Result<Self, ParsePatternError> {
        self.host.push(HostMatch::parse(host)?);
        Ok(self)
    }

    /// Also asks for one of these methods.
    #[must_use]
    pub fn and_method(mut self, method: impl Into<String>) -> Self {
        self.method.push(method.into());
        self
    }

    /// Also asks for one of these paths.
    #[must_use]
    pub fn and_path(mut self, path: impl Into<Pattern>) -> Self {
        self.path.push(path.into());
        self
    }

    /// Also asks for a field of the request.
    #[must_use]
    pub fn and_header(mut self, name: impl Into<String>, value: impl Into<Pattern>) -> Self {
        self.headers.insert(name.into(), Presence::Fits(value.into()));
        self
    }

    /// Also asks for a parameter of the query.
    #[must_use]
    pub fn and_query(mut self, name: impl Into<String>, value: impl Into<Pattern>) -> Self {
        self.query.insert(name.into(), Presence::Fits(value.into()));
        self
    }

    /// Also asks for a request body.
    #[must_use]
    pub fn and_body(mut self, body: impl Into<Pattern>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Also asks for one of these statuses of the response.
    #[must_use]
    pub fn and_status(mut self, status: impl Into<StatusMatch>) -> Self {
        self.status.push(status.into());
        self
    }

    /// Only the n-th match, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = Some(Occurrence::only(nth));
        self
    }

    /// Whether it has to see the response before it can decide.
    #[must_use]
    pub fn looks_at_response(&self) -> bool {
        !self.status.is_empty() || !self.response_headers.is_empty() || self.looks_at_response_body()
    }

    /// Whether it has to see the request's body before it can decide.
    #[must_use]
    pub fn looks_at_request_body(&self) -> bool {
        self.body.is_some() || !self.body_json.is_empty()
    }

    /// Whether it has to see the response's body before it can decide.
    #[must_use]
    pub fn looks_at_response_body(&self) -> bool {
        self.response_body.is_some() || !self.response_body_json.is_empty()
    }

    /// Whether it depends on more than the exchange: on counts, on chance or on the clock.
    pub(super) fn is_occasional(&self) -> bool {
        self.window.is_some() || self.nth.is_some() || self.probability.is_some()
    }
}

/// A bare text is a glob.
impl From<&str> for Pattern {
    fn from(glob: &str) -> Self {
        Self::glob(glob)
    }
}
