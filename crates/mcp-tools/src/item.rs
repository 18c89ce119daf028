//! What a live capture delivers: exchanges in short, and how the capture stands.

use capture_store::{ErrorKind, ExchangeState, ExchangeSummary, Seq};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    budget::cut,
    captures::Capture,
    view::{failure, millis},
};

/// An exchange, in short. proxy_get_exchange shows it in full by its id.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Item {
    id: String,
    method: String,
    scheme: String,
    host: String,
    /// The path, cut at 500 characters.
    path: String,
    /// The query, cut at 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// `COMPLETE`, `IN_PROGRESS` or `FAILED`.
    status: &'static str,
    /// Bytes of both bodies.
    #[serde(rename = "totalSize")]
    total_size: u64,
    #[serde(rename = "errorMessage", skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_content_type: Option<String>,
    start_time: u64,
}

impl Item {
    pub(crate) fn new(summary: &ExchangeSummary) -> Self {
        let (path, query) = match summary.target.split_once('?') {
            Some((path, query)) => (path, Some(cut(query, 500))),
            None => (summary.target.as_str(), None),
        };
        Self {
            id: summary.seq.to_string(),
            method: summary.method.clone(),
            scheme: summary.scheme.clone(),
            host: summary.host.clone(),
            path: cut(path, 500),
            query,
            status: match summary.state {
                ExchangeState::Open => "IN_PROGRESS",
                ExchangeState::Failed(_) => "FAILED",
                _ => "COMPLETE",
            },
            total_size: summary.request_body_bytes + summary.response_body_bytes,
            error_message: failure(&summary.state),
            response_status: summary.status,
            response_content_type: summary.response_content_type.clone(),
            request_content_type: summary.request_content_type.clone(),
            start_time: millis(summary.started_at),
        }
    }
}

/// What became of exchanges delivered in progress.
pub(crate) struct Updates {
    /// Those that have ended, oldest first.
    pub(crate) ended: Vec<ExchangeSummary>,
    /// Those evicted or cleared: there is no end to tell of.
    gone: Vec<Seq>,
}

impl Updates {
    /// Those of one read; further ones come with the next.
    const MOST: usize = 100;

    /// Looks what became of them. Blocks.
    pub(crate) fn read(capture: &Capture) -> Self {
        let mut updates = Self { ended: Vec::new(), gone: Vec::new() };
        for seq in &capture.open {
            match capture.store.exchange(*seq) {
                Ok(exchange) if exchange.summary.state == ExchangeState::Open => {}
                Ok(exchange) => updates.ended.push(exchange.summary),
                Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => {
                    updates.gone.push(*seq);
                }
                // The store may answer the next time.
                Err(_) => {}
            }
            if updates.ended.len() >= Self::MOST {
                break;
            }
        }
        updates
    }

    /// Which need no waiting for any more, once `ended` was delivered.
    pub(crate) fn done(self) -> Vec<Seq> {
        let ended = self.ended.into_iter().map(|summary| summary.seq);
        ended.chain(self.gone).collect()
    }
}

/// How a capture stands, and what its reader should know.
pub(crate) fn standing(capture: &Capture, resets: u64, evicted: u64) -> (CaptureStatus, Vec<String>) {
    let mut warnings = Vec::new();
    if evicted > 0 {
        warnings.push(format!("evicted: {evicted} exchanges went before they could be read"));
    }
    if capture.pinned.is_some() {
        warnings.push("store_changed: the server records into another store now".to_owned());
        return (CaptureStatus::Stopped, warnings);
    }
    if resets > capture.resets {
        warnings.push("session_reset_detected".to_owned());
        return (CaptureStatus::ResetDetected, warnings);
    }
    (CaptureStatus::Active, warnings)
}

/// How a capture stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaptureStatus {
    /// It goes on.
    Active,
    /// The traffic was cleared since the last read; it goes on.
    ResetDetected,
    /// The server records into another store now: what there is can be read, nothing is added.
    Stopped,
}
