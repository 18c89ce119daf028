//! Moves a connection's bytes: the one task that reads and writes it.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    time::{Instant, Sleep, sleep},
};

use super::{
    core::{Core, Farewell, Shared},
    fault::{closed, fatal_error, reset_error},
    frame::{Fatal, Frame, FrameHead, HEAD_BYTES, code},
    send::Output,
};
use crate::wire::{BoxedIo, WireError};

/// Room made for a read at first, and at most: what is quiet holds little.
const READ_BYTES: (usize, usize) = (4 * 1024, 64 * 1024);
/// Slices of one write.
const MAX_SLICES: usize = 64;
/// How long the peer of a connection that ends has to read our last word, or some more of what came before it.
const LINGER: Duration = Duration::from_secs(1);
/// Heads and answers that wait for a client to read: beyond it, nothing more is read of what it asks for. Streams whose
/// response is a head only do not wait for its windows, and count as over before they are written.
const MAX_BACKLOG_BYTES: usize = 1024 * 1024;
/// Reads in a row before whoever waits for what was read gets a turn.
const MAX_READS: usize = 16;

/// A connection's bytes.
pub(super) struct Connection {
    io: BoxedIo,
    shared: Arc<Shared>,
    input: BytesMut,
    read_bytes: usize,
    output: Output,
    needs_flush: bool,
    /// What was read by others and not yet looked at.
    unread: bool,
    ending: Option<Ending>,
}

/// A connection that ends: what is left is written, then what the peer still sends is read over, so that its end
/// does not take away what it has not read yet.
struct Ending {
    result: Result<(), WireError>,
    deadline: Pin<Box<Sleep>>,
    shut: bool,
}

impl Connection {
    /// `input` is what was read already.
    pub(super) fn new(io: BoxedIo, input: BytesMut, shared: Arc<Shared>) -> Self {
        let read_bytes = READ_BYTES.0;
        let (output, unread) = (Output::default(), !input.is_empty());
        Self { io, shared, input, read_bytes, output, needs_flush: false, unread, ending: None }
    }

    /// Moves what can be moved. Ready when the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        if self.ending.is_none() {
            match self.poll_open(cx) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {}
                Err(error) => {
                    self.shared.with(|core| core.fail_all(&error));
                    return Poll::Ready(Err(error));
                }
            }
        }
        self.poll_ending(cx)
    }

    /// Ends the connection with this code in GOAWAY. Streams fail with `error`.
    pub(super) fn end(&mut self, code: u32, detail: &str, result: Result<(), WireError>, error: &WireError) {
        if self.ending.is_some() {
            return;
        }
        self.shared.with(|core| {
            let last = if core.is_server() { core.last_stream } else { 0 };
            core.put_farewell(last, code, detail);
            core.fail_all(error);
        });
        self.ending = Some(Ending { result, deadline: Box::pin(sleep(LINGER)), shut: false });
    }

    /// The connection is gone, and its streams with it.
    pub(super) fn drop_streams(&self) {
        self.shared.with(|core| core.fail_all(&closed("the connection is closed")));
    }

    /// Reads and writes until neither goes on, or the connection begins to end.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, WireError> {
        for _ in 0..MAX_READS {
            self.poll_write(cx)?;
            if self.is_finished() {
                return Ok(Poll::Ready(()));
            }
            if self.is_behind() {
                return Ok(Poll::Pending);
            }
            match self.poll_read(cx)? {
                Poll::Ready(Read::Some) => {}
                Poll::Ready(Read::End) => {
                    self.peer_left();
                    return Ok(Poll::Ready(()));
                }
                Poll::Pending => {
                    // What was read may have made work.
                    self.poll_write(cx)?;
                    if self.is_finished() {
                        return Ok(Poll::Ready(()));
                    }
                    return Ok(Poll::Pending);
                }
            }
            if self.ending.is_some() {
                return Ok(Poll::Ready(()));
            }
        }
        self.poll_write(cx)?;
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    /// Whether a client leaves too much unread. What goes on then is the write that is pending. Upstream is always
    /// read: it might write to the end before it reads on.
    fn is_behind(&self) -> bool {
        let core = self.shared.lock();
        !self.output.is_empty() && core.is_server() && core.control.len() > MAX_BACKLOG_BYTES
    }

    /// Bytes that are not written yet.
    pub(super) fn unsent(&self) -> usize {
        let core = self.shared.lock();
        self.output.len() + core.control.len() + core.queued
    }

    /// Ends a connection that nobody needs any more.
    fn is_finished(&mut self) -> bool {
        let core = self.shared.lock();
        let is_unused = core.streams.is_empty() && core.arrived.is_empty();
        let is_said = matches!(core.farewell, Farewell::Said(_));
        let is_left = !core.is_server() && (core.abandoned || core.peer_farewell.is_some());
        let farewell = core.peer_farewell;
        drop(core);
        if !is_unused || !(is_said || is_left) {
            return false;
        }
        let result = match farewell {
            Some((_, code)) if code != code::NO_ERROR && is_left => Err(reset_error(code)),
            _ => Ok(()),
        };
        if is_said {
            self.ending = Some(Ending { result, deadline: Box::pin(sleep(LINGER)), shut: false });
        } else {
            self.end(code::NO_ERROR, "", result, &closed("the connection is closed"));
        }
        true
    }

    /// The peer ended the connection.
    fn peer_left(&mut self) {
        let farewell = self.shared.lock().peer_farewell;
        let (result, error) = match farewell {
            Some((_, code)) if code != code::NO_ERROR => (Err(reset_error(code)), reset_error(code)),
            _ => (Ok(()), closed("the connection was closed")),
        };
        self.shared.with(|core| core.fail_all(&error));
        self.ending = Some(Ending { result, deadline: Box::pin(sleep(LINGER)), shut: true });
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if !self.output.is_full() {
                let mut core = self.shared.lock();
                if !core.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
                    core.driver = Some(cx.waker().clone());
                }
                core.assemble(&mut self.output);
                core.stirred = false;
                let wakes = std::mem::take(&mut core.wakes);
                drop(core);
                wakes.wake();
            }
            if self.output.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = self.output.slices(&mut slices);
            let written = if self.io.is_write_vectored() {
                Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count])
            } else {
                Pin::new(&mut self.io).poll_write(cx, &slices[0])
            };
            match written? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => {
                    self.output.advance(written);
                    self.needs_flush = true;
                }
                Poll::Pending => return Ok(()),
            }
        }
        if self.needs_flush && Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(())
    }

    /// Reads once, and takes in the frames that are whole.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<Read>> {
        if std::mem::take(&mut self.unread) && self.take_in() {
            return Ok(Poll::Ready(Read::Some));
        }
        self.input.reserve(self.read_bytes);
        let room = self.input.capacity() - self.input.len();
        let read = pin!(self.io.read_buf(&mut self.input)).poll(cx);
        match read? {
            Poll::Ready(0) => return Ok(Poll::Ready(Read::End)),
            Poll::Ready(read) => {
                if read >= room.min(self.read_bytes) {
                    self.read_bytes = (self.read_bytes * 4).min(READ_BYTES.1);
                }
            }
            Poll::Pending => {
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                    self.read_bytes = READ_BYTES.0;
                    self.output.shrink();
                }
                return Ok(Poll::Pending);
            }
        }
        self.take_in();
        Ok(Poll::Ready(Read::Some))
    }

    /// Takes in the frames that are whole; tells whether there was one.
    fn take_in(&mut self) -> bool {
        let Self { shared, input, .. } = self;
        let mut taken = false;
        let received = shared.with(|core| {
            // The task that moves the bytes is this one.
            let driver = core.driver.take();
            let received = frames(core, input, &mut taken);
            core.driver = driver;
            core.stirred = false;
            received
        });
        if let Err(fatal) = received {
            let error = fatal_error(fatal);
            self.end(fatal.code, fatal.detail, Err(error.clone()), &error);
            self.input = BytesMut::new();
            return true;
        }
        taken
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        let before = self.output.len();
        let written = self.poll_write(cx);
        let Some(ending) = &mut self.ending else { return Poll::Ready(Ok(())) };
        let result = ending.result.clone();
        if result.is_ok() && self.output.len() < before {
            ending.deadline.as_mut().reset(Instant::now() + LINGER);
        }
        if written.is_err() || ending.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(result);
        }
        if !self.output.is_empty() || self.needs_flush {
            return Poll::Pending;
        }
        if !ending.shut {
            if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(result);
            }
            ending.shut = true;
        }
        loop {
            self.input.clear();
            self.input.reserve(READ_BYTES.0);
            match ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(result),
                Ok(_) => {}
            }
        }
    }
}

/// What came of a read.
enum Read {
    Some,
    End,
}

fn frames(core: &mut Core, input: &mut BytesMut, taken: &mut bool) -> Result<(), Fatal> {
    while let Some(head) = FrameHead::read(input) {
        if head.length > core.settings.max_payload_bytes as usize {
            return Err(Fatal::size("a frame over the agreed size"));
        }
        if input.len() < HEAD_BYTES + head.length {
            input.reserve(HEAD_BYTES + head.length - input.len());
            return Ok(());
        }
        input.advance(HEAD_BYTES);
        let payload = input.split_to(head.length).freeze();
        *taken = true;
        core.receive(&Frame { head, payload })?;
    }
    Ok(())
}
