//! Message heads exactly as they were on the wire: order, case and duplicates kept.

use std::fmt;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

/// Its place among the fields, before all others, is that of an extended CONNECT's protocol (RFC 8441 section 4).
pub(crate) const PROTOCOL: &str = ":protocol";

/// One header field as it was received: the name in its own case, the value without surrounding whitespace.
///
/// Two are equal when their names and values are.
#[derive(Clone)]
pub struct Header {
    /// The field name in the case the peer used.
    pub name: Bytes,
    /// The field value, which may hold any byte but CR, LF and NUL (RFC 9110 section 5.5).
    pub value: Bytes,
    /// Whether its sender asked that no HTTP/2 hop keep it in a table (RFC 7541 section 7.1.3).
    never_indexed: bool,
}

impl Header {
    /// Makes a header from anything that turns into bytes.
    pub fn new(name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: value.into(), never_indexed: false }
    }

    /// Makes one as HTTP/2 brought it.
    pub(crate) fn received(name: Bytes, value: Bytes, never_indexed: bool) -> Self {
        Self { name, value, never_indexed }
    }

    /// The same field with another value.
    pub(crate) fn with_value(&self, value: Bytes) -> Self {
        Self { name: self.name.clone(), value, never_indexed: self.never_indexed }
    }

    /// Whether its sender asked that no HTTP/2 hop keep it in a table (RFC 7541 section 7.1.3).
    pub(crate) fn is_never_indexed(&self) -> bool {
        self.never_indexed
    }

    /// Tells whether the field has this name, in whatever case (RFC 9110 section 5.1).
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The name as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn name_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// The value as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn value_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.value)
    }
}

impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl Eq for Header {}

/// Header fields in the order they were received, duplicates and case kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// Makes an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty list with room for `capacity` fields.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push(Header::new(name, value));
    }

    /// Adds a field at the end, with all that is known of it.
    pub(crate) fn push_header(&mut self, header: Header) {
        self.0.push(header);
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|header| header.is(name)).map(|header| &header.value)
    }

    /// The first value of this name as text, where it is UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> + 'a {
        self.0.iter().filter(move |header| header.is(name)).map(|header| &header.value)
    }

    /// Tells whether a field of this name is there.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Removes every field of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|header| !header.is(name));
    }

    /// Puts one field in the place of all fields of this name: at the first one's position, else at the end.
    pub fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        let value = value.into();
        if let Some(at) = self.0.iter().position(|header| header.is(name)) {
            self.0[at].value = value;
            let mut index = 0;
            self.0.retain(|header| {
                index += 1;
                index - 1 <= at || !header.is(name)
            });
        } else {
            self.0.push(Header::new(Bytes::copy_from_slice(name.as_bytes()), value));
        }
    }

    /// Keeps only the fields for which `keep` holds.
    pub fn retain(&mut self, keep: impl FnMut(&Header) -> bool) {
        self.0.retain(keep);
    }

    /// Tells whether a comma-separated list field of this name holds `token`, in whatever case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).any(|value| {
            value
                .split(|byte| *byte == b',')
                .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        })
    }

    /// Walks the fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.iter()
    }

    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Names only: values may hold cookies and credentials.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(Header::name_text)).finish()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: <{} bytes>", self.name_text(), self.value.len())
    }
}

/// The scheme of a request's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A request's head as the client sent it.
///
/// `Host`, `Content-Length` and the rest stay in `headers` as received. For HTTP/2 the pseudo-header fields are
/// the struct's own fields and `headers` holds the regular ones; only `:protocol` of an extended CONNECT (RFC 8441)
/// stands there, before all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, any token.
    pub method: Method,
    /// The scheme of the URL.
    pub scheme: Scheme,
    /// Host and optional port as the client named them: from the absolute-form target, `Host`, `:authority`,
    /// or the CONNECT target. Never with user information.
    pub authority: String,
    /// The path and query exactly as received (origin-form, or `*`); for CONNECT the authority.
    pub target: String,
    /// The version on the client side: HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The fields as received.
    pub headers: Headers,
}

impl RequestHead {
    /// The whole URL: `scheme://authority` and the target, default ports left out.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_parts().concat()
    }

    /// The texts that make up [`url`](Self::url), one after the other.
    #[must_use]
    pub fn url_parts(&self) -> [&str; 4] {
        if self.method == Method::CONNECT && !self.target.starts_with('/') {
            return [self.scheme.as_str(), "://", &self.authority, ""];
        }
        let authority = match self.scheme {
            Scheme::Http => self.authority.strip_suffix(":80"),
            Scheme::Https => self.authority.strip_suffix(":443"),
        };
        let target = if self.target == "*" { "" } else { self.target.as_str() };
        [self.scheme.as_str(), "://", authority.unwrap_or(&self.authority), target]
    }

    /// Whether the client asks to switch protocols. `h2c` is not an upgrade that is passed on.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.version == Version::HTTP_11
            && self.headers.has_token("connection", "upgrade")
            && self.headers.contains("upgrade")
            && !self.headers.has_token("upgrade", "h2c")
    }

    /// Whether an upgrade leads to WebSocket (RFC 6455 section 4.1), or an extended CONNECT does (RFC 8441 section 5).
    pub(crate) fn is_websocket(&self) -> bool {
        let is_upgraded = self.is_upgrade() && self.headers.has_token("upgrade", "websocket");
        is_upgraded || (self.method == Method::CONNECT && self.headers.get_str(PROTOCOL) == Some("websocket"))
    }

    /// The host without port and without the brackets of an IPv6 literal.
    #[must_use]
    pub fn host(&self) -> &str {
        split_authority(&self.authority).0
    }

    /// The port named in the authority, else the scheme's own.
    #[must_use]
    pub fn port(&self) -> u16 {
        split_authority(&self.authority).1.unwrap_or_else(|| self.scheme.default_port())
    }
}

/// Splits `host:port`; IPv6 literals lose their brackets. A part that is no port counts as none.
#[must_use]
pub fn split_authority(authority: &str) -> (&str, Option<u16>) {
    if let Some(rest) = authority.strip_prefix('[')
        && let Some((host, tail)) = rest.split_once(']')
    {
        return (host, tail.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    let mut colons = memchr::memchr_iter(b':', authority.as_bytes());
    match (colons.next(), colons.next()) {
        (Some(at), None) => (&authority[..at], authority[at + 1..].parse().ok()),
        _ => (authority, None),
    }
}

/// A response's head as the origin sent it, or as a rule or the proxy itself made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase of HTTP/1, which may be empty; `None` for HTTP/2.
    pub reason: Option<Bytes>,
    /// The version on the upstream side.
    pub version: Version,
    /// The fields as received.
    pub headers: Headers,
}

impl ResponseHead {
    /// Makes an HTTP/1.1 head with the status's usual reason phrase and no field.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let reason = Bytes::from_static(status.canonical_reason().unwrap_or("").as_bytes());
        Self { status, reason: Some(reason), version: Version::HTTP_11, headers: Headers::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_replaces_in_place_and_drops_the_other_duplicates() {
        let mut headers = Headers::new();
        headers.push("A", "1");
        headers.push("b", "2");
        headers.push("a", "3");
        headers.push("c", "4");
        headers.set("a", "x");
        let seen: Vec<_> = headers.iter().map(|h| format!("{}={}", h.name_text(), h.value_text())).collect();
        assert_eq!(seen, ["A=x", "b=2", "c=4"]);
    }

    #[test]
    fn authorities_split_into_host_and_port() {
        for (input, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:8443", "example.com", Some(8443)),
            ("[::1]:443", "::1", Some(443)),
            ("[::1]", "::1", None),
            ("::1", "::1", None),
            ("example.com:", "example.com", None),
        ] {
            assert_eq!(split_authority(input), (host, port), "{input}");
        }
    }
}
