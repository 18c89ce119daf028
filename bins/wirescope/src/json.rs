//! What `--json` prints: one object to the line.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use capture_store::{
    ExchangeKind, ExchangeState, ExchangeSummary, SearchHit, SessionInfo, SessionKind, SessionState,
};
use proxy_core::{Headers, ListenerKind};
use serde_json::{Value, json};

use crate::text;

/// An object as one line. What could act on a terminal is escaped as JSON has it, so that a reader gets it back.
pub(crate) fn line(object: &Value) -> String {
    let line = object.to_string();
    if !line.chars().any(text::is_active) {
        return line;
    }
    let mut safe = String::with_capacity(line.len() + 16);
    for letter in line.chars() {
        if text::is_active(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// A session.
pub(crate) fn session(info: &SessionInfo) -> Value {
    json!({
        "id": info.id.to_string(),
        "name": info.name,
        "kind": session_kind(info.kind),
        "state": session_state(info.state),
        "startedAt": millis(info.started_at),
        "endedAt": info.ended_at.map(millis),
        "exchanges": info.exchanges,
        "bytes": info.bytes,
        "maxBytes": info.max_bytes,
        "maxExchanges": info.max_exchanges,
        "maxAgeMs": info.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        "comment": info.comment,
        "tags": info.tags,
        "evicted": info.evicted,
        "notRecorded": info.not_recorded,
        "recovery": info.recovery.as_ref().map(|recovery| json!({
            "at": millis(recovery.at),
            "unfinished": recovery.unfinished,
            "droppedBytes": recovery.dropped_bytes,
            "windowMs": recovery.window_ms,
        })),
        "lastError": info.last_error,
    })
}

/// The word for a kind of listener.
pub(crate) fn listener(kind: ListenerKind) -> &'static str {
    match kind {
        ListenerKind::Explicit => "explicit",
        ListenerKind::Socks => "socks",
        ListenerKind::Transparent => "transparent",
        ListenerKind::Reverse => "reverse",
        ListenerKind::Own => "own",
        _ => "other",
    }
}

/// An exchange as lists show it.
pub(crate) fn exchange(summary: &ExchangeSummary) -> Value {
    json!({
        "id": summary.seq.to_string(),
        "session": summary.session.to_string(),
        "kind": exchange_kind(summary.kind),
        "state": exchange_state(&summary.state),
        "failure": failure(&summary.state),
        "startedAt": millis(summary.started_at),
        "durationMs": summary.duration.map(duration),
        "method": summary.method,
        "url": summary.url,
        "host": summary.host,
        "port": summary.port,
        "path": summary.target,
        "httpVersion": summary.http_version,
        "status": summary.status,
        "requestContentType": summary.request_content_type,
        "responseContentType": summary.response_content_type,
        "requestBodyBytes": summary.request_body_bytes,
        "responseBodyBytes": summary.response_body_bytes,
        "messages": summary.messages,
    })
}

/// An exchange that a search found, with the places.
pub(crate) fn hit(hit: &SearchHit) -> Value {
    let mut value = exchange(&hit.exchange);
    let places: Vec<Value> = hit
        .places
        .iter()
        .map(|place| json!({ "field": place.field, "position": place.position, "snippet": place.snippet }))
        .collect();
    if let Some(object) = value.as_object_mut() {
        object.insert("places".to_owned(), places.into());
    }
    value
}

/// Header fields in their order, as pairs.
pub(crate) fn headers(headers: &Headers) -> Vec<[String; 2]> {
    headers.iter().map(|header| [header.name_text().into_owned(), header.value_text().into_owned()]).collect()
}

/// Milliseconds since 1970; 0 before.
pub(crate) fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds with three decimals.
pub(crate) fn duration(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

pub(crate) fn session_kind(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Scratch => "scratch",
        SessionKind::Named => "named",
        SessionKind::Imported => "imported",
        _ => "other",
    }
}

pub(crate) fn session_state(state: SessionState) -> &'static str {
    match state {
        SessionState::Active => "active",
        SessionState::Full => "full",
        SessionState::Stopped => "stopped",
        SessionState::Recovered => "recovered",
        _ => "other",
    }
}

fn exchange_kind(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Http => "http",
        ExchangeKind::WebSocket => "websocket",
        ExchangeKind::Upgrade => "upgrade",
        ExchangeKind::Tunnel => "tunnel",
        _ => "other",
    }
}

fn exchange_state(state: &ExchangeState) -> &'static str {
    match state {
        ExchangeState::Open => "open",
        ExchangeState::Response => "response",
        ExchangeState::Mock => "mock",
        ExchangeState::Upgrade => "upgrade",
        ExchangeState::Tunnel => "tunnel",
        ExchangeState::Failed(_) => "failed",
        _ => "other",
    }
}

fn failure(state: &ExchangeState) -> Option<Value> {
    let ExchangeState::Failed(failure) = state else { return None };
    Some(json!({
        "code": failure.kind.code(),
        "side": failure.side().as_str(),
        "text": failure.kind.to_string(),
        "detail": failure.detail,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_harmless_and_read_back() {
        let object = json!({ "url": "a\u{1b}[2J\u{9b}31m\u{202e}\u{e0041}ü" });
        let line = line(&object);
        assert!(line.is_ascii() || !line.chars().any(text::is_active), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), object);
    }
}
