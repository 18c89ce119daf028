//! Reading ahead below TLS: as much at once as the system has.
//!
//! rustls takes 4 KiB at a time, so that a record of 16 KiB takes the system to be asked four or five times, and a burst of
//! small responses on an HTTP/2 connection once for every few of them.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What is read ahead at most. It waits here while whoever reads is slow, so that each TLS connection under load holds
/// this much more of what its peer sent.
const AHEAD_BYTES: usize = 32 * 1024;

/// A connection that is read ahead of, as long as each read finds more than there was room for. Until then, and at rest,
/// it holds no memory. Writing goes straight through.
#[derive(Debug)]
pub(crate) struct Ahead<T> {
    io: T,
    buffered: BytesMut,
    /// The last read took all it had room for: there is more, most likely.
    has_more: bool,
}

impl<T> Ahead<T> {
    pub(crate) fn new(io: T) -> Self {
        Self { io, buffered: BytesMut::new(), has_more: false }
    }
}

impl<T: AsyncRead + Unpin> Ahead<T> {
    /// Reads what the caller has room for.
    fn poll_direct(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, out);
        self.has_more = out.filled().len() > before && out.remaining() == 0;
        read
    }

    /// Reads into the buffer, which is empty.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffered.reserve(AHEAD_BYTES);
        let room = self.buffered.capacity();
        let read = pin!(self.io.read_buf(&mut self.buffered)).poll(cx);
        self.has_more = matches!(read, Poll::Ready(Ok(read)) if read == room);
        if self.buffered.is_empty() {
            self.buffered = BytesMut::new();
        }
        read
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Ahead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffered.is_empty() {
            if !self.has_more {
                return self.poll_direct(cx, out);
            }
            match self.poll_ahead(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let taken = self.buffered.len().min(out.remaining());
        out.put_slice(&self.buffered[..taken]);
        self.buffered.advance(taken);
        if self.buffered.is_empty() && !self.has_more {
            self.buffered = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Ahead<T> {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// How much each read of `room` bytes brought, and how much room the system was given for it.
    struct Counted<T> {
        io: T,
        rooms: Vec<usize>,
    }

    impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let room = out.remaining();
            self.rooms.push(room);
            Pin::new(&mut self.io).poll_read(cx, out)
        }
    }

    #[tokio::test]
    async fn what_is_there_is_read_at_once_and_comes_in_order() {
        let (mut peer, io) = duplex(128 * 1024);
        let sent: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        peer.write_all(&sent).await.unwrap();
        peer.shutdown().await.unwrap();
        let mut ahead = Ahead::new(Counted { io, rooms: Vec::new() });
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match ahead.read(&mut piece).await.unwrap() {
                0 => break,
                read => got.extend_from_slice(&piece[..read]),
            }
        }
        assert_eq!(got, sent);
        let rooms = &ahead.io.rooms;
        assert_eq!(rooms[0], 4096);
        assert!(rooms[1..4].iter().all(|room| *room >= AHEAD_BYTES), "{rooms:?}");
        assert!(rooms.len() <= 6, "{rooms:?}");
        assert_eq!(ahead.buffered.capacity(), 0, "at rest it holds nothing");
    }

    #[tokio::test]
    async fn what_comes_in_small_pieces_takes_no_memory() {
        let (mut peer, io) = duplex(4096);
        let mut ahead = Ahead::new(Counted { io, rooms: Vec::new() });
        let mut piece = [0; 4096];
        for _ in 0..3 {
            peer.write_all(b"some").await.unwrap();
            assert_eq!(ahead.read(&mut piece).await.unwrap(), 4);
        }
        assert_eq!((ahead.io.rooms, ahead.buffered.capacity()), (vec![4096; 3], 0));
    }

    #[tokio::test]
    async fn a_read_that_was_filled_by_all_there_was_waits_without_memory() {
        let (mut peer, io) = duplex(8192);
        let mut ahead = Ahead::new(io);
        let mut piece = [0; 4096];
        peer.write_all(&[1; 4096]).await.unwrap();
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 4096);
        let waiting = pin!(ahead.read(&mut piece)).poll(&mut Context::from_waker(std::task::Waker::noop()));
        assert!(waiting.is_pending());
        assert_eq!((ahead.buffered.capacity(), ahead.has_more), (0, false));
        peer.write_all(b"rest").await.unwrap();
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 4);
    }
}
