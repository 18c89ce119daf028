//! Live captures: traffic read by cursor, item by item, each once.

use std::time::SystemTime;

use capture_store::{ExchangeState, ExchangeSummary, Query, Seq, SessionSpec};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    captures::{Capture, Progress},
    catalogue::{Family, Reference},
    columns::Table,
    error::ToolError,
    item::{CaptureStatus, Item, Updates, standing},
    live::{self, LiveSession},
    rows::{BY_AGE, Fields, nothing},
    toolbox::{Start, Toolbox, blocking},
    tools::{har, proxy::proxy_url},
    toolsets::Toolset,
    view::millis,
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "capture",
    toolset: Toolset::Capture,
    summary: "Live captures: new traffic by cursor, each exchange once.",
    router,
    references: &[
        Reference::new(
            "start_live_capture",
            "charles-mcp",
            "several captures at once; recording means the proxy: when it does not run it is started, and a managed capture that \
             started it stops it again; `reset_session` clears as `proxy_clear_traffic` does",
        ),
        Reference::new(
            "read_live_capture",
            "charles-mcp",
            "the cursor is the seq of the last exchange read, so nothing is listed twice and identical requests stay apart; items \
             carry the exchange's id; what was read in progress comes once more in `updated_items` when it has ended; evictions \
             are counted",
        ),
        Reference::new("peek_live_capture", "charles-mcp", "as read_live_capture"),
        Reference::new(
            "stop_live_capture",
            "charles-mcp",
            "persists as a HAR 1.2 file in the state directory's exports/; when that fails the capture stays readable",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::capture_router()
}

fn yes() -> bool {
    true
}

fn fifty() -> u32 {
    50
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct StartParams {
    /// Clear the traffic captured so far, first.
    #[serde(default)]
    reset_session: bool,
    /// Make what was captured before readable, too.
    #[serde(default)]
    include_existing: bool,
    /// Join the recording as it is, and leave it running at the end.
    #[serde(default = "yes")]
    adopt_existing: bool,
    /// Start the proxy if it does not run.
    #[serde(default = "yes")]
    start_recording_if_stopped: bool,
}

/// A capture is on.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Active {
    /// It is.
    Active,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Started {
    status: Active,
    capture_id: String,
    /// Whether stopping the capture stops the proxy it started.
    managed: bool,
    include_existing: bool,
    /// The proxy's URL, for clients; absent while it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_url: Option<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ReadParams {
    /// The capture.
    #[schemars(length(min = 1, max = 40))]
    capture_id: String,
    /// Read after this cursor rather than where the last read stopped; 0 from the beginning.
    cursor: Option<u64>,
    /// Items at most.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Items {
    status: CaptureStatus,
    capture_id: String,
    /// New exchanges, oldest first: whole rows, where `fields` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Item>>,
    /// New exchanges, oldest first.
    #[serde(flatten)]
    table: Option<Table>,
    /// Exchanges delivered in progress by an earlier read that have ended since.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<Table>,
    /// The same as whole rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_items: Option<Vec<Item>>,
    next_cursor: u64,
    /// Exchanges after the cursor, those in this answer included.
    total_new_items: u64,
    /// Whether there are more than this answer holds: read on.
    truncated: bool,
    /// Exchanges that were evicted or deleted before they could be read.
    evicted: u64,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct StopParams {
    /// The capture.
    #[schemars(length(min = 1, max = 40))]
    capture_id: String,
    /// Write what it captured as a HAR file.
    #[serde(default = "yes")]
    persist: bool,
}

/// Whether a capture is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StopStatus {
    /// It is closed.
    Stopped,
    /// It is not: it stays readable, and can be stopped again.
    StopFailed,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StopResult {
    /// Only `stopped` means closed.
    status: StopStatus,
    capture_id: String,
    /// The HAR file.
    persisted_path: Option<String>,
    /// Exchanges captured.
    total_items: u64,
    /// Whether stopping can be tried again.
    recoverable: bool,
    /// Whether the capture is still there.
    active_capture_preserved: bool,
    /// Why it failed.
    error: Option<String>,
    warnings: Vec<String>,
}

#[tool_router(router = capture_router, vis = "pub(crate)")]
impl Toolbox {
    /// Start a live capture and get its capture_id: new traffic is then read with read_live_capture. Prefer this tool
    /// for ongoing traffic, and reuse the capture_id. Several captures can be active.
    #[tool(
        name = "start_live_capture",
        title = "Start a live capture",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    pub(crate) async fn start_live_capture(
        &self,
        Parameters(params): Parameters<StartParams>,
    ) -> Result<Json<Started>, ToolError> {
        let mut warnings = Vec::new();
        let mut started_proxy = false;
        if self.running().is_none() {
            if params.start_recording_if_stopped {
                let session = SessionSpec::Scratch { max_bytes: None };
                self.start(Start { port: None, session, storage_dir: None }).await?;
                started_proxy = true;
                warnings.push("proxy_started: the proxy did not run and was started".to_owned());
            } else {
                warnings.push("recording_stopped: the proxy does not run; proxy_start starts it".to_owned());
            }
        }
        if params.reset_session {
            self.clear().await?;
        }
        let store = self.fresh_store().await?;
        let from = store.clone();
        let newest = blocking(move || Ok(from.newest()?)).await?;
        let start = if params.include_existing { Seq(0) } else { newest };
        let capture = self.captures().add(Capture {
            id: String::new(),
            store,
            start,
            cursor: start,
            include_existing: params.include_existing,
            managed: params.reset_session || !params.adopt_existing,
            started_proxy,
            resets: self.resets(),
            open: std::collections::BTreeSet::new(),
            pinned: None,
        })?;
        Ok(Json(Started {
            status: Active::Active,
            capture_id: capture.id,
            managed: capture.managed,
            include_existing: capture.include_existing,
            proxy_url: self.running().as_ref().map(proxy_url),
            warnings,
        }))
    }

    /// Read what a live capture has new, and advance its cursor: each exchange is delivered once (this consumes).
    #[tool(
        name = "read_live_capture",
        title = "Read a live capture",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn read_live_capture(
        &self,
        Parameters(params): Parameters<ReadParams>,
    ) -> Result<Json<Items>, ToolError> {
        let _turn = self.turn_to_read().await;
        let (items, progress) = self.look(&params).await?;
        self.captures().commit(&params.capture_id, progress);
        Ok(Json(items))
    }

    /// Look at what a live capture has new without advancing its cursor: this does not consume.
    #[tool(
        name = "peek_live_capture",
        title = "Peek at a live capture",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn peek_live_capture(
        &self,
        Parameters(params): Parameters<ReadParams>,
    ) -> Result<Json<Items>, ToolError> {
        Ok(Json(self.look(&params).await?.0))
    }

    /// Close a live capture, writing what it captured as a HAR file. Only status "stopped" means closed.
    #[tool(
        name = "stop_live_capture",
        title = "Stop a live capture",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn stop_live_capture(
        &self,
        Parameters(params): Parameters<StopParams>,
    ) -> Result<Json<StopResult>, ToolError> {
        self.fresh_store().await?;
        let capture = self.captures().get(&params.capture_id)?;
        let sessions = self.sessions_of(&capture);
        let (store, start) = (capture.store.clone(), capture.start);
        let viewed = sessions.clone();
        let total_items =
            blocking(move || Ok(live::tail(&store, &viewed, start, &Query::default(), 1)?.total)).await?;
        let mut result = StopResult {
            status: StopStatus::Stopped,
            capture_id: capture.id.clone(),
            persisted_path: None,
            total_items,
            recoverable: false,
            active_capture_preserved: false,
            error: None,
            warnings: Vec::new(),
        };
        if let Err(error) = self.finish(&capture, &sessions, params.persist, &mut result).await {
            result.status = StopStatus::StopFailed;
            result.recoverable = true;
            result.active_capture_preserved = true;
            result.error = Some(error.to_string());
            return Ok(Json(result));
        }
        self.captures().remove(&capture.id);
        Ok(Json(result))
    }
}

impl Toolbox {
    /// The sessions a capture views.
    fn sessions_of(&self, capture: &Capture) -> Vec<LiveSession> {
        capture.pinned.clone().unwrap_or_else(|| self.live())
    }

    /// Reads a page, and what reading it would commit.
    async fn look(&self, params: &ReadParams) -> Result<(Items, Progress), ToolError> {
        self.captures().get(&params.capture_id)?;
        self.fresh_store().await?;
        // Taken after the wait: another read may have moved it.
        let capture = self.captures().get(&params.capture_id)?;
        let sessions = self.sessions_of(&capture);
        let (resets, budget) = (self.resets(), self.config().answer_bytes);
        let cursor = params.cursor.map_or(capture.cursor, Seq).max(capture.start);
        let limit = params.limit as usize;
        let rows = params.fields.rows(&BY_AGE)?;
        blocking(move || {
            let tail = live::tail(&capture.store, &sessions, cursor, &Query::default(), limit)?;
            let whole = |items: &[ExchangeSummary]| Ok(items.iter().map(Item::new).collect());
            let mut updates = Updates::read(&capture);
            let updated =
                rows.list((&capture.store, &updates.ended), budget / 4, &nothing, || whole(&updates.ended))?;
            updates.ended.truncate(updated.shown);
            let listing = rows
                .list((&capture.store, &tail.items), budget - budget / 4, &nothing, || whole(&tail.items))?;
            let shown = &tail.items[..listing.shown];
            let next = match shown.last() {
                Some(last) if listing.shown < tail.items.len() => last.seq,
                _ => tail.next,
            };
            let opened = shown.iter().filter(|item| item.state == ExchangeState::Open).map(|item| item.seq);
            let told = updated.shown > 0;
            let progress = Progress { cursor: next, opened: opened.collect(), ended: updates.done(), resets };
            let (status, warnings) = standing(&capture, resets, tail.evicted);
            let answer = Items {
                status,
                capture_id: capture.id,
                truncated: tail.total > listing.shown as u64,
                items: listing.whole,
                table: listing.table,
                updated: updated.table.filter(|_| told),
                updated_items: updated.whole.filter(|_| told),
                next_cursor: next.0,
                total_new_items: tail.total,
                evicted: tail.evicted,
                warnings,
            };
            Ok((answer, progress))
        })
        .await
    }

    /// Persists, and stops the proxy where the capture owns it.
    async fn finish(
        &self,
        capture: &Capture,
        sessions: &[LiveSession],
        persist: bool,
        result: &mut StopResult,
    ) -> Result<(), ToolError> {
        if persist {
            let name = format!("capture-{}-{}.har", capture.id, millis(SystemTime::now()));
            let path = self.exports_dir().join(name);
            let redact = self.secrets_of_files().await;
            let (written, foreign) =
                har::export_sessions(&capture.store, sessions, capture.start, path.clone(), redact)
                    .await
                    .inspect_err(|_| {
                        result.warnings.push("persist_failed: the capture stays readable".to_owned())
                    })?;
            if foreign > 0 {
                result.warnings.push(format!(
                    "other_sessions_included: {foreign} of {written} entries were imported meanwhile"
                ));
            }
            result.persisted_path = Some(path.display().to_string());
        }
        if capture.managed && capture.started_proxy && self.running().is_some() {
            self.stop().await.inspect_err(|_| result.warnings.push("stop_recording_failed".to_owned()))?;
            result.warnings.push("proxy_stopped: the capture had started it".to_owned());
        }
        Ok(())
    }
}
