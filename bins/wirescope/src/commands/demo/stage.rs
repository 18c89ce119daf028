//! The origins, the proxy between, and whom clients trust.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::Result;
use proxy_core::{CertificateAuthority, Observer, Proxy, ProxyHandle, UpstreamTrust};
use testkit::{Origin, ProxyClient, TestCa};

/// Everything the scenes need. Dropping it takes all down.
pub(super) struct Stage {
    /// HTTPS, in both HTTP versions, under an authority that the proxy trusts.
    pub(super) origin: Origin,
    /// HTTP.
    pub(super) plain: Origin,
    /// HTTPS under an authority that nobody trusts.
    pub(super) impostor: Origin,
    /// A port where nobody listens.
    pub(super) closed: String,
    proxy: ProxyHandle,
    proxy_ca: String,
    other_ca: String,
}

impl Stage {
    pub(super) async fn set(ca: CertificateAuthority, observer: impl Observer) -> Result<Self> {
        let (authority, nobodys) = (TestCa::new()?, TestCa::new()?);
        let origin = Origin::https(&authority).await?;
        let plain = Origin::plain().await?;
        let impostor = Origin::https(&nobodys).await?;
        let proxy_ca = ca.certificate_pem().to_owned();
        let proxy = Proxy::builder(ca)
            .observer(observer)
            .upstream_trust(UpstreamTrust::nobody().with_ca(authority.pem().as_bytes())?)
            .bind((Ipv4Addr::LOCALHOST, 0))
            .await?
            .spawn();
        Ok(Self {
            origin,
            plain,
            impostor,
            closed: format!("localhost:{}", closed_port()?.port()),
            proxy,
            proxy_ca,
            other_ca: nobodys.pem().to_owned(),
        })
    }

    /// A client of the proxy that trusts its CA and offers these protocols.
    pub(super) fn client(&self, alpn: &[&str]) -> Result<ProxyClient> {
        Ok(ProxyClient::new(self.proxy.local_addr(), &self.proxy_ca, alpn)?)
    }

    /// A client of the proxy that trusts somebody else.
    pub(super) fn distrustful(&self) -> Result<ProxyClient> {
        Ok(ProxyClient::new(self.proxy.local_addr(), &self.other_ca, &["http/1.1"])?)
    }

    /// Lets the exchanges end and takes all down.
    pub(super) async fn strike(self, drain: Duration) {
        self.proxy.shutdown(drain).await;
        for origin in [self.origin, self.plain, self.impostor] {
            origin.shutdown().await;
        }
    }
}

/// A port that was free a moment ago.
fn closed_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
