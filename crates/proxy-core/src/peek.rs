//! Reads a connection's first bytes, and gives them back.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    detect::{Detected, Detection, detect},
    wire::Io,
};

/// Room made for each read: the ClientHello of a browser fits.
const READ_BYTES: usize = 4 * 1024;

/// How long [`peek`] waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the first byte; then the connection is [`Detection::Silent`].
    pub(crate) silence: Duration,
    /// From the first byte until the bytes tell; then they count as all there is, and are
    /// [`Detection::Unknown`].
    pub(crate) decision: Duration,
}

/// Finds out what a fresh connection speaks. Reads at most a little more than
/// [`MAX_PEEKED_BYTES`](crate::detect::MAX_PEEKED_BYTES), and gives them back with the connection.
///
/// A connection that ended before its bytes told, even before the first, is [`Detection::Unknown`]: relayed as
/// it is, its peer sees the same. Dropping the future drops the connection.
///
/// # Errors
///
/// What reading the connection failed with.
pub(crate) async fn peek<I: Io>(mut io: I, patience: Patience) -> io::Result<(Detection, Rewind<I>)> {
    let mut buffered = BytesMut::with_capacity(READ_BYTES);
    let Ok(first) = timeout(patience.silence, io.read_buf(&mut buffered)).await else {
        return Ok((Detection::Silent, Rewind { buffered, io }));
    };
    let mut eof = first? == 0;
    let deadline = Instant::now() + patience.decision;
    loop {
        if let Detected::Yes(detection) = detect(&buffered, eof) {
            return Ok((detection, Rewind { buffered, io }));
        }
        buffered.reserve(READ_BYTES);
        eof = match timeout_at(deadline, io.read_buf(&mut buffered)).await {
            Ok(read) => read? == 0,
            Err(_) => true,
        };
    }
}

/// A connection that gives back first what was peeked at. Writing goes straight through.
#[derive(Debug)]
pub(crate) struct Rewind<I> {
    /// What was read and not yet given back.
    buffered: BytesMut,
    io: I,
}

impl<I: Io> Rewind<I> {
    /// A connection of which these bytes were read already.
    pub(crate) fn new(io: I, buffered: BytesMut) -> Self {
        Self { buffered, io }
    }

    /// What was peeked at and not yet read again.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffered
    }
}

impl<I: Io> AsyncRead for Rewind<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffered.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let len = self.buffered.len().min(buf.remaining());
        buf.put_slice(&self.buffered[..len]);
        self.buffered.advance(len);
        if self.buffered.is_empty() {
            // The connection may live for hours; its first bytes need not.
            self.buffered = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Io> AsyncWrite for Rewind<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
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
