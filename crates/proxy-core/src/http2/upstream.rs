//! The upstream-facing leg: the client's role.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, PingPong, RecvStream, client};
use tokio::sync::Mutex;

use super::{
    body::BodyReader,
    fault::{is_unprocessed, wire_error},
    fields::SectionLimits,
    heads,
    settings::Settings,
    writer::{BodyToCome, Writer},
};
use crate::{
    head::{RequestHead, ResponseHead},
    wire::{BoxedIo, WireError, WireErrorKind},
};

/// A handle to a connection to upstream; clones share it. Once all are dropped and the streams are over, the
/// connection closes and its [`Driver`] ends.
#[derive(Clone)]
pub(crate) struct Upstream {
    sender: client::SendRequest<Bytes>,
    limits: SectionLimits,
    patience: Duration,
    /// For the one ping that tells when upstream's settings are here; gone once it was answered.
    settling: Arc<Mutex<Option<Settling>>>,
}

/// Moves a connection's bytes: whoever spawns it owns the connection. Dropping it drops the connection, and every
/// stream ends as closed.
pub(crate) struct Driver(client::Connection<BoxedIo, Bytes>);

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SendError {
    /// What went wrong.
    pub(crate) error: WireError,
    /// Whether upstream surely did not process the request, so that it may be sent again on a new connection
    /// (RFC 9113 section 8.7): it never left, it was refused, or it came after upstream's GOAWAY.
    pub(crate) may_retry: bool,
}

impl Upstream {
    /// Sends the preface. Upstream's own is not waited for: requests may go at once.
    ///
    /// The caller bounds the wait. Dropping the future drops the connection.
    ///
    /// # Errors
    ///
    /// The connection ended.
    pub(crate) async fn connect(io: BoxedIo, settings: &Settings) -> Result<(Self, Driver), WireError> {
        let (sender, mut connection) = client::Builder::new()
            .enable_push(false)
            .initial_window_size(settings.stream_window_bytes)
            .initial_connection_window_size(settings.connection_window_bytes)
            .max_header_list_size(settings.announced_head_bytes())
            .max_send_buffer_size(settings.send_buffer_bytes)
            .handshake(io)
            .await
            .map_err(wire_error)?;
        let settling = connection.ping_pong().map(|pings| Settling { pings, asked: false });
        let settling = Arc::new(Mutex::new(settling));
        let upstream =
            Self { sender, limits: settings.section_limits(), patience: settings.patience, settling };
        Ok((upstream, Driver(connection)))
    }

    /// Sends a request's head, once upstream has room for one more stream. `protocol` makes a CONNECT an extended
    /// one (RFC 8441 section 4).
    ///
    /// Dropped early, a request that waits for room is cancelled: `h2` sends its head when there is room, and the
    /// reset right behind it.
    ///
    /// # Errors
    ///
    /// HTTP/2 cannot express the head, or the connection takes no more requests.
    pub(crate) async fn send(
        &self,
        head: &RequestHead,
        protocol: Option<&str>,
        body: BodyToCome,
    ) -> Result<(Writer, ResponseReader), SendError> {
        let request =
            heads::write_request(head, protocol).map_err(|error| SendError { error, may_retry: false })?;
        // A handle of its own: `h2` ties a waiting stream to the handle that sent it.
        let mut sender = self.sender.clone();
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(never_left)?;
        let (response, stream) = sender.send_request(request, body == BodyToCome::No).map_err(never_left)?;
        // Now it waits for room. If that fails the stream itself says why: after a GOAWAY it may yet be served.
        let _ = poll_fn(|cx| sender.poll_ready(cx)).await;
        let reader = ResponseReader { state: State::Waiting(response), limits: self.limits, head_bytes: 0 };
        Ok((Writer::new(stream, body, self.patience), reader))
    }

    /// Tells whether upstream's settings, as far as they are here, allow extended CONNECT (RFC 8441 section 3).
    #[cfg_attr(not(test), expect(dead_code, reason = "serving does not relay extended CONNECT yet"))]
    pub(crate) fn supports_extended_connect(&self) -> bool {
        self.sender.is_extended_connect_protocol_enabled()
    }

    /// Waits until upstream's first settings are here: they come before its answer to a ping, which is sent when
    /// this is first asked. Returns also when the connection breaks. The caller bounds the wait.
    #[cfg_attr(not(test), expect(dead_code, reason = "serving does not relay extended CONNECT yet"))]
    pub(crate) async fn settled(&self) {
        let mut settling = self.settling.lock().await;
        if let Some(state) = settling.as_mut() {
            poll_fn(|cx| state.poll(cx)).await;
        }
        *settling = None;
    }

    /// Tells whether the connection takes no more requests: it broke, upstream said goodbye, or it is used up.
    pub(crate) fn is_closed(&self) -> bool {
        let mut probe = self.sender.clone();
        matches!(probe.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }
}

struct Settling {
    pings: PingPong,
    asked: bool,
}

impl Settling {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.asked && self.pings.send_ping(Ping::opaque()).is_err() {
            return Poll::Ready(());
        }
        self.asked = true;
        self.pings.poll_pong(cx).map(|_| ())
    }
}

fn never_left(error: h2::Error) -> SendError {
    SendError { error: wire_error(error), may_retry: true }
}

impl Future for Driver {
    type Output = Result<(), WireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(wire_error)
    }
}

/// The response to one request.
pub(crate) struct ResponseReader {
    state: State,
    limits: SectionLimits,
    head_bytes: u64,
}

enum State {
    Waiting(client::ResponseFuture),
    Final(RecvStream),
    Failed,
}

impl ResponseReader {
    /// Waits for the next head: interim (1xx) ones first, the final one last.
    ///
    /// # Errors
    ///
    /// The stream was reset, the connection broke, or the head is malformed or over the limits. After an error, and
    /// after the final head, there is no other.
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, SendError> {
        if let State::Final(_) = self.state {
            let error = WireError::new(WireErrorKind::Closed, "no head follows the final one");
            return Err(error.into());
        }
        let read = poll_fn(|cx| self.poll_head(cx)).await;
        if read.is_err() {
            self.state = State::Failed;
        }
        read
    }

    /// The last head's size, uncompressed, as RFC 9113 section 6.5.2 counts it.
    pub(crate) fn head_bytes(&self) -> u64 {
        self.head_bytes
    }

    /// The body; there is none before the final head.
    pub(crate) fn body(self) -> Option<BodyReader> {
        match self.state {
            State::Final(stream) => Some(BodyReader::new(stream, self.limits)),
            State::Waiting(_) | State::Failed => None,
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, SendError>> {
        let State::Waiting(response) = &mut self.state else {
            let error = WireError::new(WireErrorKind::Closed, "the response has failed already");
            return Poll::Ready(Err(error.into()));
        };
        let parts = match std::task::ready!(response.poll_informational(cx)) {
            Some(Ok(interim)) => interim.into_parts().0,
            Some(Err(error)) => return Poll::Ready(Err(error.into())),
            None => {
                let (parts, body) = std::task::ready!(Pin::new(response).poll(cx))?.into_parts();
                self.state = State::Final(body);
                parts
            }
        };
        let (head, bytes) = heads::read_response(&parts, self.limits)?;
        self.head_bytes = bytes;
        Poll::Ready(Ok(head))
    }
}

impl From<h2::Error> for SendError {
    fn from(error: h2::Error) -> Self {
        Self { may_retry: is_unprocessed(&error), error: wire_error(error) }
    }
}

/// An error of ours over what upstream sent: upstream has processed the request.
impl From<WireError> for SendError {
    fn from(error: WireError) -> Self {
        Self { error, may_retry: false }
    }
}

impl From<SendError> for WireError {
    fn from(error: SendError) -> Self {
        error.error
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SendError {}
