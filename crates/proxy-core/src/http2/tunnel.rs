//! A stream as a connection: what a CONNECT inside HTTP/2 opens (RFC 9113 section 8.5).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    body::BodyReader,
    writer::{Last, Writer},
};
use crate::wire::{Piece, WireError, WireErrorKind};

/// The most that is taken of one write.
const MAX_WRITE_BYTES: usize = 64 * 1024;

/// Both halves of a stream as bytes. An end without [`shutdown`](AsyncWrite::poll_shutdown) resets it with CANCEL.
pub(crate) struct TunnelIo {
    body: BodyReader,
    writer: Writer,
    unread: Bytes,
}

impl TunnelIo {
    pub(crate) fn new(body: BodyReader, writer: Writer) -> Self {
        Self { body, writer, unread: Bytes::new() }
    }
}

fn io_error(error: WireError) -> io::Error {
    let kind = match error.kind {
        WireErrorKind::Closed | WireErrorKind::Reset(_) => io::ErrorKind::ConnectionReset,
        WireErrorKind::Timeout => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error.detail)
}

impl AsyncRead for TunnelIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.body.poll_piece(cx)).map_err(io_error)? {
                Some(Piece::Data(data)) => self.unread = data,
                // A tunnel has none.
                Some(Piece::Trailers(_)) => {}
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let offered = buf.len().min(MAX_WRITE_BYTES);
        let room = ready!(self.writer.poll_room(cx)).map_err(io_error)?.min(offered);
        let mut data = Bytes::copy_from_slice(&buf[..room]);
        ready!(self.writer.poll_data(&mut data, Last::No, cx)).map_err(io_error)?;
        Poll::Ready(Ok(room - data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.writer.finish(None).map_err(io_error))
    }
}
