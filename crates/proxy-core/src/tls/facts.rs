//! What a handshake agreed on, read off the connection.

use bytes::Bytes;
use rustls::CommonState;

use crate::event::TlsFacts;

/// The facts of a finished handshake. `sni` is what the connecting side asked for; the certificates are the
/// peer's, where it showed any.
pub(super) fn of(connection: &CommonState, sni: Option<String>) -> TlsFacts {
    let certificates = connection.peer_certificates().unwrap_or_default();
    TlsFacts {
        version: connection.protocol_version().map(version).unwrap_or_default(),
        cipher: connection.negotiated_cipher_suite().map(|suite| cipher(suite.suite())).unwrap_or_default(),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        sni,
        certificates: certificates.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
        fingerprint: None,
    }
}

fn version(version: rustls::ProtocolVersion) -> String {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The suite's name in the IANA registry; rustls says `TLS13_` where IANA says `TLS_`.
fn cipher(suite: rustls::CipherSuite) -> String {
    let name = suite.as_str().map_or_else(|| format!("{suite:?}"), str::to_owned);
    name.strip_prefix("TLS13_").map(|rest| format!("TLS_{rest}")).unwrap_or(name)
}
