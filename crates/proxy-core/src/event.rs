//! What the engine tells its observer: the life of every exchange as a run of events that ends exactly once.
//!
//! For one exchange the order is: [`Request`](EventKind::Request) first, [`Ended`](EventKind::Ended) last and
//! exactly once; between them the body pieces of each side in wire order, the two sides interleaved as they
//! happened. Events of different exchanges interleave freely and come from different threads.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::{
    failure::Failure,
    head::{Headers, RequestHead, ResponseHead},
    process::Sought,
};

/// The engine's number for an exchange, unique within one [`Proxy`](crate) process and ever increasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// The engine's number for a connection on either side, unique within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One thing that happened to one exchange.
#[derive(Clone, Debug)]
pub struct Event {
    /// The exchange it happened to.
    pub exchange: ExchangeId,
    /// When, counted from the exchange's beginning.
    pub at: Duration,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. Its `Debug` tells how long bodies are, not what is in them.
#[derive(Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The request's head was read: the exchange begins.
    Request {
        /// The client connection it came on.
        client: Arc<ClientFacts>,
        /// The head as received, before any change.
        head: Arc<RequestHead>,
        /// The wall clock at the beginning.
        started_at: SystemTime,
    },
    /// A piece of the request's body, as received (still content-encoded, without transfer coding).
    RequestBody(Bytes),
    /// The request's trailer fields.
    RequestTrailers(Headers),
    /// The request's body came to its proper end.
    RequestEnd,
    /// A connection to upstream was dialled or taken up again for this exchange.
    Upstream {
        /// The upstream connection.
        upstream: Arc<UpstreamFacts>,
        /// Whether it had served an exchange before.
        reused: bool,
    },
    /// An interim (1xx) response passed.
    Informational(Arc<ResponseHead>),
    /// The final response's head. Told once more where another takes its place before the client gets any of it:
    /// an interceptor's, or the error page for one that cannot be passed on.
    Response {
        /// The head as received, before any change.
        head: Arc<ResponseHead>,
        /// Who made it.
        source: ResponseSource,
    },
    /// A piece of the response's body, as received (still content-encoded, without transfer coding).
    ResponseBody(Bytes),
    /// The response's trailer fields.
    ResponseTrailers(Headers),
    /// A WebSocket message passed in an upgraded exchange.
    Message(WebSocketMessage),
    /// Bytes passed through an opaque tunnel or upgrade; counts only, no content.
    TunnelBytes {
        /// Which way.
        direction: Direction,
        /// How many since the last such event.
        bytes: u64,
    },
    /// A rule applied to the exchange. Told in the order the rules did.
    Rule(RuleHit),
    /// The exchange is over.
    Ended(Box<Ending>),
}

impl fmt::Debug for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { client, head, .. } => {
                f.debug_struct("Request").field("client", client).field("head", head).finish_non_exhaustive()
            }
            Self::RequestBody(data) => write!(f, "RequestBody(<{} bytes>)", data.len()),
            Self::RequestTrailers(trailers) => f.debug_tuple("RequestTrailers").field(trailers).finish(),
            Self::RequestEnd => f.write_str("RequestEnd"),
            Self::Upstream { upstream, reused } => {
                f.debug_struct("Upstream").field("upstream", upstream).field("reused", reused).finish()
            }
            Self::Informational(head) => f.debug_tuple("Informational").field(head).finish(),
            Self::Response { head, source } => {
                f.debug_struct("Response").field("head", head).field("source", source).finish()
            }
            Self::ResponseBody(data) => write!(f, "ResponseBody(<{} bytes>)", data.len()),
            Self::ResponseTrailers(trailers) => f.debug_tuple("ResponseTrailers").field(trailers).finish(),
            Self::Message(message) => f.debug_tuple("Message").field(message).finish(),
            Self::TunnelBytes { direction, bytes } => {
                f.debug_struct("TunnelBytes").field("direction", direction).field("bytes", bytes).finish()
            }
            Self::Rule(hit) => f.debug_tuple("Rule").field(hit).finish(),
            Self::Ended(ending) => f.debug_tuple("Ended").field(ending).finish(),
        }
    }
}

/// That a rule applied to an exchange, and what it did there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleHit {
    /// The rule's public id.
    pub rule: String,
    /// What it changed, one short line each, in order: `set request header x-env`, `answered 503`.
    pub changes: Vec<String>,
}

impl RuleHit {
    /// Makes a hit.
    #[must_use]
    pub fn new(rule: impl Into<String>, changes: Vec<String>) -> Self {
        Self { rule: rule.into(), changes }
    }
}

/// Who made a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseSource {
    /// Upstream sent it.
    Upstream,
    /// A rule or an interceptor answered.
    Mock,
    /// The proxy itself: an error page, the set-up page.
    Proxy,
}

/// How an exchange ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ending {
    /// With what.
    pub outcome: Outcome,
    /// Where the time went.
    pub timings: Timings,
    /// How many bytes were on the wire.
    pub sizes: Sizes,
}

impl Ending {
    /// Makes an ending.
    #[must_use]
    pub fn new(outcome: Outcome, timings: Timings, sizes: Sizes) -> Self {
        Self { outcome, timings, sizes }
    }
}

/// What became of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A response came and passed whole.
    Response,
    /// A rule, an interceptor or the proxy itself answered, and the answer passed whole.
    Mock,
    /// The connection was upgraded (101, or CONNECT), and the upgraded stream came to its end; a WebSocket's with
    /// a closing frame.
    Upgrade,
    /// The bytes of a tunnel passed undecrypted until its end. A tunnel in which nobody said anything is no
    /// exchange, and is not told.
    Tunnel,
    /// It failed; a response may have begun, or even be an error page of the proxy.
    Failed(Failure),
}

/// Where an exchange's time went; HAR 1.2's parts, `None` where a part did not take place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Waiting in the proxy before anything was done.
    pub blocked: Option<Duration>,
    /// Name resolution.
    pub dns: Option<Duration>,
    /// Establishing the upstream connection, including `ssl` (as HAR has it).
    pub connect: Option<Duration>,
    /// The TLS handshake with upstream.
    pub ssl: Option<Duration>,
    /// Sending the request.
    pub send: Duration,
    /// From the request's end to the response's first byte.
    pub wait: Duration,
    /// Reading the response.
    pub receive: Duration,
    /// From beginning to end.
    pub total: Duration,
}

/// Bytes on the wire, after TLS, with heads and transfer coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// The request's head on the client side; for HTTP/2 the uncompressed sum of RFC 9113 section 6.5.2.
    pub request_head: u64,
    /// The request's body as received, with its content coding, without transfer coding.
    pub request_body: u64,
    /// The response's head.
    pub response_head: u64,
    /// The response's body as received, with its content coding, without transfer coding.
    pub response_body: u64,
}

/// A client connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientFacts {
    /// Its number.
    pub connection: ConnectionId,
    /// The client's address.
    pub peer: SocketAddr,
    /// The listener's address.
    pub local: SocketAddr,
    /// The authority of the CONNECT that opened the tunnel, if any.
    pub tunnel: Option<String>,
    /// TLS between the client and the proxy, where there is any.
    pub tls: Option<TlsFacts>,
    /// The kind of listener it came to.
    pub listener: ListenerKind,
    /// The name the client proved by proxy authentication or SOCKS, where that was asked for.
    pub user: Option<String>,
    /// The fingerprint of the client's HTTP/2 preface in Akamai's form: settings, window update, priorities and the
    /// order of the first request's pseudo-fields, `1:65536;4:6291456|15663105|0|m,a,s,p`.
    pub http2_fingerprint: Option<String>,
    /// What the request is a copy of, in the words of whoever sent it through a [`Sender`](crate::Sender): the id of the
    /// exchange that was replayed.
    pub origin: Option<String>,
    /// The process the client is, where it is sought; see [`process`](Self::process).
    pub(crate) sought: Option<Arc<Sought>>,
}

/// How clients reach the proxy through a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenerKind {
    /// They are set up to use an HTTP proxy: absolute targets and CONNECT.
    #[default]
    Explicit,
    /// They are set up to use a SOCKS proxy (RFC 1928, SOCKS 4a).
    Socks,
    /// They do not know: the system redirected their connections.
    Transparent,
    /// They take the proxy for the origin.
    Reverse,
    /// There is none: the proxy sent the request itself, for a [`Sender`](crate::Sender). `peer` is no address then.
    Own,
}

impl ClientFacts {
    /// Makes the facts of a connection in cleartext, outside any tunnel.
    #[must_use]
    pub fn new(connection: ConnectionId, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            connection,
            peer,
            local,
            tunnel: None,
            tls: None,
            listener: ListenerKind::Explicit,
            user: None,
            http2_fingerprint: None,
            origin: None,
            sought: None,
        }
    }
}

/// An upstream connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamFacts {
    /// Its number.
    pub connection: ConnectionId,
    /// Upstream's address.
    pub peer: SocketAddr,
    /// Our address towards it.
    pub local: SocketAddr,
    /// TLS with upstream, where there is any.
    pub tls: Option<TlsFacts>,
    /// The parent proxy it goes through, as a URL without credentials; `peer` is that proxy's address then.
    pub parent: Option<String>,
}

impl UpstreamFacts {
    /// Makes the facts of a connection in cleartext.
    #[must_use]
    pub fn new(connection: ConnectionId, peer: SocketAddr, local: SocketAddr) -> Self {
        Self { connection, peer, local, tls: None, parent: None }
    }
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// The cipher suite's IANA name.
    pub cipher: String,
    /// The protocol agreed by ALPN.
    pub alpn: Option<String>,
    /// The protocols the client offered by ALPN, in its order, GREASE left out; not told of the upstream side.
    pub offered_alpn: Vec<String>,
    /// The server name the client side of the handshake asked for.
    pub sni: Option<String>,
    /// Whether the client's hello had an Encrypted Client Hello (RFC 9849), a real one or GREASE: `sni` may then be a
    /// stand-in for the name that is meant.
    pub encrypted_client_hello: bool,
    /// The certificates the peer showed, leaf first, DER. Empty on the client side.
    pub certificates: Vec<Bytes>,
    /// The fingerprint of the peer's hello.
    pub fingerprint: Option<TlsFingerprint>,
}

/// The fingerprint of a TLS hello: of the client's ClientHello on the client side (JA3, JA4), of upstream's ServerHello
/// on the upstream side (JA3S, JA4S).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFingerprint {
    /// JA3 or JA3S before hashing: decimal numbers, `771,4865-4866,0-23,29-23,0`.
    pub ja3: String,
    /// Its MD5, in lower-case hexadecimal digits.
    pub ja3_hash: String,
    /// JA4 or JA4S, `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    pub ja4: String,
}

impl TlsFingerprint {
    /// Puts a fingerprint together.
    #[must_use]
    pub fn new(ja3: String, ja3_hash: String, ja4: String) -> Self {
        Self { ja3, ja3_hash, ja4 }
    }
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to upstream.
    ToUpstream,
    /// From upstream to the client.
    ToClient,
}

/// One WebSocket message (RFC 6455), fragments joined, permessage-deflate (RFC 7692) decoded. Its `Debug` tells how
/// long it is, not what is in it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSocketMessage {
    /// Which way it went.
    pub direction: Direction,
    /// What it is.
    pub kind: MessageKind,
    /// The decoded payload, cut at [`Limits::max_recorded_message_bytes`](crate::Limits).
    pub data: Bytes,
    /// The decoded payload's full length in bytes.
    pub length: u64,
    /// Whether `data` was cut, or could not be decoded to its end.
    pub truncated: bool,
    /// Whether it was compressed on the wire.
    pub compressed: bool,
}

impl WebSocketMessage {
    /// Makes a message that is whole and was not compressed.
    #[must_use]
    pub fn new(direction: Direction, kind: MessageKind, data: Bytes) -> Self {
        let length = data.len() as u64;
        Self { direction, kind, data, length, truncated: false, compressed: false }
    }
}

impl fmt::Debug for WebSocketMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketMessage")
            .field("direction", &self.direction)
            .field("kind", &self.kind)
            .field("length", &self.length)
            .field("truncated", &self.truncated)
            .field("compressed", &self.compressed)
            .finish_non_exhaustive()
    }
}

/// The kind of a WebSocket message (RFC 6455 section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// The closing handshake: two bytes of code, then a reason.
    Close,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_not_shown_by_debug() {
        let secret = Bytes::from_static(b"secret");
        for kind in [
            EventKind::RequestBody(secret.clone()),
            EventKind::ResponseBody(secret.clone()),
            EventKind::Message(WebSocketMessage::new(Direction::ToClient, MessageKind::Text, secret.clone())),
        ] {
            let shown = format!("{kind:?}");
            assert!(shown.contains('6') && !shown.contains("secret"), "{shown}");
        }
    }
}
