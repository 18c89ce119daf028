//! A client that sends exactly the bytes it is told to.

use std::{fmt, io, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::deadline::within;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A byte stream with patience: reads wait for what is asked, up to the deadline.
pub struct RawClient {
    stream: Box<dyn Stream>,
    unread: BytesMut,
}

impl fmt::Debug for RawClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawClient").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

impl RawClient {
    /// Opens a TCP connection to `addr`.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(within("connecting", TcpStream::connect(addr)).await?))
    }

    /// Speaks over a stream that is already open.
    pub fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), unread: BytesMut::new() }
    }

    /// Sends `bytes`.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("sending", async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Reads through the end of the next head (an empty line) and returns it.
    pub async fn read_head(&mut self) -> io::Result<String> {
        let head = self.read_until(b"\r\n\r\n").await?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// Reads through the next occurrence of `end` and returns all of it.
    pub async fn read_until(&mut self, end: &[u8]) -> io::Result<Bytes> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Ok(self.unread.split_to(at + end.len()).freeze());
            }
            if self.fill().await? == 0 {
                let partial = String::from_utf8_lossy(&self.unread).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("ended after {partial:?}")));
            }
        }
    }

    /// Reads exactly `count` bytes.
    pub async fn read(&mut self, count: usize) -> io::Result<Bytes> {
        while self.unread.len() < count {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.split_to(count).freeze())
    }

    /// Reads what is left until the peer closes. A reset is an error, a close is not.
    pub async fn read_to_end(&mut self) -> io::Result<Bytes> {
        while self.fill().await? > 0 {}
        Ok(self.unread.split().freeze())
    }

    /// Closes the sending half (FIN, after close_notify on TLS); reading goes on.
    pub async fn half_close(&mut self) -> io::Result<()> {
        within("closing the sending half", self.stream.shutdown()).await
    }

    async fn fill(&mut self) -> io::Result<usize> {
        within("reading", self.stream.read_buf(&mut self.unread)).await
    }
}
