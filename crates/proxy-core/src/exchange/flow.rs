//! What a body goes through on its way, where anybody wants it to: held back, replaced, changed in passing, slowed.
//!
//! An exchange nobody touches has no [`Flow`]; its bodies take the short way of `upload` and `download`.

use std::panic::AssertUnwindSafe;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::{forward::Shape, ledger::Ledger, pace::Pace, patience::within, upload::Upload};
use crate::{
    body::BodyTransformer,
    coding::{Decoder, Undecodable},
    event::Direction,
    failure::{Failure, FailureKind, Side},
    head::Headers,
    leg::{BodyReader, Writer},
    limits::Timeouts,
    rules::Corrupt,
    wire::{Piece, WireError},
};

/// What one piece of a coded body may decode to; a body that goes beyond it is broken off.
const MAX_DECODED_PIECE_BYTES: usize = 16 * 1024 * 1024;

/// Pieces smaller than this are held together, so that a body sent byte by byte takes no more memory than its bytes.
const SMALL_PIECE_BYTES: usize = 4 * 1024;

/// What a body goes through.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) held: Held,
    /// What passes instead of what is held, which is whole.
    pub(super) instead: Option<Bytes>,
    /// Whether the client was told to send it before upstream was.
    pub(super) invited: bool,
    pub(super) stages: Vec<Stage>,
    pub(super) pace: Pace,
}

/// What was read of a body, and told, before it may pass.
#[derive(Default)]
pub(super) struct Held {
    pub(super) pieces: Vec<Bytes>,
    pub(super) bytes: usize,
    pub(super) trailers: Option<Headers>,
    pub(super) whole: bool,
    /// When it counts as too slow.
    pub(super) deadline: Option<Instant>,
}

impl Held {
    /// Keeps one more piece.
    pub(super) fn push(&mut self, data: Bytes) {
        self.bytes += data.len();
        let small = |piece: &mut Bytes| piece.len() < SMALL_PIECE_BYTES;
        if data.len() < SMALL_PIECE_BYTES
            && let Some(last) = self.pieces.pop_if(small)
        {
            let mut joined = last.try_into_mut().unwrap_or_else(|last| BytesMut::from(&last[..]));
            joined.extend_from_slice(&data);
            self.pieces.push(joined.freeze());
        } else {
            self.pieces.push(data);
        }
    }
}

/// One thing that changes a body in passing.
pub(super) enum Stage {
    Transform(Box<dyn BodyTransformer>),
    Decode(Decoder),
    /// Lets so many bytes pass, then breaks the message off.
    Truncate {
        left: u64,
        why: Failure,
    },
    /// Flips bits; so many bytes passed.
    Corrupt {
        corrupt: Corrupt,
        offset: u64,
    },
}

/// Why a body did not pass whole.
pub(super) enum Stopped {
    /// A peer was at fault.
    Peer(Side, WireError),
    /// It was broken off here.
    Here(Failure),
}

impl Flow {
    /// How long the body is that passes, if it was received so.
    pub(super) fn shape(&self, received: Shape) -> Shape {
        let changes_length =
            self.stages.iter().any(|stage| matches!(stage, Stage::Transform(_) | Stage::Decode(_)));
        match &self.instead {
            _ if self.held.trailers.is_some() && (changes_length || self.instead.is_some()) => Shape::Unknown,
            Some(body) if !changes_length => match body.len() {
                0 if received == Shape::Empty => Shape::Empty,
                length => Shape::Length(length as u64),
            },
            Some(_) => Shape::Unknown,
            None if changes_length && received != Shape::Empty => Shape::Unknown,
            None => received,
        }
    }

    /// Writes a piece through all stages, at the pace of the line.
    pub(super) async fn put(&mut self, data: Bytes, to: &mut Writer<'_>) -> Result<(), Unwritten> {
        let (data, stop) = through(&mut self.stages, data).await?;
        self.write(data, to).await?;
        stop.map_or(Ok(()), |why| Err(Unwritten::Here(why)))
    }

    async fn write(&mut self, mut data: Bytes, to: &mut Writer<'_>) -> Result<(), Unwritten> {
        while !data.is_empty() {
            let slice = self.pace.slice(&mut data);
            self.pace.carry(slice.len()).await;
            to.data(slice).await.map_err(Unwritten::Sink)?;
        }
        Ok(())
    }

    /// Writes what the stages still hold back, and ends the message.
    pub(super) async fn end(
        &mut self,
        trailers: Option<&Headers>,
        to: &mut Writer<'_>,
    ) -> Result<(), Unwritten> {
        for at in 0..self.stages.len() {
            let Some((stage, rest)) = self.stages[at..].split_first_mut() else { break };
            let (data, stop) = through(rest, stage.end().await.map_err(Unwritten::Here)?).await?;
            self.write(data, to).await?;
            if let Some(why) = stop {
                return Err(Unwritten::Here(why));
            }
        }
        to.end(trailers).await.map_err(Unwritten::Sink)
    }
}

/// What ended a write.
pub(super) enum Unwritten {
    /// Whoever was written to.
    Sink(WireError),
    /// A stage.
    Here(Failure),
}

/// Takes a piece through the stages. Gives what is to be written, and what breaks the message off after that.
async fn through(stages: &mut [Stage], mut data: Bytes) -> Result<(Bytes, Option<Failure>), Unwritten> {
    let mut stop = None;
    for stage in stages {
        if data.is_empty() {
            break;
        }
        let why;
        (data, why) = stage.piece(data).await.map_err(Unwritten::Here)?;
        stop = stop.or(why);
    }
    Ok((data, stop))
}

impl Stage {
    async fn piece(&mut self, mut data: Bytes) -> Result<(Bytes, Option<Failure>), Failure> {
        match self {
            Self::Transform(transformer) => {
                let changed = AssertUnwindSafe(transformer.piece(data)).catch_unwind().await;
                changed.unwrap_or_else(|_panic| Err(panicked())).map(|data| (data, None))
            }
            Self::Decode(decoder) => {
                let decoded = decoder.push(&data, MAX_DECODED_PIECE_BYTES).map_err(undecodable)?;
                Ok((decoded.into(), None))
            }
            Self::Truncate { left, why } => {
                let passes = usize::try_from(*left).unwrap_or(usize::MAX);
                if data.len() <= passes {
                    *left -= data.len() as u64;
                    return Ok((data, None));
                }
                *left = 0;
                data.truncate(passes);
                Ok((data, Some(why.clone())))
            }
            Self::Corrupt { corrupt, offset } => {
                let mut corrupted = data.to_vec();
                corrupt.apply(*offset, &mut corrupted);
                *offset += corrupted.len() as u64;
                Ok((corrupted.into(), None))
            }
        }
    }

    async fn end(&mut self) -> Result<Bytes, Failure> {
        match self {
            Self::Transform(transformer) => {
                let last = AssertUnwindSafe(transformer.end()).catch_unwind().await;
                last.unwrap_or_else(|_panic| Err(panicked()))
            }
            Self::Decode(decoder) => {
                decoder.finish(MAX_DECODED_PIECE_BYTES).map(Bytes::from).map_err(undecodable)
            }
            Self::Truncate { .. } | Self::Corrupt { .. } => Ok(Bytes::new()),
        }
    }
}

fn panicked() -> Failure {
    Failure::new(FailureKind::Aborted, "a body transformer panicked")
}

fn undecodable(why: Undecodable) -> Failure {
    match why {
        Undecodable::TooLarge => {
            let detail = format!("a piece of the body decodes to over {MAX_DECODED_PIECE_BYTES} bytes");
            Failure::new(FailureKind::Limit, detail)
        }
        Undecodable::Broken(problem) => {
            Failure::new(FailureKind::Aborted, format!("the body cannot be decoded: {problem}"))
        }
    }
}

/// A body under way through its flow.
pub(super) struct Passage<'x> {
    pub(super) timeouts: &'x Timeouts,
    pub(super) ledger: &'x Ledger,
    pub(super) way: Direction,
    pub(super) upload: &'x Upload,
}

impl Passage<'_> {
    /// Carries a body from one side to the other: what was held first, then the rest as it comes.
    pub(super) async fn carry(
        &self,
        flow: &mut Flow,
        from: &mut BodyReader<'_>,
        to: &mut Writer<'_>,
    ) -> Result<(), Stopped> {
        let (source, sink) = match self.way {
            Direction::ToUpstream => (Side::Client, Side::Upstream),
            Direction::ToClient => (Side::Upstream, Side::Client),
        };
        let stopped = |outcome| match outcome {
            Unwritten::Sink(error) => Stopped::Peer(sink, error),
            Unwritten::Here(failure) => Stopped::Here(failure),
        };
        if flow.invited {
            self.upload.begin();
        }
        to.flush().await.map_err(|error| Stopped::Peer(sink, error))?;
        let held = std::mem::take(&mut flow.held.pieces);
        match flow.instead.take() {
            Some(body) if body.is_empty() => {}
            Some(body) => flow.put(body, to).await.map_err(stopped)?,
            None => {
                for data in held {
                    flow.put(data, to).await.map_err(stopped)?;
                }
            }
        }
        while !flow.held.whole {
            match self.next(from, to).await? {
                Some(Piece::Data(data)) => {
                    self.tell_piece(&data);
                    flow.put(data, to).await.map_err(stopped)?;
                }
                Some(Piece::Trailers(fields)) => {
                    self.tell_trailers(&fields);
                    flow.held.trailers = Some(fields);
                }
                None => flow.held.whole = true,
            }
        }
        let trailers = flow.held.trailers.take();
        flow.end(trailers.as_ref(), to).await.map_err(stopped)?;
        if source == Side::Client && !self.ledger.is_request_done() {
            self.ledger.request_done();
        }
        Ok(())
    }

    /// The next piece; a client that wants no more of a response ends it.
    async fn next(&self, from: &mut BodyReader<'_>, to: &mut Writer<'_>) -> Result<Option<Piece>, Stopped> {
        self.ledger.ready().await;
        let piece = within(self.timeouts, self.ledger, from.piece());
        match self.way {
            Direction::ToUpstream => piece.await.map_err(|error| Stopped::Peer(Side::Client, error)),
            Direction::ToClient => tokio::select! {
                piece = piece => piece.map_err(|error| Stopped::Peer(Side::Upstream, error)),
                error = to.gone() => Err(Stopped::Peer(Side::Client, error)),
            },
        }
    }

    pub(super) fn tell_piece(&self, data: &Bytes) {
        match self.way {
            Direction::ToUpstream => {
                self.upload.begin();
                self.ledger.request_piece(data);
            }
            Direction::ToClient => self.ledger.response_piece(data),
        }
    }

    fn tell_trailers(&self, fields: &Headers) {
        match self.way {
            Direction::ToUpstream => self.ledger.request_trailers(fields),
            Direction::ToClient => self.ledger.response_trailers(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_comes_byte_by_byte_is_held_in_few_pieces() {
        let wire: Bytes = (0..=u8::MAX).cycle().take(100_000).collect();
        let mut held = Held::default();
        (0..wire.len()).for_each(|at| held.push(wire.slice(at..=at)));
        assert!(held.pieces.len() <= wire.len() / SMALL_PIECE_BYTES + 1, "{}", held.pieces.len());
        assert_eq!((held.bytes, held.pieces.concat()), (wire.len(), wire.to_vec()));
    }

    #[test]
    fn large_pieces_are_held_as_they_came() {
        let large = Bytes::from(vec![7; SMALL_PIECE_BYTES]);
        let mut held = Held::default();
        [large.clone(), Bytes::from_static(b"a"), large.clone()]
            .into_iter()
            .for_each(|piece| held.push(piece));
        assert_eq!(held.pieces, [large.clone(), Bytes::from_static(b"a"), large]);
    }
}
