//! A WebSocket end with permessage-deflate, frame by frame.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    deadline::within,
    deflate::Deflate,
    frame::{Frame, Opcode},
};

/// The masking key of this client: RFC 6455 wants it unpredictable, a transcript wants it stable.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// The largest handshake answer accepted.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A WebSocket over any stream, compressing when the peer agreed to.
#[derive(Debug)]
pub struct DeflateSocket<S> {
    stream: S,
    deflate: Option<Deflate>,
    mask: Option<[u8; 4]>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> DeflateSocket<S> {
    /// Asks for `path` on `host` with permessage-deflate offered; fails with the answer's head if it is not 101.
    pub async fn connect(mut stream: S, host: &str, path: &str) -> io::Result<Self> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let answer = within("the upgrade", read_head(&mut stream)).await?;
        if !answer.starts_with("HTTP/1.1 101") {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, answer));
        }
        let deflate = answer.to_ascii_lowercase().contains("permessage-deflate").then(Deflate::new);
        Ok(Self { stream, deflate, mask: Some(MASK) })
    }

    /// The server's end of an upgraded stream, with permessage-deflate agreed.
    pub(crate) fn accepted(stream: S) -> Self {
        Self { stream, deflate: Some(Deflate::new()), mask: None }
    }

    /// Whether the peer agreed to permessage-deflate.
    pub fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    /// Sends `text` as one message.
    pub async fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.send_fragments(Opcode::Text, text.as_bytes(), 1).await
    }

    /// Sends `payload` as one message cut into `count` fragments of the same size, the last one smaller.
    pub async fn send_fragments(&mut self, opcode: Opcode, payload: &[u8], count: usize) -> io::Result<()> {
        let compressed = match &mut self.deflate {
            Some(deflate) => deflate.compress(payload)?,
            None => payload.to_vec(),
        };
        let size = compressed.len().div_ceil(count.max(1)).max(1);
        let fragments: Vec<&[u8]> =
            if compressed.is_empty() { vec![&[]] } else { compressed.chunks(size).collect() };
        let last = fragments.len() - 1;
        for (index, fragment) in fragments.into_iter().enumerate() {
            let frame = Frame {
                fin: index == last,
                rsv1: index == 0 && self.deflate.is_some(),
                opcode: if index == 0 { opcode } else { Opcode::Continuation },
                mask: self.mask,
                payload: Bytes::copy_from_slice(fragment),
            };
            self.stream.write_all(&frame.encode()).await?;
        }
        self.stream.flush().await
    }

    /// Sends `frame` as it is, but for this side's masking.
    pub async fn send_frame(&mut self, frame: Frame) -> io::Result<()> {
        let frame = Frame { mask: self.mask, ..frame };
        self.stream.write_all(&frame.encode()).await?;
        self.stream.flush().await
    }

    /// Reads the next frame as it came. Dropping the future may lose a part of it.
    pub async fn read_frame(&mut self) -> io::Result<Frame> {
        within("a WebSocket frame", Frame::read(&mut self.stream)).await
    }

    /// Reads the next message, put together and inflated; control frames count as messages.
    pub async fn read_message(&mut self) -> io::Result<(Opcode, Vec<u8>)> {
        within("a WebSocket message", self.next_message()).await
    }

    async fn next_message(&mut self) -> io::Result<(Opcode, Vec<u8>)> {
        let first = Frame::read(&mut self.stream).await?;
        let (mut fin, mut payload) = (first.fin, first.payload.to_vec());
        while !fin {
            let next = Frame::read(&mut self.stream).await?;
            fin = next.fin;
            payload.extend_from_slice(&next.payload);
        }
        match &mut self.deflate {
            Some(deflate) if first.rsv1 => Ok((first.opcode, deflate.inflate(&payload)?)),
            _ => Ok((first.opcode, payload)),
        }
    }

    /// Sends every message back, answers pings, and ends with the closing handshake or the stream.
    pub(crate) async fn echo(mut self) -> io::Result<()> {
        loop {
            let (opcode, payload) = self.next_message().await?;
            match opcode {
                Opcode::Close => return self.send_frame(Frame::new(Opcode::Close, payload)).await,
                Opcode::Ping => self.send_frame(Frame::new(Opcode::Pong, payload)).await?,
                Opcode::Pong => {}
                _ => self.send_fragments(opcode, &payload, 1).await?,
            }
        }
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        head.push(stream.read_u8().await?);
    }
    String::from_utf8(head).map_err(io::Error::other)
}
