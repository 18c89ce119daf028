//! A client that reaches origins through a proxy.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{ca::client_config, deadline::within, http_client::HttpClient, raw_client::RawClient};

/// The largest answer to CONNECT accepted.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What to trust and offer when speaking through the proxy at one address.
#[derive(Clone, Debug)]
pub struct ProxyClient {
    proxy: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl ProxyClient {
    /// A client of `proxy` that trusts the certificates in `roots_pem` and offers `alpn` inside tunnels.
    pub fn new(proxy: SocketAddr, roots_pem: &str, alpn: &[&str]) -> io::Result<Self> {
        Ok(Self { proxy, tls: client_config(roots_pem, alpn)? })
    }

    /// The same client with another TLS configuration.
    #[must_use]
    pub fn with_tls(self, tls: Arc<ClientConfig>) -> Self {
        Self { tls, ..self }
    }

    /// Opens a plain connection to the proxy itself, for exact bytes.
    pub async fn raw(&self) -> io::Result<RawClient> {
        RawClient::connect(self.proxy).await
    }

    /// Opens a tunnel to `authority` (`host:port`); fails with the proxy's whole answer unless it is 200.
    pub async fn tunnel(&self, authority: &str) -> io::Result<TcpStream> {
        within("the tunnel", async {
            let mut stream = TcpStream::connect(self.proxy).await?;
            let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let mut answer = read_head(&mut stream).await?;
            if answer.split(' ').nth(1) == Some("200") {
                return Ok(stream);
            }
            let mut page = Vec::new();
            if tokio::time::timeout(std::time::Duration::from_secs(2), stream.read_to_end(&mut page))
                .await
                .is_ok()
            {
                answer.push_str(&String::from_utf8_lossy(&page));
            }
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, answer))
        })
        .await
    }

    /// Opens a tunnel to `authority` and handshakes inside it for the authority's own name.
    pub async fn tls(&self, authority: &str) -> io::Result<TlsStream<TcpStream>> {
        let host = host_of(authority);
        self.tls_named(authority, host).await
    }

    /// Opens a tunnel to `authority` and handshakes inside it for `name`; an IP address sends no SNI.
    pub async fn tls_named(&self, authority: &str, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let tunnel = self.tunnel(authority).await?;
        within("the handshake", TlsConnector::from(self.tls.clone()).connect(name, tunnel)).await
    }

    /// Opens a tunnel to `authority` with TLS inside it, for exact bytes.
    pub async fn raw_tls(&self, authority: &str) -> io::Result<RawClient> {
        Ok(RawClient::over(self.tls(authority).await?))
    }

    /// Opens a tunnel to `authority` with TLS inside it and speaks the HTTP version ALPN chose.
    pub async fn https(&self, authority: &str) -> io::Result<HttpClient> {
        HttpClient::over_tls(self.tls(authority).await?, authority).await
    }

    /// Speaks HTTP/1.1 to the proxy in absolute form, for `http://` origins at `authority`.
    pub async fn http(&self, authority: &str) -> io::Result<HttpClient> {
        let stream = within("connecting", TcpStream::connect(self.proxy)).await?;
        HttpClient::http1(stream, format!("http://{authority}"), authority).await
    }
}

/// The host of `host:port`, an IPv6 address without its brackets.
pub(crate) fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Reads byte by byte, so that nothing of what follows the head is taken.
async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
