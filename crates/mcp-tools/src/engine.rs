//! The one module that touches the engine's builder and handle.

use std::{error::Error as _, io, net::SocketAddr, time::Duration};

use proxy_core::{
    CertificateAuthority, Error, ErrorKind, FurtherListener, HostPattern, Listener, Observer, Proxy,
    ProxyBuilder, ProxyHandle, Sender,
};

use crate::{
    config::Config,
    error::{ToolError, chain},
    toolbox::Changes,
};

/// A running proxy. Dropping it cuts every connection at once.
pub(crate) struct Engine {
    handle: ProxyHandle,
}

impl Engine {
    /// Binds and serves, recording into `recorder`.
    pub(crate) async fn start(
        config: &Config,
        port: u16,
        ca: CertificateAuthority,
        observer: impl Observer,
        changes: &Changes,
    ) -> Result<Self, ToolError> {
        let proxy = builder(config, ca, observer, changes)?
            .bind((config.listen, port))
            .await
            .map_err(|error| failed(&error))?;
        Ok(Self { handle: proxy.spawn() })
    }

    /// Sends requests through the running engine.
    pub(crate) fn sender(&self) -> Sender {
        self.handle.sender()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    /// Opens a listener for connections that the system redirects.
    pub(crate) fn listen_transparent(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = Result<FurtherListener, ToolError>> + Send + use<> {
        let opening = self.handle.listen(Listener::transparent(address));
        async move { opening.await.map_err(|error| failed(&error)) }
    }

    /// Stops accepting, lets exchanges end within `drain`, cuts the rest.
    pub(crate) async fn stop(self, drain: Duration) {
        let drained = self.handle.shutdown(drain).await;
        if drained.cut_connections > 0 {
            tracing::info!(cut = drained.cut_connections, "connections were still busy and were cut");
        }
    }
}

/// An engine of this configuration, not bound yet.
fn builder(
    config: &Config,
    ca: CertificateAuthority,
    observer: impl Observer,
    changes: &Changes,
) -> Result<ProxyBuilder, ToolError> {
    let mut builder = Proxy::builder(ca)
        .observer(observer)
        .tls(config.tls.clone())
        .upstream_routes(config.upstream_routes.clone())
        .address_policy(config.address_policy.clone())
        .timeouts(config.timeouts.clone())
        .upstream_sharing(config.upstream_sharing)
        .client_processes(config.client_processes)
        .rules(changes.rules.clone())
        .breakpoints(changes.breakpoints.clone());
    for host in config.resolve.iter().cloned() {
        builder = builder.resolve(host);
    }
    for path in &config.upstream_ca {
        builder = builder.upstream_ca_file(path).map_err(|error| failed(&error))?;
    }
    for hosts in config.insecure_upstream.iter().cloned() {
        builder = builder.insecure_upstream(hosts);
    }
    for hosts in config.passthrough.iter().cloned() {
        builder = builder.passthrough(hosts);
    }
    for range in &config.allow_clients {
        builder = builder.allow_clients(*range);
    }
    if let Some(threads) = config.threads {
        builder = builder.threads(threads);
    }
    Ok(builder)
}

/// Sends requests past the same rules and routes as the engine of this configuration does, but without verifying the
/// certificates of some hosts.
pub(crate) fn trusting_sender(
    config: &Config,
    ca: CertificateAuthority,
    observer: impl Observer,
    changes: &Changes,
    hosts: Vec<HostPattern>,
) -> Result<Sender, ToolError> {
    let mut builder = builder(config, ca, observer, changes)?;
    for host in hosts {
        builder = builder.insecure_upstream(host);
    }
    builder.sender().map_err(|error| failed(&error))
}

fn failed(error: &Error) -> ToolError {
    let text = format!("failed to {}", chain(error));
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match (error.kind(), cause) {
        (ErrorKind::Bind { .. }, Some(io::ErrorKind::AddrInUse)) => {
            ToolError::new("port_in_use", text).hint("give another port, or 0 for any free one")
        }
        (ErrorKind::Bind { .. }, Some(io::ErrorKind::PermissionDenied)) => {
            ToolError::new("permission_denied", text).hint(
                "ports below 1024 need privileges this server does not have: give another port, or 0 for any",
            )
        }
        (ErrorKind::Bind { .. }, _) => {
            ToolError::new("listen_failed", text).hint("give another port, or 0 for any free one")
        }
        (ErrorKind::OpenToAll { .. }, _) => ToolError::new("listen_open_to_all", text)
            .hint("start the server with --allow-client CIDR beside --listen, or without --listen"),
        (ErrorKind::UpstreamCa { .. } | ErrorKind::UpstreamCaEmpty { .. }, _) => {
            ToolError::new("upstream_ca_unusable", text).hint("start the server with another --upstream-ca")
        }
        _ => ToolError::new("start_failed", text).hint("proxy_status tells how the proxy stands"),
    }
}
