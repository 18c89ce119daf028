//! Traffic analysed as Charles MCP does it: summaries in order of priority, groups, counts, one entry in detail; over a
//! live capture or over a recording, never over both, and never over one that was not named.

mod body;
mod detail;
mod filter;
mod group;
mod matching;
mod query;
mod scan;
mod summary;

use std::collections::BTreeMap;

use capture_store::Seq;
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use traffic_analysis::priority::prioritize;

use self::{
    detail::{DetailParams, TrafficDetail},
    filter::Preset,
    group::{GroupParams, Grouped, group},
    query::{LiveParams, Queried, RecordedParams, query},
    scan::{Plane, PlaneName},
};
use crate::{
    catalogue::{Family, Reference},
    error::ToolError,
    toolbox::{Toolbox, blocking},
    tools::recordings,
    toolsets::Toolset,
    view::Success,
};

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
    /// Filter and rank what a live capture has: rows with entry_id. Recommended for ongoing traffic; does not
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
        blocking(move || {
            let call = ("query_live_capture_entries", json!(params));
            query(&plane, (&params.filter, &params.shown), call, budget)
        })
        .await
        .map(Json)
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
        blocking(move || {
            let call = ("analyze_recorded_traffic", json!(params));
            query(&plane, (&params.filter, &params.shown), call, budget)
        })
        .await
        .map(Json)
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
