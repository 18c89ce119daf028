//! The fields that a filter knows.

use crate::{
    condition::{NumberField, PeerSide, TextField},
    record::BodySide,
};

/// A field of the language.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Other names it goes by.
    pub(super) aliases: &'static [&'static str],
    pub(super) kind: FieldKind,
    /// What it is, in a few words.
    pub(super) doc: &'static str,
    /// Values to propose.
    pub(super) values: &'static [&'static str],
}

/// What a field takes and means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FieldKind {
    /// A list of whole words, each of which may have `*`.
    Word(TextField),
    /// A text that is contained; with `*` the whole.
    Text(TextField),
    /// A text that is contained; with `*` still a part.
    Url,
    /// A class of content types, or a text that is contained.
    Type(TextField),
    Status,
    Count(NumberField),
    Bytes(NumberField),
    /// A time span; a plain number is milliseconds.
    Span(NumberField),
    Since,
    Until,
    Seq,
    Session,
    Kind,
    Is,
    Has,
    Version,
    Peer(PeerSide),
    /// With a name behind a dot its value is meant, else the name.
    Header(Option<BodySide>),
    Cookie,
    Parameter,
    Body(Option<BodySide>),
    Message(Option<bool>),
    Anywhere,
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT"];
const STATUSES: &[&str] =
    &["2xx", "3xx", "4xx", "5xx", ">=400", "200", "304", "401", "403", "404", "500", "502"];
/// Classes of content types, and what of a type says so.
pub(super) const CLASSES: [(&str, &[&str]); 13] = [
    ("json", &["json"]),
    ("xml", &["xml"]),
    ("html", &["html"]),
    ("css", &["text/css"]),
    ("js", &["javascript", "ecmascript"]),
    ("image", &["image/"]),
    ("font", &["font"]),
    ("audio", &["audio/"]),
    ("video", &["video/"]),
    ("text", &["text/"]),
    ("form", &["x-www-form-urlencoded", "multipart/form-data"]),
    ("protobuf", &["protobuf", "grpc"]),
    ("binary", &["octet-stream", "application/zip", "application/pdf", "application/gzip", "wasm"]),
];
const CLASS_NAMES: &[&str] = &[
    "json", "xml", "html", "css", "js", "image", "font", "audio", "video", "text", "form", "protobuf",
    "binary",
];
pub(super) const KINDS: &[&str] = &["http", "websocket", "upgrade", "tunnel"];
pub(super) const IS: &[&str] = &[
    "failed",
    "error",
    "ok",
    "redirect",
    "open",
    "ended",
    "mock",
    "http",
    "https",
    "websocket",
    "upgrade",
    "tunnel",
];
pub(super) const HAS: &[&str] =
    &["response", "body", "request-body", "response-body", "messages", "cookie", "failure"];
const FAILURES: &[&str] = &[
    "dns",
    "connection_refused",
    "unreachable",
    "connect_timeout",
    "certificate_*",
    "upstream_*",
    "client_*",
    "upstream_timeout",
    "limit",
    "aborted",
    "shutdown",
    "crash",
];
const AGES: &[&str] = &["1m", "10m", "1h", "24h", "7d", "today"];
const VERSIONS: &[&str] = &["1.0", "1.1", "2", "3"];
const LISTENERS: &[&str] = &["explicit", "socks", "transparent", "reverse", "own"];
const TLS: &[&str] = &["TLSv1.2", "TLSv1.3"];

const fn field(name: &'static str, kind: FieldKind, doc: &'static str) -> Field {
    Field { name, aliases: &[], kind, doc, values: &[] }
}

impl Field {
    const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn of(mut self, values: &'static [&'static str]) -> Self {
        self.values = values;
        self
    }

    /// Whether a name stands behind a dot, as in `header.accept`.
    pub(super) fn takes_name(&self) -> bool {
        matches!(self.kind, FieldKind::Header(_) | FieldKind::Cookie | FieldKind::Parameter)
    }
}

/// All fields, in the order they are proposed and documented.
pub(super) const FIELDS: &[Field] = &[
    field("host", FieldKind::Word(TextField::Host), "host: whole, or with * (host:*.example.com)"),
    field("url", FieldKind::Url, "URL contains"),
    field("path", FieldKind::Text(TextField::Path), "path contains; with * the whole path"),
    field("param", FieldKind::Parameter, "query parameter: param:NAME, param.NAME:VALUE").or(&["query"]),
    field("method", FieldKind::Word(TextField::Method), "request method").of(METHODS),
    field("status", FieldKind::Status, "status: 404, 5xx, >=400, 200-299").of(STATUSES),
    field("type", FieldKind::Type(TextField::ResponseType), "response content type or class").of(CLASS_NAMES),
    field("req.type", FieldKind::Type(TextField::RequestType), "request content type or class")
        .of(CLASS_NAMES),
    field("port", FieldKind::Count(NumberField::Port), "port of the URL"),
    field("scheme", FieldKind::Word(TextField::Scheme), "http or https").of(&["http", "https"]),
    field("version", FieldKind::Version, "HTTP version on the client side").or(&["protocol"]).of(VERSIONS),
    field("header", FieldKind::Header(None), "header field: header:NAME, header.NAME:VALUE"),
    field("req.header", FieldKind::Header(Some(BodySide::Request)), "request header field"),
    field("resp.header", FieldKind::Header(Some(BodySide::Response)), "response header field"),
    field("cookie", FieldKind::Cookie, "cookie sent or set: cookie:NAME, cookie.NAME:VALUE"),
    field("body", FieldKind::Body(None), "either body, decoded, contains"),
    field("req.body", FieldKind::Body(Some(BodySide::Request)), "request body contains"),
    field("resp.body", FieldKind::Body(Some(BodySide::Response)), "response body contains"),
    field("message", FieldKind::Message(None), "a WebSocket message contains").or(&["msg"]),
    field("req.message", FieldKind::Message(Some(true)), "a WebSocket message from the client contains"),
    field("resp.message", FieldKind::Message(Some(false)), "a WebSocket message to the client contains"),
    field("text", FieldKind::Anywhere, "URL, header fields, bodies or messages contain"),
    field("size", FieldKind::Bytes(NumberField::ResponseBytes), "response body bytes: >100kb")
        .or(&["resp.size"]),
    field("req.size", FieldKind::Bytes(NumberField::RequestBytes), "request body bytes: >100kb"),
    field("ms", FieldKind::Span(NumberField::Duration), "duration in ms: >200").or(&["duration"]),
    field("wait", FieldKind::Span(NumberField::Wait), "time to first byte in ms: >200").or(&["ttfb"]),
    field("messages", FieldKind::Count(NumberField::Messages), "number of WebSocket messages"),
    field(
        "since",
        FieldKind::Since,
        "began at or after: 10m, 09:30, 2026-01-31, 2026-01-31T09:30Z; or after an id",
    )
    .or(&["after", "from"])
    .of(AGES),
    field("before", FieldKind::Until, "began before: as since; or before an id")
        .or(&["until", "to"])
        .of(AGES),
    field("is", FieldKind::Is, "what it is or became").of(IS),
    field("has", FieldKind::Has, "what it has").of(HAS),
    field("kind", FieldKind::Kind, "http, websocket, upgrade or tunnel").of(KINDS),
    field("failure", FieldKind::Word(TextField::Failure), "code of the failure").of(FAILURES),
    field("seq", FieldKind::Seq, "id: e412, e400-e500, >e400").or(&["id"]),
    field("session", FieldKind::Session, "session: s3"),
    field("client", FieldKind::Peer(PeerSide::Client), "client address or network: 10.0.0.0/8"),
    field("upstream", FieldKind::Peer(PeerSide::Upstream), "upstream address or network"),
    field("tunnel", FieldKind::Text(TextField::Tunnel), "CONNECT authority it came through contains"),
    field("tls", FieldKind::Word(TextField::TlsVersion(PeerSide::Client)), "TLS version with the client")
        .of(TLS),
    field(
        "sni",
        FieldKind::Word(TextField::ServerName(PeerSide::Client)),
        "server name the client asked for",
    ),
    field("alpn", FieldKind::Word(TextField::Alpn(PeerSide::Client)), "protocol agreed with the client"),
    field("cipher", FieldKind::Text(TextField::Cipher(PeerSide::Client)), "cipher suite with the client"),
    field("ja3", FieldKind::Word(TextField::Ja3(PeerSide::Client)), "JA3 of the client, hash or numbers"),
    field("ja4", FieldKind::Word(TextField::Ja4(PeerSide::Client)), "JA4 of the client"),
    field(
        "upstream.tls",
        FieldKind::Word(TextField::TlsVersion(PeerSide::Upstream)),
        "TLS version with upstream",
    )
    .of(TLS),
    field(
        "upstream.sni",
        FieldKind::Word(TextField::ServerName(PeerSide::Upstream)),
        "server name asked of upstream",
    ),
    field(
        "upstream.alpn",
        FieldKind::Word(TextField::Alpn(PeerSide::Upstream)),
        "protocol agreed with upstream",
    ),
    field(
        "upstream.cipher",
        FieldKind::Text(TextField::Cipher(PeerSide::Upstream)),
        "cipher suite with upstream",
    ),
    field("h2", FieldKind::Word(TextField::Http2Fingerprint), "HTTP/2 fingerprint of the client"),
    field("listener", FieldKind::Word(TextField::Listener), "how the client came").of(LISTENERS),
    field("replay-of", FieldKind::Word(TextField::Origin), "id of the exchange that it replays"),
    field("process", FieldKind::Word(TextField::Process), "name or number of the client's process"),
    field("user", FieldKind::Word(TextField::User), "name the client proved to the proxy"),
    field("parent", FieldKind::Text(TextField::Parent), "parent proxy's URL contains"),
    field("rule", FieldKind::Word(TextField::Rule), "id of a rule that applied"),
    field("comment", FieldKind::Text(TextField::Comment), "comment contains"),
];

/// Finds a field by its name, and the name behind its last dot where it takes one.
pub(super) fn find(written: &str) -> Option<(&'static Field, Option<&str>)> {
    let named = |name: &str| {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        FIELDS.iter().find(|field| is(field.name) || field.aliases.iter().any(|alias| is(alias)))
    };
    if let Some(field) = named(written) {
        return Some((field, None));
    }
    let longhand =
        written.to_ascii_lowercase().replacen("request.", "req.", 1).replacen("response.", "resp.", 1);
    if longhand.len() != written.len() {
        let cut = written.len() - longhand.len();
        if let Some(field) = named(&longhand) {
            return Some((field, None));
        }
        let (name, rest) = with_name(&longhand)?;
        return named(name).filter(|field| field.takes_name()).map(|field| {
            let start = written.len() - rest.len();
            debug_assert!(start >= cut);
            (field, written.get(start..))
        });
    }
    let (name, rest) = with_name(written)?;
    named(name).filter(|field| field.takes_name()).map(|field| (field, Some(rest)))
}

/// Cuts `req.header.accept` into `req.header` and `accept`.
fn with_name(written: &str) -> Option<(&str, &str)> {
    let lower = written.to_ascii_lowercase();
    ["req.header.", "resp.header.", "header.", "cookie.", "param.", "query."]
        .iter()
        .find(|prefix| lower.starts_with(*prefix) && lower.len() > prefix.len())
        .map(|prefix| (&written[..prefix.len() - 1], &written[prefix.len()..]))
}

/// The field whose name is nearest to one that is not known, where one is near.
pub(super) fn nearest(written: &str) -> Option<&'static str> {
    let written = written.to_ascii_lowercase();
    let names = FIELDS.iter().flat_map(|field| std::iter::once(&field.name).chain(field.aliases));
    names
        .map(|name| (distance(&written, name), *name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters to add, drop or change to come from one word to another.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let sorted = |letters: &mut dyn Iterator<Item = char>| {
        let mut letters: Vec<char> = letters.collect();
        letters.sort_unstable();
        letters
    };
    // Letters in another order are the commonest slip.
    if from != to.iter().collect::<String>() && sorted(&mut from.chars()) == sorted(&mut to.iter().copied()) {
        return 1;
    }
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().take(40).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_every_name_they_have() {
        let found = |written| find(written).map(|(field, name)| (field.name, name));
        for (written, expected) in [
            ("Host", Some(("host", None))),
            ("ttfb", Some(("wait", None))),
            ("header.X-Trace", Some(("header", Some("X-Trace")))),
            ("request.header.X-Trace", Some(("req.header", Some("X-Trace")))),
            ("response.body", Some(("resp.body", None))),
            ("param.user[id]", Some(("param", Some("user[id]")))),
            ("hots", None),
            ("header.", None),
            ("host.x", None),
        ] {
            assert_eq!(found(written), expected, "{written}");
        }
        assert_eq!(
            (nearest("hots"), nearest("stauts"), nearest("quux")),
            (Some("host"), Some("status"), None)
        );
    }
}
