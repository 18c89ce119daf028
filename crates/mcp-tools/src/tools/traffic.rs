//! The traffic as it comes: list, look at, search, clear.

mod search;

use capture_store::{Condition, Pattern, Query, Seq, StatusFilter, TextField};
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

use self::search::{Found, SearchParams};
use crate::{
    body::slice,
    budget::NextCall,
    catalogue::{Family, Reference},
    columns::Table,
    curl,
    detail::{Depth, ExchangeView},
    error::ToolError,
    live::{self, Sort, Span},
    rows::{BY_AGE, Fields, nothing},
    scoped::filter,
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Row, Success, is_false},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "traffic",
    toolset: Toolset::Core,
    summary: "The traffic as it comes: what this server recorded since it started, across its sessions.",
    router,
    references: &[
        Reference::new(
            "proxy_list_traffic",
            "proxy-mcp",
            "not limited to 1,000 exchanges; shows requests under way and failures; `sort`; whole rows within a byte budget, \
             and the call that continues",
        ),
        Reference::new(
            "proxy_get_exchange",
            "proxy-mcp",
            "bodies by slice, decoded (gzip, deflate, br, zstd), base64 when they are no text; duplicate headers stay apart; \
             TLS facts, addresses, WebSocket messages",
        ),
        Reference::new(
            "proxy_search_traffic",
            "proxy-mcp",
            "searches header names and whole decoded bodies, too, and says where it matched; newest first",
        ),
        Reference::new(
            "proxy_clear_traffic",
            "proxy-mcp",
            "exchanges under way stay; named sessions keep what they recorded, it is only no longer listed here",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::traffic_router()
}

/// How the exchange reached the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceFilter {
    /// The client was told to use the proxy.
    Explicit,
    /// The client's connection was redirected.
    Transparent,
}

impl SourceFilter {
    fn condition(self) -> Condition {
        let redirected = Condition::Text(TextField::Listener, Pattern::equals("transparent"));
        match self {
            Self::Explicit => Condition::Not(Box::new(redirected)),
            Self::Transparent => redirected,
        }
    }
}

fn fifty() -> u32 {
    50
}

fn twenty() -> u32 {
    20
}

fn preview() -> u32 {
    4096
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ListParams {
    /// Exchanges at most.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// Matching exchanges to skip.
    #[serde(default)]
    offset: u64,
    /// Method, in whatever case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    method_filter: Option<String>,
    /// Text the URL contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    url_filter: Option<String>,
    /// Status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 999))]
    status_filter: Option<u16>,
    /// Text the host contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    hostname_filter: Option<String>,
    /// transparent: by the transparent listener; explicit: all else.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_filter: Option<SourceFilter>,
    /// asc: oldest first; desc: newest first.
    #[serde(default)]
    sort: Sort,
    /// Filter: host:a.test status:>=500 since:10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    filter: Option<String>,
    #[serde(flatten)]
    fields: Fields,
}

impl ListParams {
    fn query(&self) -> Result<Query, ToolError> {
        let mut query = Query::default();
        let given = self.filter.as_deref().map(|text| filter("filter", text)).transpose()?;
        let conditions: Vec<Condition> =
            given.into_iter().chain(self.source_filter.map(SourceFilter::condition)).collect();
        query.condition = (!conditions.is_empty()).then_some(Condition::All(conditions));
        query.methods = self.method_filter.iter().cloned().collect();
        query.url_contains = self.url_filter.clone();
        query.host_contains = self.hostname_filter.clone();
        query.status = self.status_filter.map(StatusFilter::Exactly);
        query.order = self.sort.order();
        Ok(query)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Traffic {
    status: Success,
    /// Exchanges that match in all.
    total: u64,
    offset: u64,
    limit: u32,
    /// Exchanges in this answer.
    showing: usize,
    /// Whole rows, where `fields` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanges: Option<Vec<Row>>,
    #[serde(flatten)]
    table: Option<Table>,
    /// Whether rows were left out to keep the answer small.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct GetParams {
    /// Its id, like e412.
    #[schemars(length(min = 1, max = 40))]
    exchange_id: String,
    /// Decoded bytes of both bodies to skip.
    #[serde(default)]
    body_offset: u64,
    /// Decoded bytes of each body at most; 0 for none.
    #[serde(default = "preview")]
    #[schemars(range(max = 65_536))]
    body_limit: u32,
    /// Give long headers whole, and headers as received (order, case) beside.
    #[serde(default)]
    full_headers: bool,
    /// First WebSocket message to give.
    #[serde(default)]
    message_offset: u64,
    /// WebSocket messages at most.
    #[serde(default = "twenty")]
    #[schemars(range(max = 200))]
    message_limit: u32,
    /// Give the request as a curl command, too.
    #[serde(default)]
    as_curl: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Got {
    status: Success,
    exchange: ExchangeView,
    /// The command for a POSIX shell that sends the request again, byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    curl: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Cleared {
    status: Success,
    /// Exchanges no longer listed.
    cleared: u64,
}

#[tool_router(router = traffic_router, vis = "pub(crate)")]
impl Toolbox {
    /// List captured exchanges, oldest first: a page of short rows. proxy_get_exchange shows one in full.
    #[tool(
        name = "proxy_list_traffic",
        title = "List traffic",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_list_traffic(
        &self,
        Parameters(params): Parameters<ListParams>,
    ) -> Result<Json<Traffic>, ToolError> {
        let (store, live) = (self.fresh_store().await?, self.live());
        let budget = self.config().answer_bytes;
        let (query, rows) = (params.query()?, params.fields.rows(&BY_AGE)?);
        blocking(move || {
            let span = Span { offset: params.offset, limit: params.limit as usize };
            let page = live::page(&store, &live, &query, span)?;
            let whole = || page.items.iter().map(|row| Row::new(&store, row)).collect();
            let listing = rows.list((&store, &page.items), budget, &nothing, whole)?;
            let showing = listing.shown;
            let reached = params.offset + showing as u64;
            let next = (reached < page.total && showing > 0).then(|| {
                let mut arguments = json!(params);
                arguments["offset"] = reached.into();
                NextCall::new("proxy_list_traffic", arguments)
            });
            Ok(Json(Traffic {
                status: Success::Success,
                total: page.total,
                offset: params.offset,
                limit: params.limit,
                showing,
                exchanges: listing.whole,
                table: listing.table,
                truncated: showing < page.items.len(),
                next,
            }))
        })
        .await
    }

    /// Show one exchange: heads, decoded bodies by slice, TLS facts, WebSocket messages.
    #[tool(
        name = "proxy_get_exchange",
        title = "Show an exchange",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_get_exchange(
        &self,
        Parameters(params): Parameters<GetParams>,
    ) -> Result<Json<Got>, ToolError> {
        let seq: Seq = params.exchange_id.parse()?;
        let store = self.fresh_store().await?;
        blocking(move || {
            let exchange = store.exchange(seq)?;
            let slice = slice(params.body_offset, params.body_limit);
            let depth = Depth {
                request_body: slice,
                response_body: slice,
                full_headers: params.full_headers,
                messages: (params.message_offset, params.message_limit as usize),
            };
            let view = ExchangeView::read(&store, &exchange, depth)?;
            let curl = params.as_curl.then(|| curl::command(&store, &exchange)).transpose()?;
            Ok(Json(Got { status: Success::Success, exchange: view, curl }))
        })
        .await
    }

    /// Find captured exchanges that contain a text anywhere, newest first, and where.
    #[tool(
        name = "proxy_search_traffic",
        title = "Search traffic",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_search_traffic(
        &self,
        Parameters(params): Parameters<SearchParams>,
    ) -> Result<Json<Found>, ToolError> {
        let before = params.before()?;
        let condition = params.condition()?;
        let (store, live) = (self.fresh_store().await?, self.live());
        let budget = self.config().answer_bytes;
        let rows = params.rows()?;
        blocking(move || {
            search::answer((&store, &live), params, (before, condition), &rows, budget).map(Json)
        })
        .await
    }

    /// Forget the traffic captured so far: proxy_list_traffic starts empty. Named sessions keep theirs.
    #[tool(
        name = "proxy_clear_traffic",
        title = "Clear traffic",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_clear_traffic(&self) -> Result<Json<Cleared>, ToolError> {
        let cleared = self.clear().await?;
        Ok(Json(Cleared { status: Success::Success, cleared }))
    }
}

impl Toolbox {
    /// Clears what `proxy_list_traffic` lists, and says how many exchanges that were.
    pub(crate) async fn clear(&self) -> Result<u64, ToolError> {
        let (store, live) = (self.fresh_store().await?, self.live());
        let newest = live.iter().map(|session| session.id).max();
        let recording = self.running().map(|running| running.recorder.session());
        let (cleared, kept) = blocking(move || {
            let floor = store.newest()?;
            let (mut cleared, mut kept) = (0, Vec::new());
            for mut session in live {
                if session.scratch {
                    cleared += store.clear_session(session.id).or_else(gone)?;
                } else {
                    cleared += live::total(&store, &[session])?;
                    session.floor = session.floor.max(floor);
                }
                // A session that is over and has nothing in view will not have anything again.
                if Some(session.id) == recording || live::total(&store, &[session])? > 0 {
                    kept.push(session);
                }
            }
            Ok((cleared, kept))
        })
        .await?;
        // Sessions begun meanwhile stay as they are.
        self.edit_live(|live| {
            live.retain(|session| Some(session.id) > newest);
            live.splice(0..0, kept);
        });
        self.count_reset();
        Ok(cleared)
    }
}

/// A session deleted since has nothing to clear.
fn gone(error: capture_store::Error) -> Result<u64, capture_store::Error> {
    match error.kind() {
        capture_store::ErrorKind::UnknownSession(_) => Ok(0),
        _ => Err(error),
    }
}
