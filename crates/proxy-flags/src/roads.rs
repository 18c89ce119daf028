//! How upstream is reached, as the command line describes it: parent proxies, addresses, time-outs.

use std::time::Duration;

use clap::Args;
use proxy_core::{
    AddressPolicy, NoProxy, ProxyBuilder, ResolveOverride, Route, RouteTable, RouteTarget, TargetPattern,
    Timeouts, UpstreamRoutes, UpstreamSharing,
};

use crate::{error::FlagError, seconds::seconds};

/// How upstream is reached.
#[derive(Args, Clone, Default)]
#[non_exhaustive]
pub struct RoadFlags {
    /// Send requests through this parent proxy: `SCHEME://USER:PASSWORD@HOST:PORT`, with http, https, socks4, socks4a,
    /// socks5 or socks5h; what is not needed may be left out. `env` takes what http_proxy, https_proxy, all_proxy and
    /// no_proxy say, which count for nothing otherwise.
    // A text, because clap would show the password of a wrong URL.
    #[arg(long, value_name = "URL", env = "WIRESCOPE_UPSTREAM", hide_env_values = true)]
    pub upstream: Option<String>,
    /// Send requests to these hosts through this parent proxy instead, or straight with `direct`: PATTERN=URL, where the
    /// pattern is a host, `*.example.com`, an address or a range, each with or without :PORT. The first that matches
    /// counts; may be repeated.
    #[arg(long, value_name = "PATTERN=URL")]
    pub upstream_for: Vec<String>,
    /// Go straight to these hosts in spite of --upstream: `example.com` with all below it, `*`, addresses, ranges,
    /// `localhost` with all loopback addresses, `<local>` for names without a dot, each with or without :PORT, separated
    /// by commas.
    #[arg(long, value_name = "LIST")]
    pub no_proxy: Option<NoProxy>,
    /// Dial these addresses for this host and port, whatever its name resolves to; the host may be `*`; may be repeated.
    #[arg(long, value_name = "HOST:PORT:ADDRESS[,ADDRESS]")]
    pub resolve: Vec<ResolveOverride>,
    /// Refuse to dial addresses that are not of the public internet: loopback, private, link-local and cloud metadata
    /// among them, judged after names are resolved.
    #[arg(long)]
    pub block_private: bool,
    /// Dial this host or range in spite of --block-private; may be repeated.
    #[arg(long, value_name = "PATTERN", requires = "block_private")]
    pub allow_private: Vec<TargetPattern>,
    /// Let clients share upstream connections, for load generators: an origin that ties something to a connection then
    /// sees clients mixed, and one client can hold up others.
    #[arg(long)]
    pub share_upstream_connections: bool,
    /// How long upstream is waited for.
    #[command(flatten)]
    pub timeouts: TimeoutFlags,
}

/// How long upstream is waited for.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct TimeoutFlags {
    /// How long resolving a name may take [default: 20].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub dns_timeout: Option<Duration>,
    /// How long connecting to upstream may take, all its addresses together [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub connect_timeout: Option<Duration>,
    /// How long a parent proxy may take to open a tunnel [default: 60].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub parent_timeout: Option<Duration>,
    /// How long a TLS handshake may take, with upstream or with a client [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub tls_timeout: Option<Duration>,
    /// How long upstream may take from the end of a request to the head of its response [default: 600].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub first_byte_timeout: Option<Duration>,
    /// How long a message or a tunnel under way may be without any byte [default: 3600].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub idle_timeout: Option<Duration>,
    /// How long an unused upstream connection is kept [default: 60].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub upstream_idle_timeout: Option<Duration>,
}

impl RoadFlags {
    /// Tells a proxy how to reach upstream.
    ///
    /// # Errors
    ///
    /// When flags do not go together, or a parent's URL cannot be used.
    pub fn apply(&self, builder: ProxyBuilder) -> Result<ProxyBuilder, FlagError> {
        let mut builder = builder.upstream_routes(self.routes()?).timeouts(self.timeouts());
        for host in &self.resolve {
            builder = builder.resolve(host.clone());
        }
        builder = builder.address_policy(self.address_policy());
        Ok(builder.upstream_sharing(self.upstream_sharing()))
    }

    /// Which upstream addresses may be dialled.
    #[must_use]
    pub fn address_policy(&self) -> AddressPolicy {
        if !self.block_private {
            return AddressPolicy::open();
        }
        self.allow_private.iter().cloned().fold(AddressPolicy::block_private(), AddressPolicy::allow)
    }

    /// Which parent proxies requests go through: a handle, which edits the proxy that was given it.
    ///
    /// # Errors
    ///
    /// When flags do not go together, or a parent's URL cannot be used. The error has no password in it.
    pub fn routes(&self) -> Result<UpstreamRoutes, FlagError> {
        let routes = UpstreamRoutes::new();
        match self.upstream.as_deref() {
            None if self.no_proxy.is_some() => {
                return Err(FlagError::usage(
                    "use --no-proxy without --upstream; give --upstream as well, or leave it out",
                ));
            }
            None => {}
            Some("env") => {
                let table = RouteTable::from_environment(|name| std::env::var(name).ok());
                let mut table = table.map_err(|error| FlagError::usage(in_one_line(&error)))?;
                if let Some(list) = &self.no_proxy {
                    for route in table.cleartext.iter_mut().chain(&mut table.all) {
                        route.no_proxy = list.clone();
                    }
                }
                routes.replace(table);
            }
            Some(url) => {
                let target: RouteTarget =
                    url.parse().map_err(|error| FlagError::usage(format!("use --upstream: {error}")))?;
                routes.set(Route::new(target).except(self.no_proxy.clone().unwrap_or_default()));
            }
        }
        for text in &self.upstream_for {
            let (pattern, url) = text.split_once('=').ok_or_else(|| {
                FlagError::usage(
                    "use --upstream-for without `=`; write it like '*.example.com=http://proxy:3128'",
                )
            })?;
            let fault =
                |error: &dyn std::error::Error| FlagError::usage(format!("use --upstream-for: {error}"));
            let pattern = pattern.parse().map_err(|error| fault(&error))?;
            let target = url.parse().map_err(|error| fault(&error))?;
            routes.set_host(pattern, Route::new(target)).map_err(|error| fault(&error))?;
        }
        Ok(routes)
    }

    /// Whether clients share upstream connections.
    #[must_use]
    pub fn upstream_sharing(&self) -> UpstreamSharing {
        if self.share_upstream_connections { UpstreamSharing::Shared } else { UpstreamSharing::default() }
    }

    /// How long upstream is waited for.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        let mut timeouts = Timeouts::default();
        let given = &self.timeouts;
        for (field, given) in [
            (&mut timeouts.dns, given.dns_timeout),
            (&mut timeouts.connect, given.connect_timeout),
            (&mut timeouts.parent, given.parent_timeout),
            (&mut timeouts.handshake, given.tls_timeout),
            (&mut timeouts.response_head, given.first_byte_timeout),
            (&mut timeouts.idle_body, given.idle_timeout),
            (&mut timeouts.upstream_idle, given.upstream_idle_timeout),
        ] {
            *field = given.unwrap_or(*field);
        }
        timeouts
    }
}

/// An error and its causes.
fn in_one_line(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", in_one_line(cause)),
        None => error.to_string(),
    }
}

/// The parent's URL may have a password in it.
impl std::fmt::Debug for RoadFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoadFlags").field("upstream", &self.upstream.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(upstream: &str, hosts: &[&str]) -> RoadFlags {
        let upstream_for = hosts.iter().map(|text| (*text).to_owned()).collect();
        RoadFlags { upstream: Some(upstream.to_owned()), upstream_for, ..RoadFlags::default() }
    }

    #[test]
    fn routes_are_read_in_their_order() {
        let routes = arguments("http://p", &["*.a=direct", "b:1=socks5://q"]).routes().unwrap().table();
        assert_eq!(routes.all.as_ref().unwrap().target.to_string(), "http://p:80");
        let hosts: Vec<_> = routes.hosts.iter().map(|(p, route)| format!("{p} {}", route.target)).collect();
        assert_eq!(hosts, ["*.a direct", "b:1 socks5://q:1080"]);
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_shown() {
        for wrong in [
            arguments("http://u:hunter2@", &[]),
            arguments("http://p", &["a=ftp://u:hunter2@p"]),
            arguments("http://p", &["http://u:hunter2@p"]),
        ] {
            let error = format!("{:#}", wrong.routes().err().unwrap());
            assert!(error.contains("--upstream") && !error.contains("hunter2"), "{error}");
        }
    }
}
