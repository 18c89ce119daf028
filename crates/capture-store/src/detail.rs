//! An exchange's heads and facts as one blob: names and values byte for byte, numbers as LEB128 varints, texts and
//! byte strings with their length in front.
//!
//! The layout only ever grows at its end: a reader takes what it knows and ignores the rest, and what an older
//! writer did not write reads as absent.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use proxy_core::{
    Headers, ListenerKind, RequestHead, ResponseHead, ResponseSource, RuleHit, Scheme, Sizes, Timings,
    TlsFacts, TlsFingerprint,
};

use crate::record::Peer;

/// The layout's first byte. A layout that cannot be had by appending gets another.
const LAYOUT: u8 = 1;

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
}

impl<'a> PeerRef<'a> {
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

impl DetailRef<'_> {
    /// Encodes at the end of `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_first(out);
        self.encode_second(out);
    }

    /// What the first version wrote.
    fn encode_first(&self, out: &mut Vec<u8>) {
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
}

impl Detail {
    /// Decodes a blob; the byte strings share its memory.
    pub(crate) fn decode(blob: Vec<u8>) -> Result<Self, Damaged> {
        let mut input = Input(Bytes::from(blob));
        if input.byte()? != LAYOUT {
            return Err(Damaged);
        }
        let bodies = input.byte()?;
        let request = input.request()?;
        let request_trailers = input.headers()?;
        let informational = input.list(Input::response)?;
        let mut detail = Self {
            request,
            request_trailers,
            request_body: BodyState::from_bits(bodies),
            informational,
            response: input.option(Input::response)?,
            response_source: source(input.byte()?),
            response_trailers: input.headers()?,
            response_body: BodyState::from_bits(bodies >> 4),
            client: input.option(Input::peer)?,
            upstream: input.option(Input::peer)?,
            tunnel: input.option(Input::text)?,
            timings: input.timings()?,
            sizes: input.sizes()?,
            tunnel_bytes: (input.int()?, input.int()?),
            comment: input.option(Input::text)?,
            rules: Vec::new(),
        };
        for side in [&mut detail.client, &mut detail.upstream] {
            let more = input.option(Input::peer_more)?;
            if let (Some(stored), Some(more)) = (side, more) {
                more.add_to(&mut stored.peer);
            }
        }
        if !input.0.is_empty() {
            detail.rules = input.list(Input::rule)?;
        }
        Ok(detail)
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

fn version(code: u8) -> Version {
    match code {
        9 => Version::HTTP_09,
        10 => Version::HTTP_10,
        20 => Version::HTTP_2,
        30 => Version::HTTP_3,
        _ => Version::HTTP_11,
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

fn source(code: u8) -> Option<ResponseSource> {
    match code {
        0 => None,
        2 => Some(ResponseSource::Mock),
        3 => Some(ResponseSource::Proxy),
        _ => Some(ResponseSource::Upstream),
    }
}

fn listener_code(listener: Option<ListenerKind>) -> u8 {
    match listener {
        Some(ListenerKind::Explicit) => 1,
        Some(ListenerKind::Socks) => 2,
        Some(ListenerKind::Transparent) => 3,
        Some(ListenerKind::Reverse) => 4,
        // The enum can grow; what this crate does not know it does not tell.
        _ => 0,
    }
}

fn listener(code: u8) -> Option<ListenerKind> {
    Some(match code {
        1 => ListenerKind::Explicit,
        2 => ListenerKind::Socks,
        3 => ListenerKind::Transparent,
        4 => ListenerKind::Reverse,
        _ => return None,
    })
}

/// What a later version added to a peer.
struct PeerMore {
    listener: Option<ListenerKind>,
    user: Option<String>,
    http2_fingerprint: Option<String>,
    parent: Option<String>,
    tls: Option<(bool, Vec<String>, Option<TlsFingerprint>)>,
}

impl PeerMore {
    fn add_to(self, peer: &mut Peer) {
        (peer.listener, peer.user) = (self.listener, self.user);
        (peer.http2_fingerprint, peer.parent) = (self.http2_fingerprint, self.parent);
        if let (Some(tls), Some((encrypted_client_hello, offered_alpn, fingerprint))) =
            (&mut peer.tls, self.tls)
        {
            (tls.encrypted_client_hello, tls.offered_alpn) = (encrypted_client_hello, offered_alpn);
            tls.fingerprint = fingerprint;
        }
    }
}

/// What is left to decode.
struct Input(Bytes);

impl Input {
    fn byte(&mut self) -> Result<u8, Damaged> {
        let byte = *self.0.first().ok_or(Damaged)?;
        self.0 = self.0.slice(1..);
        Ok(byte)
    }

    fn int(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = self.0.slice(index + 1..);
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    fn bytes(&mut self) -> Result<Bytes, Damaged> {
        let length = usize::try_from(self.int()?).map_err(|_| Damaged)?;
        if length > self.0.len() {
            return Err(Damaged);
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, Damaged> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Damaged)
    }

    fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        // What an older writer did not write is absent.
        if self.0.is_empty() || self.byte()? == 0 { Ok(None) } else { read(self).map(Some) }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Damaged>) -> Result<Vec<T>, Damaged> {
        let count = self.int()?;
        // Each item takes a byte at least, so a damaged count cannot make this run away.
        if count > self.0.len() as u64 {
            return Err(Damaged);
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn headers(&mut self) -> Result<Headers, Damaged> {
        let fields = self.list(|input| Ok(proxy_core::Header::new(input.bytes()?, input.bytes()?)))?;
        Ok(fields.into_iter().collect())
    }

    fn request(&mut self) -> Result<RequestHead, Damaged> {
        Ok(RequestHead {
            method: Method::from_bytes(&self.bytes()?).map_err(|_| Damaged)?,
            scheme: if self.byte()? == 0 { Scheme::Http } else { Scheme::Https },
            authority: self.text()?,
            target: self.text()?,
            version: version(self.byte()?),
            headers: self.headers()?,
        })
    }

    fn response(&mut self) -> Result<ResponseHead, Damaged> {
        let status = u16::try_from(self.int()?).map_err(|_| Damaged)?;
        let mut head = ResponseHead::new(StatusCode::from_u16(status).map_err(|_| Damaged)?);
        head.reason = self.option(Self::bytes)?;
        head.version = version(self.byte()?);
        head.headers = self.headers()?;
        Ok(head)
    }

    fn peer(&mut self) -> Result<StoredPeer, Damaged> {
        let connection = self.int()?;
        let address = self.option(Self::text)?.and_then(|text| text.parse().ok());
        let peer = Peer::new(connection, address, self.option(Self::tls)?);
        Ok(StoredPeer { peer, certificates: self.list(Self::int)? })
    }

    fn peer_more(&mut self) -> Result<PeerMore, Damaged> {
        Ok(PeerMore {
            listener: listener(self.byte()?),
            user: self.option(Self::text)?,
            http2_fingerprint: self.option(Self::text)?,
            parent: self.option(Self::text)?,
            tls: self.option(|input| {
                let is_encrypted = input.byte()? != 0;
                Ok((is_encrypted, input.list(Self::text)?, input.option(Self::fingerprint)?))
            })?,
        })
    }

    fn fingerprint(&mut self) -> Result<TlsFingerprint, Damaged> {
        Ok(TlsFingerprint::new(self.text()?, self.text()?, self.text()?))
    }

    fn rule(&mut self) -> Result<RuleHit, Damaged> {
        Ok(RuleHit::new(self.text()?, self.list(Self::text)?))
    }

    fn tls(&mut self) -> Result<TlsFacts, Damaged> {
        let mut tls = TlsFacts::default();
        tls.version = self.text()?;
        tls.cipher = self.text()?;
        tls.alpn = self.option(Self::text)?;
        tls.sni = self.option(Self::text)?;
        Ok(tls)
    }

    fn timings(&mut self) -> Result<Timings, Damaged> {
        let mut timings = Timings::default();
        for part in [&mut timings.blocked, &mut timings.dns, &mut timings.connect, &mut timings.ssl] {
            *part = self.option(Self::duration)?;
        }
        for part in [&mut timings.send, &mut timings.wait, &mut timings.receive, &mut timings.total] {
            *part = self.duration()?;
        }
        Ok(timings)
    }

    fn duration(&mut self) -> Result<Duration, Damaged> {
        self.int().map(Duration::from_nanos)
    }

    fn sizes(&mut self) -> Result<Sizes, Damaged> {
        let mut sizes = Sizes::default();
        for size in [
            &mut sizes.request_head,
            &mut sizes.request_body,
            &mut sizes.response_head,
            &mut sizes.response_body,
        ] {
            *size = self.int()?;
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_core::Header;

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
                    client: (!flag).then(|| peer.clone()),
                    upstream: Some(peer),
                    tunnel: text.clone(),
                    timings,
                    sizes,
                    tunnel_bytes,
                    comment: text,
                    rules,
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
        })
    }

    fn encoded(detail: &Detail) -> Vec<u8> {
        let mut out = Vec::new();
        with_ref(detail, |detail| detail.encode(&mut out));
        out
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(detail in detail()) {
            prop_assert_eq!(Detail::decode(encoded(&detail)).unwrap(), detail);
        }

        #[test]
        fn what_the_first_version_wrote_still_reads(detail in detail()) {
            let mut blob = Vec::new();
            with_ref(&detail, |detail| detail.encode_first(&mut blob));
            let mut expected = detail;
            expected.rules = Vec::new();
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
            detail in detail(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()
        ) {
            let mut blob = encoded(&detail);
            let at = at.index(blob.len());
            if cut { blob.truncate(at) } else { blob[at] = byte }
            // It must return; what it returns is up to the damage.
            let _ = Detail::decode(blob);
        }

        #[test]
        fn what_a_newer_version_appends_is_ignored(detail in detail(), more in bytes()) {
            let mut blob = encoded(&detail);
            blob.extend_from_slice(&more);
            prop_assert_eq!(Detail::decode(blob).unwrap(), detail);
        }
    }
}
