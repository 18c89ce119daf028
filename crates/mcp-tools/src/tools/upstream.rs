//! Parent proxies: what requests go through on their way to their origin.

use proxy_core::{NoProxy, Route, RouteTarget, TargetPattern};
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
    toolbox::Toolbox,
    toolsets::Toolset,
    view::Success,
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "upstream",
    toolset: Toolset::Proxy,
    summary: "Parent proxies: what requests go through on their way to their origin.",
    router,
    references: &[
        Reference::new(
            "proxy_set_upstream",
            "proxy-mcp",
            "takes http, https, socks4, socks4a, socks5 and socks5h URLs, and `direct`; refuses a wrong one and leaves what \
             was there; cuts no connection; a parent that cannot be used is a 502 that names it",
        ),
        Reference::new("proxy_clear_upstream", "proxy-mcp", "cuts no connection"),
        Reference::new(
            "proxy_set_host_upstream",
            "proxy-mcp",
            "takes patterns (`*.example.com`, ranges, ports) in whatever case, and `direct`; says when an earlier pattern \
             goes before it; cuts no connection",
        ),
        Reference::new("proxy_remove_host_upstream", "proxy-mcp", "cuts no connection"),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::upstream_router()
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SetParams {
    /// The parent proxy: http, https, socks4, socks4a, socks5 or socks5h, `scheme://user:password@host:port`, with the user
    /// and password percent-encoded; or `direct`.
    #[schemars(length(min = 1, max = 2_000))]
    proxy_url: String,
    /// Hosts that go straight to their origin all the same: `example.com` (and all below it), `*.example.com`, `*`, an
    /// address, a range like 10.0.0.0/8, `localhost` (and all loopback addresses), each with or without `:port`.
    #[serde(default)]
    #[schemars(length(max = 200))]
    no_proxy: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SetHostParams {
    /// The hosts: a name, `*.example.com`, an address or a range like 10.0.0.0/8, each with or without `:port`.
    #[schemars(length(min = 1, max = 300))]
    hostname: String,
    /// As in proxy_set_upstream.
    #[schemars(length(min = 1, max = 2_000))]
    proxy_url: String,
    /// As in proxy_set_upstream.
    #[serde(default)]
    #[schemars(length(max = 200))]
    no_proxy: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct RemoveHostParams {
    /// The hosts as they were given to proxy_set_host_upstream.
    #[schemars(length(min = 1, max = 300))]
    hostname: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Set {
    status: Success,
    message: String,
    /// The exceptions as they are used.
    no_proxy: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Cleared {
    status: Success,
    message: String,
}

#[tool_router(router = upstream_router, vis = "pub(crate)")]
impl Toolbox {
    /// Send everything through a parent proxy, but for hosts that have one of their own. Takes effect at once and stays
    /// for later starts; connections under way go on as they are.
    #[tool(
        name = "proxy_set_upstream",
        title = "Set the parent proxy",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_set_upstream(
        &self,
        Parameters(params): Parameters<SetParams>,
    ) -> Result<Json<Set>, ToolError> {
        let route = route(&params.proxy_url, &params.no_proxy)?;
        self.config().upstream_routes.set(route.clone());
        let message = match route.target {
            RouteTarget::Parent(ref parent) => format!("new requests go through {parent}"),
            _ => "new requests go straight to their origin".to_owned(),
        };
        Ok(Json(Set { status: Success::Success, message, no_proxy: route.no_proxy.entries().collect() }))
    }

    /// Send everything straight to its origin again, but for hosts that have a parent proxy of their own.
    #[tool(
        name = "proxy_clear_upstream",
        title = "Clear the parent proxy",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_clear_upstream(&self) -> Result<Json<Cleared>, ToolError> {
        let was = self.config().upstream_routes.clear();
        let message = match was {
            Some(route) => {
                format!("new requests go straight to their origin, no longer through {}", route.target)
            }
            None => "there was no parent proxy for everything".to_owned(),
        };
        Ok(Json(Cleared { status: Success::Success, message }))
    }

    /// Send the requests of some hosts through a parent proxy of their own, or straight with `direct`. The first pattern
    /// that matches counts, in the order they were set.
    #[tool(
        name = "proxy_set_host_upstream",
        title = "Set the parent proxy of hosts",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_set_host_upstream(
        &self,
        Parameters(params): Parameters<SetHostParams>,
    ) -> Result<Json<Set>, ToolError> {
        let hosts = hosts(&params.hostname)?;
        let route = route(&params.proxy_url, &params.no_proxy)?;
        let no_proxy = route.no_proxy.entries().collect();
        let mut message = format!("new requests to {hosts} go through {}", route.target);
        if route.target == RouteTarget::Direct {
            message = format!("new requests to {hosts} go straight to their origin");
        }
        let routes = &self.config().upstream_routes;
        routes.set_host(hosts.clone(), route).map_err(|error| {
            ToolError::new("too_many", format!("failed to {error}"))
                .hint("proxy_remove_host_upstream removes one; proxy_status lists them")
        })?;
        if let Some(earlier) = earlier(&routes.table().hosts, &hosts) {
            message.push_str(&format!(
                "; where {earlier} matches too it goes before, as it was set earlier (proxy_remove_host_upstream removes it)"
            ));
        }
        Ok(Json(Set { status: Success::Success, message, no_proxy }))
    }

    /// Remove the parent proxy that some hosts have of their own.
    #[tool(
        name = "proxy_remove_host_upstream",
        title = "Remove the parent proxy of hosts",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_remove_host_upstream(
        &self,
        Parameters(params): Parameters<RemoveHostParams>,
    ) -> Result<Json<Cleared>, ToolError> {
        let hosts = hosts(&params.hostname)?;
        match self.config().upstream_routes.remove_host(&hosts) {
            Some(_) => {
                let message = format!("{hosts} has no parent proxy of its own any more");
                Ok(Json(Cleared { status: Success::Success, message }))
            }
            None => Err(ToolError::new("unknown_upstream", format!("no upstream override for '{hosts}'"))
                .hint("proxy_status lists those there are as hostUpstreams")),
        }
    }
}

/// The first pattern before `hosts` that takes a request `hosts` is for, as far as that can be told by its text.
fn earlier<'t>(table: &'t [(TargetPattern, Route)], hosts: &TargetPattern) -> Option<&'t TargetPattern> {
    let text = hosts.to_string();
    let (host, port) = proxy_core::head::split_authority(&text);
    let sample = host.strip_prefix('*').map_or_else(|| host.to_owned(), |suffix| format!("x{suffix}"));
    let sample = sample.split_once('/').map_or(sample.as_str(), |(base, _)| base).to_owned();
    let before = table.iter().map(|(pattern, _)| pattern).take_while(|pattern| *pattern != hosts);
    before.into_iter().find(|pattern| pattern.matches(&sample, port.unwrap_or(443)))
}

fn hosts(text: &str) -> Result<TargetPattern, ToolError> {
    text.parse().map_err(|error| ToolError::invalid(format!("hostname: failed to {error}")))
}

/// Errors do not show the URL: it may have a password in it.
fn route(url: &str, no_proxy: &[String]) -> Result<Route, ToolError> {
    let target: RouteTarget =
        url.parse().map_err(|error| ToolError::invalid(format!("proxy_url: failed to {error}")))?;
    let no_proxy: NoProxy = no_proxy
        .join(",")
        .parse()
        .map_err(|error| ToolError::invalid(format!("no_proxy: failed to {error}")))?;
    Ok(Route::new(target).except(no_proxy))
}
