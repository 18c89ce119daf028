//! HTTP/1.1 on one connection: bodies are counted, not kept.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Wire;

/// Room for what is read at a time.
const READ_BYTES: usize = 64 * 1024;
/// For a connection that is to rest.
const FRUGAL_BYTES: usize = 4 * 1024;

/// A connection and its buffer.
pub(super) struct Client {
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire, buffer: Vec::with_capacity(READ_BYTES) }
    }

    /// One of many that rest.
    pub(super) fn frugal(wire: Box<dyn Wire>) -> Self {
        Self { wire, buffer: Vec::with_capacity(FRUGAL_BYTES) }
    }

    /// Asks, and reads the answer: the bytes of its body.
    pub(super) async fn get(&mut self, request: &str) -> io::Result<u64> {
        self.wire.write_all(request.as_bytes()).await?;
        self.wire.flush().await?;
        self.buffer.clear();
        let (head, body) = loop {
            self.read().await?;
            if let Some(lengths) = lengths(&self.buffer)? {
                break lengths;
            }
        };
        let mut read = (self.buffer.len() - head) as u64;
        while read < body {
            self.buffer.clear();
            self.read().await?;
            read += self.buffer.len() as u64;
        }
        Ok(body)
    }

    /// Leaves properly.
    pub(super) async fn leave(mut self) {
        // The answer came; what becomes of the connection is nobody's concern.
        let _ = self.wire.shutdown().await;
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.wire.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended in an answer")),
            _ => Ok(()),
        }
    }
}

/// The lengths of head and body, once the head is whole; an answer other than 200 is an error.
fn lengths(answer: &[u8]) -> io::Result<Option<(usize, u64)>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(head));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|value| value.trim().parse().ok());
    Ok(Some((end + 4, length.ok_or_else(|| io::Error::other("an answer without a length"))?)))
}
