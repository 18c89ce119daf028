//! The client-facing leg: the server's role.

use std::{
    future::{pending, poll_fn},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server};
use http::{Request, Response, StatusCode};

use super::{
    body::BodyReader,
    fault::{reset_error, wire_error},
    fields::SectionLimits,
    heads,
    settings::Settings,
    writer::{BodyToCome, Writer, peek_reset},
};
use crate::{
    head::{RequestHead, ResponseHead, Scheme},
    wire::{BoxedIo, WireError, WireErrorKind},
};

/// A client's connection. [`next`](Self::next) drives it: no stream of it moves unless that is polled.
pub(crate) struct Downstream {
    connection: server::Connection<BoxedIo, Bytes>,
    scheme: Scheme,
    limits: SectionLimits,
    patience: Duration,
    is_over: bool,
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

/// A request that was refused on sight: reset with PROTOCOL_ERROR when it is malformed, answered with 431 when it
/// is over the limits.
#[derive(Debug)]
pub(crate) struct RefusedRequest {
    /// Its head as far as it made sense.
    pub(crate) head: RequestHead,
    /// The head's size as in [`Incoming`].
    pub(crate) head_bytes: u64,
    /// Why.
    pub(crate) error: WireError,
}

/// What [`Downstream::next`] may bring instead of a request.
#[derive(Debug)]
pub(crate) enum DownstreamError {
    /// One request was refused; the connection goes on.
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
    pub(crate) async fn accept(io: BoxedIo, scheme: Scheme, settings: &Settings) -> Result<Self, WireError> {
        let mut builder = server::Builder::new();
        builder
            .initial_window_size(settings.stream_window_bytes)
            .initial_connection_window_size(settings.connection_window_bytes)
            .max_header_list_size(settings.announced_head_bytes())
            .max_concurrent_streams(settings.max_concurrent_streams)
            .max_send_buffer_size(settings.send_buffer_bytes)
            .max_pending_accept_reset_streams(settings.max_pending_resets);
        if settings.extended_connect {
            builder.enable_connect_protocol();
        }
        let connection = builder.handshake(io).await.map_err(wire_error)?;
        let (limits, patience) = (settings.section_limits(), settings.patience);
        Ok(Self { connection, scheme, limits, patience, is_over: false })
    }

    /// Waits for the next request, and moves every stream of the connection while it waits.
    ///
    /// `None` when the connection is over and everything was written. Requests that `h2` itself finds malformed
    /// are reset with PROTOCOL_ERROR and do not show here.
    ///
    /// # Errors
    ///
    /// A refused request, after which the next may follow, or the connection's end in an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Incoming, DownstreamError>> {
        if self.is_over {
            return None;
        }
        match self.connection.accept().await {
            Some(Ok((request, respond))) => Some(self.admit(request, respond)),
            Some(Err(error)) => {
                self.is_over = true;
                Some(Err(DownstreamError::Connection(wire_error(error))))
            }
            None => {
                self.is_over = true;
                None
            }
        }
    }

    /// Tells the client to open no more streams (GOAWAY); those that are open go on, and
    /// [`next`](Self::next) ends after the last.
    pub(crate) fn graceful_shutdown(&mut self) {
        self.connection.graceful_shutdown();
    }

    /// Ends every stream at once, with this code in GOAWAY; [`next`](Self::next) then writes it and ends.
    #[cfg_attr(not(test), expect(dead_code, reason = "for when the drain deadline passes"))]
    pub(crate) fn abrupt_shutdown(&mut self, code: u32) {
        self.connection.abrupt_shutdown(Reason::from(code));
    }

    /// Announces extended CONNECT (RFC 8441) after the fact, once upstream is known to have it.
    ///
    /// # Errors
    ///
    /// The client has not yet acknowledged the settings before.
    #[cfg_attr(not(test), expect(dead_code, reason = "serving does not relay extended CONNECT yet"))]
    pub(crate) fn enable_extended_connect(&mut self) -> Result<(), WireError> {
        self.connection.enable_connect_protocol().map_err(wire_error)
    }

    fn admit(
        &self,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
    ) -> Result<Incoming, DownstreamError> {
        let (parts, body) = request.into_parts();
        let heads::ReadRequest { head, bytes, protocol, fault } =
            heads::read_request(&parts, self.scheme, self.limits);
        if let Some(error) = fault {
            refuse(&mut respond, &error);
            return Err(DownstreamError::Refused(Box::new(RefusedRequest {
                head,
                head_bytes: bytes,
                error,
            })));
        }
        Ok(Incoming {
            head,
            head_bytes: bytes,
            protocol,
            body: BodyReader::new(body, self.limits),
            responder: Responder { stream: respond, answered: false, patience: self.patience },
        })
    }
}

/// Fails only when the stream is already gone.
fn refuse(respond: &mut server::SendResponse<Bytes>, error: &WireError) {
    if error.kind == WireErrorKind::Limit {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let _ = respond.send_response(response, true);
    } else {
        respond.send_reset(Reason::PROTOCOL_ERROR);
    }
}

/// Where the response to one request goes.
#[derive(Debug)]
pub(crate) struct Responder {
    stream: server::SendResponse<Bytes>,
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
        let response = heads::write_response(head)?;
        if !response.status().is_informational() || self.answered {
            return Err(WireError::malformed("an interim response is a 1xx before the final one"));
        }
        if let Some(error) = peek_reset(|cx| self.stream.poll_reset(cx)) {
            return Err(error);
        }
        self.stream.send_informational(response).map_err(wire_error)
    }

    /// Writes the final response's head. When it fails over the head, another may be written.
    ///
    /// # Errors
    ///
    /// The client reset the stream, HTTP/2 cannot express the head, or it is no final one.
    pub(crate) fn head(&mut self, head: &ResponseHead, body: BodyToCome) -> Result<Writer, WireError> {
        let response = heads::write_response(head)?;
        if response.status().is_informational() || self.answered {
            return Err(WireError::malformed("one final response ends the 1xx"));
        }
        if let Some(error) = peek_reset(|cx| self.stream.poll_reset(cx)) {
            return Err(error);
        }
        let stream = self.stream.send_response(response, body == BodyToCome::No).map_err(wire_error)?;
        self.answered = true;
        Ok(Writer::new(stream, body, self.patience))
    }

    /// Resets the stream with this code, both directions.
    pub(crate) fn reset(&mut self, code: u32) {
        self.stream.send_reset(Reason::from(code));
    }

    /// Waits until the client resets the stream or the connection dies. Pends for ever once the final head is
    /// written: [`Writer::gone`] takes over.
    pub(crate) async fn gone(&mut self) -> WireError {
        if self.answered {
            return pending().await;
        }
        match poll_fn(|cx| self.stream.poll_reset(cx)).await {
            Ok(reason) => reset_error(reason),
            Err(error) => wire_error(error),
        }
    }
}
