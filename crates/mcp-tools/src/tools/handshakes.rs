//! The TLS handshakes of a session: who asked for what, and by which fingerprints.

use capture_store::{ErrorKind, Exchange, Query, SessionId, Store};
use proxy_core::TlsFacts;
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
    budget::{NextCall, cut, fit},
    catalogue::{Family, Reference},
    error::ToolError,
    live::Sort,
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false, millis},
};

/// Exchanges read from the store at a time.
const PAGE: usize = 500;

/// Characters of a URL in a row.
const MAX_LISTED_URL: usize = 500;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "handshakes",
    toolset: Toolset::Sessions,
    summary: "The TLS handshakes of a session, with the fingerprints of clients and upstreams.",
    router,
    references: &[Reference::new(
        "proxy_get_session_handshakes",
        "proxy-mcp",
        "an unknown session is an error; the counts are of all that matches; JA3S and JA4S are captured, and so are tunnels passed through undecrypted",
    )],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::handshakes_router()
}

fn two_hundred() -> u32 {
    200
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct HandshakesParams {
    /// The session's id, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: String,
    /// Exchanges at most.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// Matching exchanges to skip.
    #[serde(default)]
    offset: u64,
    /// asc: oldest first; desc: newest first.
    #[serde(default = "Sort::desc")]
    sort: Sort,
    /// Text the host contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    hostname_contains: Option<String>,
    /// Text the URL contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    url_contains: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handshakes {
    status: Success,
    session_id: String,
    /// Exchanges that match in all.
    total: u64,
    /// Those of them with TLS on either side.
    with_tls_metadata: u64,
    /// Those of them without.
    without_tls_metadata: u64,
    /// Why there is no TLS to show; null where there is some, or nothing matches.
    unavailable_reason: Option<String>,
    items: Vec<Handshake>,
    /// Whether rows were left out to keep the answer small.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

/// The handshakes of one exchange.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handshake {
    seq: u64,
    exchange_id: String,
    /// When it began.
    timestamp: u64,
    hostname: String,
    /// The URL, cut at 500 characters.
    url: String,
    /// The MD5 of the client's JA3.
    ja3: Option<String>,
    ja4: Option<String>,
    /// The MD5 of upstream's JA3S.
    ja3s: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4s: Option<String>,
    /// The client's HTTP/2 preface, in Akamai's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    http2_fingerprint: Option<String>,
    /// The server name the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<String>,
    /// Whether the client's hello had an Encrypted Client Hello: the name may then be a stand-in.
    #[serde(skip_serializing_if = "is_false")]
    encrypted_client_hello: bool,
    has_tls: bool,
}

impl Handshake {
    fn new(exchange: &Exchange) -> Self {
        let summary = &exchange.summary;
        let (client, upstream) = sides(exchange);
        let of = |facts: Option<&TlsFacts>| facts.and_then(|facts| facts.fingerprint.clone());
        let (by_client, by_upstream) = (of(client), of(upstream));
        Self {
            seq: summary.seq.0,
            exchange_id: summary.seq.to_string(),
            timestamp: millis(summary.started_at),
            hostname: summary.host.clone(),
            url: cut(&summary.url, MAX_LISTED_URL),
            ja3: by_client.as_ref().map(|it| it.ja3_hash.clone()),
            ja4: by_client.map(|it| it.ja4),
            ja3s: by_upstream.as_ref().map(|it| it.ja3_hash.clone()),
            ja4s: by_upstream.map(|it| it.ja4),
            http2_fingerprint: exchange.client.as_ref().and_then(|peer| peer.http2_fingerprint.clone()),
            sni: client.or(upstream).and_then(|facts| facts.sni.clone()),
            encrypted_client_hello: client.is_some_and(|facts| facts.encrypted_client_hello),
            has_tls: client.or(upstream).is_some(),
        }
    }
}

fn sides(exchange: &Exchange) -> (Option<&TlsFacts>, Option<&TlsFacts>) {
    let client = exchange.client.as_ref().and_then(|peer| peer.tls.as_ref());
    (client, exchange.upstream.as_ref().and_then(|peer| peer.tls.as_ref()))
}

/// What a whole session, or what of it matches, comes to; the items as far as the answer's budget could take them.
#[derive(Default)]
struct Counted {
    total: u64,
    with_tls: u64,
    items: Vec<Handshake>,
    /// How many the limit asked for.
    wanted: usize,
}

/// Walks over all that matches: totals are of everything, whatever page is asked for.
fn walk(store: &Store, params: &HandshakesParams, budget: usize) -> Result<Counted, ToolError> {
    /// No row is shorter.
    const SHORTEST_ROW: usize = 150;
    let mut query = Query::default();
    query.session = Some(params.session_id.parse::<SessionId>()?);
    query.host_contains = params.hostname_contains.clone();
    query.url_contains = params.url_contains.clone();
    query.order = params.sort.order();
    query.limit = PAGE;
    let asked = params.offset..params.offset.saturating_add(params.limit.into());
    let mut counted = Counted::default();
    loop {
        query.offset = counted.total;
        let page = store.query(&query)?;
        for item in &page.items {
            let exchange = match store.exchange(item.seq) {
                Ok(exchange) => Some(exchange),
                Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => None,
                Err(error) => return Err(error.into()),
            };
            let Some(exchange) = exchange else {
                counted.total += 1;
                continue;
            };
            let (client, upstream) = sides(&exchange);
            counted.with_tls += u64::from(client.or(upstream).is_some());
            if asked.contains(&counted.total) {
                counted.wanted += 1;
                if counted.items.len() <= budget / SHORTEST_ROW {
                    counted.items.push(Handshake::new(&exchange));
                }
            }
            counted.total += 1;
        }
        if !page.more || page.items.is_empty() {
            return Ok(counted);
        }
    }
}

#[tool_router(router = handshakes_router, vis = "pub(crate)")]
impl Toolbox {
    /// Report a session's TLS handshakes: JA3, JA4, JA3S, JA4S and HTTP/2 fingerprints by exchange, with totals.
    #[tool(
        name = "proxy_get_session_handshakes",
        title = "Show a session's TLS handshakes",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_get_session_handshakes(
        &self,
        Parameters(params): Parameters<HandshakesParams>,
    ) -> Result<Json<Handshakes>, ToolError> {
        let store = self.fresh_store().await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let Counted { total, with_tls, items, wanted } = walk(&store, &params, budget)?;
            let (items, _) = fit(items, budget);
            let truncated = items.len() < wanted;
            let reached = params.offset + items.len() as u64;
            let next = (!items.is_empty() && reached < total).then(|| {
                let mut arguments = json!(params);
                arguments["offset"] = reached.into();
                NextCall::new("proxy_get_session_handshakes", arguments)
            });
            let is_bare = total > 0 && with_tls == 0;
            Ok(Json(Handshakes {
                status: Success::Success,
                session_id: params.session_id,
                total,
                with_tls_metadata: with_tls,
                without_tls_metadata: total - with_tls,
                unavailable_reason: is_bare
                    .then(|| "nothing that matches came over TLS, or it was imported without".to_owned()),
                items,
                truncated,
                next,
            }))
        })
        .await
    }
}
