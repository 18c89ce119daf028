//! Reads a connection's first bytes, and gives them back.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::{timeout, timeout_at},
};

use crate::{
    alarm::from_now,
    detect::{Detected, Detection, detect},
    wire::{BoxedIo, Io},
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
    let mut buffered = BytesMut::new();
    let first = poll_fn(|cx| poll_without_room(&mut io, &mut buffered, cx));
    let Ok(first) = timeout(patience.silence, first).await else {
        return Ok((Detection::Silent, Rewind { buffered, io }));
    };
    let mut eof = first? == 0;
    let deadline = from_now(patience.decision);
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

/// Reads once, and makes room only for what came: who is silent may be so for long.
fn poll_without_room<I: Io>(
    io: &mut I,
    buffered: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = [const { MaybeUninit::uninit() }; READ_BYTES];
    let mut came = ReadBuf::uninit(&mut room);
    ready!(Pin::new(io).poll_read(cx, &mut came))?;
    buffered.extend_from_slice(came.filled());
    Poll::Ready(Ok(came.filled().len()))
}

/// A connection that gives back first what was peeked at. Writing goes straight through.
#[derive(Debug)]
pub(crate) struct Rewind<I> {
    /// What was read and not yet given back.
    buffered: BytesMut,
    io: I,
}

impl Rewind<BoxedIo> {
    /// A connection of which these bytes were read already: as it is, where there are none.
    pub(crate) fn boxed(io: BoxedIo, buffered: BytesMut) -> BoxedIo {
        if buffered.is_empty() { io } else { Box::new(Self { buffered, io }) }
    }
}

impl<I: Io> Rewind<I> {
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    const PATIENCE: Patience =
        Patience { silence: Duration::from_secs(2), decision: Duration::from_secs(30) };

    #[tokio::test(start_paused = true)]
    async fn what_was_peeked_at_is_read_again_with_the_rest() {
        let (mut client, io) = duplex(3);
        let sent = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\nearly";
        let sending = tokio::spawn(async move {
            client.write_all(sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let (detection, mut rewind) = peek(io, PATIENCE).await.unwrap();
        assert_eq!(detection, Detection::Http1);
        assert!(sent.starts_with(rewind.buffered()));
        assert!(rewind.buffered().len() < sent.len());
        let mut first = [0; 5];
        rewind.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"CONNE");
        let mut rest = Vec::new();
        rewind.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, &sent[5..]);
        assert_eq!(rewind.buffered(), b"");
        rewind.write_all(b"hello").await.unwrap();
        rewind.shutdown().await.unwrap();
        assert_eq!(sending.await.unwrap(), "hello");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_may_be_without_end() {
        let (mut client, io) = duplex(64);
        let peeking = tokio::spawn(peek(io, Patience { silence: Duration::MAX, decision: Duration::MAX }));
        for part in ["GE", "T / HTTP/1.1\r\n\r\n"] {
            client.write_all(part.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(peeking.await.unwrap().unwrap().0, Detection::Http1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_left_to_its_server() {
        let (mut client, io) = duplex(64);
        let began = Instant::now();
        let (detection, mut rewind) = peek(io, PATIENCE).await.unwrap();
        assert_eq!((detection, began.elapsed()), (Detection::Silent, PATIENCE.silence));
        client.write_all(b"GET /").await.unwrap();
        let mut late = [0; 5];
        rewind.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"GET /");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_stops_before_it_tells_is_unknown() {
        let (mut client, io) = duplex(64);
        client.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
        let began = Instant::now();
        let (detection, rewind) = peek(io, PATIENCE).await.unwrap();
        assert_eq!((detection, began.elapsed()), (Detection::Unknown, PATIENCE.decision));
        assert_eq!(rewind.buffered(), b"\x16\x03\x01\x02\x00\x01");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_before_it_tells_is_unknown_at_once() {
        for sent in [&b""[..], b"GET"] {
            let (mut client, io) = duplex(64);
            client.write_all(sent).await.unwrap();
            drop(client);
            let began = Instant::now();
            let (detection, rewind) = peek(io, PATIENCE).await.unwrap();
            assert_eq!((detection, began.elapsed()), (Detection::Unknown, Duration::ZERO));
            assert_eq!(rewind.buffered(), sent);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hello_without_end_is_given_up_at_the_bound() {
        let (mut client, io) = duplex(1_024);
        let sending = tokio::spawn(async move {
            // A ClientHello of 65,000 bytes, which its records' own headers bring beyond the bound.
            client.write_all(b"\x16\x03\x01\x00\x04\x01\x00\xfd\xe8").await.unwrap();
            while client.write_all(b"\x16\x03\x01\x00\x04wait").await.is_ok() {}
        });
        let (detection, rewind) = peek(io, PATIENCE).await.unwrap();
        assert_eq!(detection, Detection::Unknown);
        assert!(rewind.buffered().len() <= crate::detect::MAX_PEEKED_BYTES + READ_BYTES);
        drop(rewind);
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_fails_says_so() {
        assert_eq!(
            peek(failing(), PATIENCE).await.err().map(|error| error.kind()),
            Some(io::ErrorKind::ConnectionReset)
        );
    }

    /// A connection whose first read fails.
    fn failing() -> impl Io {
        struct Failing;
        impl AsyncRead for Failing {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
        impl AsyncWrite for Failing {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(0))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        Failing
    }
}
