//! Exchanges and sessions as the reference servers' fields show them. Times are epoch milliseconds, durations
//! milliseconds, sizes bytes as on the wire.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use capture_store::{
    ErrorKind, Exchange, ExchangeKind, ExchangeState, ExchangeSummary, Peer, Seq, SessionInfo, SessionKind,
    SessionState, Store,
};
use proxy_core::{Headers, ListenerKind, TlsFacts, TlsFingerprint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{budget::cut, error::ToolError};

/// Characters of a URL in a list; the exchange itself has it whole.
const MAX_LISTED_URL: usize = 500;

/// The call did what it says; `error` when it failed.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Success {
    /// The call did what it says.
    #[default]
    Success,
}

/// How an exchange reached the proxy.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The client was told to use the proxy.
    Explicit,
    /// The client's connection was redirected.
    Transparent,
}

impl Source {
    pub(crate) fn of(exchange: &Exchange) -> Self {
        match exchange.client.as_ref().and_then(|client| client.listener) {
            Some(ListenerKind::Transparent) => Self::Transparent,
            _ => Self::Explicit,
        }
    }
}

pub(crate) fn millis(time: SystemTime) -> u64 {
    duration_millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn duration_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What went wrong, in one line, if something did.
pub(crate) fn failure(state: &ExchangeState) -> Option<String> {
    match state {
        ExchangeState::Failed(failure) => Some(format!("{}: {failure}", failure.kind.code())),
        _ => None,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes references")]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

/// An exchange in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// Its id, for `proxy_get_exchange`.
    pub(crate) id: String,
    /// When it began.
    pub(crate) timestamp: u64,
    pub(crate) source: Source,
    pub(crate) method: String,
    /// The URL, cut at 500 characters.
    pub(crate) url: String,
    pub(crate) hostname: String,
    /// The status; null while there is none.
    pub(crate) status: Option<u16>,
    /// Milliseconds; null while it goes on.
    pub(crate) duration: Option<u64>,
    /// Bytes of the request's body.
    pub(crate) request_size: u64,
    /// Bytes of the response's body.
    pub(crate) response_size: u64,
    /// What it was, where it was no plain request: `websocket`, `upgrade`, `tunnel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    /// Why it failed, where it did: a code and a phrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Whether it still goes on.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) in_progress: bool,
}

pub(crate) fn kind(kind: ExchangeKind) -> Option<&'static str> {
    match kind {
        ExchangeKind::WebSocket => Some("websocket"),
        ExchangeKind::Upgrade => Some("upgrade"),
        ExchangeKind::Tunnel => Some("tunnel"),
        _ => None,
    }
}

impl Row {
    pub(crate) fn new(store: &Store, summary: &ExchangeSummary) -> Result<Self, ToolError> {
        let source = match store.exchange(summary.seq) {
            Ok(exchange) => Source::of(&exchange),
            // Deleted since it was listed.
            Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => Source::Explicit,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            id: summary.seq.to_string(),
            timestamp: millis(summary.started_at),
            source,
            method: summary.method.clone(),
            url: cut(&summary.url, MAX_LISTED_URL),
            hostname: summary.host.clone(),
            status: summary.status,
            duration: summary.duration.map(duration_millis),
            request_size: summary.request_body_bytes,
            response_size: summary.response_body_bytes,
            kind: kind(summary.kind),
            error: failure(&summary.state),
            in_progress: summary.state == ExchangeState::Open,
        })
    }
}

/// An exchange in a session's index.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IndexRow {
    /// Its number in the store, ever increasing: the cursor.
    pub(crate) seq: u64,
    /// Its id.
    pub(crate) exchange_id: String,
    /// When it began.
    pub(crate) timestamp: u64,
    pub(crate) method: String,
    pub(crate) hostname: String,
    /// Path and query.
    pub(crate) path: String,
    /// The URL, cut at 500 characters.
    pub(crate) url: String,
    pub(crate) status_code: Option<u16>,
    /// Milliseconds; null while it goes on.
    pub(crate) duration: Option<u64>,
    pub(crate) request_body_size: u64,
    /// Null while there is no response.
    pub(crate) response_body_size: Option<u64>,
    pub(crate) has_response: bool,
    /// Whether the request's body is recorded whole.
    pub(crate) has_full_request_body: bool,
    /// Whether the response's body is recorded whole.
    pub(crate) has_full_response_body: bool,
    /// The first rule that applied.
    pub(crate) matched_rule_id: Option<String>,
    /// The MD5 of the client's JA3.
    pub(crate) ja3: Option<String>,
    /// The client's JA4.
    pub(crate) ja4: Option<String>,
    /// The MD5 of upstream's JA3S.
    pub(crate) ja3s: Option<String>,
    pub(crate) response_content_type: Option<String>,
    /// Always null: records are rows of a database.
    pub(crate) record_offset: Option<u64>,
    /// Always null: records are rows of a database.
    pub(crate) record_line_bytes: Option<u64>,
    /// Why it failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The fingerprint of a side's hello.
fn fingerprint(peer: Option<&Peer>) -> Option<&TlsFingerprint> {
    peer?.tls.as_ref()?.fingerprint.as_ref()
}

impl IndexRow {
    pub(crate) fn new(exchange: &Exchange) -> Self {
        let summary = &exchange.summary;
        let has_response = summary.status.is_some();
        let client = fingerprint(exchange.client.as_ref());
        let whole = |recorded: capture_store::Recorded| {
            recorded.complete && recorded.stored_bytes == recorded.wire_bytes
        };
        Self {
            seq: summary.seq.0,
            exchange_id: summary.seq.to_string(),
            timestamp: millis(summary.started_at),
            method: summary.method.clone(),
            hostname: summary.host.clone(),
            path: cut(&summary.target, MAX_LISTED_URL),
            url: cut(&summary.url, MAX_LISTED_URL),
            status_code: summary.status,
            duration: summary.duration.map(duration_millis),
            request_body_size: summary.request_body_bytes,
            response_body_size: has_response.then_some(summary.response_body_bytes),
            has_response,
            has_full_request_body: whole(exchange.request_body),
            has_full_response_body: has_response && whole(exchange.response_body),
            matched_rule_id: exchange.rules.first().map(|hit| hit.rule.clone()),
            ja3: client.map(|it| it.ja3_hash.clone()),
            ja4: client.map(|it| it.ja4.clone()),
            ja3s: fingerprint(exchange.upstream.as_ref()).map(|it| it.ja3_hash.clone()),
            response_content_type: summary.response_content_type.clone(),
            record_offset: None,
            record_line_bytes: None,
            error: failure(&summary.state),
        }
    }
}

/// Header values by lower-case name: one as a text, several (`set-cookie`) as a list, in order.
pub(crate) type HeaderMap = BTreeMap<String, OneOrMany>;

/// One value or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One field of the name.
    One(String),
    /// Several, in order.
    Many(Vec<String>),
}

pub(crate) fn header_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for header in headers.iter() {
        let value = header.value_text().into_owned();
        match map.entry(header.name_text().to_ascii_lowercase()) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(OneOrMany::One(value));
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => match entry.get_mut() {
                OneOrMany::Many(values) => values.push(value),
                OneOrMany::One(first) => {
                    let values = vec![std::mem::take(first), value];
                    entry.insert(OneOrMany::Many(values));
                }
            },
        }
    }
    map
}

/// Fields as received: order, case and duplicates kept.
pub(crate) fn raw_headers(headers: &Headers) -> Vec<(String, String)> {
    headers.iter().map(|header| (header.name_text().into_owned(), header.value_text().into_owned())).collect()
}

/// What TLS agreed on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TlsView {
    /// Between the client and the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<TlsSide>,
    /// Between the proxy and upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<TlsSide>,
}

/// What one TLS handshake agreed on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TlsSide {
    /// The server name asked for.
    pub(crate) sni_hostname: Option<String>,
    pub(crate) version: String,
    pub(crate) cipher: String,
    /// The protocol agreed on.
    pub(crate) alpn: Option<String>,
    /// The protocols the client offered, in its order; null of upstream.
    pub(crate) client_alpn: Option<Vec<String>>,
    /// The MD5 of the client's JA3, or of upstream's JA3S.
    pub(crate) ja3_fingerprint: Option<String>,
    /// The client's JA4, or upstream's JA4S.
    pub(crate) ja4_fingerprint: Option<String>,
    /// Whether the client's hello had an Encrypted Client Hello: the name may then be a stand-in.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) encrypted_client_hello: bool,
}

impl TlsView {
    pub(crate) fn new(exchange: &Exchange) -> Option<Self> {
        let side = |facts: &TlsFacts, is_client: bool| TlsSide {
            sni_hostname: facts.sni.clone(),
            version: facts.version.clone(),
            cipher: facts.cipher.clone(),
            alpn: facts.alpn.clone(),
            client_alpn: is_client.then(|| facts.offered_alpn.clone()),
            ja3_fingerprint: facts.fingerprint.as_ref().map(|it| it.ja3_hash.clone()),
            ja4_fingerprint: facts.fingerprint.as_ref().map(|it| it.ja4.clone()),
            encrypted_client_hello: facts.encrypted_client_hello,
        };
        let client = exchange.client.as_ref().and_then(|peer| peer.tls.as_ref()).map(|it| side(it, true));
        let server = exchange.upstream.as_ref().and_then(|peer| peer.tls.as_ref()).map(|it| side(it, false));
        (client.is_some() || server.is_some()).then_some(Self { client, server })
    }
}

/// A session.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionView {
    /// The version of this object.
    pub(crate) schema_version: u32,
    pub(crate) id: String,
    /// Its name; `scratch` for the unnamed session that records while no named one does.
    pub(crate) name: String,
    /// `scratch`, `named` or `imported`.
    pub(crate) kind: &'static str,
    /// Always `full`: bodies are recorded whole.
    pub(crate) capture_profile: &'static str,
    /// The store's directory.
    pub(crate) storage_dir: String,
    /// Its limit in MiB; null without one.
    pub(crate) max_disk_mb: Option<f64>,
    pub(crate) created_at: u64,
    pub(crate) started_at: u64,
    pub(crate) ended_at: Option<u64>,
    /// `active`, `full` (active, but its limit stopped the recording) or `stopped`.
    pub(crate) status: &'static str,
    /// `clean`, or `recovered` after a crash.
    pub(crate) recovery_state: &'static str,
    pub(crate) exchange_count: u64,
    /// Bytes on disk.
    pub(crate) bytes_written: u64,
    /// Exchanges that passed and are not recorded.
    pub(crate) dropped_writes: u64,
    /// Exchanges evicted to stay under the limit.
    pub(crate) evicted: u64,
    /// The newest exchange's seq; 0 without any.
    pub(crate) last_sequence: u64,
    /// The last commit, while it is being recorded by this server.
    pub(crate) last_flush_at: Option<u64>,
    pub(crate) last_error: Option<String>,
    pub(crate) files: SessionFiles,
}

/// Where a session's data is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionFiles {
    /// The store's directory, which all its sessions share.
    pub(crate) records: String,
    /// Always null: the store indexes itself.
    pub(crate) index: Option<String>,
    /// Where `proxy_export_har` writes by default.
    pub(crate) har_dir: String,
}

impl SessionView {
    pub(crate) fn new(info: &SessionInfo, newest: Option<Seq>, storage: &Path, exports: &Path) -> Self {
        Self {
            schema_version: 1,
            id: info.id.to_string(),
            name: info.name.clone().unwrap_or_else(|| "scratch".to_owned()),
            kind: match info.kind {
                SessionKind::Scratch => "scratch",
                SessionKind::Imported => "imported",
                _ => "named",
            },
            capture_profile: "full",
            storage_dir: storage.display().to_string(),
            max_disk_mb: info.max_bytes.map(mebibytes),
            created_at: millis(info.started_at),
            started_at: millis(info.started_at),
            ended_at: info.ended_at.map(millis),
            status: match info.state {
                SessionState::Active => "active",
                SessionState::Full => "full",
                _ => "stopped",
            },
            recovery_state: if info.recovery.is_some() { "recovered" } else { "clean" },
            exchange_count: info.exchanges,
            bytes_written: info.bytes,
            dropped_writes: info.not_recorded,
            evicted: info.evicted,
            last_sequence: newest.map_or(0, |seq| seq.0),
            last_flush_at: None,
            last_error: info.last_error.clone(),
            files: SessionFiles {
                records: storage.display().to_string(),
                index: None,
                har_dir: exports.display().to_string(),
            },
        }
    }
}

/// Bytes in MiB, to two places.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown to two places")]
    let mebibytes = bytes as f64 / (1024.0 * 1024.0);
    (mebibytes * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_headers_stay_apart() {
        let mut headers = Headers::new();
        headers.push("Set-Cookie", "a=1");
        headers.push("X", "y");
        headers.push("set-cookie", "b=2");
        headers.push("Set-Cookie", "c=3");
        let json = serde_json::to_value(header_map(&headers)).unwrap();
        assert_eq!(json, serde_json::json!({"set-cookie": ["a=1", "b=2", "c=3"], "x": "y"}));
        assert_eq!(raw_headers(&headers)[2], ("set-cookie".to_owned(), "b=2".to_owned()));
    }
}
