//! The two HTTP versions behind one face: what an exchange reads from and writes to on either side.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use tokio::{
    io::{ReadHalf, WriteHalf},
    time::timeout,
};

use crate::{
    alarm::{Alarm, Elapsed},
    exchange::forward::Shape,
    head::{Headers, RequestHead, ResponseHead},
    http1::{self, Decoder, Encoding, Framing, HeadError},
    http2::{self, BodyToCome, SendError},
    parent::{self, ParentProxy},
    sender::{OwnBody, OwnResponder, OwnWriter},
    wire::{BoxedIo, Piece, WireError, WireErrorKind},
};

pub(crate) type Http1Reader = http1::Reader<ReadHalf<BoxedIo>>;
pub(crate) type Http1Writer = http1::Writer<WriteHalf<BoxedIo>>;

/// HTTP/2 error codes the engine itself sends (RFC 9113 section 7).
pub(crate) mod code {
    pub(crate) const INTERNAL_ERROR: u32 = 0x2;
    pub(crate) const CANCEL: u32 = 0x8;
}

/// Reads the body of a message.
pub(crate) enum BodyReader<'c> {
    /// From an HTTP/1 connection, or raw bytes of what it was upgraded to.
    Http1 { reader: &'c mut Http1Reader, decoder: Decoder },
    /// From an HTTP/2 stream.
    Http2(http2::BodyReader),
    /// From whoever has the proxy send the request.
    Own(OwnBody),
    /// Nowhere: it was handed on.
    Spent,
}

impl<'c> BodyReader<'c> {
    pub(crate) fn http1(reader: &'c mut Http1Reader, framing: Framing, max_trailer_bytes: usize) -> Self {
        Self::Http1 { reader, decoder: Decoder::new(framing, max_trailer_bytes) }
    }

    /// Reads raw bytes.
    pub(crate) fn raw(reader: &'c mut Http1Reader) -> Self {
        Self::Http1 { reader, decoder: Decoder::raw() }
    }

    /// Reads on as raw bytes: what follows an upgrade.
    pub(crate) fn into_raw(mut self) -> Self {
        self.make_raw();
        self
    }

    /// As [`into_raw`](Self::into_raw), in place.
    pub(crate) fn make_raw(&mut self) {
        if let Self::Http1 { decoder, .. } = self {
            *decoder = Decoder::raw();
        }
    }

    /// The next piece; `None` at the proper end, and from then on. Cancel safe.
    pub(crate) async fn piece(&mut self) -> Result<Option<Piece>, WireError> {
        match self {
            Self::Http1 { reader, decoder } => reader.piece(decoder).await,
            Self::Http2(body) => body.piece().await,
            Self::Own(body) => body.piece().await,
            Self::Spent => Ok(None),
        }
    }

    /// Waits until the peer is seen to be gone while nothing more is expected of it. `Ok` means it closed its
    /// sending half only. Never resolves for HTTP/2, where the writing side learns of it.
    pub(crate) async fn closed(&mut self, read_ahead_bytes: usize) -> Result<(), WireError> {
        match self {
            Self::Http1 { reader, .. } => loop {
                if reader.read_ahead(read_ahead_bytes).await? == 0 {
                    return Ok(());
                }
            },
            Self::Own(body) => Err(body.closed().await),
            Self::Http2(_) | Self::Spent => pending().await,
        }
    }
}

/// Writes the body of a message.
pub(crate) enum Writer<'c> {
    Http1(&'c mut Http1Writer),
    Http2(http2::Writer),
    /// To whoever had the proxy send the request.
    Own(OwnWriter),
}

impl Writer<'_> {
    /// Goes on as raw bytes: what follows an upgrade, or fills a tunnel.
    pub(crate) fn make_raw(&mut self) {
        if let Self::Http1(writer) = self {
            writer.make_raw();
        }
    }

    /// Writes a piece and flushes it. Not cancel safe: after a drop the message is broken.
    pub(crate) async fn data(&mut self, data: Bytes) -> Result<(), WireError> {
        match self {
            Self::Http1(writer) => Ok(writer.data(data).await?),
            Self::Http2(writer) => writer.data(data).await,
            Self::Own(writer) => writer.data(data).await,
        }
    }

    /// Writes the last piece and ends the message properly, at once. Not cancel safe.
    pub(crate) async fn last(&mut self, data: Bytes) -> Result<(), WireError> {
        match self {
            Self::Http1(writer) => Ok(writer.last(data, None).await?),
            Self::Http2(writer) => writer.last(data).await,
            Self::Own(writer) => {
                writer.data(data).await?;
                writer.end(None).await
            }
        }
    }

    /// Ends the message properly.
    pub(crate) async fn end(&mut self, trailers: Option<&Headers>) -> Result<(), WireError> {
        match self {
            Self::Http1(writer) => Ok(writer.end(trailers).await?),
            Self::Http2(writer) => writer.end(trailers).await,
            Self::Own(writer) => writer.end(trailers).await,
        }
    }

    /// Pushes out a head that waits for its first piece.
    pub(crate) async fn flush(&mut self) -> Result<(), WireError> {
        match self {
            Self::Http1(writer) => Ok(writer.flush().await?),
            Self::Http2(_) | Self::Own(_) => Ok(()),
        }
    }

    /// Breaks the message off so that the peer sees it is not whole. For HTTP/1 the connection's owner closes it.
    pub(crate) fn reset(&mut self, code: u32) {
        if let Self::Http2(writer) = self {
            writer.reset(code);
        }
    }

    /// Resolves when the peer no longer wants the message. Never for HTTP/1, where the reading side learns of it.
    pub(crate) async fn gone(&mut self) -> WireError {
        match self {
            Self::Http1(_) => pending().await,
            Self::Http2(writer) => writer.gone().await,
            Self::Own(writer) => writer.gone().await,
        }
    }

    /// Ends the sending half of an upgraded stream.
    pub(crate) async fn shutdown(&mut self) -> Result<(), WireError> {
        match self {
            Self::Http1(writer) => Ok(writer.shutdown().await?),
            Self::Http2(writer) => writer.end(None).await,
            Self::Own(writer) => writer.end(None).await,
        }
    }
}

/// Answers a client's request.
pub(crate) enum Responder<'c> {
    Http1(&'c mut Http1Writer),
    Http2(http2::Responder),
    /// Of whoever has the proxy send it.
    Own(OwnResponder),
}

impl<'c> Responder<'c> {
    /// Sends an interim response at once.
    pub(crate) async fn informational(&mut self, head: &ResponseHead) -> Result<(), WireError> {
        match self {
            Self::Http1(writer) => {
                writer.put_response(head)?;
                Ok(writer.flush().await?)
            }
            Self::Http2(responder) => responder.informational(head),
            // It is in the record.
            Self::Own(_) => Ok(()),
        }
    }

    /// Puts the final head; it leaves with the first piece, a flush, or the end. A head this leg cannot express
    /// gives the responder back, for an answer that says so.
    pub(crate) fn head(
        self,
        head: &ResponseHead,
        encoding: Encoding,
    ) -> Result<Writer<'c>, Box<(Self, WireError)>> {
        match self {
            Self::Http1(writer) => match writer.put_response(head) {
                Ok(_) => {
                    writer.begin(encoding);
                    Ok(Writer::Http1(writer))
                }
                Err(error) => Err(Box::new((Self::Http1(writer), error))),
            },
            Self::Http2(mut responder) => {
                let body = if encoding == Encoding::None { BodyToCome::No } else { BodyToCome::Yes };
                match responder.head(head, body) {
                    Ok(writer) => Ok(Writer::Http2(writer)),
                    Err(error) => Err(Box::new((Self::Http2(responder), error))),
                }
            }
            Self::Own(responder) => Ok(Writer::Own(responder.head(head))),
        }
    }

    /// Resolves when the client no longer wants an answer. Never for HTTP/1, see [`BodyReader::closed`].
    pub(crate) async fn gone(&mut self) -> WireError {
        match self {
            Self::Http1(_) => pending().await,
            Self::Http2(responder) => responder.gone().await,
            Self::Own(responder) => responder.gone().await,
        }
    }

    /// Refuses without an answer. For HTTP/1 the connection's owner closes it.
    pub(crate) fn reset(&mut self, code: u32) {
        if let Self::Http2(responder) = self {
            responder.reset(code);
        }
    }
}

/// Reads upstream's answer to one request.
pub(crate) enum ResponseReader<'c> {
    Http1 {
        reader: &'c mut Http1Reader,
        alarm: &'c mut Alarm,
        max_trailer_bytes: usize,
        /// The parent proxy that reads the requests of this leg, and may answer them itself.
        parent: Option<ParentProxy>,
    },
    Http2(http2::ResponseReader),
}

impl<'c> ResponseReader<'c> {
    /// The next head: interim ones first, then the final one. Cancel safe.
    ///
    /// # Errors
    /// [`Elapsed`] when none came within `patience`; the next call goes on where this one stopped.
    pub(crate) async fn head(
        &mut self,
        patience: Duration,
    ) -> Result<Result<(ResponseHead, u64), SendError>, Elapsed> {
        match self {
            Self::Http1 { reader, alarm, parent, .. } => {
                let read = alarm.within(patience, reader.response()).await?;
                Ok(http1_head(read, reader, parent.as_ref()))
            }
            Self::Http2(response) => {
                let head = timeout(patience, response.head()).await.map_err(|_| Elapsed)?;
                Ok(head.map(|head| (head, response.head_bytes())))
            }
        }
    }

    /// The body that follows the final head, and how long it is.
    pub(crate) fn body(
        self,
        request: &RequestHead,
        response: &ResponseHead,
    ) -> Result<(BodyReader<'c>, Shape), WireError> {
        match self {
            Self::Http1 { reader, max_trailer_bytes, .. } => {
                let framing = http1::response_framing(&request.method, response)?;
                let shape = Shape::of_http1(&framing);
                Ok((BodyReader::http1(reader, framing, max_trailer_bytes), shape))
            }
            Self::Http2(source) => {
                let body = source.body().ok_or_else(|| unsendable("the response has no final head"))?;
                let shape = Shape::of_http2(body.is_at_end(), &response.headers)?;
                Ok((BodyReader::Http2(body), shape))
            }
        }
    }
}

/// What an HTTP/1 leg brought in a head's place, or with it.
fn http1_head(
    read: Result<ResponseHead, HeadError>,
    reader: &Http1Reader,
    parent: Option<&ParentProxy>,
) -> Result<(ResponseHead, u64), SendError> {
    match (read, parent) {
        // It asks the proxy for credentials, which the client has nothing to do with.
        (Ok(head), Some(parent)) if head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            let said = format!("{parent}: {}", parent::said(&head, parent));
            let error = WireError::new(WireErrorKind::ParentProxy, said);
            Err(SendError { error, may_retry: false })
        }
        (Ok(head), _) => Ok((head, reader.last_head_bytes())),
        (Err(error), _) => {
            // Nothing came: on a connection that was used before, it was closed under us.
            let may_retry =
                reader.buffered().is_empty() && matches!(error, HeadError::Closed | HeadError::Io(_));
            Err(SendError { error: error.into(), may_retry })
        }
    }
}

/// A message that cannot be put on this leg.
pub(crate) fn unsendable(detail: &str) -> WireError {
    WireError::new(WireErrorKind::Malformed, detail)
}
