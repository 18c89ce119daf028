//! Matches in order of priority: short rows, or summaries with headers and previews.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    filter::TrafficFilter,
    matching::{Hit, find},
    scan::{Plane, PlaneName},
    summary::{TrafficSummary, reasons},
    ten,
};
use crate::{
    budget::NextCall,
    columns::Table,
    error::ToolError,
    rows::{Fields, Short},
    view::Success,
};

/// The short row of a match. Reasons are told once for all: they repeat the filter.
const RANKED: Short = Short {
    columns: &[
        "entry_id",
        "ms",
        "method",
        "status",
        "url",
        "bytes",
        "priority_score",
        "resource_class",
        "failure?",
    ],
    added: &["entry_id", "priority_score", "resource_class"],
};

/// How much of each match to show.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Shown {
    /// Show bodies' beginnings, in whole rows.
    include_body_preview: Option<bool>,
    /// Items at most.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 200))]
    max_items: u32,
    /// Characters of a preview.
    #[schemars(range(min = 32, max = 4096))]
    max_preview_chars: Option<u32>,
    /// Headers of a side.
    #[schemars(range(min = 1, max = 32))]
    max_headers_per_side: Option<u32>,
    /// Matches to skip.
    #[serde(default)]
    offset: u32,
    #[serde(flatten)]
    fields: Fields,
}

impl Shown {
    /// Whether anything was asked for that only whole rows have.
    fn wants_whole(&self) -> bool {
        self.include_body_preview == Some(true)
            || self.max_preview_chars.is_some()
            || self.max_headers_per_side.is_some()
    }

    /// Characters of a preview; none without one.
    pub(super) fn preview_chars(&self) -> Option<usize> {
        let wanted = self.include_body_preview != Some(false);
        wanted.then_some(self.max_preview_chars.unwrap_or(128) as usize)
    }

    pub(super) fn headers(&self) -> usize {
        self.max_headers_per_side.unwrap_or(6) as usize
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct LiveParams {
    /// The capture.
    #[schemars(length(min = 1, max = 40))]
    pub(super) capture_id: String,
    /// From here, oldest first; else the newest.
    pub(super) cursor: Option<u64>,
    /// Only what began in the last seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub(super) since_seconds: Option<u32>,
    #[serde(flatten)]
    pub(super) filter: TrafficFilter,
    #[serde(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct RecordedParams {
    /// The recording, as list_recordings names it; the latest without it.
    #[schemars(length(min = 1, max = 400))]
    pub(super) recording_path: Option<String>,
    #[serde(flatten)]
    pub(super) filter: TrafficFilter,
    #[serde(flatten)]
    pub(super) shown: Shown,
}

/// What a filter found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Queried {
    status: Success,
    source: PlaneName,
    /// The recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The matches of most priority as whole rows, where `fields` or a preview was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<TrafficSummary>>,
    /// The matches of most priority.
    #[serde(flatten)]
    table: Option<Table>,
    /// Why all of the rows match; whole rows have it each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    match_reasons: Vec<String>,
    /// The fields that reasons are about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matched_fields: Vec<&'static str>,
    /// Exchanges of the capture or recording.
    total_items: u64,
    /// Exchanges looked at.
    scanned_count: u64,
    /// Exchanges that match.
    matched_count: u64,
    /// Exchanges that the preset leaves out.
    filtered_out_count: u64,
    /// Those by class.
    filtered_out_by_class: BTreeMap<&'static str, u64>,
    /// Where to look on; of a live capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<u64>,
    /// Whether matches are not shown, or exchanges not looked at.
    truncated: bool,
    /// The call that shows the matches that follow; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
    warnings: Vec<String>,
}

/// Answers a filter; `call` is the tool and its arguments. Blocks.
pub(super) fn query(
    plane: &Plane,
    (filter, shown): (&TrafficFilter, &Shown),
    (tool, mut arguments): (&str, Value),
    budget: usize,
) -> Result<Queried, ToolError> {
    let rows = shown.fields.rows_or(&RANKED, shown.wants_whole())?;
    let scan = plane.scan(filter.scan_limit())?;
    let matched = find(plane, &scan, filter)?;
    let offset = (shown.offset as usize).min(matched.hits.len());
    let hits = matched.hits.get(offset..).unwrap_or_default();
    let page = hits.get(..shown.max_items as usize).unwrap_or(hits);
    let exchanges: Vec<_> = page.iter().map(|hit| hit.summary.clone()).collect();
    let whole = || {
        let read = page.iter().map(|hit| TrafficSummary::read(plane, hit, filter, shown));
        read.filter_map(Result::transpose).collect()
    };
    let added = |index: usize, name: &str| page.get(index).map_or(Value::Null, |hit| cell(hit, name));
    let listing = rows.list((&plane.store, &exchanges), budget - budget / 8, &added, whole)?;
    // Those evicted meanwhile are not shown as whole rows; they are passed all the same.
    let reached = if listing.shown == 0 { matched.hits.len() } else { offset + listing.shown };
    let next = (reached < matched.hits.len()).then(|| {
        arguments["offset"] = reached.into();
        NextCall::new(tool, arguments)
    });
    let (matched_fields, match_reasons) = match &listing.table {
        Some(_) => common(filter, &page[..listing.shown]),
        None => (Vec::new(), Vec::new()),
    };
    let mut warnings = plane.warnings(&scan);
    warnings.extend(matched.warnings.iter().cloned());
    Ok(Queried {
        status: Success::Success,
        source: plane.name(),
        path: plane.path(),
        truncated: scan.limited || next.is_some() || offset > 0,
        items: listing.whole,
        table: listing.table,
        match_reasons,
        matched_fields,
        total_items: scan.total,
        scanned_count: scan.items.len() as u64,
        matched_count: matched.hits.len() as u64,
        filtered_out_count: matched.excluded.values().sum(),
        filtered_out_by_class: matched.excluded,
        next_cursor: scan.next.map(|seq| seq.0),
        next,
        warnings,
    })
}

/// What the columns of [`RANKED`] hold beyond an exchange's fields.
fn cell(hit: &Hit, name: &str) -> Value {
    match name {
        "entry_id" => hit.summary.seq.to_string().into(),
        "priority_score" => hit.priority.score.into(),
        "resource_class" => hit.priority.class.as_str().into(),
        _ => json!(null),
    }
}

/// The fields and the reasons that all of these have.
fn common(filter: &TrafficFilter, hits: &[Hit]) -> (Vec<&'static str>, Vec<String>) {
    let mut rest = hits.iter().map(|hit| reasons(filter, hit));
    let (mut fields, mut texts) = rest.next().unwrap_or_default();
    for (other_fields, other_texts) in rest {
        fields.retain(|field| other_fields.contains(field));
        texts.retain(|text| other_texts.contains(text));
    }
    (fields, texts)
}
