//! How upstream is treated.

use std::path::PathBuf;

use clap::Args;
use proxy_core::{HostPattern, ProxyBuilder};

use crate::{error::FlagError, roads::RoadFlags, tls::TlsFlags};

/// How upstream is treated: whom to trust, what to decrypt, how to get there.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Upstream")]
#[non_exhaustive]
pub struct UpstreamFlags {
    /// Trust the authorities in this PEM file for upstream, beside the system's roots; may be repeated.
    #[arg(long, value_name = "FILE", env = "WIRESCOPE_UPSTREAM_CA", hide_env_values = true)]
    pub upstream_ca: Vec<PathBuf>,
    /// Do not verify the certificates of this upstream host (`*.example.com` for those below); may be repeated.
    #[arg(long, value_name = "HOST")]
    pub insecure_upstream: Vec<HostPattern>,
    /// Relay TLS to this host undecrypted and record it as a tunnel; may be repeated.
    #[arg(long, value_name = "HOST")]
    pub passthrough: Vec<HostPattern>,
    /// How TLS is done on both sides.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Parent proxies, addresses, time-outs.
    #[command(flatten)]
    pub roads: RoadFlags,
}

impl UpstreamFlags {
    /// Tells a proxy.
    ///
    /// # Errors
    ///
    /// When flags do not go together or a file they name is of no use.
    pub fn apply(&self, builder: ProxyBuilder) -> Result<ProxyBuilder, FlagError> {
        let mut builder = self.roads.apply(builder)?;
        for file in &self.upstream_ca {
            builder = builder
                .upstream_ca_file(file)
                .map_err(|error| FlagError::failed("use --upstream-ca", error))?;
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
