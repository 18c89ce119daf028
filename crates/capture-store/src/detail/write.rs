//! Encoding.

use std::{net::SocketAddr, time::Duration};

use http::Version;
use proxy_core::{
    Headers, ListenerKind, RequestHead, ResponseHead, ResponseSource, Scheme, Timings, TlsFacts,
};

use super::{APART, DetailRef, JOINED, LAYOUT, PeerRef};

impl DetailRef<'_> {
    /// Encodes all of it at the end of `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_first(out);
        self.encode_second(out);
        self.encode_third(out);
        self.encode_fourth(out);
    }

    /// Encodes what is the exchange's own at the end of `out`; what it shares with others of its connections is encoded by
    /// [`encode_facts`], and [`joined`] to it by who reads.
    pub(crate) fn encode_apart(&self, out: &mut Vec<u8>) {
        out.push(APART);
        self.encode_heads(out);
        for side in [&self.client, &self.upstream] {
            put_option(out, side.as_ref(), |out, peer| {
                put_int(out, peer.connection);
                put_address(out, peer.address);
            });
        }
        self.encode_measures(out);
        self.encode_rules(out);
        self.encode_third(out);
        self.encode_fourth(out);
    }

    /// What the first version wrote.
    pub(super) fn encode_first(&self, out: &mut Vec<u8>) {
        out.push(LAYOUT);
        self.encode_heads(out);
        put_option(out, self.client.as_ref(), put_peer);
        put_option(out, self.upstream.as_ref(), put_peer);
        put_text(out, self.tunnel);
        self.encode_measures(out);
    }

    /// Both messages, without their bodies.
    fn encode_heads(&self, out: &mut Vec<u8>) {
        out.push(self.request_body.bits() | self.response_body.bits() << 4);
        put_request(out, self.request);
        put_headers(out, self.request_trailers);
        put_int(out, self.informational.len() as u64);
        for head in &self.informational {
            put_response(out, head);
        }
        put_option(out, self.response, put_response);
        out.push(source_code(self.response_source));
        put_headers(out, self.response_trailers);
    }

    /// What was measured, and what somebody said of it.
    fn encode_measures(&self, out: &mut Vec<u8>) {
        put_timings(out, &self.timings);
        for size in [
            self.sizes.request_head,
            self.sizes.request_body,
            self.sizes.response_head,
            self.sizes.response_body,
            self.tunnel_bytes.0,
            self.tunnel_bytes.1,
        ] {
            put_int(out, size);
        }
        put_text(out, self.comment);
    }

    /// What came to it: fingerprints, listeners, users, parents, rules.
    fn encode_second(&self, out: &mut Vec<u8>) {
        for side in [&self.client, &self.upstream] {
            put_option(out, side.as_ref(), put_peer_more);
        }
        self.encode_rules(out);
    }

    fn encode_rules(&self, out: &mut Vec<u8>) {
        put_int(out, self.rules.len() as u64);
        for hit in self.rules {
            put_bytes(out, hit.rule.as_bytes());
            put_texts(out, &hit.changes);
        }
    }

    /// What came to it then: what the request is a copy of, what a file said besides.
    fn encode_third(&self, out: &mut Vec<u8>) {
        put_text(out, self.client.as_ref().and_then(|client| client.origin));
        put_text(out, self.foreign);
    }

    /// And then: which process the client is.
    fn encode_fourth(&self, out: &mut Vec<u8>) {
        put_option(out, self.client.as_ref().and_then(|client| client.process), |out, process| {
            put_int(out, process.pid.into());
            put_bytes(out, process.name.as_bytes());
        });
    }
}

/// Encodes what is the same for all exchanges between two connections at the end of `out`.
pub(crate) fn encode_facts(
    client: Option<&PeerRef<'_>>,
    upstream: Option<&PeerRef<'_>>,
    tunnel: Option<&str>,
    out: &mut Vec<u8>,
) {
    for side in [client, upstream] {
        put_option(out, side, |out, peer| {
            put_option(out, peer.tls, put_tls);
            put_ints(out, peer.certificates);
            put_peer_more(out, peer);
        });
    }
    put_text(out, tunnel);
}

/// Puts what was encoded apart together again: the facts in front, so that both can grow at their end.
pub(crate) fn joined(facts: &[u8], apart: &[u8]) -> Vec<u8> {
    let rest = apart.get(1..).unwrap_or_default();
    let mut out = Vec::with_capacity(facts.len() + rest.len() + 6);
    out.push(JOINED);
    put_bytes(&mut out, facts);
    out.extend_from_slice(rest);
    out
}

fn put_int(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    put_option(out, text, |out, text| put_bytes(out, text.as_bytes()));
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put_int(out, texts.len() as u64);
    for text in texts {
        put_bytes(out, text.as_bytes());
    }
}

fn put_headers(out: &mut Vec<u8>, headers: &Headers) {
    put_int(out, headers.len() as u64);
    for header in headers {
        put_bytes(out, &header.name);
        put_bytes(out, &header.value);
    }
}

fn put_request(out: &mut Vec<u8>, head: &RequestHead) {
    put_bytes(out, head.method.as_str().as_bytes());
    out.push(u8::from(head.scheme == Scheme::Https));
    put_bytes(out, head.authority.as_bytes());
    put_bytes(out, head.target.as_bytes());
    out.push(version_code(head.version));
    put_headers(out, &head.headers);
}

fn put_response(out: &mut Vec<u8>, head: &ResponseHead) {
    put_int(out, u64::from(head.status.as_u16()));
    put_option(out, head.reason.as_ref(), |out, reason| put_bytes(out, reason));
    out.push(version_code(head.version));
    put_headers(out, &head.headers);
}

fn put_peer(out: &mut Vec<u8>, peer: &PeerRef<'_>) {
    put_int(out, peer.connection);
    put_option(out, peer.address, |out, address| put_bytes(out, address.to_string().as_bytes()));
    put_option(out, peer.tls, put_tls);
    put_ints(out, peer.certificates);
}

fn put_tls(out: &mut Vec<u8>, tls: &TlsFacts) {
    put_bytes(out, tls.version.as_bytes());
    put_bytes(out, tls.cipher.as_bytes());
    put_text(out, tls.alpn.as_deref());
    put_text(out, tls.sni.as_deref());
}

/// An address as bytes: its family, the address, the port, and for IPv6 the scope.
fn put_address(out: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address {
        None => out.push(0),
        Some(SocketAddr::V4(address)) => {
            out.push(4);
            out.extend_from_slice(&address.ip().octets());
            out.extend_from_slice(&address.port().to_be_bytes());
        }
        Some(SocketAddr::V6(address)) => {
            out.push(6);
            out.extend_from_slice(&address.ip().octets());
            out.extend_from_slice(&address.port().to_be_bytes());
            put_int(out, address.scope_id().into());
        }
    }
}

fn put_ints(out: &mut Vec<u8>, ints: &[u64]) {
    put_int(out, ints.len() as u64);
    for int in ints {
        put_int(out, *int);
    }
}

fn put_peer_more(out: &mut Vec<u8>, peer: &PeerRef<'_>) {
    out.push(listener_code(peer.listener));
    put_text(out, peer.user);
    put_text(out, peer.http2_fingerprint);
    put_text(out, peer.parent);
    put_option(out, peer.tls, |out, tls| {
        out.push(u8::from(tls.encrypted_client_hello));
        put_texts(out, &tls.offered_alpn);
        put_option(out, tls.fingerprint.as_ref(), |out, fingerprint| {
            for text in [&fingerprint.ja3, &fingerprint.ja3_hash, &fingerprint.ja4] {
                put_bytes(out, text.as_bytes());
            }
        });
    });
}

fn put_timings(out: &mut Vec<u8>, timings: &Timings) {
    for part in [timings.blocked, timings.dns, timings.connect, timings.ssl] {
        put_option(out, part, put_duration);
    }
    for part in [timings.send, timings.wait, timings.receive, timings.total] {
        put_duration(out, part);
    }
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    put_int(out, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

fn version_code(version: Version) -> u8 {
    match version {
        Version::HTTP_09 => 9,
        Version::HTTP_10 => 10,
        Version::HTTP_2 => 20,
        Version::HTTP_3 => 30,
        _ => 11,
    }
}

fn source_code(source: Option<ResponseSource>) -> u8 {
    match source {
        None => 0,
        Some(ResponseSource::Mock) => 2,
        Some(ResponseSource::Proxy) => 3,
        // The enum can grow; until this crate knows better, a response came from upstream.
        Some(_) => 1,
    }
}

fn listener_code(listener: Option<ListenerKind>) -> u8 {
    match listener {
        Some(ListenerKind::Explicit) => 1,
        Some(ListenerKind::Socks) => 2,
        Some(ListenerKind::Transparent) => 3,
        Some(ListenerKind::Reverse) => 4,
        Some(ListenerKind::Own) => 5,
        // The enum can grow; what this crate does not know it does not tell.
        _ => 0,
    }
}
