//! The write half of a connection: heads are gathered, bodies go out at once.

use std::{io, mem};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    encode::{self, TargetForm},
    framing::Encoding,
};
use crate::{
    head::{Headers, RequestHead, ResponseHead},
    wire::WireError,
};

/// Bytes of data up to which copying beside the head and the chunk framing is cheaper than a gathered write.
const COPY_BYTES: usize = 1024;

/// Bytes put at once up to which the room they took is kept for the next message.
const KEEP_BYTES: usize = 16 * 1024;

/// As [`KEEP_BYTES`], for a connection at rest: most request heads. Asking for more with each message costs little beside it.
const KEEP_AT_REST_BYTES: usize = 512;

/// Writes messages to one connection: `put_*`, [`begin`](Self::begin), any number of [`data`](Self::data),
/// [`end`](Self::end). Interim responses are put and flushed before the final one.
///
/// A future of `data`, `end` or `flush` that is dropped before it is done leaves the message cut short: the
/// connection is not clean any more and must be closed.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    io: W,
    /// What was put and not yet written.
    out: BytesMut,
    /// Bytes there was room for in `out`, as far as was seen; 0 where it is new.
    room_bytes: usize,
    /// Bytes that were put together for one write at most since then: what is likely to be needed next.
    gathered_bytes: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between messages.
    Clean,
    /// A head was put, its body not begun.
    Head,
    /// In a body.
    Body(Encoding),
    /// A message was cut short, ends with the connection, or took it over.
    Spent,
}

impl<W> Writer<W> {
    /// Makes a writer of a connection nothing was written to yet.
    pub(crate) fn new(io: W) -> Self {
        Self { io, out: BytesMut::new(), room_bytes: 0, gathered_bytes: 0, state: State::Clean }
    }

    /// Puts a request head: its size in bytes. Nothing is written yet.
    ///
    /// # Errors
    /// Malformed, with nothing put, when the target or a field cannot stand on the wire, or the message before it
    /// was not ended.
    pub(crate) fn put_request(&mut self, head: &RequestHead, form: TargetForm) -> Result<u64, WireError> {
        self.check_between_messages()?;
        let before = self.make_room();
        encode::request(head, form, &mut self.out)?;
        self.state = State::Head;
        Ok((self.out.len() - before) as u64)
    }

    /// Puts a response head, interim or final: its size in bytes. Nothing is written yet.
    ///
    /// # Errors
    /// Malformed, with nothing put, when the reason phrase or a field cannot stand on the wire, or the message
    /// before it was not ended.
    pub(crate) fn put_response(&mut self, head: &ResponseHead) -> Result<u64, WireError> {
        self.check_between_messages()?;
        let before = self.make_room();
        encode::response(head, &mut self.out)?;
        if !head.status.is_informational() || head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            self.state = State::Head;
        }
        Ok((self.out.len() - before) as u64)
    }

    /// Says how the body of the message whose head was put is sent. The head must say the same.
    pub(crate) fn begin(&mut self, encoding: Encoding) {
        self.state = State::Body(encoding);
    }

    /// Goes on as raw bytes until the connection closes: what follows an upgrade, or fills a tunnel. What was put and
    /// not yet written goes first.
    pub(crate) fn make_raw(&mut self) {
        if self.state != State::Spent {
            self.state = State::Body(Encoding::UntilClose);
        }
    }

    /// Tells whether the last message was ended properly and all of it written, so that another may follow.
    pub(crate) fn is_clean(&self) -> bool {
        self.state == State::Clean && self.out.is_empty()
    }

    /// Tells whether the peer sees by itself that a message was cut short when the connection ends here.
    pub(crate) fn shows_cut(&self) -> bool {
        match self.state {
            State::Clean | State::Head => false,
            State::Body(encoding) => matches!(encoding, Encoding::Length(_) | Encoding::Chunked),
            // Only a write that failed, or was dropped, leaves this to an exchange that failed.
            State::Spent => true,
        }
    }

    /// A head in the middle of another message would be taken for its body, or split it.
    fn check_between_messages(&self) -> Result<(), WireError> {
        match self.state {
            State::Clean => Ok(()),
            _ => Err(WireError::malformed("message head before the end of the message before it")),
        }
    }

    /// Gives up the room that messages took, where it was much and nothing waits in it: the connection may be at rest
    /// for long.
    pub(crate) fn rest(&mut self) {
        if self.room_bytes > KEEP_AT_REST_BYTES && self.out.is_empty() {
            (self.out, self.room_bytes) = (BytesMut::new(), 0);
        }
    }

    /// Makes room at once for as much as was gathered before; gives how many bytes were put already.
    fn make_room(&mut self) -> usize {
        if self.room_bytes == 0 && self.out.is_empty() {
            self.out.reserve(mem::take(&mut self.gathered_bytes));
        }
        self.out.len()
    }

    /// Takes note of what was gathered, before it is written: what is read to its end no longer tells.
    fn note_gathered(&mut self) {
        self.room_bytes = self.room_bytes.max(self.out.capacity());
        self.gathered_bytes = self.gathered_bytes.max(self.out.len());
    }

    /// Gives back the connection. What was put and not flushed is lost.
    pub(crate) fn into_inner(self) -> W {
        self.io
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Writes a piece of the body, with all that was put before it, and flushes. Not cancel safe.
    ///
    /// # Errors
    /// When writing fails, or the piece is more than the body may hold.
    pub(crate) async fn data(&mut self, data: Bytes) -> io::Result<()> {
        if data.is_empty() {
            return self.flush().await;
        }
        let encoding = self.take(data.len())?;
        let tail: &[u8] = if encoding == Encoding::Chunked { b"\r\n" } else { b"" };
        self.write(data, tail).await?;
        self.state = State::Body(encoding);
        Ok(())
    }

    /// As [`data`](Self::data) and [`end`](Self::end), in one write.
    ///
    /// # Errors
    /// As theirs.
    pub(crate) async fn last(&mut self, data: Bytes, trailers: Option<&Headers>) -> io::Result<()> {
        if data.is_empty() {
            return self.end(trailers).await;
        }
        let encoding = self.take(data.len())?;
        let mut tail = BytesMut::new();
        if encoding == Encoding::Chunked {
            tail.extend_from_slice(b"\r\n");
        }
        let after = put_end(encoding, trailers, &mut tail)?;
        self.write(data, &tail).await?;
        self.state = after;
        Ok(())
    }

    /// Ends the message and flushes. Trailers are sent where the encoding has a place for them, which is `Chunked`.
    /// Not cancel safe.
    ///
    /// # Errors
    /// When writing fails, a trailer cannot stand on the wire, or the body is shorter than its length.
    pub(crate) async fn end(&mut self, trailers: Option<&Headers>) -> io::Result<()> {
        let after = match mem::replace(&mut self.state, State::Spent) {
            State::Body(encoding) => put_end(encoding, trailers, &mut self.out)?,
            _ => return Err(misuse("end of a message that was not begun")),
        };
        self.write_out().await?;
        self.state = after;
        Ok(())
    }

    /// Takes a piece into account and puts what goes before it; gives what may follow it. The message is spent until
    /// the piece is written.
    fn take(&mut self, length: usize) -> io::Result<Encoding> {
        match mem::replace(&mut self.state, State::Spent) {
            State::Body(Encoding::Length(left)) => match left.checked_sub(length as u64) {
                Some(left) => Ok(Encoding::Length(left)),
                None => Err(misuse("body is longer than its Content-Length")),
            },
            State::Body(Encoding::Chunked) => {
                encode::chunk_size(length, &mut self.out);
                Ok(Encoding::Chunked)
            }
            State::Body(Encoding::UntilClose) => Ok(Encoding::UntilClose),
            _ => Err(misuse("body bytes in a message without a body")),
        }
    }

    /// Writes what was put, a piece, and what goes behind it. One after the other, the three would be three packets
    /// and three TLS records.
    async fn write(&mut self, data: Bytes, tail: &[u8]) -> io::Result<()> {
        if data.len() <= COPY_BYTES || !self.io.is_write_vectored() {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(tail);
        } else {
            self.note_gathered();
            self.io.write_all_buf(&mut (&mut self.out).chain(data).chain(tail)).await?;
        }
        self.write_out().await
    }

    /// Writes what was put: interim responses, or the head of a body that is yet to come. Not cancel safe.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let state = mem::replace(&mut self.state, State::Spent);
        self.write_out().await?;
        self.state = state;
        Ok(())
    }

    /// Closes the sending half: writes what was put, then tells the peer that nothing more comes.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.state = State::Spent;
        self.write_out().await?;
        self.io.shutdown().await
    }

    async fn write_out(&mut self) -> io::Result<()> {
        let large = self.out.len() > KEEP_BYTES;
        self.note_gathered();
        self.io.write_all_buf(&mut self.out).await?;
        if large {
            (self.out, self.room_bytes, self.gathered_bytes) = (BytesMut::new(), 0, 0);
        }
        self.io.flush().await
    }
}

/// Puts what ends a body, and says how the connection stands after it.
fn put_end(encoding: Encoding, trailers: Option<&Headers>, out: &mut BytesMut) -> io::Result<State> {
    match encoding {
        Encoding::None | Encoding::Length(0) => Ok(State::Clean),
        Encoding::Length(_) => Err(misuse("body is shorter than its Content-Length")),
        Encoding::Chunked => {
            encode::last_chunk(trailers, out)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            Ok(State::Clean)
        }
        Encoding::UntilClose => Ok(State::Spent),
    }
}

fn misuse(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_at_rest_keeps_the_room_of_small_messages_only() {
        // Pieces above what is copied take no room.
        let cases: [(&[usize], bool); 6] = [
            (&[], true),
            (&[100], true),
            (&[COPY_BYTES + 1], true),
            (&[1_000], false),
            (&[1_000, 10], false),
            (&[100, 1_000, COPY_BYTES + 1], false),
        ];
        for (pieces, keeps) in cases {
            let mut writer = Writer::new(Vec::new());
            for _ in 0..2 {
                writer.put_response(&ResponseHead::new(http::StatusCode::OK)).unwrap();
                writer.begin(Encoding::Chunked);
                for bytes in pieces {
                    writer.data(vec![b'a'; *bytes].into()).await.unwrap();
                }
                writer.end(None).await.unwrap();
                writer.rest();
                assert_eq!(writer.out.try_reclaim(1), keeps, "{pieces:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_small_message_does_not_hide_the_room_of_the_one_before() {
        let mut writer = Writer::new(Vec::new());
        for bytes in [1_000, 10] {
            writer.put_response(&ResponseHead::new(http::StatusCode::OK)).unwrap();
            writer.begin(Encoding::Length(bytes as u64));
            writer.last(vec![b'a'; bytes].into(), None).await.unwrap();
        }
        writer.rest();
        assert!(!writer.out.try_reclaim(1));
        // As much is made at once for the next one.
        writer.put_response(&ResponseHead::new(http::StatusCode::OK)).unwrap();
        assert!(writer.out.capacity() >= 1_000, "{}", writer.out.capacity());
    }
}
