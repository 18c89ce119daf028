//! Fields of an exchange by name: what lists show as columns and what figures are grouped by.

use std::time::{Duration, UNIX_EPOCH};

use capture_store::{BodySide, ExchangeKind, ExchangeState, ExchangeSummary, path_template};
use proxy_core::ListenerKind;
use serde_json::Value;

use crate::{form, subject::Subject};

/// A field of an exchange, by name: a plain one like `status`, or a part of a message like `req.header.accept`,
/// `resp.cookie.sid`, `param.page`, `req.form.user`, `resp.json./user/id` and `resp.body`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Plain(Plain),
    Header(BodySide, String),
    Cookie(BodySide, String),
    Parameter(String),
    Form(String),
    Json(BodySide, String),
    Body(BodySide),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Id,
    Seq,
    Session,
    Ts,
    Ms,
    Wait,
    Status,
    Class,
    Method,
    Scheme,
    Host,
    Port,
    Url,
    Path,
    Template,
    Query,
    Kind,
    State,
    Version,
    RequestType,
    ResponseType,
    RequestBytes,
    ResponseBytes,
    Messages,
    Failure,
    Error,
    Client,
    Process,
    Pid,
    User,
    Listener,
    Upstream,
    Tunnel,
    Tls,
    Sni,
    Ja4,
    Rules,
    Comment,
}

/// The plain fields, in the order they are told; what comes after them are other names of the same.
const PLAIN: &[(&str, Plain)] = &[
    ("id", Plain::Id),
    ("seq", Plain::Seq),
    ("session", Plain::Session),
    ("ts", Plain::Ts),
    ("ms", Plain::Ms),
    ("wait", Plain::Wait),
    ("status", Plain::Status),
    ("class", Plain::Class),
    ("method", Plain::Method),
    ("scheme", Plain::Scheme),
    ("host", Plain::Host),
    ("port", Plain::Port),
    ("url", Plain::Url),
    ("path", Plain::Path),
    ("template", Plain::Template),
    ("query", Plain::Query),
    ("kind", Plain::Kind),
    ("state", Plain::State),
    ("version", Plain::Version),
    ("type", Plain::ResponseType),
    ("req.type", Plain::RequestType),
    ("req.bytes", Plain::RequestBytes),
    ("resp.bytes", Plain::ResponseBytes),
    ("messages", Plain::Messages),
    ("failure", Plain::Failure),
    ("error", Plain::Error),
    ("client", Plain::Client),
    ("process", Plain::Process),
    ("pid", Plain::Pid),
    ("user", Plain::User),
    ("listener", Plain::Listener),
    ("upstream", Plain::Upstream),
    ("tunnel", Plain::Tunnel),
    ("tls", Plain::Tls),
    ("sni", Plain::Sni),
    ("ja4", Plain::Ja4),
    ("rules", Plain::Rules),
    ("comment", Plain::Comment),
];
const OTHER_NAMES: &[(&str, Plain)] = &[
    ("timestamp", Plain::Ts),
    ("started", Plain::Ts),
    ("duration", Plain::Ms),
    ("ttfb", Plain::Wait),
    ("hostname", Plain::Host),
    ("resp.status", Plain::Status),
    ("resp.type", Plain::ResponseType),
    ("size", Plain::ResponseBytes),
    ("bytes", Plain::ResponseBytes),
    ("resp.size", Plain::ResponseBytes),
    ("req.size", Plain::RequestBytes),
    ("req.method", Plain::Method),
    ("req.url", Plain::Url),
    ("protocol", Plain::Version),
    ("rule", Plain::Rules),
];

/// What stands before a name of the message's own.
const OF_MESSAGES: &str = "req.header.NAME, resp.header.NAME, req.cookie.NAME, resp.cookie.NAME, param.NAME, req.form.NAME, \
                           req.json./POINTER, resp.json./POINTER, req.body, resp.body";

/// A name that is no field's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {name:?} as a field; there are {}", Field::known())]
pub struct FieldError {
    /// What was written.
    pub name: String,
}

impl Field {
    /// Finds a field by its name, in whatever case; names of headers, cookies, parameters and JSON pointers are what stands
    /// behind the dot.
    ///
    /// # Errors
    /// When there is no such field; the error names those there are.
    pub fn parse(name: &str) -> Result<Self, FieldError> {
        let written = name.trim();
        let part = parse_part(written)
            .ok_or_else(|| FieldError { name: written.chars().take(80).collect::<String>() })?;
        Ok(Self { name: written.to_owned(), part })
    }

    /// The names there are, in one line.
    #[must_use]
    pub fn known() -> String {
        let mut names: Vec<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
        names.push(OF_MESSAGES);
        names.join(", ")
    }

    /// Its name, as it was written.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What an exchange has there; null where it has nothing. Numbers stay numbers, JSON stays JSON.
    #[must_use]
    pub fn of(&self, subject: &Subject<'_>) -> Value {
        match &self.part {
            Part::Plain(plain) => of_plain(*plain, subject),
            Part::Header(side, name) => {
                let values = subject.headers(*side).map(|headers| {
                    let texts =
                        headers.get_all(name).map(|value| String::from_utf8_lossy(value).into_owned());
                    texts.collect::<Vec<_>>()
                });
                values.filter(|values| !values.is_empty()).map(|values| values.join(", ")).into()
            }
            Part::Cookie(side, name) => {
                let cookies = subject.headers(*side).map(|headers| match side {
                    BodySide::Request => form::sent_cookies(headers),
                    BodySide::Response => form::set_cookies(headers),
                });
                cookies.into_iter().flatten().find(|(known, _)| known == name).map(|(_, value)| value).into()
            }
            Part::Parameter(name) => {
                form::query(&subject.summary().target).and_then(|query| first(query, name)).into()
            }
            Part::Form(name) => {
                let form = subject
                    .summary()
                    .request_content_type
                    .as_deref()
                    .is_some_and(|kind| kind.contains("urlencoded"));
                let body = form.then(|| subject.text(BodySide::Request)).flatten();
                body.and_then(|body| first(&body.text, name)).into()
            }
            Part::Json(side, pointer) => {
                subject.json(*side).and_then(|json| json.pointer(pointer)).cloned().unwrap_or_default()
            }
            Part::Body(side) => subject.text(*side).map(|body| body.text.clone()).into(),
        }
    }
}

fn first(pairs: &str, name: &str) -> Option<String> {
    form::pairs(pairs).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

fn parse_part(written: &str) -> Option<Part> {
    let lower =
        written.to_ascii_lowercase().replacen("request.", "req.", 1).replacen("response.", "resp.", 1);
    let plain = PLAIN.iter().chain(OTHER_NAMES).find(|(name, _)| *name == lower);
    if let Some((_, plain)) = plain {
        return Some(Part::Plain(*plain));
    }
    // The name itself keeps its case.
    let behind = |prefix: &str| {
        let name = lower.strip_prefix(prefix).filter(|name| !name.is_empty())?;
        written.get(written.len() - name.len()..).map(str::to_owned)
    };
    if let Some(name) = behind("param.").or_else(|| behind("query.")).or_else(|| behind("req.query.")) {
        return Some(Part::Parameter(name));
    }
    if let Some(name) = behind("req.form.").or_else(|| behind("form.")) {
        return Some(Part::Form(name));
    }
    for (side, prefix) in [(BodySide::Request, "req."), (BodySide::Response, "resp.")] {
        let of = |part: &str| behind(&format!("{prefix}{part}"));
        if let Some(name) = of("header.").or_else(|| of("headers.")) {
            return Some(Part::Header(side, name));
        }
        if let Some(name) = of("cookie.") {
            return Some(Part::Cookie(side, name));
        }
        if let Some(pointer) = of("json.").or_else(|| of("json")) {
            return pointer.starts_with('/').then_some(Part::Json(side, pointer));
        }
        if lower == format!("{prefix}json") {
            return Some(Part::Json(side, String::new()));
        }
        if lower == format!("{prefix}body") {
            return Some(Part::Body(side));
        }
    }
    None
}

fn of_plain(plain: Plain, subject: &Subject<'_>) -> Value {
    let summary = subject.summary();
    match plain {
        Plain::Id => summary.seq.to_string().into(),
        Plain::Seq => summary.seq.0.into(),
        Plain::Session => summary.session.to_string().into(),
        Plain::Ts => {
            let since = summary.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX).into()
        }
        Plain::Ms => summary.duration.map(millis).unwrap_or_default(),
        Plain::Status => summary.status.into(),
        Plain::Class => class(summary).into(),
        Plain::Method => summary.method.as_str().into(),
        Plain::Scheme => summary.scheme.as_str().into(),
        Plain::Host => summary.host.as_str().into(),
        Plain::Port => summary.port.into(),
        Plain::Url => summary.url.as_str().into(),
        Plain::Path => path(summary).into(),
        Plain::Template => path_template(path(summary)).into(),
        Plain::Query => form::query(&summary.target).into(),
        Plain::Kind => kind(summary.kind).into(),
        Plain::State => state(&summary.state).into(),
        Plain::Version => summary.http_version.as_str().into(),
        Plain::RequestType => summary.request_content_type.as_deref().map(essence).into(),
        Plain::ResponseType => summary.response_content_type.as_deref().map(essence).into(),
        Plain::RequestBytes => summary.request_body_bytes.into(),
        Plain::ResponseBytes => summary.response_body_bytes.into(),
        Plain::Messages => summary.messages.into(),
        Plain::Failure => failure(summary).map(|failure| failure.kind.code()).into(),
        Plain::Error => failure(summary).map(|failure| format!("{}: {failure}", failure.kind.code())).into(),
        detail => of_detail(detail, subject),
    }
}

fn of_detail(plain: Plain, subject: &Subject<'_>) -> Value {
    let Some(exchange) = subject.exchange() else { return Value::Null };
    let (client, upstream) = (exchange.client.as_ref(), exchange.upstream.as_ref());
    let tls = client.and_then(|client| client.tls.as_ref());
    let process = client.and_then(|client| client.process.as_ref());
    match plain {
        Plain::Wait => exchange.response.as_ref().map(|_| millis(exchange.timings.wait)).unwrap_or_default(),
        // Of the client its host: its ports are as many as its connections.
        Plain::Client => client.and_then(|peer| peer.address).map(|address| address.ip().to_string()).into(),
        Plain::Process => process.map(|process| process.name.clone()).into(),
        Plain::Pid => process.map(|process| process.pid).into(),
        Plain::User => client.and_then(|peer| peer.user.clone()).into(),
        Plain::Listener => client.and_then(|peer| peer.listener).map(listener).into(),
        Plain::Upstream => upstream.and_then(|peer| peer.address).map(|address| address.to_string()).into(),
        Plain::Tunnel => exchange.tunnel.clone().into(),
        Plain::Tls => tls.map(|tls| tls.version.clone()).into(),
        Plain::Sni => tls.and_then(|tls| tls.sni.clone()).into(),
        Plain::Ja4 => tls.and_then(|tls| tls.fingerprint.as_ref()).map(|print| print.ja4.clone()).into(),
        Plain::Rules if !exchange.rules.is_empty() => {
            let rules: Vec<&str> = exchange.rules.iter().map(|hit| hit.rule.as_str()).collect();
            rules.join(",").into()
        }
        Plain::Comment => exchange.comment.clone().into(),
        _ => Value::Null,
    }
}

/// Milliseconds to two places.
pub(crate) fn millis(duration: Duration) -> Value {
    let rounded = (duration.as_secs_f64() * 100_000.0).round() / 100.0;
    if rounded.fract() == 0.0 {
        return u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into();
    }
    rounded.into()
}

/// The target up to its query.
pub(crate) fn path(summary: &ExchangeSummary) -> &str {
    let target = summary.target.as_str();
    // The absolute form names scheme and authority first.
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    target.find(['?', '#']).map_or(target, |end| &target[..end])
}

/// `2xx`, or `failed` or `open` where there is no status to tell of.
pub(crate) fn class(summary: &ExchangeSummary) -> &'static str {
    match (&summary.state, summary.status) {
        (ExchangeState::Failed(_), _) => "failed",
        (_, Some(100..=199)) => "1xx",
        (_, Some(200..=299)) => "2xx",
        (_, Some(300..=399)) => "3xx",
        (_, Some(400..=499)) => "4xx",
        (_, Some(_)) => "5xx",
        (ExchangeState::Open, None) => "open",
        (_, None) => "none",
    }
}

/// A content type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn kind(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::WebSocket => "websocket",
        ExchangeKind::Upgrade => "upgrade",
        ExchangeKind::Tunnel => "tunnel",
        _ => "http",
    }
}

fn state(state: &ExchangeState) -> &'static str {
    match state {
        ExchangeState::Open => "open",
        ExchangeState::Mock => "mock",
        ExchangeState::Upgrade => "upgrade",
        ExchangeState::Tunnel => "tunnel",
        ExchangeState::Failed(_) => "failed",
        _ => "response",
    }
}

/// How it failed, where it did.
pub(crate) fn failure(summary: &ExchangeSummary) -> Option<&proxy_core::Failure> {
    match &summary.state {
        ExchangeState::Failed(failure) => Some(failure),
        _ => None,
    }
}

/// Whether it failed, or its status is one of an error.
pub(crate) fn is_error(summary: &ExchangeSummary) -> bool {
    failure(summary).is_some() || summary.status.is_some_and(|status| status >= 400)
}

fn listener(kind: ListenerKind) -> &'static str {
    match kind {
        ListenerKind::Socks => "socks",
        ListenerKind::Transparent => "transparent",
        ListenerKind::Reverse => "reverse",
        ListenerKind::Own => "own",
        _ => "explicit",
    }
}

#[cfg(test)]
mod tests {
    use capture_store::Query;
    use serde_json::json;

    use super::*;
    use crate::fixture::{Fed, Fixture};

    #[test]
    fn fields_are_found_by_name_and_read() {
        let json = br#"{"user":{"id":7,"names":["ann","bob"]},"ok":true}"#;
        let fixture = Fixture::of(vec![
            Fed::get("https://api.test/users/42/pets?page=2&q=a%20b#x")
                .took(12)
                .sends("Accept", "a/b")
                .sends("Cookie", "sid=abc; other=1")
                .answers("Set-Cookie", "sid=def; Path=/")
                .answers("X-Trace", "one")
                .answers("x-trace", "two")
                .body("application/json; charset=utf-8", &json[..]),
            Fed::post("http://b.test:8080/login", "application/x-www-form-urlencoded", "user=ann&pass=%21")
                .status(503),
        ]);
        let items = fixture.store.query(&Query::default()).unwrap().items;
        let value = |at: usize, name: &str| {
            let subject = Subject::new(&fixture.store, items[at].clone());
            let value = Field::parse(name).unwrap().of(&subject);
            subject.check().unwrap();
            value
        };
        for (name, expected) in [
            ("id", json!(items[0].seq.to_string())),
            ("Seq", json!(items[0].seq.0)),
            ("ts", json!(1_700_000_000_000_u64)),
            ("ms", json!(12)),
            ("status", json!(200)),
            ("class", json!("2xx")),
            ("host", json!("api.test")),
            ("path", json!("/users/42/pets")),
            ("template", json!("/users/{id}/pets")),
            ("query", json!("page=2&q=a%20b")),
            ("type", json!("application/json")),
            ("resp.bytes", json!(json.len())),
            ("req.header.ACCEPT", json!("a/b")),
            ("request.header.accept", json!("a/b")),
            ("resp.header.x-trace", json!("one, two")),
            ("resp.header.nope", json!(null)),
            ("req.cookie.sid", json!("abc")),
            ("resp.cookie.sid", json!("def")),
            ("param.q", json!("a b")),
            ("resp.json./user/id", json!(7)),
            ("response.json./user/names", json!(["ann", "bob"])),
            ("resp.json./nope", json!(null)),
            ("req.json./x", json!(null)),
            ("failure", json!(null)),
            ("user", json!(null)),
            ("process", json!(null)),
            ("pid", json!(null)),
            ("rules", json!(null)),
        ] {
            assert_eq!(value(0, name), expected, "{name}");
        }
        assert_eq!(value(1, "req.form.pass"), "!");
        assert_eq!((value(1, "port"), value(1, "class")), (json!(8080), json!("5xx")));
        assert_eq!(value(1, "req.body"), "user=ann&pass=%21");
        for wrong in ["", "hots", "req.header.", "resp.json.x", "req.cookie"] {
            let error = Field::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("req.header.NAME") && error.contains("template"), "{error}");
        }
    }
}
