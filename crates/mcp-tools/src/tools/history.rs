//! What a session holds: its exchanges, queried and shown.

use capture_store::{ErrorKind, Query, Seq, SessionId, StatusFilter, Store};
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
    body::slice,
    budget::NextCall,
    catalogue::{Family, Reference},
    columns::Table,
    detail::{Depth, ExchangeView},
    error::ToolError,
    live::Sort,
    rows::{BY_AGE, Fields, nothing},
    scoped::filter,
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{IndexRow, Success, is_false},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "history",
    toolset: Toolset::Sessions,
    summary: "What a session holds: its exchanges, queried and shown.",
    router,
    references: &[
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
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::history_router()
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
    parts: SessionFilter,
    /// Filter: host:a.test status:>=500 since:10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    filter: Option<String>,
    #[serde(flatten)]
    fields: Fields,
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
    /// Whole rows, where `fields` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<IndexRow>>,
    #[serde(flatten)]
    table: Option<Table>,
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

#[tool_router(router = history_router, vis = "pub(crate)")]
impl Toolbox {
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
        let mut query = params.parts.query(id, params.sort);
        (query.offset, query.limit) = (params.offset, params.limit as usize);
        query.condition = params.filter.as_deref().map(|text| filter("filter", text)).transpose()?;
        let rows = params.fields.rows(&BY_AGE)?;
        blocking(move || {
            let page = store.query(&query)?;
            let total = page.total.unwrap_or(params.offset + page.items.len() as u64);
            let whole = || index_rows(&store, &page.items, budget);
            let listing = rows.list((&store, &page.items), budget, &nothing, whole)?;
            let shown = listing.shown;
            let truncated = shown < page.items.len();
            let reached = params.offset + shown as u64;
            let next = (shown > 0 && (page.more || truncated)).then(|| {
                let mut arguments = json!(params);
                arguments["offset"] = reached.into();
                NextCall::new("proxy_query_session", arguments)
            });
            Ok(Json(Queried {
                status: Success::Success,
                total,
                limit: params.limit,
                offset: params.offset,
                items: listing.whole,
                table: listing.table,
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
        match store.exchange(item.seq) {
            Ok(exchange) => rows.push(IndexRow::new(&exchange)),
            Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => {}
            Err(error) => return Err(error.into()),
        }
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
