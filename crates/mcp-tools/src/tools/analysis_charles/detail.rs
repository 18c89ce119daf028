//! One entry with everything an investigation needs of it.

use capture_store::{BodySide, Exchange, ExchangeState};
use proxy_core::Headers;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use traffic_analysis::priority::{is_error, prioritize};

use super::{
    body::{BodyText, base64, read_text},
    filter,
    scan::{Plane, PlaneName},
};
use crate::{
    budget::{cut, json_bytes},
    error::ToolError,
    view::{duration_millis, failure, millis},
};

/// Headers of a side.
const MAX_HEADERS: usize = 64;
/// Characters of a header's value.
const MAX_VALUE: usize = 1024;
/// Bytes of JSON beyond which an answer says that it is large, as the reference does.
const LARGE: usize = 12_000;
fn two_thousand() -> u32 {
    2048
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DetailParams {
    /// Where it was found.
    source: PlaneName,
    /// The entry, like e412.
    #[schemars(length(min = 1, max = 40))]
    entry_id: String,
    /// The capture, of live.
    #[schemars(length(min = 1, max = 40))]
    capture_id: Option<String>,
    /// The recording, of history.
    #[schemars(length(min = 1, max = 400))]
    recording_path: Option<String>,
    /// Give the bodies.
    #[serde(default)]
    include_full_body: bool,
    /// Characters of each body.
    #[serde(default = "two_thousand")]
    #[schemars(range(min = 1, max = 65_536))]
    max_body_chars: u32,
}

impl DetailParams {
    /// Where the entry is, which is never guessed.
    pub(super) fn plane(&self) -> Result<(PlaneName, &str), ToolError> {
        match (self.source, self.capture_id.as_deref(), self.recording_path.as_deref()) {
            (PlaneName::Live, Some(id), None) => Ok((PlaneName::Live, id)),
            (PlaneName::History, None, Some(path)) => Ok((PlaneName::History, path)),
            (PlaneName::Live, None, _) => Err(ToolError::invalid("source live needs capture_id")
                .hint("give the capture_id that the entry was found in")),
            (PlaneName::History, _, None) => Err(ToolError::invalid("source history needs recording_path")
                .hint("list_recordings names the recordings; give the one that the entry was found in")),
            _ => Err(ToolError::invalid("an entry is in a capture or in a recording, not in both")
                .hint("give capture_id with source live, recording_path with source history")),
        }
    }
}

/// An entry in detail.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TrafficDetail {
    entry: DetailEntry,
    raw_body_included: bool,
    body_truncated: bool,
    warnings: Vec<String>,
}

/// An entry.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DetailEntry {
    entry_id: String,
    capture_source: PlaneName,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_path: Option<String>,
    resource_class: &'static str,
    priority_score: u32,
    priority_reasons: Vec<&'static str>,
    method: String,
    scheme: String,
    host: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// `COMPLETE`, `IN_PROGRESS` or `FAILED`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    total_size: u64,
    has_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    times: Times,
    durations: Durations,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    request: DetailMessage,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<DetailMessage>,
}

/// When it was.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Times {
    start: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
}

/// How long its parts took, in milliseconds.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Durations {
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl: Option<u64>,
    request: u64,
    latency: u64,
    response: u64,
}

/// A message.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DetailMessage {
    first_line: String,
    headers: Vec<HeaderLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    body: BodyText,
}

/// A header field.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HeaderLine {
    name: String,
    value: String,
}

impl TrafficDetail {
    pub(super) fn id(&self) -> String {
        self.entry.entry_id.clone()
    }
}

/// Reads an entry, and what its reader should know.
pub(super) fn read(
    plane: &Plane,
    params: &DetailParams,
    budget: usize,
) -> Result<(TrafficDetail, Vec<String>), ToolError> {
    let exchange = plane.exchange(&params.entry_id)?;
    let full = params.include_full_body.then_some(params.max_body_chars as usize);
    let request = message(plane, &exchange, BodySide::Request, full)?;
    let response = match exchange.response {
        Some(_) => Some(message(plane, &exchange, BodySide::Response, full)?),
        None => None,
    };
    let cut_short = |message: &DetailMessage| message.body.full_text_truncated;
    let body_truncated = cut_short(&request) || response.as_ref().is_some_and(cut_short);
    let entry = entry(plane, &exchange, request, response);
    let mut detail =
        TrafficDetail { entry, raw_body_included: full.is_some(), body_truncated, warnings: Vec::new() };
    if body_truncated {
        detail.warnings.push("body_truncated: proxy_get_exchange gives bodies by slice".to_owned());
    }
    let size = json_bytes(&detail);
    let mut warnings = Vec::new();
    if size > LARGE.min(budget) {
        warnings.push(format!(
            "large_response:{size}_chars. lower max_body_chars, or leave out include_full_body"
        ));
    }
    Ok((detail, warnings))
}

fn entry(
    plane: &Plane,
    exchange: &Exchange,
    request: DetailMessage,
    response: Option<DetailMessage>,
) -> DetailEntry {
    let summary = &exchange.summary;
    let priority = prioritize(summary);
    let timings = &exchange.timings;
    let ended = summary.duration.and_then(|duration| summary.started_at.checked_add(duration));
    DetailEntry {
        entry_id: summary.seq.to_string(),
        capture_source: plane.name(),
        capture_id: plane.capture_id(),
        recording_path: plane.path(),
        resource_class: priority.class.as_str(),
        priority_score: priority.score,
        priority_reasons: priority.reasons,
        method: summary.method.clone(),
        scheme: summary.scheme.clone(),
        host: summary.host.clone(),
        path: cut(filter::path(summary), 2000),
        query: summary.target.split_once('?').map(|(_, query)| cut(query, 2000)),
        status: match summary.state {
            ExchangeState::Open => "IN_PROGRESS",
            ExchangeState::Failed(_) => "FAILED",
            _ => "COMPLETE",
        },
        response_status: summary.status,
        total_size: summary.request_body_bytes + summary.response_body_bytes,
        has_error: is_error(summary),
        error_message: failure(&summary.state),
        times: Times { start: millis(summary.started_at), end: ended.map(millis) },
        durations: Durations {
            total: summary.duration.map(duration_millis),
            dns: timings.dns.map(duration_millis),
            connect: timings.connect.map(duration_millis),
            ssl: timings.ssl.map(duration_millis),
            request: duration_millis(timings.send),
            latency: duration_millis(timings.wait),
            response: duration_millis(timings.receive),
        },
        notes: exchange.comment.as_deref().map(|comment| cut(comment, 1000)),
        request,
        response,
    }
}

fn message(
    plane: &Plane,
    exchange: &Exchange,
    side: BodySide,
    full: Option<usize>,
) -> Result<DetailMessage, ToolError> {
    let (first_line, headers) = head(exchange, side);
    let content_type = headers.and_then(|headers| headers.get_str("content-type"));
    let mut body = read_text(plane, exchange, side, (full.unwrap_or(PREVIEW_CHARS), full.is_none()))?;
    if full.is_some() && body.preview_text.is_some() {
        body.full_text_truncated = std::mem::take(&mut body.preview_truncated);
        body.full_text = body.preview_text.take();
        if body.kind == "binary" {
            (body.full_text, body.full_text_truncated) =
                base64(plane, exchange, side, full.unwrap_or_default())?;
            body.full_text_encoding = Some("base64");
        }
    }
    body.mime_type = content_type.and_then(|it| it.split(';').next()).map(|it| it.trim().to_owned());
    body.charset = content_type
        .and_then(|it| it.split_once("charset="))
        .map(|(_, charset)| charset.trim_matches(['"', ' ']).to_owned());
    body.content_encoding =
        headers.and_then(|headers| headers.get_str("content-encoding")).map(str::to_owned);
    Ok(DetailMessage {
        first_line: cut(&first_line, 2000),
        headers: headers.map(lines).unwrap_or_default(),
        mime_type: body.mime_type.clone(),
        charset: body.charset.clone(),
        content_encoding: body.content_encoding.clone(),
        body,
    })
}

/// Characters of a preview where no full body was asked for.
const PREVIEW_CHARS: usize = 256;

fn lines(headers: &Headers) -> Vec<HeaderLine> {
    let line = |header: &proxy_core::Header| HeaderLine {
        name: header.name_text().into_owned(),
        value: cut(&header.value_text(), MAX_VALUE),
    };
    headers.iter().take(MAX_HEADERS).map(line).collect()
}

fn head(exchange: &Exchange, side: BodySide) -> (String, Option<&Headers>) {
    match (side, &exchange.response) {
        (BodySide::Request, _) => {
            let request = &exchange.request;
            let line = format!("{} {} {}", request.method, request.target, exchange.summary.http_version);
            (line, Some(&request.headers))
        }
        (BodySide::Response, Some(head)) => {
            let reason = head.reason.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let line = format!("{:?} {} {reason}", head.version, head.status.as_u16());
            (line.trim_end().to_owned(), Some(&head.headers))
        }
        (BodySide::Response, None) => (String::new(), None),
    }
}
