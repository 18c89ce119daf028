//! An exchange as it was recorded.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use proxy_core::{
    ClientProcess, Failure, Headers, ListenerKind, MessageKind, RequestHead, ResponseHead, ResponseSource,
    RuleHit, Sizes, Timings, TlsFacts,
};

use crate::id::{Seq, SessionId};

/// What every list shows of an exchange.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExchangeSummary {
    /// Its number and short id.
    pub seq: Seq,
    /// The session it belongs to.
    pub session: SessionId,
    /// What it was.
    pub kind: ExchangeKind,
    /// When it began.
    pub started_at: SystemTime,
    /// From beginning to end; `None` while it goes on, and where a crash hid its end.
    pub duration: Option<Duration>,
    /// The request's method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host without port, lower case.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query as received.
    pub target: String,
    /// The whole URL.
    pub url: String,
    /// The version on the client side: `HTTP/1.1`, `HTTP/2`.
    pub http_version: String,
    /// The final response's status.
    pub status: Option<u16>,
    /// The request's `Content-Type`.
    pub request_content_type: Option<String>,
    /// The response's `Content-Type`.
    pub response_content_type: Option<String>,
    /// Body bytes as received, content coding kept.
    pub request_body_bytes: u64,
    /// Body bytes as received so far, content coding kept.
    pub response_body_bytes: u64,
    /// WebSocket messages so far.
    pub messages: u64,
    /// How it stands or ended.
    pub state: ExchangeState,
}

/// What an exchange was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// A request and its response.
    Http,
    /// An upgrade to WebSocket.
    WebSocket,
    /// Another upgrade, relayed as bytes.
    Upgrade,
    /// A tunnel that was not decrypted, or never came to be.
    Tunnel,
}

/// How an exchange stands or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeState {
    /// It goes on.
    Open,
    /// The origin's response passed whole.
    Response,
    /// A rule, an interceptor or the proxy itself answered.
    Mock,
    /// An upgraded stream came to its end.
    Upgrade,
    /// A tunnel came to its end.
    Tunnel,
    /// It failed.
    Failed(Failure),
}

/// One whole exchange without its bodies, which are read by [`Store::body`](crate::Store::body).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange {
    /// What lists show.
    pub summary: ExchangeSummary,
    /// The request's head as received.
    pub request: RequestHead,
    /// The request's trailer fields.
    pub request_trailers: Headers,
    /// How much of the request's body was recorded.
    pub request_body: Recorded,
    /// Interim responses, in order.
    pub informational: Vec<ResponseHead>,
    /// The final response's head as received.
    pub response: Option<ResponseHead>,
    /// Who made the response.
    pub response_source: Option<ResponseSource>,
    /// The response's trailer fields.
    pub response_trailers: Headers,
    /// How much of the response's body was recorded.
    pub response_body: Recorded,
    /// The client side.
    pub client: Option<Peer>,
    /// The upstream side, where one was dialled.
    pub upstream: Option<Peer>,
    /// The CONNECT authority of the tunnel it came through.
    pub tunnel: Option<String>,
    /// Where the time went.
    pub timings: Timings,
    /// Bytes on the wire.
    pub sizes: Sizes,
    /// Bytes towards upstream and towards the client in a tunnel or opaque upgrade.
    pub tunnel_bytes: (u64, u64),
    /// Free text kept with it (a HAR entry's comment).
    pub comment: Option<String>,
    /// The rules that applied, in the order they did; at most the first 1,000.
    pub rules: Vec<RuleHit>,
    /// What the file it was imported from said of it that has no other place here, as JSON; the store does not look into it.
    pub foreign: Option<String>,
}

impl Exchange {
    /// Makes an exchange for import: open, without response. When it is imported, `kind` and `state` are taken
    /// from the summary and the rest of the summary is derived from the other fields.
    #[must_use]
    pub fn new(request: RequestHead, started_at: SystemTime) -> Self {
        let mut exchange = Self {
            summary: ExchangeSummary::of_request(&request, started_at),
            request,
            request_trailers: Headers::new(),
            request_body: Recorded::default(),
            informational: Vec::new(),
            response: None,
            response_source: None,
            response_trailers: Headers::new(),
            response_body: Recorded::default(),
            client: None,
            upstream: None,
            tunnel: None,
            timings: Timings::default(),
            sizes: Sizes::default(),
            tunnel_bytes: (0, 0),
            comment: None,
            rules: Vec::new(),
            foreign: None,
        };
        exchange.derive_summary();
        exchange
    }

    /// Puts into the summary what the heads and sizes say; what it was, how it stands and its numbers stay.
    pub(crate) fn derive_summary(&mut self) {
        let given = ExchangeSummary::of_request(&self.request, self.summary.started_at);
        self.summary = ExchangeSummary {
            seq: self.summary.seq,
            session: self.summary.session,
            kind: self.summary.kind,
            duration: self.summary.duration,
            request_body_bytes: self.request_body.wire_bytes,
            response_body_bytes: self.response_body.wire_bytes,
            messages: self.summary.messages,
            state: self.summary.state.clone(),
            ..given
        };
        if let Some(response) = &self.response {
            self.summary.set_response(response);
        }
    }
}

/// How much of a body there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Bytes that passed, content coding kept.
    pub wire_bytes: u64,
    /// Bytes that are stored; fewer where a limit cut it.
    pub stored_bytes: u64,
    /// Whether the body came to its proper end.
    pub complete: bool,
    /// Whether the stored bytes have no content coding although the head names one: they were imported decoded.
    /// [`Body::content_encoding`] is `None` then, and `stored_bytes` counts decoded bytes.
    pub identity: bool,
}

/// One side's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The connection's number within the recording process.
    pub connection: u64,
    /// The peer's address.
    pub address: Option<SocketAddr>,
    /// TLS facts, where there was TLS.
    pub tls: Option<TlsFacts>,
    /// Of a client: the kind of listener it came to; `None` where an older version recorded it.
    pub listener: Option<ListenerKind>,
    /// Of a client: the name it proved to the proxy.
    pub user: Option<String>,
    /// Of a client: the fingerprint of its HTTP/2 preface, in Akamai's form.
    pub http2_fingerprint: Option<String>,
    /// Of a client: the process it is, on the proxy's own machine, where that was sought and found.
    pub process: Option<ClientProcess>,
    /// Of upstream: the parent proxy it was reached through, without credentials; `address` is that proxy's then.
    pub parent: Option<String>,
    /// Of a client: what the request is a copy of, in the words of whoever sent it; a replay has the id of the exchange
    /// that was replayed, `e412`.
    pub origin: Option<String>,
}

impl Peer {
    /// Makes a peer.
    #[must_use]
    pub fn new(connection: u64, address: Option<SocketAddr>, tls: Option<TlsFacts>) -> Self {
        Self {
            connection,
            address,
            tls,
            listener: None,
            user: None,
            http2_fingerprint: None,
            process: None,
            parent: None,
            origin: None,
        }
    }
}

/// Which body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodySide {
    /// The request's.
    Request,
    /// The response's.
    Response,
}

/// A stored body, open for reading. Holds no more than a buffer in memory.
pub struct Body {
    pub(crate) recorded: Recorded,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) reader: Box<dyn std::io::Read + Send>,
}

/// A body decoded up to a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decoded {
    /// The decoded bytes, at most as many as asked for.
    pub bytes: Bytes,
    /// Whether more would follow.
    pub truncated: bool,
    /// Why decoding stopped early, where it did; `bytes` then holds what came before, or the raw body when
    /// nothing could be decoded.
    pub problem: Option<String>,
}

/// A recorded WebSocket message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// Its number within the exchange, from 0.
    pub index: u64,
    /// When.
    pub at: SystemTime,
    /// Whether the client sent it.
    pub from_client: bool,
    /// What it is.
    pub kind: MessageKind,
    /// The decoded payload, possibly cut.
    pub data: Bytes,
    /// The decoded payload's full length.
    pub length: u64,
    /// Whether `data` was cut.
    pub truncated: bool,
    /// Whether it was compressed on the wire.
    pub compressed: bool,
}

impl StoredMessage {
    /// Makes a message for import that is whole and was not compressed.
    #[must_use]
    pub fn new(index: u64, at: SystemTime, from_client: bool, kind: MessageKind, data: Bytes) -> Self {
        let length = data.len() as u64;
        Self { index, at, from_client, kind, data, length, truncated: false, compressed: false }
    }
}

impl Body {
    /// How much there is.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        self.recorded
    }

    /// The `Content-Encoding` it has.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&str> {
        self.content_encoding.as_deref()
    }

    /// The `Content-Type` it has.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Reads the bytes as they were on the wire.
    #[must_use]
    pub fn into_reader(self) -> Box<dyn std::io::Read + Send> {
        self.reader
    }

    /// Reads the body with its content coding (gzip, deflate, br, zstd, chained) taken off, lazily. Errors of the
    /// coding come as [`std::io::ErrorKind::InvalidData`].
    #[must_use]
    pub fn into_decoded_reader(self) -> Box<dyn std::io::Read + Send> {
        crate::decode::decoded_reader(self.reader, self.content_encoding.as_deref())
    }

    /// Reads the body decoded and as UTF-8, whatever character encoding its content type or a byte order mark names, lazily.
    #[must_use]
    pub fn into_text_reader(self) -> Box<dyn std::io::Read + Send> {
        let content_type = self.content_type.clone();
        crate::charset::to_utf8(self.into_decoded_reader(), content_type.as_deref())
    }

    /// Decodes at most `max_bytes`.
    #[must_use]
    pub fn decode(self, max_bytes: usize) -> Decoded {
        crate::decode::decode(self.reader, self.content_encoding.as_deref(), max_bytes)
    }
}
