//! An entry of whatever tool as an exchange.

use std::time::{Duration, SystemTime};

use capture_store::{Exchange, ExchangeKind, ExchangeState, ImportedExchange, Peer};
use http::{Method, StatusCode};
use proxy_core::{
    Failure, FailureKind, Headers, RequestHead, ResponseHead, ResponseSource, Scheme, Sizes, Timings,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    arrived, blame, clock,
    compose::reason_of,
    error::Error,
    extra::{Extra, InterimExtra, PeerExtra, RuleExtra, SizesExtra},
    json::{number, scalar, text, whole},
    log::{Depot, RawEntry},
    text::{Field, from_fields, from_latin1, unbroken},
    url::{self, Target},
    version, words,
};

/// An entry understood.
pub(crate) struct Parsed {
    pub(crate) exchange: ImportedExchange,
    /// The number it had in the store it was exported from.
    pub(crate) seq: Option<u64>,
    /// The number of the exchange that shows its certificates.
    pub(crate) certificates_of: Option<u64>,
    /// What was missing, guessed or left out.
    pub(crate) notes: Vec<String>,
}

/// Why an entry is not imported.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is no exchange: why, in words for people.
    Entry(String),
    /// The store failed.
    Failed(Error),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Entry(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self::Entry(reason.to_owned())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Turns an entry into an exchange. One without a usable time begins at `otherwise`. The texts of bodies and the messages
/// are taken out of it, unless it is refused.
pub(crate) fn parse(
    raw: &mut RawEntry,
    otherwise: SystemTime,
    depot: &mut dyn Depot,
) -> Result<Parsed, Refusal> {
    let mut notes = Vec::new();
    let entry = &raw.value;
    let mut extra = extra_of(entry, &mut notes);
    let request = entry.get("request").filter(|request| request.is_object()).ok_or("it has no request")?;
    let response = entry.get("response").unwrap_or(&Value::Null);
    let head = request_head(request, &extra, &mut notes)?;
    let started_at = started_at(entry).unwrap_or_else(|| {
        notes.push("it has no readable startedDateTime; that of the entry before, or the time of the import, was taken".to_owned());
        otherwise
    });
    let mut exchange = Exchange::new(head, started_at);
    exchange.response = response_head(response, &extra, &mut notes)?;
    let messages = std::mem::take(&mut raw.messages);
    if messages.bad > 0 {
        let (bad, total) = (messages.bad, messages.bad + messages.count);
        notes.push(format!("{bad} of {total} WebSocket messages are not understood"));
    }
    if messages.cut > 0 {
        notes.push(format!("{} WebSocket messages are too long and were cut", messages.cut));
    }
    let error = ["_error", "_failureText"]
        .into_iter()
        .find_map(|key| text(response, key).or_else(|| text(entry, key)))
        .map(str::to_owned);
    settle(&mut exchange, &mut extra, messages.count > 0, error.as_deref());
    let mut arrival = arrived::Arrival { notes: &mut notes, depot };
    let said = extra.request_body.take();
    let request_body = arrival.posted(request, &mut exchange, raw.request_text.take(), said.as_ref())?;
    let said = extra.response_body.take();
    let response_body = arrival.received(response, &mut exchange, raw.response_text.take(), said.as_ref())?;
    exchange.timings = timings(entry, extra.total);
    exchange.sizes = sizes(&exchange, request, response, extra.sizes.take());
    exchange.comment = text(entry, "comment").map(str::to_owned);
    let certificates_of =
        extra.upstream.as_ref().and_then(|peer| peer.tls.as_ref()).and_then(|tls| tls.certificates_of);
    exchange.upstream = match extra.upstream.take() {
        Some(said) => Some(said.into_peer()),
        // Ours says all there is: without an upstream, `connection` is the client's.
        None if extra.state.is_some() => None,
        None => peer(entry, &exchange.request),
    };
    let seq = extra.seq;
    adopt(&mut exchange, extra);
    let messages = messages.into_messages(started_at);
    let exchange = ImportedExchange { exchange, request_body, response_body, messages };
    Ok(Parsed { exchange, seq, certificates_of, notes })
}

fn extra_of(entry: &Value, notes: &mut Vec<String>) -> Extra {
    let Some(value) = entry.get("_wirescope") else { return Extra::default() };
    Extra::deserialize(value).unwrap_or_else(|error| {
        notes.push(format!("its _wirescope object is not understood: {error}"));
        Extra::default()
    })
}

/// When it began: in ISO 8601, or as some tools have it in milliseconds since 1970.
fn started_at(entry: &Value) -> Option<SystemTime> {
    /// A day in 1973: a smaller number counts something else.
    const LEAST_MILLIS: f64 = 1e11;
    let iso = text(entry, "startedDateTime").and_then(clock::parse_iso);
    iso.or_else(|| {
        let millis = number(entry, "startedDateTime").filter(|millis| *millis >= LEAST_MILLIS)?;
        clock::from_epoch_seconds(millis / 1000.0)
    })
}

/// Takes over what only our own files say.
fn adopt(exchange: &mut Exchange, extra: Extra) {
    exchange.client = extra.client.map(PeerExtra::into_peer);
    exchange.rules = extra.rules.into_iter().map(RuleExtra::into_hit).collect();
    exchange.tunnel = extra.tunnel;
    exchange.tunnel_bytes = extra.tunnel_bytes.unwrap_or_default();
    exchange.request_trailers = from_fields(&extra.request_trailers);
    exchange.response_trailers = from_fields(&extra.response_trailers);
    exchange.informational = extra.informational.into_iter().filter_map(InterimExtra::into_head).collect();
}

fn request_head(request: &Value, extra: &Extra, notes: &mut Vec<String>) -> Result<RequestHead, Refusal> {
    let method = text(request, "method").map(str::trim).ok_or("its request has no method")?;
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| format!("its method is no token: {method:?}"))?;
    let url = text(request, "url").ok_or("its request has no url")?;
    let target = match &extra.target {
        Some(said) => Target {
            scheme: if said.scheme == "https" { Scheme::Https } else { Scheme::Http },
            authority: unbroken(&said.authority).into_owned(),
            target: unbroken(&said.target).into_owned(),
        },
        None => url::read(&method, url)?,
    };
    Ok(RequestHead {
        method,
        scheme: target.scheme,
        authority: target.authority,
        target: target.target,
        version: version::read(text(request, "httpVersion").unwrap_or_default()),
        headers: headers(request, "request", notes),
    })
}

/// The response's head; `None` where there was none (status 0, or -1 as Playwright has it).
fn response_head(
    response: &Value,
    extra: &Extra,
    notes: &mut Vec<String>,
) -> Result<Option<ResponseHead>, Refusal> {
    let Some(status) = number(response, "status").filter(|status| *status > 0.0) else { return Ok(None) };
    let valid =
        (status.fract() == 0.0 && status < 1000.0).then(|| StatusCode::from_u16(truncated(status)).ok());
    let status = valid.flatten().ok_or_else(|| format!("its status is no HTTP status: {status}"))?;
    let version = version::read(text(response, "httpVersion").unwrap_or_default());
    let reason = match &extra.reason {
        Some(reason) => reason.latin1.as_deref().map(|text| from_latin1(&unbroken(text))),
        None => reason_of(version, &unbroken(text(response, "statusText").unwrap_or_default())),
    };
    Ok(Some(ResponseHead { status, reason, version, headers: headers(response, "response", notes) }))
}

/// A number known to be small and whole.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the caller checked the range")]
fn truncated(number: f64) -> u16 {
    number as u16
}

/// Reads headers: a list of names and values, or an object as some tools have it. Pseudo-header fields, which browsers list
/// for HTTP/2, are no fields of the message; a value of several lines, as Chrome writes duplicates, is several fields.
fn headers(message: &Value, whose: &str, notes: &mut Vec<String>) -> Headers {
    let mut headers = Headers::new();
    match message.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for item in list {
                let latin1 = item.get("_latin1").and_then(Value::as_bool).unwrap_or(false);
                let name = text(item, "name").unwrap_or_default();
                add_field(&mut headers, (name, item.get("value"), latin1), whose, notes);
            }
        }
        Some(Value::Object(fields)) => {
            for (name, value) in fields {
                let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                for value in values {
                    add_field(&mut headers, (name, Some(value), false), whose, notes);
                }
            }
        }
        Some(_) => notes.push(format!("its {whose} headers are no list and were left out")),
    }
    headers
}

fn add_field(
    headers: &mut Headers,
    (name, value, latin1): (&str, Option<&Value>, bool),
    whose: &str,
    notes: &mut Vec<String>,
) {
    if name.starts_with(':') {
        return;
    }
    for line in scalar(value.unwrap_or(&Value::Null)).split('\n') {
        let value = line.trim_end_matches('\r').to_owned();
        match (Field { name: name.to_owned(), value, latin1 }).header() {
            Some(header) => headers.push(header.name, header.value),
            None => notes.push(format!("a {whose} header without a usable name was left out")),
        }
    }
}

/// Says what the exchange was and how it ended: as our own file says, or as the rest of the entry shows.
fn settle(exchange: &mut Exchange, extra: &mut Extra, has_messages: bool, error: Option<&str>) {
    let response = exchange.response.as_ref();
    let switched = response.is_some_and(|head| head.status == StatusCode::SWITCHING_PROTOCOLS);
    let websocket = exchange.request.headers.has_token("upgrade", "websocket");
    let kind = extra.kind.as_deref().and_then(words::kind_of).unwrap_or_else(|| match () {
        () if has_messages || (switched && websocket) => ExchangeKind::WebSocket,
        () if exchange.request.method == Method::CONNECT => ExchangeKind::Tunnel,
        () if switched => ExchangeKind::Upgrade,
        () => ExchangeKind::Http,
    });
    let said = extra.state.as_deref().and_then(|word| words::state_of(word, extra.failure.take()));
    let error = error.filter(|error| !error.is_empty());
    let state = said.unwrap_or_else(|| match (response, error) {
        (_, Some(error)) => ExchangeState::Failed(blame::failure(error)),
        (None, None) => ExchangeState::Failed(Failure::new(FailureKind::Unstated, "there is no response")),
        (Some(_), None) if kind == ExchangeKind::Tunnel => ExchangeState::Tunnel,
        (Some(_), None) if switched => ExchangeState::Upgrade,
        (Some(_), None) => ExchangeState::Response,
    });
    let source = extra.source.as_deref().and_then(words::source_of).unwrap_or(ResponseSource::Upstream);
    exchange.response_source = response.is_some().then_some(source);
    exchange.summary.kind = kind;
    exchange.summary.state = state;
}

fn timings(entry: &Value, total: Option<f64>) -> Timings {
    let parts = entry.get("timings").unwrap_or(&Value::Null);
    let part = |name| number(parts, name).and_then(clock::from_millis);
    let mut timings = Timings::default();
    timings.blocked = part("blocked");
    timings.dns = part("dns");
    timings.connect = part("connect");
    timings.ssl = part("ssl");
    timings.send = part("send").unwrap_or_default();
    timings.wait = part("wait").unwrap_or_default();
    timings.receive = part("receive").unwrap_or_default();
    let before = [timings.blocked, timings.dns, timings.connect].into_iter().flatten();
    let sum: Duration = before.chain([timings.send, timings.wait, timings.receive]).sum();
    timings.total = total.or_else(|| number(entry, "time")).and_then(clock::from_millis).unwrap_or(sum);
    timings
}

fn sizes(exchange: &Exchange, request: &Value, response: &Value, said: Option<SizesExtra>) -> Sizes {
    let head = |message: &Value| number(message, "headersSize").and_then(whole).unwrap_or(0);
    let mut sizes = Sizes::default();
    if let Some(said) = said {
        sizes.request_head = said.request_head;
        sizes.request_body = said.request_body;
        sizes.response_head = said.response_head;
        sizes.response_body = said.response_body;
    } else {
        sizes.request_head = head(request);
        sizes.request_body = exchange.request_body.wire_bytes;
        sizes.response_head = head(response);
        sizes.response_body = exchange.response_body.wire_bytes;
    }
    sizes
}

/// The upstream connection as HAR has it: an address without port, a number as text or, from some tools, as number.
fn peer(entry: &Value, request: &RequestHead) -> Option<Peer> {
    let address = text(entry, "serverIPAddress")
        .map(|address| address.trim_matches(['[', ']']))
        .and_then(|address| address.parse().ok())
        .map(|ip| std::net::SocketAddr::new(ip, request.port()));
    let connection = number(entry, "connection").and_then(whole);
    (address.is_some() || connection.is_some()).then(|| Peer::new(connection.unwrap_or(0), address, None))
}
