//! Sessions: recordings that stay.

use std::path::Path;

use capture_store::{Order, Query, Seq, SessionId, SessionInfo, SessionSpec, StatusFilter, Store};
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
    detail::{Depth, ExchangeView},
    error::ToolError,
    toolbox::{Toolbox, blocking},
    tools::{
        proxy::{CaptureProfile, Persistence, bytes_of, default_disk_mb},
        traffic::{Sort, slice},
    },
    view::{IndexRow, SessionView, Success, is_false, mebibytes, millis},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "sessions",
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
            "proxy_query_session",
            "proxy-mcp",
            "an unknown session is an error; `text` also searches headers and decoded bodies; whole rows within a byte budget",
        ),
        Reference::new(
            "proxy_get_session_exchange",
            "proxy-mcp",
            "each body once, as text or base64, by slice (`body_offset`, `body_limit`)",
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

fn body_limit() -> u32 {
    8192
}

fn yes() -> bool {
    true
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
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Sessions {
    status: Success,
    /// Sessions in all.
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

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct QueryParams {
    /// The session's id, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: String,
    /// Exchanges at most.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// Matching exchanges to skip.
    #[serde(default)]
    offset: u64,
    /// asc: oldest first; desc: newest first.
    #[serde(default = "Sort::desc")]
    sort: Sort,
    #[serde(flatten)]
    filter: SessionFilter,
}

/// Which exchanges of a session; all given parts must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SessionFilter {
    /// Method, in whatever case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    method: Option<String>,
    /// Text the host contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    hostname_contains: Option<String>,
    /// Text the URL contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    url_contains: Option<String>,
    /// Status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 999))]
    status_code: Option<u16>,
    /// Begun at or after, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ts: Option<u64>,
    /// Begun at or before, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_ts: Option<u64>,
    /// Text in the URL, a header or a decoded body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    text: Option<String>,
}

impl SessionFilter {
    pub(crate) fn query(&self, session: SessionId, sort: Sort) -> Query {
        let time = |ms: u64| std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(ms));
        let mut query = Query::default();
        query.session = Some(session);
        query.methods = self.method.iter().cloned().collect();
        query.host_contains = self.hostname_contains.clone();
        query.url_contains = self.url_contains.clone();
        query.status = self.status_code.map(StatusFilter::Exactly);
        query.from = self.from_ts.and_then(time);
        query.to = self.to_ts.and_then(time);
        query.text = self.text.clone();
        query.order = sort.order();
        query
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Queried {
    status: Success,
    /// Exchanges that match in all.
    total: u64,
    limit: u32,
    offset: u64,
    items: Vec<IndexRow>,
    /// Whether rows were left out to keep the answer small.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ExchangeParams {
    /// The session's id, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: String,
    /// The exchange's seq; or give exchange_id.
    seq: Option<u64>,
    /// The exchange's id, like e412; or give seq.
    #[schemars(length(min = 1, max = 40))]
    exchange_id: Option<String>,
    /// Give the bodies.
    #[serde(default = "yes")]
    include_body: bool,
    /// Decoded bytes of both bodies to skip.
    #[serde(default)]
    body_offset: u64,
    /// Decoded bytes of each body at most.
    #[serde(default = "body_limit")]
    #[schemars(range(min = 1, max = 65_536))]
    body_limit: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionExchange {
    status: Success,
    index: IndexRow,
    record: Record,
}

/// A recorded exchange with its bodies: each as text or as base64, the other null.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    seq: u64,
    session_id: String,
    exchange: ExchangeView,
    request_body_text: Option<String>,
    request_body_base64: Option<String>,
    response_body_text: Option<String>,
    response_body_base64: Option<String>,
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

/// A session closed after a crash.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecoveredSession {
    session_id: String,
    exchanges: u64,
    /// Bytes of body tails that no committed exchange names, removed.
    dropped_tail_bytes: u64,
    /// Exchanges whose end was not recorded, closed as failed.
    unfinished: u64,
    /// The longest span before the crash whose exchanges may be missing.
    window_ms: u64,
    recovered_at: Option<u64>,
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
        let (session, note) = match self.named_session().await? {
            Some(active) => (active, Some("a session is being recorded already; this is it".to_owned())),
            None => {
                let spec = SessionSpec::Named {
                    name: params.session_name.unwrap_or_else(|| "session".to_owned()),
                    max_bytes: Some(bytes_of(params.max_disk_mb)),
                };
                (self.switch(spec).await?, None)
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
        let Some(session) = self.named_session().await? else {
            return Ok(Json(OneSession { status: Success::Success, session: None, note: None }));
        };
        self.switch(SessionSpec::Scratch { max_bytes: None }).await?;
        let store = self.store().await?;
        let stopped = blocking(move || Ok(store.session(session.id)?)).await?;
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
        let (store, exports) = (self.store().await?, self.exports_dir());
        let budget = self.config().answer_bytes;
        blocking(move || {
            let all = store.sessions()?;
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
                let arguments = json!({"offset": reached, "limit": params.limit});
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

    /// Query a session's exchanges by method, host, URL, status, time or text: a page of index rows.
    #[tool(
        name = "proxy_query_session",
        title = "Query a session",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_query_session(
        &self,
        Parameters(params): Parameters<QueryParams>,
    ) -> Result<Json<Queried>, ToolError> {
        let id: SessionId = params.session_id.parse()?;
        let store = self.fresh_store().await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let mut query = params.filter.query(id, params.sort);
            (query.offset, query.limit) = (params.offset, params.limit as usize);
            let page = store.query(&query)?;
            let total = page.total.unwrap_or(params.offset + page.items.len() as u64);
            let (items, truncated) = fit(index_rows(&store, &page.items, budget)?, budget);
            let truncated = truncated || items.len() < page.items.len();
            let reached = params.offset + items.len() as u64;
            let next = (!items.is_empty() && (page.more || truncated)).then(|| {
                let mut arguments = json!(params);
                arguments["offset"] = reached.into();
                NextCall::new("proxy_query_session", arguments)
            });
            Ok(Json(Queried {
                status: Success::Success,
                total,
                limit: params.limit,
                offset: params.offset,
                items,
                truncated,
                next,
            }))
        })
        .await
    }

    /// Show one exchange of a session by seq or exchange_id, with its bodies by slice.
    #[tool(
        name = "proxy_get_session_exchange",
        title = "Show a session's exchange",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_get_session_exchange(
        &self,
        Parameters(params): Parameters<ExchangeParams>,
    ) -> Result<Json<SessionExchange>, ToolError> {
        let session: SessionId = params.session_id.parse()?;
        let seq = match (params.seq, params.exchange_id.as_deref()) {
            (Some(seq), None) => Seq(seq),
            (None, Some(text)) => text.parse()?,
            (Some(seq), Some(text)) if text.parse::<Seq>()? == Seq(seq) => Seq(seq),
            (Some(_), Some(_)) => {
                return Err(
                    ToolError::invalid("seq and exchange_id name different exchanges").hint("give one")
                );
            }
            (None, None) => {
                let error = "proxy_get_session_exchange needs seq or exchange_id";
                return Err(ToolError::invalid(error).hint("proxy_query_session lists both"));
            }
        };
        let store = self.fresh_store().await?;
        blocking(move || {
            store.session(session)?;
            let exchange = store.exchange(seq)?;
            if exchange.summary.session != session {
                let elsewhere = format!("exchange {seq} belongs to session {}", exchange.summary.session);
                return Err(ToolError::new("unknown_exchange", elsewhere)
                    .hint(format!("give session_id {}", exchange.summary.session)));
            }
            let slice = slice(params.body_offset, if params.include_body { params.body_limit } else { 0 });
            let depth = Depth {
                request_body: slice,
                response_body: slice,
                full_headers: false,
                messages: (0, if params.include_body { 20 } else { 0 }),
            };
            let view = ExchangeView::read(&store, &exchange, depth)?;
            let record = Record::new(session, seq, view, params.include_body);
            Ok(Json(SessionExchange { status: Success::Success, index: IndexRow::new(&exchange), record }))
        })
        .await
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

/// Index rows of as many exchanges as the budget could take; evicted ones are left out.
fn index_rows(
    store: &Store,
    items: &[capture_store::ExchangeSummary],
    budget: usize,
) -> Result<Vec<IndexRow>, ToolError> {
    /// No row is shorter.
    const SHORTEST_ROW: usize = 300;
    let mut rows = Vec::new();
    for item in items.iter().take(budget / SHORTEST_ROW + 1) {
        rows.push(IndexRow::new(&store.exchange(item.seq)?));
    }
    Ok(rows)
}

impl Record {
    /// Takes the pieces out of the view, so that each is there once.
    fn new(session: SessionId, seq: Seq, mut exchange: ExchangeView, with_bodies: bool) -> Self {
        let split = |body: &mut crate::detail::BodyView| {
            let data = std::mem::take(&mut body.body_preview);
            match body.body_encoding {
                _ if !with_bodies || (data.is_empty() && body.body_size == 0) => (None, None),
                Some(crate::body::Encoding::Base64) => (None, Some(data)),
                _ => (Some(data), None),
            }
        };
        let (request_body_text, request_body_base64) = split(&mut exchange.request.body);
        let (response_body_text, response_body_base64) =
            exchange.response.as_mut().map_or((None, None), |response| split(&mut response.body));
        Self {
            seq: seq.0,
            session_id: session.to_string(),
            exchange,
            request_body_text,
            request_body_base64,
            response_body_text,
            response_body_base64,
        }
    }
}

impl RecoveredSession {
    fn new(info: &SessionInfo) -> Self {
        let recovery = info.recovery.as_ref();
        Self {
            session_id: info.id.to_string(),
            exchanges: info.exchanges,
            dropped_tail_bytes: recovery.map_or(0, |recovery| recovery.dropped_bytes),
            unfinished: recovery.map_or(0, |recovery| recovery.unfinished),
            window_ms: recovery.map_or(0, |recovery| recovery.window_ms),
            recovered_at: recovery.map(|recovery| millis(recovery.at)),
        }
    }
}
