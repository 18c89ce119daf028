//! Keeps the first bytes upstream sends, where its ServerHello is.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    server_hello::{self, MAX_HELLO_BYTES},
    wire::Io,
};

/// A connection whose first bytes are kept until [`take`](Self::take): at most [`MAX_HELLO_BYTES`].
pub(super) struct HelloTap<T> {
    io: T,
    seen: Option<Vec<u8>>,
}

impl<T> HelloTap<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, seen: Some(Vec::new()) }
    }

    /// The handshake messages in cleartext so far; from then on nothing is kept.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.seen.take().map(|seen| server_hello::handshake(&seen)).unwrap_or_default()
    }
}

impl<T: Io> AsyncRead for HelloTap<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if let Some(seen) = &mut this.seen {
            let came = &buf.filled()[before..];
            seen.extend_from_slice(&came[..came.len().min(MAX_HELLO_BYTES.saturating_sub(seen.len()))]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Io> AsyncWrite for HelloTap<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
