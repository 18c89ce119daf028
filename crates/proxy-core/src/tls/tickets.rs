//! Session tickets that leave with the first answer.
//!
//! A client's last word of a TLS 1.3 handshake mostly comes with its first request, and rustls writes two tickets in return. On
//! their own they cost a call of the system, a segment, and the client a wake-up for something it needs at its next
//! connection. So they wait for what is written next, or for the client to be waited for.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The type of records with encrypted content (RFC 8446 section 5.2). In the server's part of a handshake only
/// what follows the client's last word begins with one.
const ENCRYPTED: u8 = 23;

/// Shorter records with encrypted content are alerts, which do not wait.
const MIN_TICKET_BYTES: u16 = 64;

/// More than this does not wait: rustls' two tickets have some 350 bytes.
const MAX_HELD_BYTES: usize = 4 * 1024;

/// A connection below a server's TLS.
#[derive(Debug)]
pub(super) struct Tickets<T> {
    io: T,
    held: BytesMut,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Tickets may come. `midway` is when the last write was taken in part only, so that the next does not begin with a record.
    Handshake { midway: bool },
    /// Nothing is held any more, except what is.
    Over,
}

impl<T> Tickets<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, held: BytesMut::new(), stage: Stage::Handshake { midway: false } }
    }

    /// The handshake is over: what is written from now on goes out, and what is held goes with it.
    pub(super) fn over(&mut self) {
        self.stage = Stage::Over;
    }

    /// Takes note of how much of what is held was written. The room for it is given up with the last of it: a buffer that
    /// was only read to its end keeps it.
    fn sent(&mut self, bytes: usize) {
        self.held.advance(bytes);
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Whether a write is one that waits.
    fn waits(&self, bufs: &[IoSlice<'_>]) -> bool {
        let [kind, _, _, high, low, ..] = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf)
        else {
            return false;
        };
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.stage == Stage::Handshake { midway: false }
            && *kind == ENCRYPTED
            && u16::from_be_bytes([*high, *low]) >= MIN_TICKET_BYTES
            && self.held.len() + bytes <= MAX_HELD_BYTES
    }
}

impl<T: AsyncWrite + Unpin> Tickets<T> {
    /// Writes what is held. Dropped half-way it goes on the next time.
    pub(super) fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_out(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.waits(bufs) {
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        if !self.held.is_empty() {
            let all: Vec<_> = std::iter::once(IoSlice::new(&self.held)).chain(bufs.iter().copied()).collect();
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &all))?;
            let held = self.held.len().min(written);
            self.sent(held);
            ready!(self.poll_release(cx))?;
            if written > held {
                return Poll::Ready(Ok(written - held));
            }
        }
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        if let Stage::Handshake { midway } = &mut self.stage {
            *midway = written < bufs.iter().map(|buf| buf.len()).sum();
        }
        Poll::Ready(Ok(written))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tickets<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_pending() && self.stage != Stage::Over {
            // The handshake is not over: what was taken for tickets is what the client waits for.
            ready!(self.poll_release(cx))?;
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tickets<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_out(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_out(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stage == Stage::Over {
            ready!(self.poll_release(cx))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Takes at most `takes` bytes a write, notes each, and has nothing to read.
    struct Peer {
        takes: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncRead for Peer {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut all = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<_>>();
            all.truncate(self.takes);
            self.writes.push(all.clone());
            Poll::Ready(Ok(all.len()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn tickets(takes: usize) -> Tickets<Peer> {
        Tickets::new(Peer { takes, writes: Vec::new() })
    }

    /// A record of this type and length.
    fn record(kind: u8, bytes: u8) -> Vec<u8> {
        [&[kind, 3, 3, 0, bytes][..], &vec![kind; usize::from(bytes)]].concat()
    }

    fn poll_once<R>(polled: impl FnOnce(&mut Context<'_>) -> R) -> R {
        polled(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test]
    async fn tickets_leave_with_what_is_written_next_whatever_is_taken_at_once() {
        for takes in [1, 3, 100, 105, 106, 110, 1000] {
            let mut io = tickets(takes);
            let flight = [record(22, 80), record(ENCRYPTED, 90)].concat();
            io.write_all(&flight).await.unwrap();
            io.write_all(&record(ENCRYPTED, 100)).await.unwrap();
            io.flush().await.unwrap();
            assert_eq!(io.io.writes.concat(), flight, "{takes}");
            io.over();
            io.write_all(&record(ENCRYPTED, 200)).await.unwrap();
            let all = [flight.clone(), record(ENCRYPTED, 100), record(ENCRYPTED, 200)].concat();
            assert_eq!(io.io.writes.concat(), all, "{takes}");
            assert!(takes < 1000 || io.io.writes.len() == 2, "{takes}");
            assert!(!io.held.try_reclaim(1), "room is kept, {takes}");
        }
    }

    #[tokio::test]
    async fn what_is_no_ticket_does_not_wait() {
        let cases = [
            ("a handshake's flight", false, record(22, 100)),
            ("an alert", false, record(ENCRYPTED, 19)),
            ("an answer", true, record(ENCRYPTED, 100)),
            ("a fragment", false, vec![ENCRYPTED, 3]),
        ];
        for (what, is_over, written) in cases {
            let mut io = tickets(1000);
            if is_over {
                io.over();
            }
            io.write_all(&written).await.unwrap();
            assert_eq!(io.io.writes, [written], "{what}");
        }
    }

    #[tokio::test]
    async fn tickets_do_not_outwait_a_flush_a_shutdown_or_a_handshake_that_goes_on() {
        for case in 0..3 {
            let mut io = tickets(1000);
            io.write_all(&record(ENCRYPTED, 100)).await.unwrap();
            assert!(io.io.writes.is_empty());
            match case {
                0 => {
                    let mut room = [0; 8];
                    let mut read = std::pin::pin!(io.read(&mut room));
                    assert!(poll_once(|cx| read.as_mut().poll(cx)).is_pending());
                }
                1 => {
                    io.over();
                    io.flush().await.unwrap();
                }
                _ => io.shutdown().await.unwrap(),
            }
            assert_eq!(io.io.writes, [record(ENCRYPTED, 100)], "{case}");
        }
    }
}
