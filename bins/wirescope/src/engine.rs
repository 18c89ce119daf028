//! Listening, and what to say when that is refused.

use std::net::SocketAddr;

use anyhow::Result;
use proxy_core::{ErrorKind, Proxy, ProxyBuilder};

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
