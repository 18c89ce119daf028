//! A window of time: wait for traffic and give it whole.

use std::{collections::BTreeSet, time::Duration};

use capture_store::{Exchange, ExchangeState, ExchangeSummary, Query, Seq, SessionId, Store};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    body::{Encoding, slice},
    budget::cut,
    catalogue::{Family, Reference},
    columns::Table,
    detail::{BodyView, Depth, ExchangeView},
    error::ToolError,
    live::{self, LiveSession},
    rows::{BY_AGE, Fields, Rows, nothing},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{HeaderMap, Success, is_false},
};

/// Exchanges one window takes note of.
const MAX_EXCHANGES: usize = 10_000;
/// Exchanges already under way that are looked for when the window opens.
const LOOK_BACK: usize = 500;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "window",
    toolset: Toolset::Capture,
    summary: "A window of time: wait for traffic and give it whole.",
    router,
    references: &[Reference::new(
        "capture_traffic",
        "httptoolkit-mcp",
        "returns as soon as `until` exchanges have ended; filters; bodies decoded, base64 when they are no text; exchanges that \
         began before the window and end in it are there; failures are there; `sessionId` is a session of ours",
    )],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::window_router()
}

fn five() -> f64 {
    5.0
}

fn preview() -> u32 {
    2048
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WindowParams {
    /// Seconds to wait at most.
    #[serde(default = "five")]
    #[schemars(range(min = 0.05, max = 300))]
    duration: f64,
    /// Only this session's traffic, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: Option<String>,
    /// Return as soon as this many matching exchanges have ended.
    #[schemars(range(min = 1, max = 1000))]
    until: Option<u32>,
    /// Only this method, in whatever case.
    #[schemars(length(min = 1, max = 64))]
    method: Option<String>,
    /// Only hosts that contain this text.
    #[serde(rename = "hostname_contains")]
    #[schemars(length(max = 255))]
    hostname_contains: Option<String>,
    /// Only URLs that contain this text.
    #[serde(rename = "url_contains")]
    #[schemars(length(max = 2000))]
    url_contains: Option<String>,
    /// Only this status code.
    #[serde(rename = "status_code")]
    #[schemars(range(min = 100, max = 999))]
    status_code: Option<u16>,
    /// Decoded bytes of each body at most; 0 for none.
    #[serde(rename = "body_limit", default = "preview")]
    #[schemars(range(max = 65_536))]
    body_limit: u32,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Window {
    status: Success,
    /// Matching exchanges that ended in the window.
    captured_exchanges: usize,
    /// Them with heads and bodies; absent where `fields` names columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanges: Option<Vec<WindowExchange>>,
    #[serde(flatten)]
    table: Option<Table>,
    /// Whether `until` was met; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_met: Option<bool>,
    /// Matching exchanges still under way at the end.
    in_progress: usize,
    /// Whether exchanges were left out to keep the answer small: proxy_get_exchange gives each.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// Ids of those left out, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    omitted: Vec<String>,
}

/// An exchange.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WindowExchange {
    request: WindowRequest,
    /// Absent where none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<WindowResponse>,
    /// Why it failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WindowRequest {
    /// The exchange's id, for proxy_get_exchange.
    id: String,
    method: String,
    url: String,
    /// `http`, `https`, `ws` or `wss`.
    protocol: String,
    headers: HeaderMap,
    body: String,
    /// `base64` where the bytes are no text; absent where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<Encoding>,
    /// The client's address.
    remote_ip_address: Option<String>,
    /// Always empty.
    tags: Vec<String>,
}

/// A response.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WindowResponse {
    status_code: u16,
    status_message: String,
    headers: HeaderMap,
    body: String,
    /// `base64` where the bytes are no text; absent where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<Encoding>,
}

#[tool_router(router = window_router, vis = "pub(crate)")]
impl Toolbox {
    /// Wait for traffic and return what ended meanwhile, with bodies: for `duration` seconds, or until `until`
    /// matching exchanges are there.
    #[tool(
        name = "capture_traffic",
        title = "Capture a window of traffic",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn capture_traffic(
        &self,
        Parameters(params): Parameters<WindowParams>,
        cancelled: CancellationToken,
    ) -> Result<Json<Window>, ToolError> {
        self.must_run()?;
        let rows = params.fields.rows_or(&BY_AGE, true)?;
        let only = params.session_id.as_deref().map(str::parse::<SessionId>).transpose()?;
        let deadline = Instant::now() + Duration::from_secs_f64(params.duration);
        let mut commits = self.commits();
        let store = self.store().await?;
        let sessions = || -> Vec<LiveSession> {
            let live = self.live().into_iter();
            live.filter(|session| only.is_none_or(|id| id == session.id)).collect()
        };
        let mut watch = Watch::open(store.clone(), sessions(), params.clone()).await?;
        while !watch.is_met() && Instant::now() < deadline {
            let more = tokio::select! {
                more = commits.changed() => more.is_ok(),
                () = tokio::time::sleep_until(deadline) => false,
                () = cancelled.cancelled() => false,
                () = self.closing() => false,
            };
            if !more {
                break;
            }
            watch = watch.look(sessions()).await?;
        }
        self.fresh_store().await?;
        let watch = watch.look(sessions()).await?;
        let budget = self.config().answer_bytes;
        blocking(move || watch.answer(&rows, budget)).await.map(Json)
    }
}

/// What a window has seen so far.
struct Watch {
    store: Store,
    params: WindowParams,
    cursor: Seq,
    /// Under way, and matching as far as can be told.
    open: BTreeSet<Seq>,
    /// Ended and matching, in the order their ends were seen.
    ended: Vec<Seq>,
}

impl Watch {
    /// Opens the window: what comes after now, and the end of what is under way.
    async fn open(store: Store, sessions: Vec<LiveSession>, params: WindowParams) -> Result<Self, ToolError> {
        blocking(move || {
            let cursor = store.newest()?;
            let mut open = BTreeSet::new();
            for session in sessions {
                let mut query = Query::default();
                (query.session, query.limit) = (Some(session.id), LOOK_BACK);
                query.order = capture_store::Order::Descending;
                let recent = store.query(&query)?.items;
                // What comes after the cursor is met by the tail.
                let under_way =
                    recent.iter().filter(|item| item.seq <= cursor && item.state == ExchangeState::Open);
                open.extend(under_way.map(|item| item.seq));
            }
            Ok(Self { store, params, cursor, open, ended: Vec::new() })
        })
        .await
    }

    fn is_met(&self) -> bool {
        self.params.until.is_some_and(|until| self.ended.len() >= until as usize)
    }

    /// Takes note of what came since.
    async fn look(mut self, sessions: Vec<LiveSession>) -> Result<Self, ToolError> {
        blocking(move || {
            let mut still_open = BTreeSet::new();
            for seq in std::mem::take(&mut self.open) {
                // What is gone meanwhile was cleared or evicted.
                let Ok(exchange) = self.store.exchange(seq) else { continue };
                self.note(&exchange.summary, &mut still_open);
            }
            loop {
                let tail = live::tail(&self.store, &sessions, self.cursor, &Query::default(), 500)?;
                for item in &tail.items {
                    self.note(item, &mut still_open);
                }
                self.cursor = tail.next;
                if tail.total <= tail.items.len() as u64 {
                    break;
                }
            }
            self.open = still_open;
            Ok(self)
        })
        .await
    }

    fn note(&mut self, item: &ExchangeSummary, open: &mut BTreeSet<Seq>) {
        if item.state == ExchangeState::Open {
            if open.len() < MAX_EXCHANGES {
                open.insert(item.seq);
            }
        } else if self.ended.len() < MAX_EXCHANGES && self.matches(item) {
            self.ended.push(item.seq);
        }
    }

    fn matches(&self, item: &ExchangeSummary) -> bool {
        let contains = |text: &str, part: &Option<String>| {
            part.as_ref().is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
        };
        let params = &self.params;
        contains(&item.host, &params.hostname_contains)
            && contains(&item.url, &params.url_contains)
            && params.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(&item.method))
            && params.status_code.is_none_or(|status| item.status == Some(status))
    }

    /// Reads what was noted. Blocks.
    fn answer(self, rows: &Rows, budget: usize) -> Result<Window, ToolError> {
        /// No exchange with its heads is shorter.
        const SHORTEST: usize = 200;
        let most = if matches!(rows, Rows::Reference) { budget / SHORTEST + 1 } else { 1000 };
        // What is gone meanwhile was cleared or evicted.
        let read: Vec<Exchange> =
            self.ended.iter().take(most).filter_map(|seq| self.store.exchange(*seq).ok()).collect();
        let summaries: Vec<_> = read.iter().map(|exchange| exchange.summary.clone()).collect();
        let whole = || {
            let limit = self.params.body_limit;
            read.iter().map(|exchange| WindowExchange::read(&self.store, exchange, limit)).collect()
        };
        let listing = rows.list((&self.store, &summaries), budget, &nothing, whole)?;
        let shown: BTreeSet<Seq> = summaries[..listing.shown].iter().map(|summary| summary.seq).collect();
        let left_out = self.ended.iter().filter(|seq| !shown.contains(seq)).map(ToString::to_string);
        let omitted: Vec<String> = left_out.take(100).collect();
        let met = self.is_met();
        Ok(Window {
            status: Success::Success,
            captured_exchanges: self.ended.len(),
            until_met: self.params.until.map(|_| met),
            in_progress: self.open.len(),
            truncated: !omitted.is_empty(),
            omitted,
            exchanges: listing.whole,
            table: listing.table,
        })
    }
}

impl WindowExchange {
    fn read(store: &Store, exchange: &Exchange, body_limit: u32) -> Result<Self, ToolError> {
        let slice = slice(0, body_limit);
        let depth =
            Depth { request_body: slice, response_body: slice, full_headers: false, messages: (0, 0) };
        let view = ExchangeView::read(store, exchange, depth)?;
        let secure = exchange.summary.scheme == "https";
        let protocol = match (view.kind, secure) {
            (Some("websocket"), true) => "wss",
            (Some("websocket"), false) => "ws",
            (_, true) => "https",
            (_, false) => "http",
        };
        let (body, body_encoding) = with_ellipsis(view.request.body);
        Ok(Self {
            request: WindowRequest {
                id: view.id,
                method: view.request.method,
                url: cut(&view.request.url, 2000),
                protocol: protocol.to_owned(),
                headers: view.request.headers,
                body,
                body_encoding,
                remote_ip_address: exchange
                    .client
                    .as_ref()
                    .and_then(|peer| peer.address)
                    .map(|address| address.ip().to_string()),
                tags: Vec::new(),
            },
            response: view.response.map(|response| {
                let (body, body_encoding) = with_ellipsis(response.body);
                WindowResponse {
                    status_code: response.status_code,
                    status_message: response.status_message,
                    headers: response.headers,
                    body,
                    body_encoding,
                }
            }),
            error: view.error,
        })
    }
}

/// A text that goes on ends with an ellipsis; base64 stays decodable.
fn with_ellipsis(body: BodyView) -> (String, Option<Encoding>) {
    let mut text = body.body_preview;
    if body.body_next_offset.is_some() && body.body_encoding.is_none() {
        text.push('…');
    }
    (text, body.body_encoding)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::support::{Bench, Fed, params};

    fn window(arguments: serde_json::Value) -> WindowParams {
        params::<WindowParams>("capture_traffic", arguments).0
    }

    #[tokio::test]
    async fn what_began_before_the_window_and_ends_in_it_is_there_once() {
        let bench = Bench::new().await;
        bench.feed(1, Fed::get("/over"));
        bench.feed(2, Fed { open: true, ..Fed::get("/long") });
        let store = bench.toolbox.fresh_store().await.unwrap();
        let watch = Watch::open(store, bench.toolbox.live(), window(json!({"until": 2}))).await.unwrap();
        bench.end(2);
        bench.feed(3, Fed::get("/new"));
        bench.toolbox.fresh_store().await.unwrap();
        let watch = watch.look(bench.toolbox.live()).await.unwrap();
        assert!(watch.is_met());
        let answer =
            watch.look(bench.toolbox.live()).await.unwrap().answer(&Rows::Reference, 1 << 20).unwrap();
        let exchanges = answer.exchanges.unwrap();
        let urls: Vec<_> = exchanges.iter().map(|exchange| exchange.request.url.as_str()).collect();
        assert_eq!(urls, ["https://example.test/long", "https://example.test/new"]);
    }

    #[tokio::test]
    async fn exchanges_beyond_the_budget_are_named() {
        let bench = Bench::new().await;
        let store = bench.toolbox.fresh_store().await.unwrap();
        let watch = Watch::open(store, bench.toolbox.live(), window(json!({}))).await.unwrap();
        for n in 1..=30 {
            let text = [("Content-Type", "text/plain")];
            bench.feed(n, Fed::get(format!("/{n}")).with_body(&text, "long ".repeat(300)));
        }
        bench.toolbox.fresh_store().await.unwrap();
        let answer =
            watch.look(bench.toolbox.live()).await.unwrap().answer(&Rows::Reference, 16 * 1024).unwrap();
        assert_eq!((answer.captured_exchanges, answer.truncated), (30, true));
        assert_eq!(answer.exchanges.as_ref().map_or(0, Vec::len) + answer.omitted.len(), 30);
        assert!(crate::budget::json_bytes(&answer) <= 16 * 1024);
    }

    #[tokio::test]
    async fn a_cancelled_window_ends_at_once() {
        let bench = Bench::new().await;
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let arguments = params("capture_traffic", json!({"duration": 300, "until": 1}));
        let answer = bench.toolbox.capture_traffic(arguments, cancelled).await.unwrap().0;
        assert_eq!((answer.captured_exchanges, answer.until_met), (0, Some(false)));
    }
}
