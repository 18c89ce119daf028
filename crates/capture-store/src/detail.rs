//! An exchange's heads and facts as one blob: names and values byte for byte, numbers as LEB128 varints, texts and
//! byte strings with their length in front.
//!
//! The layout only ever grows at its end: a reader takes what it knows and ignores the rest, and what an older
//! writer did not write reads as absent.

mod read;
mod write;

pub(crate) use write::{encode_facts, joined};

use std::net::SocketAddr;

use proxy_core::{
    ClientFacts, ClientProcess, Headers, ListenerKind, RequestHead, ResponseHead, ResponseSource, RuleHit,
    Sizes, Timings, TlsFacts, UpstreamFacts,
};

use crate::record::Peer;

/// The layout's first byte. A layout that cannot be had by appending gets another.
const LAYOUT: u8 = 1;
/// Of another layout: what exchanges of the same connections share stands in front, as a byte string that grows at its own
/// end.
const JOINED: u8 = 2;
/// Of the same without the facts, which stand elsewhere.
const APART: u8 = 3;

/// What is encoded, borrowed from whoever assembled it.
pub(crate) struct DetailRef<'a> {
    pub(crate) request: &'a RequestHead,
    pub(crate) request_trailers: &'a Headers,
    pub(crate) request_body: BodyState,
    pub(crate) informational: Vec<&'a ResponseHead>,
    pub(crate) response: Option<&'a ResponseHead>,
    pub(crate) response_source: Option<ResponseSource>,
    pub(crate) response_trailers: &'a Headers,
    pub(crate) response_body: BodyState,
    pub(crate) client: Option<PeerRef<'a>>,
    pub(crate) upstream: Option<PeerRef<'a>>,
    pub(crate) tunnel: Option<&'a str>,
    pub(crate) timings: Timings,
    pub(crate) sizes: Sizes,
    pub(crate) tunnel_bytes: (u64, u64),
    pub(crate) comment: Option<&'a str>,
    pub(crate) rules: &'a [RuleHit],
    pub(crate) foreign: Option<&'a str>,
}

/// What is known of a body beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyState {
    /// It came to its proper end.
    pub(crate) complete: bool,
    /// It is stored without the content coding that its head names.
    pub(crate) identity: bool,
}

impl BodyState {
    fn bits(self) -> u8 {
        u8::from(self.complete) | u8::from(self.identity) << 1
    }

    fn from_bits(bits: u8) -> Self {
        Self { complete: bits & 1 != 0, identity: bits & 2 != 0 }
    }
}

/// One side's connection; its certificates by their numbers in the store.
pub(crate) struct PeerRef<'a> {
    pub(crate) connection: u64,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) tls: Option<&'a TlsFacts>,
    pub(crate) certificates: &'a [u64],
    pub(crate) listener: Option<ListenerKind>,
    pub(crate) user: Option<&'a str>,
    pub(crate) http2_fingerprint: Option<&'a str>,
    pub(crate) parent: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
    pub(crate) process: Option<&'a ClientProcess>,
}

impl<'a> PeerRef<'a> {
    /// The client of an exchange.
    pub(crate) fn of_client(client: &'a ClientFacts) -> Self {
        Self {
            connection: client.connection.0,
            address: (client.listener != ListenerKind::Own).then_some(client.peer),
            tls: client.tls.as_ref(),
            certificates: &[],
            listener: Some(client.listener),
            user: client.user.as_deref(),
            http2_fingerprint: client.http2_fingerprint.as_deref(),
            parent: None,
            origin: client.origin.as_deref(),
            process: client.process(),
        }
    }

    /// Upstream, and the numbers of its certificates.
    pub(crate) fn of_upstream(upstream: &'a UpstreamFacts, certificates: &'a [u64]) -> Self {
        Self {
            connection: upstream.connection.0,
            address: Some(upstream.peer),
            tls: upstream.tls.as_ref(),
            certificates,
            listener: None,
            user: None,
            http2_fingerprint: None,
            parent: upstream.parent.as_deref(),
            origin: None,
            process: None,
        }
    }

    /// A peer as it is read back, or imported.
    pub(crate) fn of(peer: &'a Peer, certificates: &'a [u64]) -> Self {
        Self {
            connection: peer.connection,
            address: peer.address,
            tls: peer.tls.as_ref(),
            certificates,
            listener: peer.listener,
            user: peer.user.as_deref(),
            http2_fingerprint: peer.http2_fingerprint.as_deref(),
            parent: peer.parent.as_deref(),
            origin: peer.origin.as_deref(),
            process: peer.process.as_ref(),
        }
    }
}

/// What is decoded.
#[derive(Debug, PartialEq)]
pub(crate) struct Detail {
    pub(crate) request: RequestHead,
    pub(crate) request_trailers: Headers,
    pub(crate) request_body: BodyState,
    pub(crate) informational: Vec<ResponseHead>,
    pub(crate) response: Option<ResponseHead>,
    pub(crate) response_source: Option<ResponseSource>,
    pub(crate) response_trailers: Headers,
    pub(crate) response_body: BodyState,
    pub(crate) client: Option<StoredPeer>,
    pub(crate) upstream: Option<StoredPeer>,
    pub(crate) tunnel: Option<String>,
    pub(crate) timings: Timings,
    pub(crate) sizes: Sizes,
    pub(crate) tunnel_bytes: (u64, u64),
    pub(crate) comment: Option<String>,
    pub(crate) rules: Vec<RuleHit>,
    pub(crate) foreign: Option<String>,
}

/// One side's connection as it is stored: its TLS facts without the certificates, which stand beside by number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredPeer {
    pub(crate) peer: Peer,
    pub(crate) certificates: Vec<u64>,
}

/// The blob is damaged, or of a layout this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("decode a stored exchange; the store is damaged or was written by a newer version")]
pub(crate) struct Damaged;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{StatusCode, Version};
    use proptest::prelude::*;
    use proxy_core::{Header, Scheme, TlsFingerprint};

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    fn headers() -> impl Strategy<Value = Headers> {
        let header = (bytes(), bytes()).prop_map(|(name, value)| Header::new(name, value));
        proptest::collection::vec(header, 0..8).prop_map(|fields| fields.into_iter().collect())
    }

    fn request() -> impl Strategy<Value = RequestHead> {
        ("[A-Za-z!*+._~-]{1,12}", any::<bool>(), ".{0,20}", ".{0,40}", headers()).prop_map(
            |(method, secure, authority, target, headers)| RequestHead {
                method: method.parse().unwrap(),
                scheme: if secure { Scheme::Https } else { Scheme::Http },
                authority,
                target,
                version: if secure { Version::HTTP_2 } else { Version::HTTP_10 },
                headers,
            },
        )
    }

    fn response() -> impl Strategy<Value = ResponseHead> {
        (100_u16..1000, proptest::option::of(bytes()), headers()).prop_map(|(status, reason, headers)| {
            let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
            (head.reason, head.headers) = (reason, headers);
            head
        })
    }

    fn detail() -> impl Strategy<Value = Detail> {
        let heads = (request(), headers(), proptest::collection::vec(response(), 0..3));
        let answer = (proptest::option::of(response()), headers());
        let rest = (proptest::option::of(".{0,9}"), any::<(u64, u64)>(), 0..u64::MAX, any::<bool>());
        (heads, answer, rest).prop_map(
            |((request, request_trailers, informational), (response, trailers), rest)| {
                let (text, tunnel_bytes, nanos, flag) = rest;
                let mut timings = Timings::default();
                (timings.ssl, timings.wait) = (flag.then_some(Duration::ZERO), Duration::from_nanos(nanos));
                let mut sizes = Sizes::default();
                sizes.response_head = nanos;
                let mut tls = TlsFacts::default();
                (tls.version, tls.sni) = ("TLSv1.3".to_owned(), text.clone());
                (tls.offered_alpn, tls.encrypted_client_hello) = (text.iter().cloned().collect(), flag);
                tls.fingerprint =
                    text.clone().map(|text| TlsFingerprint::new(text, "hash".to_owned(), "t13".to_owned()));
                let mut peer = Peer::new(nanos, "[::1]:9".parse().ok(), flag.then_some(tls));
                (peer.listener, peer.user) = (flag.then_some(ListenerKind::Socks), text.clone());
                (peer.parent, peer.http2_fingerprint) = (text.clone(), flag.then(|| "1:2|3|0|m".to_owned()));
                let upstream = StoredPeer { peer: peer.clone(), certificates: vec![1, nanos] };
                peer.origin = flag.then(|| "e412".to_owned());
                peer.process = text.clone().map(|name| ClientProcess::new(7 + u32::from(flag), name));
                let peer = StoredPeer { peer, certificates: vec![1, nanos] };
                let rules = text.iter().map(|text| RuleHit::new("r1", vec![text.clone(), "b".to_owned()]));
                let rules: Vec<_> = rules.collect();
                Detail {
                    request,
                    request_trailers,
                    request_body: BodyState { complete: flag, identity: !flag },
                    informational,
                    response_source: response.as_ref().map(|_| ResponseSource::Proxy),
                    response,
                    response_trailers: trailers,
                    response_body: BodyState { complete: !flag, identity: flag },
                    client: (nanos % 2 == 0).then_some(peer),
                    upstream: Some(upstream),
                    tunnel: text.clone(),
                    timings,
                    sizes,
                    tunnel_bytes,
                    comment: text.clone(),
                    rules,
                    foreign: text,
                }
            },
        )
    }

    fn with_ref<T>(detail: &Detail, then: impl FnOnce(DetailRef<'_>) -> T) -> T {
        fn side(stored: &StoredPeer) -> PeerRef<'_> {
            PeerRef::of(&stored.peer, &stored.certificates)
        }
        then(DetailRef {
            request: &detail.request,
            request_trailers: &detail.request_trailers,
            request_body: detail.request_body,
            informational: detail.informational.iter().collect(),
            response: detail.response.as_ref(),
            response_source: detail.response_source,
            response_trailers: &detail.response_trailers,
            response_body: detail.response_body,
            client: detail.client.as_ref().map(side),
            upstream: detail.upstream.as_ref().map(side),
            tunnel: detail.tunnel.as_deref(),
            timings: detail.timings,
            sizes: detail.sizes,
            tunnel_bytes: detail.tunnel_bytes,
            comment: detail.comment.as_deref(),
            rules: &detail.rules,
            foreign: detail.foreign.as_deref(),
        })
    }

    fn encoded(detail: &Detail) -> Vec<u8> {
        let mut out = Vec::new();
        with_ref(detail, |detail| detail.encode(&mut out));
        out
    }

    /// As it is read where its facts stand elsewhere.
    fn encoded_apart(detail: &Detail) -> Vec<u8> {
        let (mut facts, mut apart) = (Vec::new(), Vec::new());
        with_ref(detail, |detail| {
            encode_facts(detail.client.as_ref(), detail.upstream.as_ref(), detail.tunnel, &mut facts);
            detail.encode_apart(&mut apart);
        });
        joined(&facts, &apart)
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(detail in detail()) {
            prop_assert_eq!(Detail::decode(encoded(&detail)).unwrap(), detail);
        }

        #[test]
        fn what_is_encoded_apart_and_joined_decodes_to_the_same(detail in detail()) {
            prop_assert_eq!(Detail::decode(encoded_apart(&detail)).unwrap(), detail);
        }

        #[test]
        fn what_stands_apart_is_none_without_its_facts(detail in detail()) {
            let mut apart = Vec::new();
            with_ref(&detail, |detail| detail.encode_apart(&mut apart));
            prop_assert!(Detail::decode(apart).is_err());
        }

        #[test]
        fn what_the_first_version_wrote_still_reads(detail in detail()) {
            let mut blob = Vec::new();
            with_ref(&detail, |detail| detail.encode_first(&mut blob));
            let mut expected = detail;
            expected.rules = Vec::new();
            expected.foreign = None;
            for stored in [&mut expected.client, &mut expected.upstream].into_iter().flatten() {
                let Peer { connection, address, tls, .. } = stored.peer.clone();
                stored.peer = Peer::new(connection, address, tls.map(|tls| {
                    let mut first = TlsFacts::default();
                    (first.version, first.cipher, first.alpn, first.sni) =
                        (tls.version, tls.cipher, tls.alpn, tls.sni);
                    first
                }));
            }
            prop_assert_eq!(Detail::decode(blob).unwrap(), expected);
        }

        #[test]
        fn damage_is_an_error_or_another_exchange_but_never_worse(
            detail in detail(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
            (cut, apart) in any::<(bool, bool)>()
        ) {
            let mut blob = if apart { encoded_apart(&detail) } else { encoded(&detail) };
            let at = at.index(blob.len());
            if cut { blob.truncate(at) } else { blob[at] = byte }
            // It must return; what it returns is up to the damage.
            let _ = Detail::decode(blob);
        }

        #[test]
        fn what_a_newer_version_appends_is_ignored(detail in detail(), more in bytes()) {
            for mut blob in [encoded(&detail), encoded_apart(&detail)] {
                blob.extend_from_slice(&more);
                prop_assert_eq!(&Detail::decode(blob).unwrap(), &detail);
            }
        }
    }
}
