//! The upstream-facing leg: the client's role.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use http::Method;

use super::{
    body::BodyReader,
    connection::Connection,
    core::{Core, Role, Shared},
    fault::closed,
    frame::PREFACE,
    handle::Handle,
    heads,
    send::Pseudo,
    settings::Settings,
    stream::{Fault, Stream},
    writer::{BodyToCome, Writer},
};
use crate::{
    head::{Headers, RequestHead, ResponseHead},
    wire::{BoxedIo, WireError},
};

/// A handle to a connection to upstream; clones share it. Once all are dropped and the streams are over, the
/// connection closes and its [`Driver`] ends.
#[derive(Clone)]
pub(crate) struct Upstream {
    grip: Arc<Grip>,
    patience: Duration,
}

/// Held by all clones of an [`Upstream`].
struct Grip(Arc<Shared>);

impl Drop for Grip {
    fn drop(&mut self) {
        self.0.with(|core| {
            core.abandoned = true;
            core.stirred = true;
        });
    }
}

/// Moves a connection's bytes: whoever spawns it owns the connection. Dropping it drops the connection, and every
/// stream ends as closed.
pub(crate) struct Driver(Connection);

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
    /// Makes ready the preface. Upstream's own is not waited for: requests may go at once.
    pub(crate) fn connect(io: BoxedIo, settings: &Settings) -> (Self, Driver) {
        let mut core = Core::new(Role::Client, settings);
        core.control.put_slice(PREFACE);
        core.introduce();
        let shared = Shared::new(core);
        let driver = Driver(Connection::new(io, BytesMut::new(), shared.clone()));
        (Self { grip: Arc::new(Grip(shared)), patience: settings.patience }, driver)
    }

    /// Sends a request's head, once upstream has room for one more stream. `protocol` makes a CONNECT an extended
    /// one (RFC 8441 section 4).
    ///
    /// Dropped early, a request that waits for room is not sent.
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
        let pseudo = heads::request_pseudo(head, protocol)?;
        let fields = heads::request_fields(head)?;
        let opening = Opening { head, pseudo: &pseudo, fields: &fields, body };
        let mut waiting = Waiting { shared: &self.grip.0, ticket: None };
        let id = poll_fn(|cx| waiting.poll(&opening, cx)).await?;
        let stream = Handle::adopt(&self.grip.0, id);
        let writer = Writer::new(stream.clone(), body, self.patience);
        Ok((writer, ResponseReader { stream, head_bytes: 0, state: State::Waiting }))
    }

    /// Tells whether upstream's settings, as far as they are here, allow extended CONNECT (RFC 8441 section 3).
    pub(crate) fn supports_extended_connect(&self) -> bool {
        self.grip.0.lock().peer.extended_connect
    }

    /// Waits until upstream's first settings are here. Returns also when the connection breaks. The caller bounds the
    /// wait.
    pub(crate) async fn settled(&self) {
        poll_fn(|cx| {
            let mut core = self.grip.0.lock();
            if core.peer.known || core.closed.is_some() {
                return Poll::Ready(());
            }
            core.settling.retain(|waker| !waker.will_wake(cx.waker()));
            core.settling.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Tells whether the connection takes no more requests: it broke, upstream said goodbye, or it is used up.
    pub(crate) fn is_closed(&self) -> bool {
        !self.grip.0.lock().takes_requests()
    }
}

/// A request to be opened.
struct Opening<'r> {
    head: &'r RequestHead,
    pseudo: &'r Pseudo<'r>,
    fields: &'r Headers,
    body: BodyToCome,
}

/// A place in the queue of requests that wait for room.
struct Waiting<'u> {
    shared: &'u Arc<Shared>,
    ticket: Option<u64>,
}

impl Waiting<'_> {
    fn poll(&mut self, opening: &Opening<'_>, cx: &Context<'_>) -> Poll<Result<u32, SendError>> {
        let ticket = self.ticket;
        let poll = self.shared.with(|core| core.poll_open(opening, ticket, cx));
        match poll {
            Opened::Yes(id) => {
                self.ticket = None;
                Poll::Ready(Ok(id))
            }
            Opened::Waits(ticket) => {
                self.ticket = Some(ticket);
                Poll::Pending
            }
            Opened::Never(error) => Poll::Ready(Err(SendError { error, may_retry: true })),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.with(|core| {
                core.queue.retain(|(queued, _)| *queued != ticket);
                core.admit_next();
            });
        }
    }
}

enum Opened {
    Yes(u32),
    Waits(u64),
    Never(WireError),
}

impl Core {
    fn poll_open(&mut self, opening: &Opening<'_>, ticket: Option<u64>, cx: &Context<'_>) -> Opened {
        if !self.takes_requests() {
            let error = self.closed.clone();
            return Opened::Never(error.unwrap_or_else(|| closed("upstream takes no more requests")));
        }
        let is_first = self.queue.front().map(|(first, _)| *first) == ticket;
        if self.open >= self.peer.max_streams || !is_first {
            let ticket = ticket.unwrap_or_else(|| {
                self.next_ticket += 1;
                self.next_ticket
            });
            match self.queue.iter_mut().find(|(queued, _)| *queued == ticket) {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None => self.queue.push_back((ticket, cx.waker().clone())),
            }
            return Opened::Waits(ticket);
        }
        if ticket.is_some() {
            self.queue.pop_front();
        }
        let id = if self.last_stream == 0 { 1 } else { self.last_stream + 2 };
        self.last_stream = id;
        let mut stream = Stream::new(self.settings.stream_window_bytes, self.peer.initial_window);
        stream.handles = 1;
        stream.received.bodiless = matches!(opening.head.method, Method::HEAD | Method::CONNECT);
        self.streams.insert(id, stream);
        self.open += 1;
        let end = opening.body == BodyToCome::No;
        let put = self.put_head(id, opening.pseudo, opening.fields, end);
        debug_assert!(put.is_ok(), "the stream was just opened");
        self.admit_next();
        Opened::Yes(id)
    }
}

impl Future for Driver {
    type Output = Result<(), WireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.drop_streams();
    }
}

/// The response to one request.
pub(crate) struct ResponseReader {
    stream: Handle,
    head_bytes: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Final,
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
        match self.state {
            State::Waiting => {}
            State::Final => return Err(closed("no head follows the final one").into()),
            State::Failed => return Err(closed("the response has failed already").into()),
        }
        let read = poll_fn(|cx| self.stream.with(|core, id| core.poll_head(id, cx))).await;
        match read {
            Ok((head, bytes)) => {
                self.head_bytes = bytes;
                if !head.status.is_informational() {
                    self.state = State::Final;
                }
                Ok(head)
            }
            Err(Fault { error, may_retry }) => {
                self.state = State::Failed;
                Err(SendError { error, may_retry })
            }
        }
    }

    /// The last head's size, uncompressed, as RFC 9113 section 6.5.2 counts it.
    pub(crate) fn head_bytes(&self) -> u64 {
        self.head_bytes
    }

    /// The body; there is none before the final head.
    pub(crate) fn body(self) -> Option<BodyReader> {
        (self.state == State::Final).then(|| BodyReader::new(self.stream))
    }
}

/// An error of ours over what upstream sent, or was to be sent: sending it again would not help.
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
