//! Encoding.

use std::time::Duration;

use http::Version;
use proxy_core::{Headers, ListenerKind, RequestHead, ResponseHead, ResponseSource, Scheme, Timings};

use super::{DetailRef, LAYOUT, PeerRef};

impl DetailRef<'_> {
    /// Encodes at the end of `out`, and says where the numbers of upstream's certificates end.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> usize {
        let certificates_end = self.encode_first(out);
        self.encode_second(out);
        self.encode_third(out);
        self.encode_fourth(out);
        certificates_end
    }

    /// What the first version wrote.
    pub(super) fn encode_first(&self, out: &mut Vec<u8>) -> usize {
        out.push(LAYOUT);
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
        put_option(out, self.client.as_ref(), put_peer);
        put_option(out, self.upstream.as_ref(), put_peer);
        let certificates_end = out.len();
        put_option(out, self.tunnel, |out, text| put_bytes(out, text.as_bytes()));
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
        certificates_end
    }

    /// What came to it: fingerprints, listeners, users, parents, rules.
    fn encode_second(&self, out: &mut Vec<u8>) {
        for side in [&self.client, &self.upstream] {
            put_option(out, side.as_ref(), put_peer_more);
        }
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

/// Appends what was encoded without upstream's certificates, with their numbers where [`DetailRef::encode`] said that
/// they end.
pub(crate) fn with_certificates(detail: &[u8], end: usize, numbers: &[u64], out: &mut Vec<u8>) {
    // Of none their count alone is written, which is one byte.
    match end.checked_sub(1).and_then(|start| detail.get(..start).zip(detail.get(end..))) {
        Some((before, after)) if !numbers.is_empty() => {
            out.extend_from_slice(before);
            put_int(out, numbers.len() as u64);
            numbers.iter().for_each(|number| put_int(out, *number));
            out.extend_from_slice(after);
        }
        _ => out.extend_from_slice(detail),
    }
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
    put_option(out, peer.tls, |out, tls| {
        put_bytes(out, tls.version.as_bytes());
        put_bytes(out, tls.cipher.as_bytes());
        put_option(out, tls.alpn.as_deref(), |out, text| put_bytes(out, text.as_bytes()));
        put_option(out, tls.sni.as_deref(), |out, text| put_bytes(out, text.as_bytes()));
    });
    put_int(out, peer.certificates.len() as u64);
    for certificate in peer.certificates {
        put_int(out, *certificate);
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
