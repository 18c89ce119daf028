//! The client's side: the proxy plays the server, with a leaf for whatever host the client wants.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    PeerIncompatible, ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::timeout_at;
use tokio_rustls::LazyConfigAcceptor;

use super::{
    alert, facts,
    key_log::KeyLog,
    provider::{prefers_aes, provider},
    stream::{ClientStream, Refusal},
    tickets::Tickets,
};
use crate::{
    ahead::Ahead,
    alarm::from_now,
    ca::Leafs,
    client_hello::ClientHelloSummary,
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

/// What a handshake with a client is to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake<'a> {
    /// The host the leaf is for where the client names none: the CONNECT's.
    pub(crate) host_fallback: &'a str,
    /// The protocol to agree on, which is what upstream chose. It is left out when the client does not offer it, so
    /// that this never ends a handshake.
    pub(crate) alpn: Option<Vec<u8>>,
    /// Upstream's certificate, where it was verified: the leaf has its names.
    pub(crate) mirrors: Option<&'a [u8]>,
    /// The client's hello as it was peeked at.
    pub(crate) hello: Option<&'a ClientHelloSummary>,
}

/// Why there is no TLS with a client.
#[derive(Debug)]
pub(crate) struct NotAccepted {
    pub(crate) failure: Failure,
    /// Whether it left over our certificate: by an alert that says so, or silently once it had seen it.
    pub(crate) refused: bool,
}

impl From<Failure> for NotAccepted {
    fn from(failure: Failure) -> Self {
        Self { failure, refused: false }
    }
}

impl Acceptor {
    /// Makes an acceptor that shows leafs of this store.
    pub(crate) fn new(leafs: Leafs, key_log: Option<&KeyLog>) -> Result<Self, Error> {
        let tls = |error: rustls::Error| Error::new(ErrorKind::Tls).because(error);
        let provider = Arc::new(provider());
        let mut base = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoLeaf));
        // Sessions are resumed, on tickets under keys that live in this process only and change with the hours. That is
        // safe: a ticket is good for the name it was given for and no other, the client accepted our leaf for that
        // name to get it, and a client proves nothing by TLS here that a ticket could carry on. Early data is never
        // accepted (`max_early_data_size` is 0), so nothing a client sends can be replayed.
        base.ticketer = rustls::crypto::ring::Ticketer::new().map_err(tls)?;
        if let Some(key_log) = key_log {
            base.key_log = key_log.shared();
        }
        Ok(Self { leafs, base })
    }

    /// Reads the client's hello and does the handshake. The leaf is for the server name the client asks for.
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
        wanted: Handshake<'_>,
        timeout: Duration,
    ) -> Result<Accepted, NotAccepted> {
        let deadline = from_now(timeout);
        let io = Tickets::new(Ahead::new(io));
        let start = match timeout_at(deadline, LazyConfigAcceptor::new(Default::default(), io)).await {
            Ok(Ok(start)) => start,
            Ok(Err(error)) => return Err(failure_in_hello(&error).into()),
            Err(_elapsed) => return Err(too_slow(timeout).into()),
        };
        let (sni, config) = self.answer(&start.client_hello(), &wanted)?;
        let tls = match timeout_at(deadline, start.into_stream(Arc::new(config))).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return Err(failure_after_hello(&error)),
            Err(_elapsed) => return Err(too_slow(timeout).into()),
        };
        let mut facts = facts::of(tls.get_ref().1, sni);
        if let Some(hello) = wanted.hello {
            let TlsFacts { offered_alpn, encrypted_client_hello, fingerprint, .. } = facts::of_hello(hello);
            (facts.offered_alpn, facts.fingerprint) = (offered_alpn, fingerprint);
            facts.encrypted_client_hello = encrypted_client_hello;
        }
        let stream = ClientStream::new(tls);
        let refusal = stream.refusal();
        Ok(Accepted { io: Box::new(stream), facts, refusal })
    }

    /// The server name a hello asks for, and the configuration that answers it.
    fn answer(
        &self,
        hello: &ClientHello<'_>,
        wanted: &Handshake<'_>,
    ) -> Result<(Option<String>, ServerConfig), Failure> {
        let sni = hello.server_name().map(str::to_owned);
        let host = sni.as_deref().unwrap_or(wanted.host_fallback);
        let leaf = self
            .leafs
            .mirroring(host, wanted.mirrors, SystemTime::now())
            .map_err(|error| Failure::new(FailureKind::ClientTls, error.to_string()))?;
        let offers = |name: &[u8]| hello.alpn().is_some_and(|mut offered| offered.any(|it| it == name));
        let mut config = self.base.clone();
        config.cert_resolver = Arc::new(ThisLeaf(leaf));
        config.ignore_client_order = prefers_aes(hello.cipher_suites(), self.base.crypto_provider());
        config.alpn_protocols = wanted.alpn.iter().filter(|chosen| offers(chosen)).cloned().collect();
        Ok((sni, config))
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

fn failure_after_hello(error: &io::Error) -> NotAccepted {
    if let Some(failure) = alert::distrust(error) {
        return NotAccepted { failure, refused: true };
    }
    let failure = match (alert::tls_error(error), error.kind()) {
        (Some(rustls::Error::AlertReceived(received)), _) => {
            Failure::new(FailureKind::ClientTls, alert::told(*received))
        }
        (Some(rustls::Error::PeerIncompatible(reason)), _) => {
            Failure::new(FailureKind::ClientTls, incompatible(reason))
        }
        (Some(error), _) => Failure::new(FailureKind::ClientTls, error.to_string()),
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            return NotAccepted { failure: alert::left_after_certificate(), refused: true };
        }
        (None, _) => Failure::new(FailureKind::ClientTls, error.to_string()),
    };
    failure.into()
}

/// What an old client lacks.
fn incompatible(reason: &PeerIncompatible) -> String {
    use PeerIncompatible as P;
    match reason {
        P::Tls12NotOffered | P::Tls12NotOfferedOrEnabled | P::SupportedVersionsExtensionRequired => {
            "client speaks neither TLS 1.2 nor TLS 1.3".to_owned()
        }
        P::NoCipherSuitesInCommon | P::NoSignatureSchemesInCommon => {
            "client accepts no ECDSA certificate, or no cipher suite of the proxy".to_owned()
        }
        other => format!("client and proxy have no TLS in common ({other:?})"),
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
