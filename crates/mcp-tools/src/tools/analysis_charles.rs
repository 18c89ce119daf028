//! Traffic analysed as Charles MCP does it: summaries in order of priority, groups, counts, one entry in detail; over a
//! live capture or over a recording, never over both, and never over one that was not named.

mod detail;
mod filter;
mod matching;
mod scan;
mod summary;

use std::collections::BTreeMap;

use capture_store::{ExchangeSummary, Seq};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use traffic_analysis::priority::{is_error, prioritize};

use self::{
    detail::{DetailParams, TrafficDetail},
    filter::{Preset, TrafficFilter},
    matching::{Matched, find},
    scan::{Plane, PlaneName, Scan},
    summary::TrafficSummary,
};
use crate::{
    budget::fit,
    catalogue::{Family, Reference},
    error::ToolError,
    toolbox::{Toolbox, blocking},
    tools::recordings,
    toolsets::Toolset,
    view::Success,
};

/// Ids of matches that an answer names beside those it shows.
const MAX_OMITTED: usize = 100;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "analysis_charles",
    toolset: Toolset::Capture,
    summary: "Traffic in order of priority: filtered, grouped, counted, one entry in detail.",
    router,
    references: &[
        Reference::new(
            "query_live_capture_entries",
            "charles-mcp",
            "without `cursor` the newest `scan_limit` exchanges are looked at, and `since_seconds` is asked of all of them; each \
             exchange has an id of its own; an unknown resource class is refused; bodies are decoded (gzip, deflate, br, zstd)",
        ),
        Reference::new(
            "analyze_recorded_traffic",
            "charles-mcp",
            "`recording_path` is a session's id or name; what is being recorded is a recording, too",
        ),
        Reference::new("group_capture_analysis", "charles-mcp", "as query_live_capture_entries"),
        Reference::new("get_capture_analysis_stats", "charles-mcp", "as query_live_capture_entries"),
        Reference::new(
            "get_traffic_entry_detail",
            "charles-mcp",
            "every exchange of the capture is found, however many there are; history always needs `recording_path`; bodies that \
             are no text are base64 with `full_text_encoding`",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::analysis_charles_router()
}

fn yes() -> bool {
    true
}

fn ten() -> u32 {
    10
}

fn preview_chars() -> u32 {
    128
}

fn six() -> u32 {
    6
}

fn five_hundred() -> u32 {
    500
}

/// How much of each match to show.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(crate) struct Shown {
    /// Show bodies' beginnings.
    #[serde(default = "yes")]
    include_body_preview: bool,
    /// Items at most.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 200))]
    max_items: u32,
    /// Characters of a preview.
    #[serde(default = "preview_chars")]
    #[schemars(range(min = 32, max = 4096))]
    max_preview_chars: u32,
    /// Headers of a side.
    #[serde(default = "six")]
    #[schemars(range(min = 1, max = 32))]
    max_headers_per_side: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct LiveParams {
    /// The capture.
    #[schemars(length(min = 1, max = 40))]
    capture_id: String,
    /// From here, oldest first; else the newest.
    cursor: Option<u64>,
    /// Only what began in the last seconds.
    #[schemars(range(min = 1, max = 86_400))]
    since_seconds: Option<u32>,
    #[serde(flatten)]
    filter: TrafficFilter,
    #[serde(flatten)]
    shown: Shown,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct RecordedParams {
    /// The recording, as list_recordings names it; the latest without it.
    #[schemars(length(min = 1, max = 400))]
    recording_path: Option<String>,
    #[serde(flatten)]
    filter: TrafficFilter,
    #[serde(flatten)]
    shown: Shown,
}

/// What a filter found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Queried {
    status: Success,
    source: PlaneName,
    /// The recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The matches of most priority.
    items: Vec<TrafficSummary>,
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
    /// Ids of matches not shown, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    omitted_ids: Vec<String>,
    warnings: Vec<String>,
}

/// What groups are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The status.
    ResponseStatus,
    /// The resource class.
    ResourceClass,
    /// The method.
    Method,
    /// Host and path.
    HostPath,
    /// Host and status.
    HostStatus,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupParams {
    /// The plane.
    source: PlaneName,
    /// The key.
    group_by: GroupBy,
    /// Of live.
    #[schemars(length(min = 1, max = 40))]
    capture_id: Option<String>,
    /// Of history; the latest without it.
    #[schemars(length(min = 1, max = 400))]
    recording_path: Option<String>,
    /// Groups at most.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 200))]
    max_groups: u32,
    #[serde(flatten)]
    filter: TrafficFilter,
    /// Not used.
    #[serde(default = "preview_chars", rename = "max_preview_chars")]
    #[schemars(range(min = 32, max = 4096))]
    _preview: u32,
    /// Not used.
    #[serde(default = "six", rename = "max_headers_per_side")]
    #[schemars(range(min = 1, max = 32))]
    _headers: u32,
}

/// Exchanges that have something in common.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Group {
    group_value: String,
    count: u64,
    /// Bytes of both bodies.
    total_size: u64,
    has_error_count: u64,
    sample_paths: Vec<String>,
    sample_entry_ids: Vec<String>,
    resource_classes: Vec<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Grouped {
    status: Success,
    source: PlaneName,
    group_by: GroupBy,
    /// The largest first.
    groups: Vec<Group>,
    total_items: u64,
    scanned_count: u64,
    matched_count: u64,
    filtered_out_count: u64,
    filtered_out_by_class: BTreeMap<&'static str, u64>,
    truncated: bool,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct StatsParams {
    /// The plane.
    source: PlaneName,
    /// Of live.
    #[schemars(length(min = 1, max = 40))]
    capture_id: Option<String>,
    /// Of history; the latest without it.
    #[schemars(length(min = 1, max = 400))]
    recording_path: Option<String>,
    /// Said again in the answer.
    #[serde(default)]
    preset: Preset,
    /// Exchanges to look at.
    #[serde(default = "five_hundred")]
    #[schemars(range(min = 1, max = 5000))]
    scan_limit: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Stats {
    status: Success,
    source: PlaneName,
    total_items: u64,
    scanned_count: u64,
    /// Exchanges by resource class, before any preset.
    classified_counts: BTreeMap<&'static str, u64>,
    preset: Preset,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Detailed {
    status: Success,
    source: PlaneName,
    entry_id: String,
    detail: TrafficDetail,
    warnings: Vec<String>,
}

#[tool_router(router = analysis_charles_router, vis = "pub(crate)")]
impl Toolbox {
    /// Filter and rank what a live capture has: summaries with entry_id. Recommended for ongoing traffic; does not
    /// advance the cursor.
    #[tool(
        name = "query_live_capture_entries",
        title = "Query a live capture",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn query_live_capture_entries(
        &self,
        Parameters(params): Parameters<LiveParams>,
    ) -> Result<Json<Queried>, ToolError> {
        let plane = self.live_plane(&params.capture_id).await?;
        let plane = plane.since(params.since_seconds).after_cursor(params.cursor.map(Seq));
        let budget = self.config().answer_bytes;
        blocking(move || query(&plane, &params.filter, params.shown, budget)).await.map(Json)
    }

    /// History-plane tool: filter and rank a saved recording (a session, imported .chlsj included) when the user
    /// explicitly references one by recording_path.
    #[tool(
        name = "analyze_recorded_traffic",
        title = "Analyse a recording",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn analyze_recorded_traffic(
        &self,
        Parameters(params): Parameters<RecordedParams>,
    ) -> Result<Json<Queried>, ToolError> {
        let budget = self.config().answer_bytes;
        let plane = self.history_plane(params.recording_path.as_deref()).await?;
        blocking(move || query(&plane, &params.filter, params.shown, budget)).await.map(Json)
    }

    /// Group what a filter matches, in a live capture or a recording; the largest groups first.
    #[tool(
        name = "group_capture_analysis",
        title = "Group traffic",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn group_capture_analysis(
        &self,
        Parameters(params): Parameters<GroupParams>,
    ) -> Result<Json<Grouped>, ToolError> {
        let plane =
            self.plane(params.source, params.capture_id.as_deref(), params.recording_path.as_deref()).await?;
        let budget = self.config().answer_bytes;
        blocking(move || group(&plane, &params, budget)).await.map(Json)
    }

    /// Count the exchanges of a live capture or a recording by resource class: the first look.
    #[tool(
        name = "get_capture_analysis_stats",
        title = "Count traffic by class",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn get_capture_analysis_stats(
        &self,
        Parameters(params): Parameters<StatsParams>,
    ) -> Result<Json<Stats>, ToolError> {
        let plane =
            self.plane(params.source, params.capture_id.as_deref(), params.recording_path.as_deref()).await?;
        blocking(move || {
            let scan = plane.scan(params.scan_limit as usize)?;
            let mut counts = BTreeMap::new();
            for item in &scan.items {
                *counts.entry(prioritize(item).class.as_str()).or_default() += 1;
            }
            Ok(Json(Stats {
                status: Success::Success,
                source: plane.name(),
                total_items: scan.total,
                scanned_count: scan.items.len() as u64,
                classified_counts: counts,
                preset: params.preset,
                warnings: plane.warnings(&scan),
            }))
        })
        .await
    }

    /// Show one confirmed target in detail, by entry_id and the capture_id or recording_path it was found in; bodies on
    /// request.
    #[tool(
        name = "get_traffic_entry_detail",
        title = "Show an entry",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn get_traffic_entry_detail(
        &self,
        Parameters(params): Parameters<DetailParams>,
    ) -> Result<Json<Detailed>, ToolError> {
        let plane = params.plane()?;
        let plane = match plane {
            (PlaneName::Live, id) => self.live_plane(id).await?,
            (PlaneName::History, path) => self.history_plane(Some(path)).await?,
        };
        let budget = self.config().answer_bytes;
        blocking(move || {
            let (detail, warnings) = detail::read(&plane, &params, budget)?;
            Ok(Json(Detailed {
                status: Success::Success,
                source: plane.name(),
                entry_id: detail.id(),
                detail,
                warnings,
            }))
        })
        .await
    }
}

impl Toolbox {
    async fn plane(
        &self,
        source: PlaneName,
        capture_id: Option<&str>,
        recording_path: Option<&str>,
    ) -> Result<Plane, ToolError> {
        match (source, capture_id, recording_path) {
            (PlaneName::Live, Some(id), None) => self.live_plane(id).await,
            (PlaneName::Live, None, _) => {
                Err(ToolError::invalid("source live needs capture_id").hint("start_live_capture gives one"))
            }
            (PlaneName::History, None, path) => self.history_plane(path).await,
            _ => Err(ToolError::invalid("capture_id is for source live, recording_path for source history")
                .hint("give the one that belongs to source")),
        }
    }

    async fn live_plane(&self, capture_id: &str) -> Result<Plane, ToolError> {
        self.captures().get(capture_id)?;
        self.fresh_store().await?;
        let capture = self.captures().get(capture_id)?;
        let sessions = capture.pinned.clone().unwrap_or_else(|| self.live());
        Ok(Plane::live(&capture, sessions, self.resets()))
    }

    async fn history_plane(&self, path: Option<&str>) -> Result<Plane, ToolError> {
        let store = self.fresh_store().await?;
        let path = path.map(str::to_owned);
        blocking(move || {
            let session = recordings::find(&store, path.as_deref())?;
            Ok(Plane::history(store, session.map(|session| session.id)))
        })
        .await
    }
}

/// Answers a filter.
fn query(plane: &Plane, filter: &TrafficFilter, shown: Shown, budget: usize) -> Result<Queried, ToolError> {
    let scan = plane.scan(filter.scan_limit())?;
    let matched = find(plane, &scan, filter)?;
    let mut items = Vec::new();
    for hit in matched.hits.iter().take(shown.max_items as usize) {
        items.extend(TrafficSummary::read(plane, hit, filter, shown)?);
    }
    let (items, dropped) = fit(items, budget - budget / 8);
    let omitted = matched.hits.iter().skip(items.len()).map(|hit| hit.summary.seq.to_string());
    let mut warnings = plane.warnings(&scan);
    warnings.extend(matched.warnings.iter().cloned());
    if dropped {
        warnings.push(
            "answer_budget_reached: lower max_preview_chars, or show omitted_ids one by one".to_owned(),
        );
    }
    Ok(Queried {
        status: Success::Success,
        source: plane.name(),
        path: plane.path(),
        truncated: scan.limited || items.len() < matched.hits.len(),
        omitted_ids: omitted.take(MAX_OMITTED).collect(),
        items,
        total_items: scan.total,
        scanned_count: scan.items.len() as u64,
        matched_count: matched.hits.len() as u64,
        filtered_out_count: matched.excluded.values().sum(),
        filtered_out_by_class: matched.excluded,
        next_cursor: scan.next.map(|seq| seq.0),
        warnings,
    })
}

fn group(plane: &Plane, params: &GroupParams, budget: usize) -> Result<Grouped, ToolError> {
    let scan: Scan = plane.scan(params.filter.scan_limit())?;
    let matched: Matched = find(plane, &scan, &params.filter)?;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for hit in &matched.hits {
        let value = group_value(params.group_by, &hit.summary, hit.priority.class.as_str());
        groups.entry(value.clone()).or_default().add(value, &hit.summary, hit.priority.class.as_str());
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        (b.count, b.total_size, &b.group_value).cmp(&(a.count, a.total_size, &a.group_value))
    });
    let all = groups.len();
    groups.truncate(params.max_groups as usize);
    let (groups, _) = fit(groups, budget);
    let mut warnings = plane.warnings(&scan);
    warnings.extend(matched.warnings.iter().cloned());
    Ok(Grouped {
        status: Success::Success,
        source: plane.name(),
        group_by: params.group_by,
        truncated: scan.limited || groups.len() < all,
        groups,
        total_items: scan.total,
        scanned_count: scan.items.len() as u64,
        matched_count: matched.hits.len() as u64,
        filtered_out_count: matched.excluded.values().sum(),
        filtered_out_by_class: matched.excluded,
        warnings,
    })
}

impl Group {
    /// Samples kept of a group.
    const SAMPLES: usize = 3;

    fn add(&mut self, value: String, summary: &ExchangeSummary, class: &'static str) {
        self.group_value = value;
        self.count += 1;
        self.total_size += summary.request_body_bytes + summary.response_body_bytes;
        self.has_error_count += u64::from(is_error(summary));
        let path = crate::budget::cut(filter::path(summary), 200);
        if self.sample_paths.len() < Self::SAMPLES && !self.sample_paths.contains(&path) {
            self.sample_paths.push(path);
        }
        if self.sample_entry_ids.len() < Self::SAMPLES {
            self.sample_entry_ids.push(summary.seq.to_string());
        }
        if let Err(at) = self.resource_classes.binary_search(&class) {
            self.resource_classes.insert(at, class);
        }
    }
}

fn group_value(by: GroupBy, summary: &ExchangeSummary, class: &str) -> String {
    let status = || summary.status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
    let path = || crate::budget::cut(filter::path(summary), 300);
    match by {
        GroupBy::Host => summary.host.clone(),
        GroupBy::Path => path(),
        GroupBy::ResponseStatus => status(),
        GroupBy::ResourceClass => class.to_owned(),
        GroupBy::Method => summary.method.clone(),
        GroupBy::HostPath => format!("{} {}", summary.host, path()),
        GroupBy::HostStatus => format!("{} {}", summary.host, status()),
    }
}
