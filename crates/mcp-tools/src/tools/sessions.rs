//! Sessions: recordings that stay.

use std::path::Path;

use capture_store::{Order, Query, SessionFilter, SessionId, SessionInfo, SessionSpec, SessionState, Store};
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

use crate::{
    budget::{NextCall, fit},
    catalogue::{Family, Reference},
    error::ToolError,
    persistence::Persistence,
    recovery::RecoveredSession,
    toolbox::{Named, Toolbox, blocking},
    tools::proxy::{CaptureProfile, bytes_of, default_disk_mb},
    toolsets::Toolset,
    view::{SessionView, Success, is_false, mebibytes, millis},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "sessions",
    toolset: Toolset::Sessions,
    summary: "Sessions: recordings that stay, to be read, exported, imported and deleted.",
    router,
    references: &[
        Reference::new(
            "proxy_session_start",
            "proxy-mcp",
            "`storage_dir` must be the store the proxy records into (give it to `proxy_start`); bodies are always recorded whole",
        ),
        Reference::new("proxy_session_stop", "proxy-mcp", "an unnamed session goes on recording"),
        Reference::new("proxy_session_status", "proxy-mcp", "answers while large bodies are written"),
        Reference::new(
            "proxy_list_sessions",
            "proxy-mcp",
            "paged; sessions a crash left open are closed as recovered",
        ),
        Reference::new(
            "proxy_get_session",
            "proxy-mcp",
            "counts are current; an unknown id is an error of its own",
        ),
        Reference::new(
            "proxy_delete_session",
            "proxy-mcp",
            "an unknown session is an error; ids are parsed, never joined into paths",
        ),
        Reference::new(
            "proxy_session_recover",
            "proxy-mcp",
            "sessions are recovered when the store is opened; this does it again",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::sessions_router()
}

fn fifty() -> u32 {
    50
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct StartParams {
    /// Its name.
    #[schemars(length(min = 1, max = 200))]
    session_name: Option<String>,
    /// Accepted for compatibility: bodies are always recorded whole.
    #[serde(default)]
    #[expect(dead_code, reason = "there is one profile")]
    capture_profile: CaptureProfile,
    /// Must be the store the proxy records into: give it to proxy_start.
    #[schemars(length(max = 4096))]
    storage_dir: Option<String>,
    /// Limit on disk, MiB; when it is reached the session records no more and says so.
    #[serde(default = "default_disk_mb")]
    #[schemars(range(min = 1, max = 16_777_216))]
    max_disk_mb: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OneSession {
    status: Success,
    /// The session; null when there is none.
    session: Option<SessionView>,
    /// What is unusual.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl OneSession {
    pub(super) fn of(session: SessionView) -> Self {
        Self { status: Success::Success, session: Some(session), note: None }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RecordingStatus {
    status: Success,
    #[serde(flatten)]
    persistence: Persistence,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ListParams {
    /// Sessions to skip.
    #[serde(default)]
    offset: u64,
    /// Sessions at most.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// Filter: tag:login kind:named since:2d -state:active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    filter: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Sessions {
    status: Success,
    /// Sessions in all, of those the filter finds.
    count: usize,
    /// Newest first.
    sessions: Vec<ListedSession>,
    /// Whether sessions were left out to keep the answer small.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

/// A session in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedSession {
    #[serde(flatten)]
    session: SessionView,
    disk_usage_mb: f64,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SessionParams {
    /// Its id, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Deleted {
    status: Success,
    /// The session that is gone.
    deleted: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct RecoverParams {
    /// Its id; all sessions otherwise.
    #[schemars(length(min = 1, max = 40))]
    session_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Recovered {
    status: Success,
    /// The sessions that a crash had left open.
    recovered: Vec<RecoveredSession>,
}

#[tool_router(router = sessions_router, vis = "pub(crate)")]
impl Toolbox {
    /// Record from now on into a named session that is kept until it is deleted. The proxy must run.
    #[tool(
        name = "proxy_session_start",
        title = "Start a session",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_session_start(
        &self,
        Parameters(params): Parameters<StartParams>,
    ) -> Result<Json<OneSession>, ToolError> {
        self.must_run()?;
        let store = self.store().await?;
        if let Some(text) = params.storage_dir {
            let asked = self.files().path("storage_dir", &text)?;
            if store.directory().canonicalize().ok().as_deref() != Some(&asked) {
                let error = format!("storage_dir: the proxy records into {}", store.directory().display());
                return Err(
                    ToolError::invalid(error).hint("give storage_dir to proxy_start (after proxy_stop)")
                );
            }
        }
        let spec = SessionSpec::Named {
            name: params.session_name.unwrap_or_else(|| "session".to_owned()),
            max_bytes: Some(bytes_of(params.max_disk_mb)),
        };
        let (session, note) = match self.begin_named(spec).await? {
            Named::Begun(session) => (session, None),
            Named::Already(full) if full.state == SessionState::Full => {
                let note =
                    "a session is open already, but full: it records no more (proxy_session_stop ends it)";
                (full, Some(note.to_owned()))
            }
            Named::Already(session) => {
                (session, Some("a session is being recorded already; this is it".to_owned()))
            }
        };
        let session = self.session_view(session).await?;
        Ok(Json(OneSession { status: Success::Success, session: Some(session), note }))
    }

    /// End the named session; an unnamed one goes on recording.
    #[tool(
        name = "proxy_session_stop",
        title = "Stop the session",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_session_stop(&self) -> Result<Json<OneSession>, ToolError> {
        let Some(stopped) = self.end_named().await? else {
            return Ok(Json(OneSession { status: Success::Success, session: None, note: None }));
        };
        let session = self.session_view(stopped).await?;
        Ok(Json(OneSession { status: Success::Success, session: Some(session), note: None }))
    }

    /// Tell how the recording stands: session, bytes, drops, last error.
    #[tool(
        name = "proxy_session_status",
        title = "Session status",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_session_status(&self) -> Result<Json<RecordingStatus>, ToolError> {
        let (store, running) = (self.store().await?, self.running());
        let persistence = blocking(move || match running {
            Some(running) => Persistence::of(&running.recorder, &store),
            None => Ok(Persistence::idle(store.directory())),
        })
        .await?;
        Ok(Json(RecordingStatus { status: Success::Success, persistence }))
    }

    /// List the recorded sessions, newest first.
    #[tool(
        name = "proxy_list_sessions",
        title = "List sessions",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_list_sessions(
        &self,
        Parameters(params): Parameters<ListParams>,
    ) -> Result<Json<Sessions>, ToolError> {
        let wanted = params.filter.as_deref().map(SessionFilter::parse).transpose().map_err(|error| {
            ToolError::invalid(format!("filter: failed to {error}"))
                .hint("terms side by side must all hold: name:login tag:slow kind:named state:stopped since:2d size:>10mb, - before one negates it")
        })?;
        let (store, exports) = (self.store().await?, self.exports_dir());
        let budget = self.config().answer_bytes;
        blocking(move || {
            let mut all = store.sessions()?;
            all.retain(|session| wanted.as_ref().is_none_or(|wanted| wanted.admits(session)));
            let offset = usize::try_from(params.offset).unwrap_or(usize::MAX);
            let page = all.iter().skip(offset).take(params.limit as usize);
            let listed: Result<Vec<ListedSession>, ToolError> = page
                .map(|info| {
                    let session = view(&store, info, &exports)?;
                    Ok(ListedSession { session, disk_usage_mb: mebibytes(info.bytes) })
                })
                .collect();
            let (sessions, truncated) = fit(listed?, budget);
            let reached = offset.saturating_add(sessions.len());
            let next = (reached < all.len() && !sessions.is_empty()).then(|| {
                let mut arguments = json!(params);
                arguments["offset"] = reached.into();
                NextCall::new("proxy_list_sessions", arguments)
            });
            Ok(Json(Sessions { status: Success::Success, count: all.len(), sessions, truncated, next }))
        })
        .await
    }

    /// Show one recorded session: its name, state, counts and limits.
    #[tool(
        name = "proxy_get_session",
        title = "Show a session",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_get_session(
        &self,
        Parameters(params): Parameters<SessionParams>,
    ) -> Result<Json<OneSession>, ToolError> {
        let id: SessionId = params.session_id.parse()?;
        let store = self.fresh_store().await?;
        let info = blocking(move || Ok(store.session(id)?)).await?;
        let session = self.session_view(info).await?;
        Ok(Json(OneSession { status: Success::Success, session: Some(session), note: None }))
    }

    /// Delete a session and all it holds. One that is being recorded must be stopped first.
    #[tool(
        name = "proxy_delete_session",
        title = "Delete a session",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_delete_session(
        &self,
        Parameters(params): Parameters<SessionParams>,
    ) -> Result<Json<Deleted>, ToolError> {
        let id: SessionId = params.session_id.parse()?;
        let store = self.store().await?;
        blocking(move || Ok(store.delete_session(id)?)).await?;
        self.edit_live(|live| live.retain(|session| session.id != id));
        Ok(Json(Deleted { status: Success::Success, deleted: id.to_string() }))
    }

    /// Close sessions that a crashed recording left open, and say what was lost.
    #[tool(
        name = "proxy_session_recover",
        title = "Recover sessions",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_session_recover(
        &self,
        Parameters(params): Parameters<RecoverParams>,
    ) -> Result<Json<Recovered>, ToolError> {
        let id = params.session_id.as_deref().map(str::parse::<SessionId>).transpose()?;
        let store = self.store().await?;
        blocking(move || {
            // Opening the store recovered what there was; that is told here, too.
            let mut sessions = store.recover(id)?;
            for earlier in store.recovered() {
                if id.is_none_or(|id| id == earlier.id) && !sessions.iter().any(|info| info.id == earlier.id)
                {
                    sessions.push(earlier.clone());
                }
            }
            let recovered = sessions.iter().map(RecoveredSession::new).collect();
            Ok(Json(Recovered { status: Success::Success, recovered }))
        })
        .await
    }
}

impl Toolbox {
    /// A session as tools show it.
    pub(crate) async fn session_view(&self, info: SessionInfo) -> Result<SessionView, ToolError> {
        let (store, exports) = (self.store().await?, self.exports_dir());
        let recorder = self.running().map(|running| running.recorder);
        blocking(move || {
            let mut session = view(&store, &info, &exports)?;
            if let Some(recorder) = recorder.filter(|recorder| recorder.session() == info.id) {
                session.last_flush_at = recorder.status()?.last_commit.map(millis);
            }
            Ok(session)
        })
        .await
    }
}

/// A session of `store` as tools show it. Blocks.
pub(crate) fn view(store: &Store, info: &SessionInfo, exports: &Path) -> Result<SessionView, ToolError> {
    let mut newest = Query::default();
    (newest.session, newest.order, newest.limit) = (Some(info.id), Order::Descending, 1);
    let newest = store.query(&newest)?.items.first().map(|item| item.seq);
    Ok(SessionView::new(info, newest, store.directory(), exports))
}
