//! The read half of a connection: heads and pieces of bodies, in the order they come.

use std::{
    future::{self, poll_fn},
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::{
    decode::{Decoder, MAX_PIECE_BYTES, Step},
    error::HeadError,
    lines::{LineEnds, SectionScan},
    parse::{self, Defaults},
};
use crate::{
    head::{RequestHead, ResponseHead},
    limits::Limits,
    wire::{Piece, WireError},
};

/// Bytes the first read of a connection makes room for; more when reads fill their room.
const FIRST_READ_BYTES: usize = 8 * 1024;

/// Bytes one read makes room for at most.
const MAX_READ_BYTES: usize = MAX_PIECE_BYTES;

/// Empty lines passed over before a head: RFC 9112 section 2.2 asks for one at least.
const MAX_EMPTY_LINES: usize = 4;

/// Bounds on a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Bytes with all line ends.
    pub(crate) max_bytes: usize,
    /// Field lines.
    pub(crate) max_headers: usize,
}

impl From<&Limits> for HeadLimits {
    fn from(limits: &Limits) -> Self {
        Self { max_bytes: limits.max_head_bytes, max_headers: limits.max_header_count }
    }
}

/// Reads messages from one connection. Every method may be dropped at any await and called again: what was read
/// stays in the buffer.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    io: R,
    buf: BytesMut,
    limits: HeadLimits,
    eof: bool,
    read_bytes: usize,
    scan: SectionScan,
    empty_lines: usize,
    last_head_bytes: u64,
}

impl<R> Reader<R> {
    /// Makes a reader of a connection nothing was read from yet.
    pub(crate) fn new(io: R, limits: HeadLimits) -> Self {
        Self::with_buffered(io, BytesMut::new(), limits)
    }

    /// Makes a reader that sees `buffered` first.
    pub(crate) fn with_buffered(io: R, buffered: BytesMut, limits: HeadLimits) -> Self {
        Self {
            io,
            buf: buffered,
            limits,
            eof: false,
            read_bytes: FIRST_READ_BYTES,
            scan: SectionScan::default(),
            empty_lines: 0,
            last_head_bytes: 0,
        }
    }

    /// The size on the wire of the head last returned, in bytes.
    pub(crate) fn last_head_bytes(&self) -> u64 {
        self.last_head_bytes
    }

    /// What was read and not yet taken.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buf
    }

    /// Gives up the buffer, where nothing is in it: the connection may be at rest for long.
    pub(crate) fn rest(&mut self) {
        if self.buf.is_empty() {
            self.buf = BytesMut::new();
        }
    }

    /// Gives back the connection and what was read from it and not yet taken.
    pub(crate) fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buf)
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Waits until at least one byte is buffered. `false` when the peer closed before it, be it without TLS's
    /// farewell.
    pub(crate) async fn readable(&mut self) -> io::Result<bool> {
        self.readable_or_rest(|| ()).await
    }

    /// As [`readable`](Self::readable). Where it has to wait it calls `rest`: whoever writes to the connection may give up
    /// its room then, as the reader does.
    pub(crate) async fn readable_or_rest(&mut self, rest: impl FnMut()) -> io::Result<bool> {
        if self.buf.is_empty() {
            // A connection at rest does not hold on to the room a large body needed.
            if self.read_bytes > FIRST_READ_BYTES {
                self.buf = BytesMut::new();
                self.read_bytes = FIRST_READ_BYTES;
            }
            self.fill_at_rest(rest).await?;
        }
        Ok(!self.buf.is_empty())
    }

    /// Reads one request head. `None` when the peer closed before its first byte; a few empty lines before it are
    /// passed over.
    ///
    /// # Errors
    /// See [`HeadError`]; the connection is of no more use then.
    pub(crate) async fn request(&mut self, default: &Defaults) -> Result<Option<RequestHead>, HeadError> {
        match self.head(LineEnds::Crlf).await? {
            Some((head, fields)) => parse::request(&head, default, fields).map(Some),
            None => Ok(None),
        }
    }

    /// Reads one response head, interim (1xx) or final.
    ///
    /// # Errors
    /// See [`HeadError`]; the connection is of no more use then.
    pub(crate) async fn response(&mut self) -> Result<ResponseHead, HeadError> {
        match self.head(LineEnds::CrlfOrLf).await? {
            Some((head, fields)) => parse::response(&head, fields),
            None => Err(HeadError::Closed),
        }
    }

    /// Reads the next piece of a body, as much as is there and 64 KiB at most; `None` at its proper end.
    ///
    /// # Errors
    /// When the connection ends or fails before the body does, or the bytes are no valid body.
    pub(crate) async fn piece(&mut self, decoder: &mut Decoder) -> Result<Option<Piece>, WireError> {
        loop {
            match decoder.decode(&mut self.buf, self.eof)? {
                Step::Data(data) => return Ok(Some(Piece::Data(data))),
                Step::Trailers(trailers) => return Ok(Some(Piece::Trailers(trailers))),
                Step::Done => return Ok(None),
                Step::NeedMore => self.fill().await?,
            };
        }
    }

    /// Reads ahead while nothing is expected, to notice that the peer went away: how many bytes came, or 0 when the
    /// peer closed its sending half. Once `max` bytes are buffered it never returns.
    pub(crate) async fn read_ahead(&mut self, max: usize) -> io::Result<usize> {
        if self.eof {
            return Ok(0);
        }
        if self.buf.len() >= max {
            return future::pending().await;
        }
        let room = (max - self.buf.len()).min(FIRST_READ_BYTES);
        let read = poll_fn(|cx| self.poll_without_room(room, cx)).await;
        self.note_end(at_rest(read))
    }

    /// Reads up to the end of a head and takes it: its bytes, and the number of its field lines.
    async fn head(&mut self, ends: LineEnds) -> Result<Option<(Bytes, usize)>, HeadError> {
        loop {
            if let Some(end) = self.head_end(ends)? {
                // Copied, so that a head kept for long does not keep the whole read buffer with it.
                let head = Bytes::copy_from_slice(&self.buf[..end]);
                self.buf.advance(end);
                self.last_head_bytes = end as u64;
                let fields = self.scan.lines().saturating_sub(1);
                self.scan = SectionScan::default();
                self.empty_lines = 0;
                return Ok(Some((head, fields)));
            }
            let read =
                if self.buf.is_empty() { self.fill_at_rest(|| ()).await? } else { self.fill().await? };
            if read == 0 {
                return if self.buf.is_empty() { Ok(None) } else { Err(HeadError::Truncated) };
            }
        }
    }

    /// Where the head at the front of the buffer ends, if all of it is there.
    fn head_end(&mut self, ends: LineEnds) -> Result<Option<usize>, HeadError> {
        while self.scan.lines() == 0 {
            let empty = ends.empty_line(&self.buf);
            if empty == 0 {
                break;
            }
            self.buf.advance(empty);
            self.scan = SectionScan::default();
            self.empty_lines += 1;
            if self.empty_lines > MAX_EMPTY_LINES {
                return Err(HeadError::malformed("too many empty lines before the message"));
            }
        }
        let within = self.buf.len().min(self.limits.max_bytes);
        let end = self.scan.find_end(&self.buf[..within], ends)?;
        if end.is_none() && self.buf.len() > within {
            return Err(match self.scan.lines() {
                0 => HeadError::StartLineTooLong,
                _ => HeadError::TooLarge,
            });
        }
        if self.scan.lines().saturating_sub(1) > self.limits.max_headers {
            return Err(HeadError::TooManyFields);
        }
        Ok(end)
    }

    /// Reads once; 0 at the end.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.eof {
            return Ok(0);
        }
        // The room left in the buffer is used up before more is made: small pieces share one allocation.
        if self.buf.capacity() - self.buf.len() < self.read_bytes / 4 {
            self.buf.reserve(self.read_bytes);
        }
        let room = (self.buf.capacity() - self.buf.len()).min(MAX_READ_BYTES);
        let read = self.io.read_buf(&mut (&mut self.buf).limit(room)).await;
        if matches!(read, Ok(read) if read >= self.read_bytes) {
            self.read_bytes = (self.read_bytes * 2).min(MAX_READ_BYTES);
        }
        self.note_end(read)
    }

    /// Reads once between messages, where an end without TLS's farewell loses nothing.
    async fn fill_at_rest(&mut self, mut rest: impl FnMut()) -> io::Result<usize> {
        if self.eof {
            return Ok(0);
        }
        let read = poll_fn(|cx| {
            let read = self.poll_without_room(FIRST_READ_BYTES, cx);
            if read.is_pending() {
                self.rest();
                rest();
            }
            read
        })
        .await;
        if matches!(read, Ok(FIRST_READ_BYTES)) {
            self.read_bytes = 2 * FIRST_READ_BYTES;
        }
        self.note_end(at_rest(read))
    }

    /// Reads once, and makes room in the buffer only for what came: who may have to wait for long holds none meanwhile.
    fn poll_without_room(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [const { MaybeUninit::uninit() }; FIRST_READ_BYTES];
        let mut came = ReadBuf::uninit(&mut room[..max]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut came))?;
        self.buf.extend_from_slice(came.filled());
        Poll::Ready(Ok(came.filled().len()))
    }

    fn note_end(&mut self, read: io::Result<usize>) -> io::Result<usize> {
        self.eof |= matches!(read, Ok(0));
        read
    }
}

/// Takes an end without TLS's farewell (close_notify) for a plain end.
fn at_rest(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    }
}
