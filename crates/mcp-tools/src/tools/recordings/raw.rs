//! An exchange as Charles writes it into a .chlsj file, with bodies cut.

use capture_store::{BodySide, ErrorKind, Exchange, ExchangeKind, ExchangeState, Seq, Store};
use proxy_core::Headers;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::{
    body::{self, Encoding, slice},
    budget::cut,
    error::ToolError,
    view::{duration_millis, failure, millis},
};

/// Decoded bytes of a body that are shown.
const MAX_BODY: u32 = 2048;
/// Header fields of a side.
const MAX_HEADERS: usize = 100;
/// Characters of a header's value.
const MAX_VALUE: usize = 1024;
/// Characters on either side of what an expression matched.
const AROUND: usize = 40;

/// What of an exchange is kept.
pub(super) struct Kept {
    pub(super) request: bool,
    pub(super) response: bool,
    /// What was looked for; where it stands is told.
    pub(super) pattern: Option<Regex>,
}

/// Reads an exchange; `None` where it was evicted meanwhile.
pub(super) fn entry(store: &Store, seq: Seq, kept: &Kept) -> Result<Option<Value>, ToolError> {
    let exchange = match store.exchange(seq) {
        Ok(exchange) => exchange,
        Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut entry = facts(&exchange);
    if kept.request {
        let line = format!(
            "{} {} {}",
            exchange.request.method,
            cut(&exchange.request.target, 2000),
            exchange.summary.http_version
        );
        entry["request"] = message(store, &exchange, BodySide::Request, &exchange.request.headers, line)?;
    }
    if let Some(head) = exchange.response.as_ref().filter(|_| kept.response) {
        let reason = head.reason.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let line = format!("{:?} {} {reason}", head.version, head.status.as_u16());
        let line = cut(line.trim_end(), 500);
        let mut response = message(store, &exchange, BodySide::Response, &head.headers, line)?;
        response["status"] = json!(head.status.as_u16());
        entry["response"] = response;
    }
    let texts = ["/request/body/text", "/response/body/text"];
    let texts = texts.into_iter().filter_map(|pointer| entry.pointer(pointer)?.as_str().map(str::to_owned));
    let mut texts = texts.chain([entry.to_string()]);
    if let Some(place) =
        kept.pattern.as_ref().and_then(|pattern| texts.find_map(|text| place(pattern, &text)))
    {
        entry["_match_location"] = json!({"line": 1, "content": place});
    }
    Ok(Some(entry))
}

/// What surrounds the first match, where it is in what is shown.
fn place(pattern: &Regex, text: &str) -> Option<String> {
    let found = pattern.find(text)?;
    let from = text[..found.start()].char_indices().rev().nth(AROUND - 1).map_or(0, |(at, _)| at);
    let to = text[found.end()..].char_indices().nth(AROUND).map_or(text.len(), |(at, _)| found.end() + at);
    Some(cut(&text[from..to], 400))
}

fn facts(exchange: &Exchange) -> Value {
    let summary = &exchange.summary;
    let (path, query) = summary
        .target
        .split_once('?')
        .map_or((summary.target.as_str(), None), |(path, query)| (path, Some(cut(query, 2000))));
    let timings = &exchange.timings;
    let ended = summary.duration.and_then(|duration| summary.started_at.checked_add(duration));
    let mut entry = json!({
        "id": summary.seq.to_string(),
        "status": match summary.state {
            ExchangeState::Open => "IN_PROGRESS",
            ExchangeState::Failed(_) => "FAILED",
            _ => "COMPLETE",
        },
        "method": summary.method,
        "protocolVersion": summary.http_version,
        "scheme": summary.scheme,
        "host": summary.host,
        "actualPort": summary.port,
        "path": cut(path, 2000),
        "query": query,
        "errorMessage": failure(&summary.state),
        "tunnel": (summary.kind == ExchangeKind::Tunnel).then_some(true),
        "webSocket": (summary.kind == ExchangeKind::WebSocket).then_some(true),
        "totalSize": summary.request_body_bytes + summary.response_body_bytes,
        "times": {"start": millis(summary.started_at), "end": ended.map(millis)},
        "durations": {
            "total": summary.duration.map(duration_millis),
            "dns": timings.dns.map(duration_millis),
            "connect": timings.connect.map(duration_millis),
            "ssl": timings.ssl.map(duration_millis),
            "latency": duration_millis(timings.wait),
        },
    });
    strip(&mut entry);
    entry
}

fn message(
    store: &Store,
    exchange: &Exchange,
    side: BodySide,
    headers: &Headers,
    first_line: String,
) -> Result<Value, ToolError> {
    let fields: Vec<Value> = headers
        .iter()
        .take(MAX_HEADERS)
        .map(|header| json!({"name": header.name_text(), "value": cut(&header.value_text(), MAX_VALUE)}))
        .collect();
    let content_type = headers.get_str("content-type");
    let mut message = json!({
        "mimeType": content_type.and_then(|it| it.split(';').next()).map(str::trim),
        "contentEncoding": headers.get_str("content-encoding"),
        "header": {"firstLine": first_line, "headers": fields},
    });
    let seq = exchange.summary.seq;
    if let (Some(open), Some(slice)) = (store.body(seq, side)?, slice(0, MAX_BODY)) {
        let piece = body::read(open, || store.body(seq, side).ok().flatten(), slice);
        let mut told = match piece.encoding {
            Encoding::Text => json!({"text": piece.data}),
            Encoding::Base64 => json!({"encoding": "base64", "encoded": piece.data}),
        };
        if piece.next_offset.is_some() {
            told["truncated"] = json!(true);
        }
        message["body"] = told;
    }
    strip(&mut message);
    Ok(message)
}

/// Leaves nulls out.
fn strip(value: &mut Value) {
    if let Value::Object(object) = value {
        strip_map(object);
    }
}

fn strip_map(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    for value in object.values_mut() {
        if let Value::Object(object) = value {
            strip_map(object);
        }
    }
}
