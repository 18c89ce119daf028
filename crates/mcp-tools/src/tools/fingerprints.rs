//! Fingerprints of TLS hellos, of one exchange and over the live traffic.

use std::collections::{BTreeMap, BTreeSet};

use capture_store::{Condition, Pattern, PeerSide, Query, Seq, TextField};
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
    catalogue::{Family, Reference},
    error::ToolError,
    live::{self, Span},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, TlsView, is_false},
};

/// Exchanges that a list looks at, newest first.
const MAX_LOOKED_AT: usize = 2_000;
/// Hosts told of one fingerprint.
const MAX_HOSTS: usize = 5;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "fingerprints",
    toolset: Toolset::Proxy,
    summary: "Fingerprints of TLS hellos, of one exchange and over the live traffic.",
    router,
    references: &[
        Reference::new(
            "proxy_get_tls_fingerprints",
            "proxy-mcp",
            "upstream's side is there without being switched on; version, cipher and ALPN as well",
        ),
        Reference::new(
            "proxy_list_tls_fingerprints",
            "proxy-mcp",
            "over the newest 2,000 exchanges, and says so when there are more",
        ),
        Reference::new("proxy_get_tls_config", "proxy-mcp", "nothing is spoofed: `ja3SpoofConfig` is null"),
        Reference::new(
            "proxy_enable_server_tls_capture",
            "proxy-mcp",
            "upstream's hello is always recorded: it cannot be switched off",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::fingerprints_router()
}

fn twenty() -> u32 {
    20
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct OneParams {
    /// Its id, like e412.
    #[schemars(length(min = 1, max = 40))]
    exchange_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct One {
    status: Success,
    exchange_id: String,
    hostname: String,
    /// Both sides; null without TLS.
    tls: Option<TlsView>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ListParams {
    /// Fingerprints of a kind at most.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
    /// Text in the host.
    #[schemars(length(max = 255))]
    hostname_filter: Option<String>,
}

/// A fingerprint and who had it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Print {
    fingerprint: String,
    count: u64,
    /// At most five.
    hostnames: BTreeSet<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Prints {
    status: Success,
    total_exchanges_with_tls: u64,
    /// Of clients, JA3, the most frequent first.
    ja3: Vec<Print>,
    /// Of clients, JA4.
    ja4: Vec<Print>,
    /// Whether older exchanges were not looked at.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TlsConfig {
    status: Success,
    /// Always true.
    server_tls_capture_enabled: bool,
    /// Always null: nothing is spoofed.
    ja3_spoof_config: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct EnableParams {
    /// Only true.
    enabled: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Enabled {
    status: Success,
    /// Always true.
    server_tls_capture_enabled: bool,
}

#[tool_router(router = fingerprints_router, vis = "pub(crate)")]
impl Toolbox {
    /// Give the TLS fingerprints (JA3, JA4, JA3S, JA4S) of one exchange.
    #[tool(
        name = "proxy_get_tls_fingerprints",
        title = "TLS fingerprints of an exchange",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_get_tls_fingerprints(
        &self,
        Parameters(params): Parameters<OneParams>,
    ) -> Result<Json<One>, ToolError> {
        let seq: Seq = params.exchange_id.parse()?;
        let store = self.fresh_store().await?;
        blocking(move || {
            let exchange = store.exchange(seq)?;
            Ok(Json(One {
                status: Success::Success,
                exchange_id: seq.to_string(),
                hostname: exchange.summary.host.clone(),
                tls: TlsView::new(&exchange),
            }))
        })
        .await
    }

    /// List the TLS fingerprints of clients in the live traffic, the most frequent first.
    #[tool(
        name = "proxy_list_tls_fingerprints",
        title = "TLS fingerprints of clients",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_list_tls_fingerprints(
        &self,
        Parameters(params): Parameters<ListParams>,
    ) -> Result<Json<Prints>, ToolError> {
        let (store, live) = (self.fresh_store().await?, self.live());
        blocking(move || {
            let mut query = Query::default();
            query.host_contains = params.hostname_filter.clone();
            query.order = capture_store::Order::Descending;
            let any = Pattern::contains("");
            query.condition = Some(Condition::Text(TextField::Ja4(PeerSide::Client), any));
            let page = live::page(&store, &live, &query, Span { offset: 0, limit: MAX_LOOKED_AT })?;
            let (mut ja3, mut ja4) = (BTreeMap::new(), BTreeMap::new());
            for summary in &page.items {
                // What is evicted meanwhile is not counted.
                let Ok(exchange) = store.exchange(summary.seq) else { continue };
                let tls = exchange.client.as_ref().and_then(|peer| peer.tls.as_ref());
                let Some(print) = tls.and_then(|tls| tls.fingerprint.as_ref()) else { continue };
                note(&mut ja3, &print.ja3_hash, &summary.host);
                note(&mut ja4, &print.ja4, &summary.host);
            }
            Ok(Json(Prints {
                status: Success::Success,
                total_exchanges_with_tls: page.total,
                truncated: page.total > page.items.len() as u64,
                ja3: ranked(ja3, params.limit),
                ja4: ranked(ja4, params.limit),
            }))
        })
        .await
    }

    /// Tell how TLS is observed: upstream's hello is always recorded, nothing is spoofed.
    #[tool(
        name = "proxy_get_tls_config",
        title = "TLS settings",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_get_tls_config(&self) -> Result<Json<TlsConfig>, ToolError> {
        Ok(Json(TlsConfig {
            status: Success::Success,
            server_tls_capture_enabled: true,
            ja3_spoof_config: None,
        }))
    }

    /// Accepted for compatibility: upstream's hello is always recorded.
    #[tool(
        name = "proxy_enable_server_tls_capture",
        title = "Record upstream's hello",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_enable_server_tls_capture(
        &self,
        Parameters(params): Parameters<EnableParams>,
    ) -> Result<Json<Enabled>, ToolError> {
        if params.enabled {
            return Ok(Json(Enabled { status: Success::Success, server_tls_capture_enabled: true }));
        }
        Err(ToolError::new("unsupported", "upstream's hello is always recorded")
            .hint("leave it on: it costs nothing"))
    }
}

fn note(prints: &mut BTreeMap<String, Print>, fingerprint: &str, host: &str) {
    let print = prints.entry(fingerprint.to_owned()).or_insert_with(|| Print {
        fingerprint: fingerprint.to_owned(),
        count: 0,
        hostnames: BTreeSet::new(),
    });
    print.count += 1;
    if print.hostnames.len() < MAX_HOSTS {
        print.hostnames.insert(host.to_owned());
    }
}

fn ranked(prints: BTreeMap<String, Print>, limit: u32) -> Vec<Print> {
    let mut prints: Vec<Print> = prints.into_values().collect();
    prints.sort_by_key(|print| std::cmp::Reverse(print.count));
    prints.truncate(limit as usize);
    prints
}
