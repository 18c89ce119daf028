//! What of an exchange is compared.

/// A text of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextField {
    /// The request's method.
    Method,
    /// `http` or `https`.
    Scheme,
    /// Host without port.
    Host,
    /// The whole URL.
    Url,
    /// The target up to its query.
    Path,
    /// The version on the client side: `HTTP/1.1`, `HTTP/2`.
    HttpVersion,
    /// The request's content type.
    RequestType,
    /// The response's content type.
    ResponseType,
    /// The failure's code.
    Failure,
    /// What it says of itself.
    FailureDetail,
    /// The CONNECT authority of the tunnel it came through.
    Tunnel,
    /// The comment kept with it.
    Comment,
    /// The peer's address and port.
    Address(PeerSide),
    /// `TLSv1.2`, `TLSv1.3`.
    TlsVersion(PeerSide),
    /// The cipher suite's IANA name.
    Cipher(PeerSide),
    /// The protocol agreed by ALPN.
    Alpn(PeerSide),
    /// The server name that was asked for.
    ServerName(PeerSide),
    /// JA3 or JA3S: the numbers or their hash.
    Ja3(PeerSide),
    /// JA4 or JA4S.
    Ja4(PeerSide),
    /// The fingerprint of the client's HTTP/2 preface, in Akamai's form.
    Http2Fingerprint,
    /// The kind of listener the client came to: `explicit`, `socks`, `transparent`, `reverse`; `own` where the
    /// proxy sent the request itself.
    Listener,
    /// What the request is a copy of: the id of the exchange that was replayed.
    Origin,
    /// The process the client is: its name, or its number.
    Process,
    /// The name the client proved to the proxy.
    User,
    /// The parent proxy that upstream was reached through.
    Parent,
    /// The id of a rule that applied; any of them.
    Rule,
}

/// A number of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NumberField {
    /// The exchange's own number.
    Seq,
    /// The port of the URL.
    Port,
    /// The final response's status.
    Status,
    /// Bytes of the request's body as received.
    RequestBytes,
    /// Bytes of the response's body as received.
    ResponseBytes,
    /// WebSocket messages.
    Messages,
    /// From beginning to end, in nanoseconds.
    Duration,
    /// From the request's end to the response's first byte, in nanoseconds.
    Wait,
}

/// A side of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerSide {
    /// Who sent the request.
    Client,
    /// Whom the proxy dialled.
    Upstream,
}
