//! The client-facing leg: the server's role.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::{
    body::BodyReader,
    connection::Connection,
    core::{Core, Role, Shared},
    fault::{closed, fatal_error},
    frame::{Fatal, PREFACE, setting},
    handle::Handle,
    heads,
    settings::Settings,
    writer::{BodyToCome, Writer, reset_by_us},
};
use crate::{
    head::{RequestHead, ResponseHead, Scheme},
    wire::{BoxedIo, WireError},
};

/// A client's connection. [`next`](Self::next) drives it: no stream of it moves unless that is polled.
pub(crate) struct Downstream {
    connection: Connection,
    shared: Arc<Shared>,
    patience: Duration,
    is_over: bool,
    /// What was unsent when that was last asked for.
    unsent: usize,
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Its head. `headers` holds the regular fields; a missing `:authority` is filled in from `Host`, a missing
    /// `:scheme` from the connection.
    pub(crate) head: RequestHead,
    /// The head's size, uncompressed, as RFC 9113 section 6.5.2 counts it.
    pub(crate) head_bytes: u64,
    /// `:protocol`, which makes the CONNECT an extended one (RFC 8441 section 4).
    pub(crate) protocol: Option<String>,
    /// Its body.
    pub(crate) body: BodyReader,
    /// Where the response goes.
    pub(crate) responder: Responder,
}

/// A request that may not go on: malformed, or over the limits.
#[derive(Debug)]
pub(crate) struct RefusedRequest {
    /// What came, its head as far as it made sense. It is to be answered with 400 or 431; after the answer to a
    /// malformed one the stream is reset with PROTOCOL_ERROR.
    pub(crate) incoming: Incoming,
    /// Why.
    pub(crate) error: WireError,
}

/// What [`Downstream::next`] may bring instead of a request.
#[derive(Debug)]
pub(crate) enum DownstreamError {
    /// One request is to be refused; the connection goes on.
    Refused(Box<RefusedRequest>),
    /// The connection broke; nothing comes after it.
    Connection(WireError),
}

impl Downstream {
    /// Waits for the client's preface. `scheme` is the one of requests that name none: what the connection is.
    ///
    /// The caller bounds the wait. Dropping the future drops the connection.
    ///
    /// # Errors
    ///
    /// The connection ended, or what came is not HTTP/2.
    pub(crate) async fn accept(
        mut io: BoxedIo,
        scheme: Scheme,
        settings: &Settings,
    ) -> Result<Self, WireError> {
        let mut input = BytesMut::with_capacity(1_024);
        while input.len() < PREFACE.len() {
            let begins_well = PREFACE.starts_with(&input);
            if !begins_well || io.read_buf(&mut input).await? == 0 {
                return Err(match begins_well {
                    true => closed("the client closed before its preface was whole"),
                    false => fatal_error(Fatal::protocol("what came is no preface of HTTP/2")),
                });
            }
        }
        if !input.starts_with(PREFACE) {
            return Err(fatal_error(Fatal::protocol("what came is no preface of HTTP/2")));
        }
        let _preface = input.split_to(PREFACE.len());
        let mut core = Core::new(Role::Server(scheme), settings);
        core.introduce();
        let shared = Shared::new(core);
        let connection = Connection::new(io, input, shared.clone());
        Ok(Self { connection, shared, patience: settings.patience, is_over: false, unsent: usize::MAX })
    }

    /// Waits for the next request, and moves every stream of the connection while it waits.
    ///
    /// `None` when the connection is over and everything was written.
    ///
    /// # Errors
    ///
    /// A request to be refused, after which the next may follow, or the connection's end in an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Incoming, DownstreamError>> {
        poll_fn(|cx| {
            loop {
                let arrived = self.shared.lock().arrived.pop_front();
                if let Some(arrived) = arrived {
                    return Poll::Ready(Some(self.admit(arrived.stream, arrived.read)));
                }
                if self.is_over {
                    return Poll::Ready(None);
                }
                match self.connection.poll(cx) {
                    Poll::Ready(end) => {
                        self.is_over = true;
                        if let Err(error) = end {
                            return Poll::Ready(Some(Err(DownstreamError::Connection(error))));
                        }
                    }
                    Poll::Pending if self.shared.lock().arrived.is_empty() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
        })
        .await
    }

    /// Tells the client to open no more streams (GOAWAY); those that are open go on, and
    /// [`next`](Self::next) ends after the last.
    pub(crate) fn graceful_shutdown(&mut self) {
        self.shared.with(Core::announce_farewell);
    }

    /// Whether nothing is left to be written, or the client took nothing of it since this was last asked.
    pub(crate) fn is_still(&mut self) -> bool {
        let unsent = self.connection.unsent();
        let before = std::mem::replace(&mut self.unsent, unsent);
        unsent == 0 || unsent >= before
    }

    /// Ends every stream at once, with this code in GOAWAY; [`next`](Self::next) then writes it and ends.
    #[cfg_attr(not(test), expect(dead_code, reason = "for when the drain deadline passes"))]
    pub(crate) fn abrupt_shutdown(&mut self, code: u32) {
        self.connection.end(code, "", Ok(()), &reset_by_us(code));
    }

    /// Announces extended CONNECT (RFC 8441) after the fact, once upstream is known to have it.
    #[cfg_attr(not(test), expect(dead_code, reason = "serving knows it before the client is served"))]
    pub(crate) fn enable_extended_connect(&mut self) {
        self.shared.with(|core| {
            core.settings.extended_connect = true;
            core.put_settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)]);
        });
    }

    /// The fingerprint of the client's preface and first request in Akamai's form, once that came.
    pub(crate) fn fingerprint(&self) -> Option<String> {
        self.shared.lock().fingerprint.text().map(str::to_owned)
    }

    fn admit(&self, id: u32, read: heads::ReadRequest) -> Result<Incoming, DownstreamError> {
        let heads::ReadRequest { head, bytes, protocol, fault, .. } = read;
        let stream = Handle::adopt(&self.shared, id);
        let responder = Responder { stream: stream.clone(), answered: false, patience: self.patience };
        let body = BodyReader::new(stream);
        let incoming = Incoming { head, head_bytes: bytes, protocol, body, responder };
        match fault {
            None => Ok(incoming),
            Some(error) => Err(DownstreamError::Refused(Box::new(RefusedRequest { incoming, error }))),
        }
    }
}

/// Where the response to one request goes.
#[derive(Debug)]
pub(crate) struct Responder {
    stream: Handle,
    answered: bool,
    patience: Duration,
}

impl Responder {
    /// Writes an interim (1xx) response. Any number may come before the final one.
    ///
    /// # Errors
    ///
    /// The client reset the stream, or HTTP/2 cannot express the head: a 101 among them (RFC 9113 section 8.6).
    pub(crate) fn informational(&mut self, head: &ResponseHead) -> Result<(), WireError> {
        if !head.status.is_informational() || self.answered {
            return Err(WireError::malformed("an interim response is a 1xx before the final one"));
        }
        self.put(head, BodyToCome::Yes)
    }

    /// Writes the final response's head. When it fails over the head, another may be written.
    ///
    /// # Errors
    ///
    /// The client reset the stream, HTTP/2 cannot express the head, or it is no final one.
    pub(crate) fn head(&mut self, head: &ResponseHead, body: BodyToCome) -> Result<Writer, WireError> {
        if head.status.is_informational() || self.answered {
            return Err(WireError::malformed("one final response ends the 1xx"));
        }
        self.put(head, body)?;
        self.answered = true;
        Ok(Writer::new(self.stream.clone(), body, self.patience))
    }

    fn put(&self, head: &ResponseHead, body: BodyToCome) -> Result<(), WireError> {
        let fields = heads::response_fields(head)?;
        let pseudo = [(":status", head.status.as_str().as_bytes())];
        self.stream.with(|core, id| core.put_head(id, &pseudo, &fields, body == BodyToCome::No))
    }

    /// Resets the stream with this code, both directions.
    pub(crate) fn reset(&mut self, code: u32) {
        self.stream.with(|core, id| core.break_off(id, code));
    }

    /// Waits until the client resets the stream or the connection dies. Pends for ever once the final head is
    /// written: [`Writer::gone`] takes over.
    pub(crate) async fn gone(&mut self) -> WireError {
        if self.answered {
            return pending().await;
        }
        poll_fn(|cx| self.stream.with(|core, id| core.poll_gone(id, cx))).await
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        let error = closed("the connection with the client is closed");
        self.shared.with(|core| {
            core.fail_all(&error);
            // Nobody took these in.
            while let Some(arrived) = core.arrived.pop_front() {
                if let Some(stream) = core.streams.get_mut(&arrived.stream) {
                    stream.handles -= 1;
                }
                core.settle(arrived.stream);
            }
        });
    }
}
