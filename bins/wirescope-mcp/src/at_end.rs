//! A reader that tells when it has come to its end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Reads from another reader, and calls back once when that one has ended or failed.
pub(crate) struct AtEnd<R, F> {
    inner: R,
    tell: Option<F>,
}

impl<R, F: FnOnce()> AtEnd<R, F> {
    pub(crate) fn new(inner: R, tell: F) -> Self {
        Self { inner, tell: Some(tell) }
    }
}

impl<R: AsyncRead + Unpin, F: FnOnce() + Unpin> AsyncRead for AtEnd<R, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        let ended = read.is_err() || (buffer.filled().len() == before && buffer.capacity() > before);
        if ended && let Some(tell) = self.tell.take() {
            tell();
        }
        Poll::Ready(read)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn the_end_is_told_once_and_not_before() {
        let told = std::sync::atomic::AtomicU32::new(0);
        let count = || told.load(std::sync::atomic::Ordering::Relaxed);
        let tell = || {
            told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        let mut reader = AtEnd::new(&b"ab"[..], tell);
        let mut byte = [0; 2];
        reader.read_exact(&mut byte).await.unwrap();
        assert_eq!(count(), 0);
        reader.read_to_end(&mut Vec::new()).await.unwrap();
        reader.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(count(), 1);
    }
}
