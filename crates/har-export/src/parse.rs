//! An entry of whatever tool as an exchange.

use std::time::{Duration, SystemTime};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use capture_store::{Exchange, ExchangeKind, ExchangeState, ImportedExchange, Peer, Recorded, StoredMessage};
use http::{Method, StatusCode};
use proxy_core::{
    Failure, FailureKind, Headers, RequestHead, ResponseHead, ResponseSource, Scheme, Sizes, Timings,
};
use serde_json::Value;

use crate::{
    blame, clock,
    compose::reason_of,
    extra::{self, BodyExtra, Extra, InterimExtra, PeerExtra, RuleExtra, SizesExtra},
    form,
    json::{number, scalar, take, text, whole},
    message::{self, MessageExtra},
    text::{Field, from_fields, from_latin1, unbroken},
    url::{self, Target},
    version,
};

/// Base64 as tools write it: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

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

/// Turns an entry into an exchange. One without a usable time begins at `otherwise`.
///
/// The error says in words for people why the entry is no exchange.
pub(crate) fn parse(mut entry: Value, otherwise: SystemTime) -> Result<Parsed, String> {
    let mut notes = Vec::new();
    let mut extra = take_extra(&mut entry, &mut notes);
    let mut request = take(&mut entry, "request").filter(Value::is_object).ok_or("it has no request")?;
    let mut response = take(&mut entry, "response").unwrap_or_default();
    let head = request_head(&mut request, &extra, &mut notes)?;
    let started_at = text(&entry, "startedDateTime").and_then(clock::parse_iso).unwrap_or_else(|| {
        notes.push("it has no readable startedDateTime; that of the entry before, or the time of the import, was taken".to_owned());
        otherwise
    });
    let mut exchange = Exchange::new(head, started_at);
    exchange.response = response_head(&mut response, &extra, &mut notes)?;
    let messages = take_messages(&mut entry, started_at, &mut notes);
    let error = ["_error", "_failureText"]
        .into_iter()
        .find_map(|key| text(&response, key).or_else(|| text(&entry, key)))
        .map(str::to_owned);
    settle(&mut exchange, &mut extra, !messages.is_empty(), error.as_deref());
    let request_body = posted(&mut request, &mut exchange, extra.request_body.take(), &mut notes);
    let response_body = received(&mut response, &mut exchange, extra.response_body.take(), &mut notes);
    exchange.timings = timings(&entry, extra.total);
    exchange.sizes = sizes(&exchange, &request, &response, extra.sizes.take());
    exchange.comment = text(&entry, "comment").map(str::to_owned);
    let certificates_of =
        extra.upstream.as_ref().and_then(|peer| peer.tls.as_ref()).and_then(|tls| tls.certificates_of);
    exchange.upstream = match extra.upstream.take() {
        Some(said) => Some(said.into_peer()),
        // Ours says all there is: without an upstream, `connection` is the client's.
        None if extra.state.is_some() => None,
        None => peer(&entry, &exchange.request),
    };
    let seq = extra.seq;
    adopt(&mut exchange, extra);
    let exchange = ImportedExchange { exchange, request_body, response_body, messages };
    Ok(Parsed { exchange, seq, certificates_of, notes })
}

fn take_extra(entry: &mut Value, notes: &mut Vec<String>) -> Extra {
    let Some(value) = take(entry, "_wirescope") else { return Extra::default() };
    serde_json::from_value(value).unwrap_or_else(|error| {
        notes.push(format!("its _wirescope object is not understood: {error}"));
        Extra::default()
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

fn request_head(request: &mut Value, extra: &Extra, notes: &mut Vec<String>) -> Result<RequestHead, String> {
    let method = text(request, "method").ok_or("its request has no method")?;
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
    response: &mut Value,
    extra: &Extra,
    notes: &mut Vec<String>,
) -> Result<Option<ResponseHead>, String> {
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

/// Reads a list of headers. Pseudo-header fields, which browsers list for HTTP/2, are no fields of the message;
/// a value of several lines, as Chrome writes duplicates, is several fields.
fn headers(message: &mut Value, whose: &str, notes: &mut Vec<String>) -> Headers {
    let mut headers = Headers::new();
    let Some(Value::Array(list)) = take(message, "headers") else { return headers };
    for item in list {
        let latin1 = item.get("_latin1").and_then(Value::as_bool).unwrap_or(false);
        let name = text(&item, "name").unwrap_or_default();
        if name.starts_with(':') {
            continue;
        }
        for line in scalar(item.get("value").unwrap_or(&Value::Null)).split('\n') {
            let value = line.trim_end_matches('\r').to_owned();
            match (Field { name: name.to_owned(), value, latin1 }).header() {
                Some(header) => headers.push(header.name, header.value),
                None => notes.push(format!("a {whose} header without a usable name was left out")),
            }
        }
    }
    headers
}

/// Says what the exchange was and how it ended: as our own file says, or as the rest of the entry shows.
fn settle(exchange: &mut Exchange, extra: &mut Extra, has_messages: bool, error: Option<&str>) {
    let response = exchange.response.as_ref();
    let switched = response.is_some_and(|head| head.status == StatusCode::SWITCHING_PROTOCOLS);
    let websocket = exchange.request.headers.has_token("upgrade", "websocket");
    let kind = extra.kind.as_deref().and_then(extra::kind_of).unwrap_or_else(|| match () {
        () if has_messages || (switched && websocket) => ExchangeKind::WebSocket,
        () if exchange.request.method == Method::CONNECT => ExchangeKind::Tunnel,
        () if switched => ExchangeKind::Upgrade,
        () => ExchangeKind::Http,
    });
    let said = extra.state.as_deref().and_then(|word| extra::state_of(word, extra.failure.take()));
    let error = error.filter(|error| !error.is_empty());
    let state = said.unwrap_or_else(|| match (response, error) {
        (_, Some(error)) => ExchangeState::Failed(blame::failure(error)),
        (None, None) => ExchangeState::Failed(Failure::new(FailureKind::Unstated, "there is no response")),
        (Some(_), None) if kind == ExchangeKind::Tunnel => ExchangeState::Tunnel,
        (Some(_), None) if switched => ExchangeState::Upgrade,
        (Some(_), None) => ExchangeState::Response,
    });
    let source = extra.source.as_deref().and_then(extra::source_of).unwrap_or(ResponseSource::Upstream);
    exchange.response_source = response.is_some().then_some(source);
    exchange.summary.kind = kind;
    exchange.summary.state = state;
}

fn posted(
    request: &mut Value,
    exchange: &mut Exchange,
    said: Option<BodyExtra>,
    notes: &mut Vec<String>,
) -> Option<Bytes> {
    let mut post = take(request, "postData").unwrap_or_default();
    let content = take_text(&mut post, "request", notes).or_else(|| rebuilt(&post, notes));
    let size = number(request, "bodySize");
    let coded = exchange.request.headers.contains("content-encoding");
    let (recorded, body) = body(content, size, coded, said);
    exchange.request_body = recorded;
    body
}

/// A form's body out of its parameters, where only those were kept.
fn rebuilt(post: &Value, notes: &mut Vec<String>) -> Option<Bytes> {
    let params = post.get("params").and_then(Value::as_array).filter(|params| !params.is_empty())?;
    let mime = text(post, "mimeType").unwrap_or_default().to_ascii_lowercase();
    if !mime.starts_with("application/x-www-form-urlencoded") {
        notes.push("its request body is missing: only its parameters were kept".to_owned());
        return None;
    }
    let pairs = params
        .iter()
        .filter_map(|param| Some((text(param, "name")?, text(param, "value").unwrap_or_default())));
    Some(form::encode(pairs).into())
}

fn received(
    response: &mut Value,
    exchange: &mut Exchange,
    said: Option<BodyExtra>,
    notes: &mut Vec<String>,
) -> Option<Bytes> {
    let mut content = take(response, "content").unwrap_or_default();
    let bytes = take_text(&mut content, "response", notes);
    let mut size = number(response, "bodySize").filter(|size| *size > 0.0);
    if bytes.is_none() && exchange.request.method != Method::HEAD {
        size = size.or_else(|| number(&content, "size"));
    }
    if exchange.request.method == Method::HEAD && said.is_none() && bytes.is_none() {
        // What some tools give as its size is the Content-Length of the body that HEAD leaves out.
        size = None;
    }
    let coded = exchange.response.as_ref().is_some_and(|head| head.headers.contains("content-encoding"));
    let (recorded, body) = body(bytes, size, coded, said);
    exchange.response_body = recorded;
    body
}

/// How much of a body there is, by our own words or by the entry's size.
fn body(
    bytes: Option<Bytes>,
    size: Option<f64>,
    coded: bool,
    said: Option<BodyExtra>,
) -> (Recorded, Option<Bytes>) {
    let bytes = bytes.filter(|bytes| !bytes.is_empty());
    let stored = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
    let mut recorded = Recorded::default();
    recorded.stored_bytes = stored;
    recorded.identity = stored > 0 && coded && !said.as_ref().is_some_and(|said| said.coded);
    recorded.wire_bytes = match &said {
        Some(said) => said.wire_bytes,
        None => size.and_then(whole).filter(|size| *size > 0).unwrap_or(stored),
    };
    recorded.complete = said.is_none_or(|said| said.complete);
    (recorded, bytes)
}

/// Takes the text of a body out of the entry and turns it into the body's bytes.
fn take_text(content: &mut Value, whose: &str, notes: &mut Vec<String>) -> Option<Bytes> {
    let encoding = ["encoding", "_encoding"].into_iter().find_map(|key| text(content, key));
    let base64 = encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"));
    if let Some(file) = text(content, "_file") {
        notes.push(format!("its {whose} body is in a file of its own, which is not read: {file:?}"));
    }
    let text = match take(content, "text")? {
        Value::String(text) => text,
        Value::Null => return None,
        other => {
            notes.push(format!("its {whose} body is no text, but JSON, and was written out as such"));
            other.to_string()
        }
    };
    if !base64 {
        return Some(text.into());
    }
    let decoded = decode_base64(text);
    if decoded.is_none() {
        notes.push(format!("its {whose} body says it is base64 but is not, and was left out"));
    }
    decoded
}

/// Decodes base64 with or without line breaks and padding. A last group that was cut is left out.
fn decode_base64(text: String) -> Option<Bytes> {
    let mut text = text.into_bytes();
    text.retain(|byte| !byte.is_ascii_whitespace());
    if text.len() % 4 == 1 {
        text.pop();
    }
    BASE64.decode(text).ok().map(Bytes::from)
}

fn take_messages(entry: &mut Value, started_at: SystemTime, notes: &mut Vec<String>) -> Vec<StoredMessage> {
    let Some(Value::Array(list)) = take(entry, "_webSocketMessages") else { return Vec::new() };
    let total = list.len();
    let read = list.into_iter().filter_map(|item| parse_message(item, started_at)).enumerate();
    let messages: Vec<_> = read
        .map(|(index, mut message)| {
            message.index = index as u64;
            message
        })
        .collect();
    if messages.len() < total {
        notes.push(format!("{} of {total} WebSocket messages are not understood", total - messages.len()));
    }
    messages
}

fn parse_message(mut item: Value, started_at: SystemTime) -> Option<StoredMessage> {
    let data = match take(&mut item, "data")? {
        Value::String(data) => data,
        _ => return None,
    };
    let from_client = matches!(text(&item, "type")?, "send" | "request" | "sent");
    let kind = message::kind(number(&item, "opcode").and_then(whole).unwrap_or(1));
    let extra: MessageExtra = take(&mut item, "_wirescope")
        .and_then(|extra| serde_json::from_value(extra).ok())
        .unwrap_or_default();
    let exact = extra.at.as_deref().and_then(clock::parse_iso);
    let at =
        exact.or_else(|| number(&item, "time").and_then(clock::from_epoch_seconds)).unwrap_or(started_at);
    let data = message::data(kind, extra.encoding.as_deref(), data).ok()?;
    let mut message = StoredMessage::new(0, at, from_client, kind, data);
    message.length = extra.length.unwrap_or(message.length).max(message.length);
    message.truncated = extra.truncated;
    message.compressed = extra.compressed;
    Some(message)
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
