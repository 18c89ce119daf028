//! Upstream's side: the proxy plays the client, under the user's trust.

use std::{io, sync::Arc, time::Duration};

use rustls::{CertificateError, ClientConfig, client::Resumption, pki_types::ServerName};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    alert, facts,
    trust::UpstreamTrust,
    verify::{Rejected, Verifier, one_line},
};
use crate::{
    error::{Error, ErrorKind},
    event::TlsFacts,
    failure::{Failure, FailureKind},
    wire::{BoxedIo, Io},
};

/// Upstream hosts whose TLS session is kept for the next connection; beyond it the oldest is forgotten.
const MAX_KEPT_SESSIONS: usize = 1_024;

/// The protocols the proxy speaks with upstream.
const SPOKEN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Connects TLS to upstream. One for the whole proxy: sessions are resumed across connections.
pub(crate) struct Connector {
    trust: UpstreamTrust,
    strict: TlsConnector,
    insecure: TlsConnector,
}

/// An upstream connection after its handshake.
pub(crate) struct Connected {
    /// The decrypted stream. An end without close_notify is an `UnexpectedEof` error.
    pub(crate) io: BoxedIo,
    /// What was agreed, with upstream's certificate chain.
    pub(crate) facts: TlsFacts,
}

/// What to offer upstream by ALPN when the client offers `client`: the protocols the proxy speaks, in the
/// client's order; nothing when the client does not speak ALPN.
pub(crate) fn upstream_alpn(client: &[Vec<u8>]) -> Vec<Vec<u8>> {
    client.iter().filter(|name| SPOKEN.contains(&name.as_slice())).cloned().collect()
}

impl Connector {
    /// Makes a connector; reads the system's roots, which blocks on the file system.
    pub(crate) fn new(trust: UpstreamTrust) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let build = |verifier: Verifier| -> Result<TlsConnector, Error> {
            let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| Error::new(ErrorKind::Tls).because(error))?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth();
            config.resumption = Resumption::in_memory_sessions(MAX_KEPT_SESSIONS);
            Ok(TlsConnector::from(Arc::new(config)))
        };
        let strict = build(Verifier::strict(Arc::clone(&provider), &trust)?)?;
        let insecure = build(Verifier::any(Arc::clone(&provider)))?;
        Ok(Self { trust, strict, insecure })
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
    ) -> Result<Connected, Failure> {
        let name = parse_name(server_name)?;
        let sni = matches!(name, ServerName::DnsName(_)).then(|| name.to_str().into_owned());
        let connector = if self.trust.is_insecure(server_name) { &self.insecure } else { &self.strict };
        let handshake = connector.with_alpn(alpn.to_vec()).connect(name, io);
        let tls = match timeout(limit, handshake).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return Err(failure(&error)),
            Err(_elapsed) => {
                let detail = format!("no TLS handshake within {limit:?}");
                return Err(Failure::new(FailureKind::UpstreamTimeout, detail));
            }
        };
        let facts = facts::of(tls.get_ref().1, sni);
        Ok(Connected { io: Box::new(tls), facts })
    }
}

fn parse_name(host: &str) -> Result<ServerName<'static>, Failure> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    // A zone (RFC 6874) says how to get there, not who is there.
    let address = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    let name = address.strip_suffix('.').unwrap_or(address);
    ServerName::try_from(name.to_owned())
        .map_err(|_| Failure::new(FailureKind::UpstreamTls, format!("{:?} is no host name", one_line(host))))
}

/// What a failed handshake means.
fn failure(error: &io::Error) -> Failure {
    let detail = match alert::tls_error(error) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            if let Some(Rejected(failure)) = other.0.downcast_ref() {
                return failure.clone();
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
    Failure::new(FailureKind::UpstreamTls, one_line(&detail))
}

/// What upstream's alert says, and what is behind it most of the time.
fn alert_detail(received: rustls::AlertDescription) -> String {
    use rustls::AlertDescription as A;
    let likely = match received {
        A::HandshakeFailure => ": no cipher suite in common, or it wants a client certificate",
        A::ProtocolVersion => ": it speaks neither TLS 1.2 nor TLS 1.3",
        A::CertificateRequired => ": it wants a client certificate",
        A::UnrecognisedName => ": it does not serve this name",
        A::NoApplicationProtocol => ": it speaks none of the offered protocols",
        _ => "",
    };
    format!("upstream sent alert {}{likely}", alert::name(received))
}
