//! One exchange in full: heads, bodies by slice, TLS facts, WebSocket messages.

use std::time::Duration;

use capture_store::{BodySide, Exchange, ExchangeState, Store, StoredMessage};
use proxy_core::{Headers, MessageKind, Timings};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    body::{self, Encoding, Slice},
    budget::{cut, fit, json_bytes},
    error::ToolError,
    view::{
        HeaderMap, OneOrMany, Source, TlsView, duration_millis, failure, header_map, is_false, kind, millis,
        raw_headers,
    },
};

/// Characters of a header value or URL before it is cut.
const MAX_VALUE: usize = 2 * 1024;
/// Bytes of JSON of one side's headers before whole fields are left out.
const MAX_HEADERS: usize = 6 * 1024;

/// How much of an exchange to show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    pub(crate) request_body: Option<Slice>,
    pub(crate) response_body: Option<Slice>,
    /// Headers whole, however long, and as received beside.
    pub(crate) full_headers: bool,
    /// The first message and how many; none for 0.
    pub(crate) messages: (u64, usize),
}

/// An exchange.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExchangeView {
    /// Its id.
    pub(crate) id: String,
    /// The session it belongs to.
    pub(crate) session_id: String,
    /// When it began.
    pub(crate) timestamp: u64,
    pub(crate) source: Source,
    /// What it was, where it was no plain request: `websocket`, `upgrade`, `tunnel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    pub(crate) request: RequestView,
    /// Absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<ResponseView>,
    /// What TLS agreed on, on either side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsView>,
    /// The first rule that applied.
    pub(crate) matched_rule_id: Option<String>,
    /// Milliseconds; null while it goes on.
    pub(crate) duration: Option<u64>,
    /// Where the time went; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timings: Option<TimingsView>,
    /// Why it failed, where it did: a code and a phrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Whether it still goes on.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) in_progress: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_address: Option<String>,
    /// Name and pid, where it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_process: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_address: Option<String>,
    /// Bytes through a tunnel or opaque upgrade: towards upstream, towards the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tunnel_bytes: Option<(u64, u64)>,
    /// WebSocket messages in all.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) message_count: u64,
    /// WebSocket messages from `message_offset` on, as far as the budget goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) messages: Vec<MessageView>,
    /// The `message_offset` that gives the next ones; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message_next_offset: Option<u64>,
}

/// Bytes of JSON that messages take at most.
const MAX_MESSAGES: usize = 8 * 1024;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestView {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) hostname: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) http_version: String,
    /// By lower-case name; several values of one name are a list.
    pub(crate) headers: HeaderMap,
    /// As received: order, case and duplicates kept. With `full_headers` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) raw_headers: Option<Vec<(String, String)>>,
    /// Fields left out, and values cut with an ellipsis, because the headers are long; `full_headers` gives all.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) headers_cut: bool,
    #[serde(flatten)]
    pub(crate) body: BodyView,
}

/// A response.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResponseView {
    pub(crate) status_code: u16,
    /// The reason phrase; empty in HTTP/2.
    pub(crate) status_message: String,
    pub(crate) http_version: String,
    /// By lower-case name; several values of one name are a list.
    pub(crate) headers: HeaderMap,
    /// As received: order, case and duplicates kept. With `full_headers` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) raw_headers: Option<Vec<(String, String)>>,
    /// Fields left out, and values cut with an ellipsis, because the headers are long; `full_headers` gives all.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) headers_cut: bool,
    #[serde(flatten)]
    pub(crate) body: BodyView,
}

/// A piece of a body.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BodyView {
    /// The piece asked for, decoded; empty without a body.
    pub(crate) body_preview: String,
    /// `base64` where the bytes are no text; absent where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_encoding: Option<Encoding>,
    /// The `body_offset` that gives the next piece; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_next_offset: Option<u64>,
    /// What is missing of the body, or why it could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_problem: Option<String>,
    /// Bytes on the wire, content coding kept.
    pub(crate) body_size: u64,
}

/// Where an exchange's time went, in milliseconds; parts that did not take place are absent.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(crate) struct TimingsView {
    /// Waiting in the proxy before anything was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<f64>,
    /// Establishing the upstream connection, TLS included.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<f64>,
    /// The TLS handshake with upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl: Option<f64>,
    send: f64,
    /// From the request's end to the response's first byte.
    wait: f64,
    receive: f64,
}

impl TimingsView {
    fn new(timings: &Timings) -> Self {
        let ms = |duration: Duration| (duration.as_secs_f64() * 100_000.0).round() / 100.0;
        Self {
            blocked: timings.blocked.map(ms),
            dns: timings.dns.map(ms),
            connect: timings.connect.map(ms),
            ssl: timings.ssl.map(ms),
            send: ms(timings.send),
            wait: ms(timings.wait),
            receive: ms(timings.receive),
        }
    }
}

/// A WebSocket message.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageView {
    pub(crate) index: u64,
    pub(crate) timestamp: u64,
    /// `client` or `server`.
    pub(crate) from: &'static str,
    /// `text`, `binary`, `close`, `ping` or `pong`.
    pub(crate) kind: &'static str,
    /// The payload, at most its first 1,024 bytes.
    pub(crate) data: String,
    /// `base64` where the bytes are no text; absent where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<Encoding>,
    /// The payload's full length in bytes.
    pub(crate) length: u64,
}

impl ExchangeView {
    /// Reads what `depth` asks for.
    pub(crate) fn read(store: &Store, exchange: &Exchange, depth: Depth) -> Result<Self, ToolError> {
        let summary = &exchange.summary;
        let messages = match depth.messages {
            (_, 0) => Vec::new(),
            (from, limit) if summary.messages > from => store.messages(summary.seq, from, limit)?,
            _ => Vec::new(),
        };
        let (messages, _) = fit(messages.iter().map(MessageView::new).collect(), MAX_MESSAGES);
        let message_next_offset =
            messages.last().map(|last| last.index + 1).filter(|next| *next < summary.messages);
        let address = |peer: &Option<capture_store::Peer>| {
            peer.as_ref().and_then(|peer| peer.address).map(|address| address.to_string())
        };
        let relayed = exchange.tunnel_bytes;
        Ok(Self {
            id: summary.seq.to_string(),
            session_id: summary.session.to_string(),
            timestamp: millis(summary.started_at),
            source: Source::of(exchange),
            kind: kind(summary.kind),
            request: request(store, exchange, depth)?,
            response: response(store, exchange, depth)?,
            tls: TlsView::new(exchange),
            matched_rule_id: exchange.rules.first().map(|hit| hit.rule.clone()),
            duration: summary.duration.map(duration_millis),
            timings: summary.duration.map(|_| TimingsView::new(&exchange.timings)),
            error: failure(&summary.state),
            in_progress: summary.state == ExchangeState::Open,
            client_address: address(&exchange.client),
            client_process: process(&exchange.client),
            upstream_address: address(&exchange.upstream),
            tunnel_bytes: (relayed != (0, 0)).then_some(relayed),
            message_count: summary.messages,
            messages,
            message_next_offset,
        })
    }
}

/// The process a client is: `curl (4242)`.
fn process(client: &Option<capture_store::Peer>) -> Option<String> {
    let process = client.as_ref()?.process.as_ref()?;
    Some(format!("{} ({})", process.name, process.pid))
}

fn request(store: &Store, exchange: &Exchange, depth: Depth) -> Result<RequestView, ToolError> {
    let summary = &exchange.summary;
    let (headers, headers_cut) = headers(&exchange.request.headers, depth);
    let long = if depth.full_headers { usize::MAX } else { MAX_VALUE };
    Ok(RequestView {
        method: summary.method.clone(),
        url: cut(&summary.url, long),
        hostname: summary.host.clone(),
        path: cut(&summary.target, long),
        http_version: summary.http_version.clone(),
        headers,
        raw_headers: depth.full_headers.then(|| raw_headers(&exchange.request.headers)),
        headers_cut,
        body: piece(store, exchange, BodySide::Request, depth.request_body)?,
    })
}

fn response(store: &Store, exchange: &Exchange, depth: Depth) -> Result<Option<ResponseView>, ToolError> {
    let Some(head) = &exchange.response else { return Ok(None) };
    let (headers, headers_cut) = headers(&head.headers, depth);
    let reason = head.reason.as_deref().unwrap_or_default();
    Ok(Some(ResponseView {
        status_code: head.status.as_u16(),
        status_message: cut(&String::from_utf8_lossy(reason), MAX_VALUE),
        http_version: format!("{:?}", head.version).replace("/2.0", "/2"),
        headers,
        raw_headers: depth.full_headers.then(|| raw_headers(&head.headers)),
        headers_cut,
        body: piece(store, exchange, BodySide::Response, depth.response_body)?,
    }))
}

/// The headers by name, within their budget unless asked for whole.
fn headers(headers: &Headers, depth: Depth) -> (HeaderMap, bool) {
    let mut map = header_map(headers);
    if depth.full_headers || json_bytes(&map) <= MAX_HEADERS {
        return (map, false);
    }
    for value in map.values_mut() {
        match value {
            OneOrMany::One(text) => *text = cut(text, MAX_VALUE),
            OneOrMany::Many(texts) => texts.iter_mut().for_each(|text| *text = cut(text, MAX_VALUE)),
        }
    }
    let mut room = MAX_HEADERS;
    map.retain(|name, value| {
        let size = name.len() + json_bytes(value) + 4;
        let fits = size <= room;
        if fits {
            room -= size;
        }
        fits
    });
    (map, true)
}

fn piece(
    store: &Store,
    exchange: &Exchange,
    side: BodySide,
    slice: Option<Slice>,
) -> Result<BodyView, ToolError> {
    let (seq, recorded) = match side {
        BodySide::Request => (exchange.summary.seq, exchange.request_body),
        BodySide::Response => (exchange.summary.seq, exchange.response_body),
    };
    let mut view = BodyView { body_size: recorded.wire_bytes, ..BodyView::default() };
    let Some(slice) = slice else { return Ok(view) };
    let Some(body) = store.body(seq, side)? else { return Ok(view) };
    let piece = body::read(body, || store.body(seq, side).ok().flatten(), slice);
    view.body_preview = piece.data;
    view.body_encoding = (piece.encoding != Encoding::Text).then_some(piece.encoding);
    view.body_next_offset = piece.next_offset;
    let open = exchange.summary.state == ExchangeState::Open;
    view.body_problem = piece.problem.filter(|_| !open || recorded.complete);
    Ok(view)
}

/// Bytes of a message's payload that are shown.
const MAX_MESSAGE: usize = 1024;

impl MessageView {
    fn new(message: &StoredMessage) -> Self {
        let shown = &message.data[..message.data.len().min(MAX_MESSAGE)];
        let piece = body::show(shown.to_vec(), shown.len() < message.data.len());
        Self {
            index: message.index,
            timestamp: millis(message.at),
            from: if message.from_client { "client" } else { "server" },
            kind: match message.kind {
                MessageKind::Text => "text",
                MessageKind::Binary => "binary",
                MessageKind::Close => "close",
                MessageKind::Ping => "ping",
                _ => "pong",
            },
            data: piece.data,
            encoding: (piece.encoding != Encoding::Text).then_some(piece.encoding),
            length: message.length,
        }
    }
}
