//! The proxy as the command line describes it.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use proxy_core::{CertificateAuthority, ErrorKind, HostPattern, Proxy, ProxyBuilder};

use crate::{roads::RoadArguments, tls::TlsArguments};

/// How upstream is treated.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct UpstreamArguments {
    /// Trust the authorities in this PEM file for upstream, beside the system's roots; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_ca: Vec<PathBuf>,
    /// Do not verify the certificates of this upstream host (`*.example.com` for those below); may be repeated.
    #[arg(long, value_name = "HOST")]
    insecure_upstream: Vec<HostPattern>,
    /// Relay TLS to this host undecrypted and record it as a tunnel; may be repeated.
    #[arg(long, value_name = "HOST")]
    passthrough: Vec<HostPattern>,
    #[command(flatten)]
    tls: TlsArguments,
    #[command(flatten)]
    roads: RoadArguments,
}

impl UpstreamArguments {
    /// Begins a proxy that treats upstream so.
    pub(crate) fn builder(&self, ca: CertificateAuthority) -> Result<ProxyBuilder> {
        let mut builder = self.roads.apply(Proxy::builder(ca))?;
        for file in &self.upstream_ca {
            builder = builder.upstream_ca_file(file).context("use --upstream-ca")?;
        }
        for host in &self.insecure_upstream {
            builder = builder.insecure_upstream(host.clone());
        }
        for host in &self.passthrough {
            builder = builder.passthrough(host.clone());
        }
        Ok(builder.tls(self.tls.options()?))
    }
}

/// Listens; a refusal names the flag that helps.
pub(crate) async fn bind(builder: ProxyBuilder, address: SocketAddr) -> Result<Proxy> {
    builder.bind(address).await.map_err(refused)
}

/// Listens everywhere the builder was told to; a refusal names the flag that helps.
pub(crate) async fn bind_all(builder: ProxyBuilder) -> Result<Proxy> {
    builder.bind_all().await.map_err(refused)
}

fn refused(error: proxy_core::Error) -> anyhow::Error {
    let ErrorKind::Bind { addr } = error.kind() else { return anyhow::Error::new(error) };
    let way_out = format!(
        "listen on {addr} (choose another --port, or --port 0 for any that is free; or another --listen)"
    );
    match std::error::Error::source(&error) {
        Some(cause) => anyhow::anyhow!("{cause}").context(way_out),
        None => anyhow::anyhow!(way_out),
    }
}
