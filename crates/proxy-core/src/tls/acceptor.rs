//! The client's side: the proxy plays the server, with a leaf for whatever host the client wants.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::{
    alert, facts,
    stream::{ClientStream, Refusal},
};
use crate::{
    ca::Leafs,
    error::{Error, ErrorKind},
    event::TlsFacts,
    failure::{Failure, FailureKind},
    wire::{BoxedIo, Io},
};

/// Accepts TLS from clients. One for the whole proxy: session tickets are shared by all its connections.
pub(crate) struct Acceptor {
    leafs: Leafs,
    base: ServerConfig,
}

/// A client's connection after its handshake.
pub(crate) struct Accepted {
    /// The decrypted stream.
    pub(crate) io: BoxedIo,
    /// What was agreed.
    pub(crate) facts: TlsFacts,
    /// To be asked when the connection ends before its first request.
    pub(crate) refusal: Refusal,
}

impl Acceptor {
    /// Makes an acceptor that shows leafs of this store.
    pub(crate) fn new(leafs: Leafs) -> Result<Self, Error> {
        let tls = |error: rustls::Error| Error::new(ErrorKind::Tls).because(error);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut base = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoLeaf));
        base.ticketer = rustls::crypto::ring::Ticketer::new().map_err(tls)?;
        Ok(Self { leafs, base })
    }

    /// Reads the client's hello and does the handshake.
    ///
    /// The leaf is for the server name the client asks for, else for `host_fallback` (the CONNECT's host).
    /// `alpn` is the protocol to agree on, which is what upstream chose; it is left out when the client does
    /// not offer it, so that this never ends a handshake.
    ///
    /// Dropping the future drops the connection.
    ///
    /// # Errors
    ///
    /// [`FailureKind::ClientDistrustsCa`] when the client refuses the leaf with an alert,
    /// [`FailureKind::ClientTimeout`] when the handshake takes longer than `timeout`, else
    /// [`FailureKind::ClientTls`].
    pub(crate) async fn accept<T: Io>(
        &self,
        io: T,
        host_fallback: &str,
        alpn: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Accepted, Failure> {
        let hello = Hello::read(io, timeout).await?;
        self.finish(hello, host_fallback, alpn).await
    }

    /// Does the rest of the handshake after the client's hello; otherwise as [`accept`](Self::accept).
    pub(crate) async fn finish<T: Io>(
        &self,
        hello: Hello<T>,
        host_fallback: &str,
        alpn: Option<Vec<u8>>,
    ) -> Result<Accepted, Failure> {
        let Hello { start, sni, alpn: offered, deadline, timeout } = hello;
        let host = sni.as_deref().unwrap_or(host_fallback);
        let leaf = self
            .leafs
            .for_host(host, SystemTime::now())
            .map_err(|error| Failure::new(FailureKind::ClientTls, error.to_string()))?;
        let mut config = self.base.clone();
        config.cert_resolver = Arc::new(ThisLeaf(leaf));
        config.alpn_protocols = alpn.into_iter().filter(|chosen| offered.contains(chosen)).collect();
        let tls = match timeout_at(deadline, start.into_stream(Arc::new(config))).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return Err(failure_after_hello(&error)),
            Err(_elapsed) => return Err(too_slow(timeout)),
        };
        let facts = facts::of(tls.get_ref().1, sni);
        let stream = ClientStream::new(tls);
        let refusal = stream.refusal();
        Ok(Accepted { io: Box::new(stream), facts, refusal })
    }
}

/// A connection whose client has said hello and waits for the answer.
pub(crate) struct Hello<T> {
    start: StartHandshake<T>,
    sni: Option<String>,
    alpn: Vec<Vec<u8>>,
    deadline: Instant,
    timeout: Duration,
}

impl<T: Io> Hello<T> {
    /// Reads the hello. `timeout` bounds the whole handshake, from here on.
    ///
    /// Dropping the future drops the connection.
    ///
    /// # Errors
    ///
    /// When it is no hello, or not whole in time.
    pub(crate) async fn read(io: T, timeout: Duration) -> Result<Self, Failure> {
        let deadline = Instant::now() + timeout;
        let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io);
        let start = match timeout_at(deadline, acceptor).await {
            Ok(Ok(start)) => start,
            Ok(Err(error)) => return Err(failure_in_hello(&error)),
            Err(_elapsed) => return Err(too_slow(timeout)),
        };
        let hello = start.client_hello();
        let sni = hello.server_name().map(str::to_owned);
        let alpn = hello.alpn().map(|names| names.map(<[u8]>::to_vec).collect()).unwrap_or_default();
        Ok(Self { start, sni, alpn, deadline, timeout })
    }

    /// The server name the client asks for.
    pub(crate) fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// The protocols the client offers by ALPN, in its order; none when it does not speak ALPN.
    pub(crate) fn alpn(&self) -> &[Vec<u8>] {
        &self.alpn
    }
}

fn too_slow(timeout: Duration) -> Failure {
    Failure::new(FailureKind::ClientTimeout, format!("no TLS handshake within {timeout:?}"))
}

fn failure_in_hello(error: &io::Error) -> Failure {
    let detail = match (alert::tls_error(error), error.kind()) {
        (Some(error), _) => error.to_string(),
        (None, io::ErrorKind::UnexpectedEof) => {
            "client closed the connection before its hello was whole".to_owned()
        }
        (None, _) => error.to_string(),
    };
    Failure::new(FailureKind::ClientTls, detail)
}

fn failure_after_hello(error: &io::Error) -> Failure {
    if let Some(failure) = alert::distrust(error) {
        return failure;
    }
    match (alert::tls_error(error), error.kind()) {
        (Some(rustls::Error::AlertReceived(received)), _) => {
            Failure::new(FailureKind::ClientTls, format!("client sent alert {}", alert::name(*received)))
        }
        (Some(error), _) => Failure::new(FailureKind::ClientTls, error.to_string()),
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            alert::left_after_certificate()
        }
        (None, _) => Failure::new(FailureKind::ClientTls, error.to_string()),
    }
}

/// The one leaf chosen for this handshake.
#[derive(Debug)]
struct ThisLeaf(Arc<CertifiedKey>);

impl ResolvesServerCert for ThisLeaf {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The base configuration's resolver, replaced for every handshake.
#[derive(Debug)]
struct NoLeaf;

impl ResolvesServerCert for NoLeaf {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
