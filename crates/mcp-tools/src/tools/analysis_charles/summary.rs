//! A match in short: what it is, its telling headers, the beginning of its bodies, and why it matched.

use std::collections::BTreeMap;

use capture_store::{BodySide, Exchange};
use proxy_core::Headers;
use schemars::JsonSchema;
use serde::Serialize;
use traffic_analysis::priority::is_error;

use super::{
    body::{BodyText, body_text},
    filter::{self, TrafficFilter},
    matching::Hit,
    query::Shown,
    scan::{Plane, PlaneName},
};
use crate::{
    budget::cut,
    error::ToolError,
    view::{failure, is_false, millis},
};

/// Headers that say most, in this order; others follow by name.
const TELLING: [&str; 10] = [
    "content-type",
    "accept",
    "authorization",
    "cookie",
    "set-cookie",
    "x-requested-with",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "origin",
    "referer",
];
/// Characters of a header's value.
const MAX_VALUE: usize = 200;

/// An exchange in short.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TrafficSummary {
    entry_id: String,
    capture_source: PlaneName,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_path: Option<String>,
    resource_class: &'static str,
    priority_score: u32,
    method: String,
    host: String,
    path: String,
    start_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_content_type: Option<String>,
    total_size: u64,
    has_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    request_header_highlights: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    response_header_highlights: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body_preview: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body_preview: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    preview_truncated: bool,
    matched_fields: Vec<&'static str>,
    match_reasons: Vec<String>,
    /// Always true.
    detail_available: bool,
}

impl TrafficSummary {
    /// Reads what is shown of a match; `None` where it was evicted meanwhile.
    pub(super) fn read(
        plane: &Plane,
        hit: &Hit,
        filter: &TrafficFilter,
        shown: &Shown,
    ) -> Result<Option<Self>, ToolError> {
        let summary = &hit.summary;
        let exchange = match plane.store.exchange(summary.seq) {
            Ok(exchange) => exchange,
            Err(error) if matches!(error.kind(), capture_store::ErrorKind::UnknownExchange(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let preview = |side| -> Result<(Option<String>, bool), ToolError> {
            let Some(chars) = shown.preview_chars() else { return Ok((None, false)) };
            let text = body_text(plane, &exchange, side, chars)?;
            Ok((text.preview(), text.truncated()))
        };
        let (request_body_preview, request_cut) = preview(BodySide::Request)?;
        let (response_body_preview, response_cut) = preview(BodySide::Response)?;
        let most = shown.headers();
        let (matched_fields, match_reasons) = reasons(filter, hit);
        Ok(Some(Self {
            entry_id: summary.seq.to_string(),
            capture_source: plane.name(),
            capture_id: plane.capture_id(),
            recording_path: plane.path(),
            resource_class: hit.priority.class.as_str(),
            priority_score: hit.priority.score,
            method: summary.method.clone(),
            host: summary.host.clone(),
            path: cut(filter::path(summary), 500),
            start_time: millis(summary.started_at),
            response_status: summary.status,
            request_content_type: summary.request_content_type.clone(),
            response_content_type: summary.response_content_type.clone(),
            total_size: summary.request_body_bytes + summary.response_body_bytes,
            has_error: is_error(summary),
            error_message: failure(&summary.state),
            request_header_highlights: highlights(&exchange.request.headers, most),
            response_header_highlights: response_highlights(&exchange, most),
            request_body_preview,
            response_body_preview,
            preview_truncated: request_cut || response_cut,
            matched_fields,
            match_reasons,
            detail_available: true,
        }))
    }
}

fn response_highlights(exchange: &Exchange, most: usize) -> BTreeMap<String, String> {
    exchange.response.as_ref().map(|head| highlights(&head.headers, most)).unwrap_or_default()
}

/// The most telling headers, each with its first value.
fn highlights(headers: &Headers, most: usize) -> BTreeMap<String, String> {
    let mut names: Vec<String> =
        headers.iter().map(|header| header.name_text().to_ascii_lowercase()).collect();
    let rank = |name: &String| TELLING.iter().position(|telling| telling == name).unwrap_or(TELLING.len());
    names.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
    names.dedup();
    names
        .into_iter()
        .take(most)
        .filter_map(|name| {
            let value = cut(&String::from_utf8_lossy(headers.get(&name)?), MAX_VALUE);
            Some((name, value))
        })
        .collect()
}

/// What matched, and why: parallel lists.
pub(super) fn reasons(filter: &TrafficFilter, hit: &Hit) -> (Vec<&'static str>, Vec<String>) {
    let mut found: Vec<(&'static str, String)> = filter
        .summary_checks(&hit.summary, &hit.priority)
        .into_iter()
        .flatten()
        .map(|(field, reason, _)| (field, reason))
        .collect();
    let texts = [
        ("request.headers", &filter.request_header_name, "request has the header"),
        ("request.headers", &filter.request_header_value_contains, "a request header contains"),
        ("response.headers", &filter.response_header_name, "response has the header"),
        ("response.headers", &filter.response_header_value_contains, "a response header contains"),
        ("request.body", &filter.request_body_contains, "request body contains"),
        ("response.body", &filter.response_body_contains, "response body contains"),
        ("request.body.json", &filter.request_json_query, "request JSON satisfies"),
        ("response.body.json", &filter.response_json_query, "response JSON satisfies"),
    ];
    for (field, given, words) in texts {
        if let Some(given) = given.as_deref().filter(|given| !given.is_empty()) {
            found.push((field, format!("{words} {:?}", cut(given, 80))));
        }
    }
    if found.is_empty() {
        return (Vec::new(), vec![format!("matched preset `{}`", filter.preset.as_str())]);
    }
    found.into_iter().unzip()
}

impl BodyText {
    /// The preview, where there is a body.
    fn preview(&self) -> Option<String> {
        self.preview_text.clone()
    }

    fn truncated(&self) -> bool {
        self.preview_truncated
    }
}
