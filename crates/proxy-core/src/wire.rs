//! What both HTTP versions share below the exchange: pieces of a body, and what can go wrong reading or writing.

use std::{fmt, io};

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    failure::{Failure, FailureKind, Side},
    head::Headers,
};

/// A connection of whatever kind: TCP, TLS over it, a replayed prefix before it.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection chosen at run time.
pub(crate) type BoxedIo = Box<dyn Io>;

/// One piece of a body, in wire order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes, content coding kept, transfer coding removed. Never empty.
    Data(Bytes),
    /// The trailer section; the last piece when it comes.
    Trailers(Headers),
}

/// What went wrong on one side of an exchange. Which side is said by who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireError {
    pub(crate) kind: WireErrorKind,
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireErrorKind {
    /// The connection ended before the message did.
    Closed,
    /// The peer reset the connection or the stream; the HTTP/2 error code where there is one.
    Reset(Option<u32>),
    /// The bytes are no valid message.
    Malformed,
    /// A limit was reached.
    Limit,
    /// The peer kept silent for too long.
    Timeout,
    /// A parent proxy answered in the origin's place that it does not serve us.
    ParentProxy,
}

impl WireError {
    pub(crate) fn new(kind: WireErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(WireErrorKind::Malformed, detail)
    }

    /// The failure it makes of the exchange when it happened on `side`.
    pub(crate) fn into_failure(self, side: Side) -> Failure {
        let kind = match (self.kind, side) {
            (WireErrorKind::Limit, _) | (_, Side::Proxy) => FailureKind::Limit,
            (WireErrorKind::ParentProxy, _) => FailureKind::ParentProxy,
            (WireErrorKind::Closed | WireErrorKind::Reset(_), Side::Client) => FailureKind::ClientLeft,
            (WireErrorKind::Closed, Side::Upstream) => FailureKind::UpstreamClosed,
            (WireErrorKind::Reset(_), Side::Upstream) => FailureKind::UpstreamReset,
            (WireErrorKind::Malformed, Side::Client) => FailureKind::ClientMalformed,
            (WireErrorKind::Malformed, Side::Upstream) => FailureKind::UpstreamMalformed,
            (WireErrorKind::Timeout, Side::Client) => FailureKind::ClientTimeout,
            (WireErrorKind::Timeout, Side::Upstream) => FailureKind::UpstreamTimeout,
        };
        let mut failure = Failure::new(kind, self.detail);
        if (self.kind, side) == (WireErrorKind::Limit, Side::Client) {
            failure.status = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        failure
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for WireError {}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                WireErrorKind::Reset(None)
            }
            io::ErrorKind::TimedOut => WireErrorKind::Timeout,
            _ => WireErrorKind::Closed,
        };
        Self::new(kind, error.to_string())
    }
}
