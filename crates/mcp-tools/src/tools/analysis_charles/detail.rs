//! One entry with everything an investigation needs of it.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::{BodySide, Exchange, ExchangeState};
use proxy_core::Headers;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use traffic_analysis::priority::{is_error, prioritize};

use super::{
    filter,
    scan::{Plane, PlaneName},
};
use crate::{
    budget::{cut, json_bytes},
    error::ToolError,
    view::{duration_millis, failure, is_false, millis},
};

/// Headers of a side.
const MAX_HEADERS: usize = 64;
/// Characters of a header's value.
const MAX_VALUE: usize = 1024;
/// Bytes of JSON beyond which an answer says that it is large, as the reference does.
const LARGE: usize = 12_000;
/// Parts of a multipart body that are told.
const MAX_PARTS: usize = 32;
/// Characters of a part that are shown.
const PART_CHARS: usize = 80;

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

/// What a body is and holds.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct BodyText {
    /// `none`, `json`, `form`, `multipart`, `text`, `binary`.
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    /// Bytes as received.
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preview_text: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) preview_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_text: Option<String>,
    /// `base64` where the bytes are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    full_text_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    full_text_truncated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    multipart_summary: Vec<Part>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decode_warnings: Vec<String>,
}

/// A part of a multipart body.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Part {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    size_bytes: usize,
    preview_text: String,
    #[serde(skip_serializing_if = "is_false")]
    preview_truncated: bool,
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

/// A body as Charles MCP tells it: what kind it is, and its beginning in a form that can be read.
pub(super) fn body_text(
    plane: &Plane,
    exchange: &Exchange,
    side: BodySide,
    max_chars: usize,
) -> Result<BodyText, ToolError> {
    read_text(plane, exchange, side, (max_chars, true))
}

/// A body as text; `compact` writes JSON and forms anew, as previews have them.
fn read_text(
    plane: &Plane,
    exchange: &Exchange,
    side: BodySide,
    (max_chars, compact): (usize, bool),
) -> Result<BodyText, ToolError> {
    /// Decoded bytes that are read for a text of so many characters: JSON is written anew, and shorter.
    const BYTES_A_CHAR: usize = 16;
    let recorded = match side {
        BodySide::Request => exchange.request_body,
        BodySide::Response => exchange.response_body,
    };
    let mut told = BodyText { kind: "none", size_bytes: recorded.wire_bytes, ..BodyText::default() };
    if recorded.wire_bytes == 0 {
        return Ok(told);
    }
    let Some(body) = plane.store.body(exchange.summary.seq, side)? else { return Ok(told) };
    let content_type = body.content_type().unwrap_or_default().to_ascii_lowercase();
    let most = (max_chars * BYTES_A_CHAR).max(64 * 1024);
    let mut bytes = Vec::new();
    if let Err(error) = body.into_decoded_reader().take(most as u64).read_to_end(&mut bytes) {
        told.decode_warnings.push(format!("decoding stopped: {error}"));
    }
    if recorded.stored_bytes < recorded.wire_bytes {
        told.decode_warnings.push("not the whole body is recorded".to_owned());
    }
    let longer = bytes.len() == most;
    describe(&mut told, &content_type, (&bytes, longer), (max_chars, compact));
    Ok(told)
}

fn describe(
    told: &mut BodyText,
    content_type: &str,
    (bytes, longer): (&[u8], bool),
    (max_chars, compact): (usize, bool),
) {
    let mut show = |kind, text: String| {
        told.kind = kind;
        told.preview_truncated = longer || text.chars().count() > max_chars;
        told.preview_text = Some(text.chars().take(max_chars).collect());
    };
    if content_type.starts_with("multipart/") {
        let parts = parts(content_type, bytes);
        show("multipart", format!("[multipart/form-data with {} part(s)]", parts.len()));
        told.multipart_summary = parts;
        return;
    }
    // A character may be cut in two at the end of what was read.
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if longer && error.valid_up_to() + 4 >= bytes.len() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let Some(text) = valid.filter(|text| !text.contains('\0')) else {
        return show("binary", "[binary body omitted]".to_owned());
    };
    if content_type.contains("x-www-form-urlencoded") {
        return show("form", if compact { form(text) } else { text.to_owned() });
    }
    if content_type.contains("json") || text.trim_start().starts_with(['{', '[']) {
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            return show("json", if compact { value.to_string() } else { text.to_owned() });
        }
        if content_type.contains("json") {
            return show("json", text.to_owned());
        }
    }
    show("text", text.to_owned());
}

/// A form with its fields in order: `a=1,2&b=3`.
fn form(text: &str) -> String {
    let mut fields: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        fields.entry(name).or_default().push(value);
    }
    let fields: Vec<String> =
        fields.into_iter().map(|(name, values)| format!("{name}={}", values.join(","))).collect();
    fields.join("&")
}

fn parts(content_type: &str, bytes: &[u8]) -> Vec<Part> {
    let Some((_, rest)) = content_type.split_once("boundary=") else { return Vec::new() };
    // The type was put into lower case; boundaries are compared so, too.
    let mark = format!("--{}", rest.split(';').next().unwrap_or_default().trim().trim_matches('"'));
    let text = String::from_utf8_lossy(bytes);
    let lower = text.to_ascii_lowercase();
    let mut starts: Vec<usize> = lower.match_indices(&mark).map(|(at, _)| at).collect();
    starts.truncate(MAX_PARTS + 1);
    let pieces = starts.windows(2).map(|pair| &text[pair[0] + mark.len()..pair[1]]);
    let part = |piece: &str| {
        let (head, body) = piece.split_once("\r\n\r\n")?;
        let body = body.strip_suffix("\r\n").unwrap_or(body);
        let line = |name: &str| {
            head.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let disposition = line("content-disposition").unwrap_or_default();
        let attribute = |name: &str| {
            let mut parts = disposition.split(';').map(str::trim);
            let found = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.map(|value| value.trim_matches('"').to_owned())
        };
        let binary = body.contains(['\0', '\u{FFFD}']);
        let preview = if binary { "[binary]".to_owned() } else { body.chars().take(PART_CHARS).collect() };
        Some(Part {
            name: attribute("name"),
            filename: attribute("filename"),
            content_type: line("content-type"),
            size_bytes: body.len(),
            preview_truncated: !binary && body.chars().count() > PART_CHARS,
            preview_text: preview,
        })
    };
    pieces.filter_map(part).collect()
}

/// The beginning of a body as base64, and whether there is more.
fn base64(
    plane: &Plane,
    exchange: &Exchange,
    side: BodySide,
    max_chars: usize,
) -> Result<(Option<String>, bool), ToolError> {
    let Some(body) = plane.store.body(exchange.summary.seq, side)? else { return Ok((None, false)) };
    let most = max_chars / 4 * 3;
    let mut bytes = Vec::new();
    // What cannot be decoded to its end is given as far as it goes.
    let _ = body.into_decoded_reader().take(most as u64 + 1).read_to_end(&mut bytes);
    let more = bytes.len() > most;
    bytes.truncate(most);
    Ok((Some(STANDARD.encode(bytes)), more))
}
