//! A handle to one stream, and what its readers and writers do under the connection's lock.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{
    core::{Core, Shared},
    fault::closed,
    frame::flag,
    send::{Pseudo, put_block},
    stream::{Fault, Out, Phase},
    writer::Last,
};
use crate::{
    head::{Headers, ResponseHead},
    wire::{Piece, WireError},
};

/// One of the holders of a stream.
pub(super) struct Handle {
    shared: Arc<Shared>,
    id: u32,
}

impl Handle {
    /// Takes over one that was counted already.
    pub(super) fn adopt(shared: &Arc<Shared>, id: u32) -> Self {
        Self { shared: shared.clone(), id }
    }

    /// Does something to the stream's connection.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Core, u32) -> R) -> R {
        self.shared.with(|core| act(core, self.id))
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.with(|core, id| {
            if let Some(stream) = core.streams.get_mut(&id) {
                stream.handles += 1;
            }
        });
        Self { shared: self.shared.clone(), id: self.id }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.with(|core, id| {
            if let Some(stream) = core.streams.get_mut(&id) {
                stream.handles -= 1;
                core.settle(id);
            }
        });
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.id).finish()
    }
}

/// Keeps the waker of whoever waits.
pub(super) fn wait<T>(slot: &mut Option<Waker>, cx: &Context<'_>) -> Poll<T> {
    if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
    Poll::Pending
}

/// A handle keeps its stream; only a mistake of ours brings this.
fn no_stream() -> WireError {
    closed("the stream is no more")
}

impl Core {
    /// Whether nothing of a body comes any more.
    pub(super) fn is_body_over(&self, id: u32) -> bool {
        self.streams.get(&id).is_none_or(|stream| {
            let received = &stream.received;
            received.ended && received.broken.is_none() && received.is_drained()
        })
    }

    /// Gives back what the last piece held of the windows.
    pub(super) fn give_back(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let held = std::mem::take(&mut stream.received.held);
        if held > 0 {
            stream.received.buffered -= held;
            self.buffered -= held;
            self.credit_stream(id);
            self.credit_connection();
        }
    }

    /// The next piece of a body.
    pub(super) fn poll_piece(&mut self, id: u32, cx: &Context<'_>) -> Poll<Result<Option<Piece>, WireError>> {
        self.give_back(id);
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(no_stream())) };
        let received = &mut stream.received;
        if let Some(data) = received.take() {
            return Poll::Ready(Ok(Some(Piece::Data(data))));
        }
        if let Some(trailers) = received.trailers.take() {
            return Poll::Ready(Ok(Some(Piece::Trailers(trailers))));
        }
        if let Some(error) = &received.broken {
            return Poll::Ready(Err(error.clone()));
        }
        if received.ended {
            return Poll::Ready(Ok(None));
        }
        let poll = wait(&mut received.reader, cx);
        self.grow(id);
        poll
    }

    /// Nobody reads the body any more.
    pub(super) fn stop_reading(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.buffered -= stream.received.discard();
            self.credit_connection();
        }
    }

    /// The next head of a response.
    pub(super) fn poll_head(
        &mut self,
        id: u32,
        cx: &Context<'_>,
    ) -> Poll<Result<(ResponseHead, u64), Fault>> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Fault { error: no_stream(), may_retry: false }));
        };
        if let Some(head) = stream.received.heads.pop_front() {
            return Poll::Ready(Ok(head));
        }
        match &stream.fault {
            Some(fault) => Poll::Ready(Err(fault.clone())),
            None => wait(&mut stream.received.reader, cx),
        }
    }

    /// Writes a head, at once: `end` when nothing follows.
    pub(super) fn put_head(
        &mut self,
        id: u32,
        pseudo: &Pseudo<'_>,
        headers: &Headers,
        end: bool,
    ) -> Result<(), WireError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Err(no_stream()) };
        if let Some(fault) = &stream.fault {
            return Err(fault.error.clone());
        }
        let flags = if end { flag::END_STREAM } else { 0 };
        let encoder = (&mut self.encoder, self.peer.max_payload);
        put_block(encoder, (id, flags), pseudo, headers, &mut self.control);
        self.stirred = true;
        if end {
            stream.sending.phase = Phase::Done;
            self.settle(id);
        }
        Ok(())
    }

    /// How much can be handed over: ready once that is anything.
    pub(super) fn poll_room(&mut self, id: u32, cx: &Context<'_>) -> Poll<Result<usize, WireError>> {
        let Some(stream) = self.streams.get(&id) else { return Poll::Ready(Err(no_stream())) };
        let room = self.room(stream);
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(no_stream())) };
        if let Some(fault) = &stream.fault {
            return Poll::Ready(Err(fault.error.clone()));
        }
        if stream.sending.phase != Phase::Open {
            return Poll::Ready(Err(closed("the stream is closed for sending")));
        }
        if room == 0 {
            return wait(&mut stream.sending.writer, cx);
        }
        Poll::Ready(Ok(room))
    }

    /// Hands over as much of `data` as there is room for: ready once that is anything.
    pub(super) fn poll_data(
        &mut self,
        id: u32,
        (data, last): (&mut Bytes, Last),
        cx: &Context<'_>,
    ) -> Poll<Result<(), WireError>> {
        let room = std::task::ready!(self.poll_room(id, cx))?;
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(no_stream())) };
        let sending = &mut stream.sending;
        let part = data.split_to(room.min(data.len()));
        sending.queued += part.len();
        self.queued += part.len();
        sending.queue.push_back(Out::Data(part));
        if data.is_empty() && last == Last::Yes {
            sending.queue.push_back(Out::End);
            sending.phase = Phase::Ending;
        }
        self.schedule(id);
        Poll::Ready(Ok(()))
    }

    /// Hands over the end.
    pub(super) fn put_end(&mut self, id: u32, trailers: Option<Headers>) -> Result<(), WireError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Err(no_stream()) };
        if let Some(fault) = &stream.fault {
            return Err(fault.error.clone());
        }
        stream.sending.phase = Phase::Ending;
        stream.sending.queue.push_back(trailers.map_or(Out::End, Out::Trailers));
        self.schedule(id);
        Ok(())
    }

    /// What ended the stream before its time, once something has.
    pub(super) fn poll_gone(&mut self, id: u32, cx: &Context<'_>) -> Poll<WireError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(no_stream()) };
        match &stream.fault {
            Some(fault) => Poll::Ready(fault.error.clone()),
            None => wait(&mut stream.gone, cx),
        }
    }
}
