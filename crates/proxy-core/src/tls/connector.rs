//! Upstream's side: the proxy plays the client, under the user's trust.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use rustls::{
    CertificateError, ClientConfig,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName},
    sign::SingleCertAndKey,
};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    alert,
    certificates::Certificates,
    client_certificate::ClientCertificate,
    facts,
    hello_tap::HelloTap,
    intermediates::Intermediates,
    options::TlsOptions,
    provider::provider,
    trust::UpstreamTrust,
    verify::{Rejected, Verifier, one_line},
};
use crate::{
    ahead::Ahead,
    error::{Error, ErrorKind},
    event::TlsFacts,
    failure::{Failure, FailureKind},
    hosts::HostPattern,
    wire::{BoxedIo, Io},
};

/// Upstream hosts whose TLS session is kept for the next connection; beyond it the oldest is forgotten.
const MAX_KEPT_SESSIONS: usize = 1_024;

/// The protocols the proxy speaks with upstream.
const SPOKEN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Protocols of HTTP that are not spoken on a TLS connection here; they are never offered.
const UNSPOKEN: [&[u8]; 5] = [b"http/0.9", b"http/1.0", b"h2c", b"h3", b"hq"];

/// Protocols offered upstream at most, of a client that offers none of HTTP.
const MAX_OFFERED: usize = 16;

/// Connects TLS to upstream. One for the whole proxy: sessions are resumed across connections.
pub(crate) struct Connector {
    trust: UpstreamTrust,
    verifier: Arc<Verifier>,
    intermediates: Option<Arc<Intermediates>>,
    shown: Certificates,
    plain: Connectors,
    /// Those that show a client certificate, each with sessions of its own: a session carries on who the client is.
    certified: Vec<(HostPattern, Connectors)>,
}

/// How upstream is verified.
struct Connectors {
    strict: TlsConnector,
    insecure: TlsConnector,
}

/// Why there is no TLS with upstream.
#[derive(Debug)]
pub(crate) struct NotConnected {
    pub(crate) failure: Failure,
    /// What upstream said of itself until then: its certificates where they were refused, and its hello.
    pub(crate) facts: Option<Box<TlsFacts>>,
}

impl From<Failure> for NotConnected {
    fn from(failure: Failure) -> Self {
        Self { failure, facts: None }
    }
}

/// An upstream connection after its handshake.
pub(crate) struct Connected {
    /// The decrypted stream. An end without close_notify is an `UnexpectedEof` error.
    pub(crate) io: BoxedIo,
    /// What was agreed, with upstream's certificate chain.
    pub(crate) facts: TlsFacts,
}

/// What to offer upstream by ALPN when the client offers `client`: the protocols the proxy speaks, in the
/// client's order; nothing when the client does not speak ALPN. A client that offers none of HTTP means something else,
/// which is relayed as it is: then that is what is offered.
pub(crate) fn upstream_alpn(client: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let spoken: Vec<_> = client.iter().filter(|name| SPOKEN.contains(&name.as_slice())).cloned().collect();
    if !spoken.is_empty() {
        return spoken;
    }
    client.iter().filter(|name| !UNSPOKEN.contains(&name.as_slice())).take(MAX_OFFERED).cloned().collect()
}

/// Whether a protocol agreed by ALPN is one of HTTP.
pub(crate) fn is_http(alpn: &str) -> bool {
    SPOKEN.contains(&alpn.as_bytes())
}

impl Connector {
    /// Makes a connector; reads the system's roots, which blocks on the file system.
    pub(crate) fn new(trust: UpstreamTrust, options: &TlsOptions) -> Result<Self, Error> {
        let provider = Arc::new(provider());
        let intermediates = options.fetch_intermediates.then(Arc::<Intermediates>::default);
        let verifier = Arc::new(Verifier::strict(Arc::clone(&provider), &trust, intermediates.clone())?);
        let any = Arc::new(Verifier::any(Arc::clone(&provider)));
        let connectors = |certificate: Option<&ClientCertificate>| -> Result<Connectors, Error> {
            Ok(Connectors {
                strict: connector(&provider, &verifier, certificate, options)?,
                insecure: connector(&provider, &any, certificate, options)?,
            })
        };
        let plain = connectors(None)?;
        let certified = options
            .client_certificates
            .iter()
            .map(|(hosts, certificate)| Ok((hosts.clone(), connectors(Some(certificate))?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self { trust, verifier, intermediates, shown: Certificates::default(), plain, certified })
    }

    /// Whether a host is shown a client certificate, if it asks for one.
    pub(crate) fn certifies(&self, host: &str) -> bool {
        self.certified.iter().any(|(hosts, _)| hosts.matches(host))
    }

    /// Where fetched intermediates are kept; `None` where none are to be fetched.
    pub(crate) fn intermediates(&self) -> Option<&Intermediates> {
        self.intermediates.as_deref()
    }

    /// Whether a chain leads to a trusted root, whomever it is for.
    pub(crate) fn reaches_root(&self, chain: &[CertificateDer<'_>]) -> bool {
        self.verifier.reaches_root(chain)
    }

    /// Whether the certificate of a host is verified.
    pub(crate) fn verifies(&self, host: &str) -> bool {
        !self.trust.is_insecure(host)
    }

    /// Does the handshake with upstream, which is to prove that it is `server_name` (a DNS name or an IP
    /// address; only the former goes out as SNI). `alpn` is what to offer; see [`upstream_alpn`].
    ///
    /// Dropping the future drops the connection.
    ///
    /// # Errors
    ///
    /// The kinds that begin with `Certificate` when upstream's certificate is not accepted,
    /// [`FailureKind::UpstreamTimeout`] when the handshake takes longer than `limit`, else
    /// [`FailureKind::UpstreamTls`].
    pub(crate) async fn connect<T: Io>(
        &self,
        io: T,
        server_name: &str,
        alpn: &[Vec<u8>],
        limit: Duration,
    ) -> Result<Connected, NotConnected> {
        let name = parse_name(server_name)?;
        let sni = matches!(name, ServerName::DnsName(_)).then(|| name.to_str().into_owned());
        let of_host = self.certified.iter().find(|(hosts, _)| hosts.matches(server_name));
        let Connectors { strict, insecure } = of_host.map_or(&self.plain, |(_, connectors)| connectors);
        let connector = if self.verifies(server_name) { strict } else { insecure };
        let handshake =
            connector.with_alpn(alpn.to_vec()).connect(name, HelloTap::new(Ahead::new(io))).into_fallible();
        match timeout(limit, handshake).await {
            Ok(Ok(mut tls)) => {
                let hello = tls.get_mut().0.take();
                let session = tls.get_ref().1;
                let mut facts = facts::with_hello(facts::of(session, sni), &hello);
                let chain = session.peer_certificates().unwrap_or_default();
                facts.certificates = chain.iter().map(|der| self.shown.share(der)).collect();
                Ok(Connected { io: Box::new(tls), facts })
            }
            Ok(Err((error, mut tap))) => {
                let (failure, chain) = failure(&error);
                let facts = facts::of_refused(sni, chain, &tap.take()).map(Box::new);
                Err(NotConnected { failure, facts })
            }
            Err(_elapsed) => {
                let detail = format!("no TLS handshake within {limit:?}");
                Err(Failure::new(FailureKind::UpstreamTimeout, detail).into())
            }
        }
    }
}

fn connector(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<Verifier>,
    certificate: Option<&ClientCertificate>,
    options: &TlsOptions,
) -> Result<TlsConnector, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&options.upstream_versions.supported())
        .map_err(|error| Error::new(ErrorKind::Tls).because(error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<_>);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certificate.key()))))
        }
    };
    config.resumption = Resumption::in_memory_sessions(MAX_KEPT_SESSIONS);
    if let Some(key_log) = &options.key_log {
        config.key_log = key_log.shared();
    }
    Ok(TlsConnector::from(Arc::new(config)))
}

fn parse_name(host: &str) -> Result<ServerName<'static>, Failure> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    // A zone (RFC 6874) says how to get there, not who is there.
    let address = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    let name = address.strip_suffix('.').unwrap_or(address);
    ServerName::try_from(name.to_owned())
        .map_err(|_| Failure::new(FailureKind::UpstreamTls, format!("{:?} is no host name", one_line(host))))
}

/// What a failed handshake means, and the certificates where they were refused.
fn failure(error: &io::Error) -> (Failure, Vec<Bytes>) {
    let detail = match alert::tls_error(error) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            if let Some(Rejected { failure, chain }) = other.0.downcast_ref() {
                return (failure.clone(), chain.clone());
            }
            other.to_string()
        }
        Some(rustls::Error::AlertReceived(received)) => alert_detail(*received),
        Some(rustls::Error::InvalidMessage(invalid)) => {
            format!("upstream does not speak TLS on this port, or breaks its rules ({invalid:?})")
        }
        Some(error) => error.to_string(),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof => "upstream closed the connection during the handshake".to_owned(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "upstream reset the connection during the handshake".to_owned()
            }
            _ => error.to_string(),
        },
    };
    (Failure::new(FailureKind::UpstreamTls, one_line(&detail)), Vec::new())
}

/// What upstream's alert says, and what is behind it most of the time.
fn alert_detail(received: rustls::AlertDescription) -> String {
    use rustls::AlertDescription as A;
    let likely = match received {
        A::HandshakeFailure => ": no cipher suite in common, or it wants a client certificate",
        A::ProtocolVersion => ": it speaks neither TLS 1.2 nor TLS 1.3, as far as they are offered",
        A::CertificateRequired => ": it wants a client certificate",
        A::UnrecognisedName => ": it does not serve this name",
        A::NoApplicationProtocol => ": it speaks none of the offered protocols",
        _ => "",
    };
    format!("upstream sent alert {}{likely}", alert::name(received))
}
