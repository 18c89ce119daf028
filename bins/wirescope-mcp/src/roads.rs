//! How upstream is reached, as the command line describes it.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use mcp_tools::{
    AddressPolicy, Config, NoProxy, ResolveOverride, Route, RouteTable, RouteTarget, TargetPattern,
};

/// How upstream is reached.
#[derive(Args)]
pub(crate) struct RoadArguments {
    /// Parent proxy to send requests through, until proxy_set_upstream says otherwise: http, https, socks4, socks4a,
    /// socks5 or socks5h, `SCHEME://USER:PASSWORD@HOST:PORT`; `env` takes what http_proxy and its kin say.
    // A text, because clap would show the password of a wrong URL.
    #[arg(long, value_name = "URL", env = "WIRESCOPE_UPSTREAM", hide_env_values = true)]
    upstream: Option<String>,
    /// Parent proxy of some hosts, or `direct`: a host, *.host, address or range, with or without :PORT; repeatable.
    #[arg(long, value_name = "PATTERN=URL")]
    upstream_for: Vec<String>,
    /// Hosts that --upstream is not for, separated by commas, in the forms of the no_proxy variable.
    #[arg(long, value_name = "LIST")]
    no_proxy: Option<NoProxy>,
    /// Addresses to dial for a host and port, whatever its name resolves to; the host may be `*`; repeatable.
    #[arg(long, value_name = "HOST:PORT:ADDRESS[,ADDRESS]")]
    resolve: Vec<ResolveOverride>,
    /// Refuse to dial addresses that are not of the public internet, judged after names are resolved.
    #[arg(long)]
    block_private: bool,
    /// Host or range to dial in spite of --block-private; repeatable.
    #[arg(long, value_name = "PATTERN", requires = "block_private")]
    allow_private: Vec<TargetPattern>,
}

/// The parent's URL may have a password in it.
impl std::fmt::Debug for RoadArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoadArguments").field("upstream", &self.upstream.is_some()).finish_non_exhaustive()
    }
}

impl RoadArguments {
    /// Puts it into the server's configuration.
    pub(crate) fn apply(self, config: &mut Config) -> Result<()> {
        let routes = &config.upstream_routes;
        match self.upstream.as_deref() {
            None if self.no_proxy.is_some() => {
                bail!("failed to use --no-proxy without --upstream; give both, or neither")
            }
            None => {}
            Some("env") => {
                let mut table = RouteTable::from_environment(|name| std::env::var(name).ok())
                    .context("failed to use --upstream env")?;
                if let Some(list) = self.no_proxy {
                    for route in table.cleartext.iter_mut().chain(&mut table.all) {
                        route.no_proxy = list.clone();
                    }
                }
                routes.replace(table);
            }
            Some(url) => {
                let target: RouteTarget = url.parse().context("failed to use --upstream")?;
                routes.set(Route::new(target).except(self.no_proxy.unwrap_or_default()));
            }
        }
        for text in &self.upstream_for {
            let (pattern, url) = text.split_once('=').context(
                "failed to use --upstream-for without `=`; write it like *.example.com=http://proxy:3128",
            )?;
            let pattern = pattern.parse().context("failed to use --upstream-for")?;
            let target = url.parse().context("failed to use --upstream-for")?;
            routes.set_host(pattern, Route::new(target)).context("failed to use --upstream-for")?;
        }
        if self.block_private {
            let policy = AddressPolicy::block_private();
            config.address_policy = self.allow_private.into_iter().fold(policy, AddressPolicy::allow);
        }
        config.resolve = self.resolve;
        Ok(())
    }
}
