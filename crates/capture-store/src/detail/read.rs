//! Decoding.

use std::{
    net::{SocketAddr, SocketAddrV6},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use proxy_core::{
    ClientProcess, Headers, ListenerKind, RequestHead, ResponseHead, ResponseSource, RuleHit, Scheme, Sizes,
    Timings, TlsFacts, TlsFingerprint,
};

use super::{BodyState, Damaged, Detail, JOINED, LAYOUT, StoredPeer};
use crate::record::Peer;

impl Detail {
    /// Decodes a blob; the byte strings share its memory.
    pub(crate) fn decode(blob: Vec<u8>) -> Result<Self, Damaged> {
        let mut input = Input(Bytes::from(blob));
        match input.byte()? {
            LAYOUT => Self::of_one(input),
            JOINED => {
                let facts = Input(input.bytes()?);
                Self::of_joined(facts, input)
            }
            // What it shares with others is missing, or a newer version wrote it.
            _ => Err(Damaged),
        }
    }

    /// The heads, and nothing else yet.
    fn of_heads(input: &mut Input) -> Result<Self, Damaged> {
        let bodies = input.byte()?;
        let request = input.request()?;
        let request_trailers = input.headers()?;
        let informational = input.list(Input::response)?;
        Ok(Self {
            request,
            request_trailers,
            request_body: BodyState::from_bits(bodies),
            informational,
            response: input.option(Input::response)?,
            response_source: source(input.byte()?),
            response_trailers: input.headers()?,
            response_body: BodyState::from_bits(bodies >> 4),
            client: None,
            upstream: None,
            tunnel: None,
            timings: Timings::default(),
            sizes: Sizes::default(),
            tunnel_bytes: (0, 0),
            comment: None,
            rules: Vec::new(),
            foreign: None,
        })
    }

    fn add_measures(&mut self, input: &mut Input) -> Result<(), Damaged> {
        (self.timings, self.sizes) = (input.timings()?, input.sizes()?);
        self.tunnel_bytes = (input.int()?, input.int()?);
        self.comment = input.option(Input::text)?;
        Ok(())
    }

    fn of_joined(mut facts: Input, mut input: Input) -> Result<Self, Damaged> {
        let mut detail = Self::of_heads(&mut input)?;
        for side in [&mut detail.client, &mut detail.upstream] {
            let facts = facts.option(Input::leg)?;
            let own = input.option(|input| Ok((input.int()?, input.address()?)))?;
            // Both have it, or neither.
            let (Some((tls, certificates, more)), Some((connection, address))) = (facts, own) else {
                continue;
            };
            let mut stored = StoredPeer { peer: Peer::new(connection, address, tls), certificates };
            more.add_to(&mut stored.peer);
            *side = Some(stored);
        }
        detail.tunnel = facts.option(Input::text)?;
        detail.add_measures(&mut input)?;
        detail.add_last(&mut input)?;
        Ok(detail)
    }

    fn of_one(mut input: Input) -> Result<Self, Damaged> {
        let mut detail = Self::of_heads(&mut input)?;
        detail.client = input.option(Input::peer)?;
        detail.upstream = input.option(Input::peer)?;
        detail.tunnel = input.option(Input::text)?;
        detail.add_measures(&mut input)?;
        for side in [&mut detail.client, &mut detail.upstream] {
            let more = input.option(Input::peer_more)?;
            if let (Some(stored), Some(more)) = (side, more) {
                more.add_to(&mut stored.peer);
            }
        }
        detail.add_last(&mut input)?;
        Ok(detail)
    }

    /// What came to the layout as time went by.
    fn add_last(&mut self, input: &mut Input) -> Result<(), Damaged> {
        if !input.0.is_empty() {
            self.rules = input.list(Input::rule)?;
        }
        let origin = input.option(Input::text)?;
        if let Some(client) = &mut self.client {
            client.peer.origin = origin;
        }
        self.foreign = input.option(Input::text)?;
        let process = input.option(Input::process)?;
        if let Some(client) = &mut self.client {
            client.peer.process = process;
        }
        Ok(())
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

fn source(code: u8) -> Option<ResponseSource> {
    match code {
        0 => None,
        2 => Some(ResponseSource::Mock),
        3 => Some(ResponseSource::Proxy),
        _ => Some(ResponseSource::Upstream),
    }
}

fn listener(code: u8) -> Option<ListenerKind> {
    Some(match code {
        1 => ListenerKind::Explicit,
        2 => ListenerKind::Socks,
        3 => ListenerKind::Transparent,
        4 => ListenerKind::Reverse,
        5 => ListenerKind::Own,
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

    /// What exchanges share of a peer.
    fn leg(&mut self) -> Result<(Option<TlsFacts>, Vec<u64>, PeerMore), Damaged> {
        Ok((self.option(Self::tls)?, self.list(Self::int)?, self.peer_more()?))
    }

    fn address(&mut self) -> Result<Option<SocketAddr>, Damaged> {
        Ok(match self.byte()? {
            0 => None,
            4 => Some((self.array::<4>()?, self.port()?).into()),
            6 => {
                let (ip, port) = (self.array::<16>()?.into(), self.port()?);
                let scope = u32::try_from(self.int()?).map_err(|_| Damaged)?;
                Some(SocketAddrV6::new(ip, port, 0, scope).into())
            }
            _ => return Err(Damaged),
        })
    }

    fn port(&mut self) -> Result<u16, Damaged> {
        self.array().map(u16::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        if self.0.len() < N {
            return Err(Damaged);
        }
        self.0.split_to(N)[..].try_into().map_err(|_| Damaged)
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

    fn process(&mut self) -> Result<ClientProcess, Damaged> {
        let pid = u32::try_from(self.int()?).map_err(|_| Damaged)?;
        Ok(ClientProcess::new(pid, self.text()?))
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
