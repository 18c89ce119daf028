//! What a handshake agreed on, read off the connection.

use bytes::Bytes;
use rustls::{CipherSuite, CommonState, ProtocolVersion};

use crate::{client_hello::ClientHelloSummary, event::TlsFacts, fingerprint, server_hello};

/// The facts of a finished handshake, but for the certificates. `sni` is what the connecting side asked for.
pub(super) fn of(connection: &CommonState, sni: Option<String>) -> TlsFacts {
    TlsFacts {
        version: connection.protocol_version().map(version).unwrap_or_default(),
        cipher: connection.negotiated_cipher_suite().map(|suite| cipher(suite.suite())).unwrap_or_default(),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        offered_alpn: Vec::new(),
        sni,
        encrypted_client_hello: false,
        certificates: Vec::new(),
        fingerprint: None,
    }
}

/// What a ClientHello says, before anything was agreed.
pub(crate) fn of_hello(hello: &ClientHelloSummary) -> TlsFacts {
    TlsFacts {
        offered_alpn: hello.alpn.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
        sni: hello.sni.clone(),
        encrypted_client_hello: hello.ech,
        fingerprint: hello.fingerprint.clone(),
        ..TlsFacts::default()
    }
}

/// Adds the fingerprint of the ServerHello among these handshake messages.
pub(super) fn with_hello(mut facts: TlsFacts, messages: &[u8]) -> TlsFacts {
    facts.fingerprint = server_hello::parse(messages).map(|hello| fingerprint::of_server(&hello));
    facts
}

/// What is known of a handshake that failed: the certificates where they were refused, and what the ServerHello among
/// these messages says. `None` when nothing is.
pub(super) fn of_refused(sni: Option<String>, certificates: Vec<Bytes>, messages: &[u8]) -> Option<TlsFacts> {
    let hello = server_hello::parse(messages);
    if hello.is_none() && certificates.is_empty() {
        return None;
    }
    let mut facts = TlsFacts { sni, certificates, ..TlsFacts::default() };
    if let Some(hello) = hello {
        facts.version = version(ProtocolVersion::from(hello.selected_version.unwrap_or(hello.version)));
        facts.cipher = cipher(CipherSuite::from(hello.cipher_suite));
        facts.alpn = hello.alpn.map(|name| String::from_utf8_lossy(name).into_owned());
        facts.fingerprint = Some(fingerprint::of_server(&hello));
    }
    Some(facts)
}

fn version(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The suite's name in the IANA registry; rustls says `TLS13_` where IANA says `TLS_`.
fn cipher(suite: CipherSuite) -> String {
    let name = suite.as_str().map_or_else(|| format!("{suite:?}"), str::to_owned);
    name.strip_prefix("TLS13_").map(|rest| format!("TLS_{rest}")).unwrap_or(name)
}
