//! The other end of a connection, for parsers that read one.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A peer that sends these bytes, one read each, and then closes.
pub(super) struct Peer(VecDeque<Bytes>);

impl Peer {
    pub(super) fn new(pieces: &[&[u8]]) -> Self {
        Self(pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect())
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(piece) = self.0.front_mut() {
            if piece.is_empty() {
                self.0.pop_front();
                continue;
            }
            let now = piece.split_to(piece.len().min(buf.remaining()));
            buf.put_slice(&now);
            break;
        }
        Poll::Ready(Ok(()))
    }
}

/// What is written to it is taken and forgotten.
impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
