//! A connection whose writes do not stall for ever: the one place that bounds every write to a peer, TLS's own
//! included, whatever is being written.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::alarm::from_now;

/// A connection that fails with [`io::ErrorKind::TimedOut`] once its peer has taken nothing for `patience`.
/// Reading goes straight through.
#[derive(Debug)]
pub(crate) struct Unstalled<T> {
    io: T,
    patience: Duration,
    /// The deadline, made when a write stalls for the first time.
    deadline: Option<Pin<Box<Sleep>>>,
    stalled: bool,
}

impl<T> Unstalled<T> {
    pub(crate) fn new(io: T, patience: Duration) -> Self {
        Self { io, patience, deadline: None, stalled: false }
    }

    /// Passes on what a write came to, unless it has waited for too long.
    fn bound<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = false;
            return written;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        if !self.stalled {
            deadline.as_mut().reset(from_now(patience));
            self.stalled = true;
        }
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => {
                let detail = format!("the peer took nothing for {patience:?}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, detail)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Unstalled<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Unstalled<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.bound(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.io);
        let written = match bufs {
            // TLS hands over a list even of one, which is dearer to the system than the one.
            [only] => io.poll_write(cx, only),
            _ => io.poll_write_vectored(cx, bufs),
        };
        self.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.bound(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bound(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_given_up() {
        let (mut peer, io) = duplex(4);
        let mut io = Unstalled::new(io, PATIENCE);
        let began = Instant::now();
        assert_eq!(io.write_all(b"12345").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), PATIENCE);
        // What it read in the meantime is what was written; and a write that is taken again starts afresh.
        let mut read = [0; 4];
        peer.read_exact(&mut read).await.unwrap();
        io.write_all(b"6789").await.unwrap();
        assert_eq!(io.write_all(b"0").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), 2 * PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_may_be_without_end() {
        let (mut peer, io) = duplex(1);
        let mut io = Unstalled::new(io, Duration::MAX);
        let writing = tokio::spawn(async move { io.write_all(b"12").await });
        sleep(PATIENCE).await;
        peer.read_exact(&mut [0; 2]).await.unwrap();
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_is_waited_for() {
        let (mut peer, io) = duplex(1);
        let mut io = Unstalled::new(io, PATIENCE);
        let reading = tokio::spawn(async move {
            for _ in 0..5 {
                sleep(PATIENCE - Duration::from_millis(1)).await;
                peer.read_u8().await.unwrap();
            }
        });
        io.write_all(b"12345").await.unwrap();
        reading.await.unwrap();
    }
}
