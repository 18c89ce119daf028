//! What whoever changes traffic may do with bodies: have one whole, put another in its place, or change it in passing.

use std::future::ready;

use bytes::Bytes;

use crate::{failure::Failure, observer::BoxFuture};

/// What an interceptor wants of a body.
///
/// The record keeps the body as it was received, whatever is made of it.
#[derive(Default)]
#[non_exhaustive]
pub enum BodyWish {
    /// Nothing: it passes.
    #[default]
    Pass,
    /// All of it, in one piece, with its content codings taken off (`gzip`, `deflate`, `br`, `zstd`).
    ///
    /// It is held until it is whole, and the message waits for it. A body with more than `max_bytes`, as received or
    /// decoded, one that takes longer than [`Timeouts::hold_body`](crate::Timeouts), and one whose type is that of an
    /// endless stream (`text/event-stream`, `application/grpc`, `multipart/x-mixed-replace`) passes untouched: what
    /// was held goes first and the rest follows as it comes. [`WholeBody::unread`] says which it was. A client that
    /// asked first (`Expect: 100-continue`) is told to go on, unless its `Content-Length` says already that it is too
    /// much.
    Whole {
        /// The most that is held.
        max_bytes: usize,
    },
    /// Its pieces as they come, content codings kept. Its length is no longer known and is not said.
    ///
    /// Pieces are changed after all that is done with whole bodies, whichever interceptor asked first.
    Pieces(Box<dyn BodyTransformer>),
    /// Its pieces as they come, content codings taken off; `Content-Encoding` is removed. Where a coding is not one of
    /// those above the body passes untouched.
    DecodedPieces(Box<dyn BodyTransformer>),
}

/// Changes a body in passing, piece by piece. The next piece is not read before this one is done with.
///
/// A function from `Bytes` to `Bytes` is one.
pub trait BodyTransformer: Send + 'static {
    /// Takes a piece, never empty, and gives what passes in its place; nothing may.
    ///
    /// An error breaks the message off, so that its receiver sees that it is not whole.
    fn piece(&mut self, data: Bytes) -> BoxFuture<'_, Result<Bytes, Failure>>;

    /// Gives what passes after the last piece.
    fn end(&mut self) -> BoxFuture<'_, Result<Bytes, Failure>> {
        Box::pin(ready(Ok(Bytes::new())))
    }
}

impl<F: FnMut(Bytes) -> Bytes + Send + 'static> BodyTransformer for F {
    fn piece(&mut self, data: Bytes) -> BoxFuture<'_, Result<Bytes, Failure>> {
        let changed = self(data);
        Box::pin(ready(Ok(changed)))
    }
}

/// A body that was asked for whole. Its `Debug` tells how long it is, not what is in it.
pub struct WholeBody {
    content: Result<Bytes, Unread>,
    replaced: bool,
}

impl WholeBody {
    pub(crate) fn new(content: Result<Bytes, Unread>) -> Self {
        Self { content, replaced: false }
    }

    /// The body, content codings taken off, as it is now; `None` when it could not be had.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        self.content.as_ref().ok()
    }

    /// Why it could not be had.
    #[must_use]
    pub fn unread(&self) -> Option<&Unread> {
        self.content.as_ref().err()
    }

    /// Puts another body in its place. The codings that `Content-Encoding` names then are put on again; where they are
    /// not known the field is removed. The length is put right. Other fields that speak of the body, digests and
    /// validators, are left as they are.
    ///
    /// # Errors
    /// When the body passes already because it could not be held.
    pub fn replace(&mut self, body: impl Into<Bytes>) -> Result<(), Unread> {
        match &self.content {
            Err(unread) if !matches!(unread, Unread::Undecodable { .. }) => Err(unread.clone()),
            _ => {
                self.content = Ok(body.into());
                self.replaced = true;
                Ok(())
            }
        }
    }

    pub(crate) fn into_content(self) -> Result<Bytes, Unread> {
        self.content
    }

    pub(crate) fn into_replaced(self) -> Option<Bytes> {
        self.content.ok().filter(|_| self.replaced)
    }
}

impl std::fmt::Debug for WholeBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.bytes().map(Bytes::len);
        let unread = self.unread();
        f.debug_struct("WholeBody").field("bytes", &bytes).field("unread", &unread).finish_non_exhaustive()
    }
}

/// Why a body could not be had whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unread {
    /// It has more bytes than were asked for, as received or decoded.
    #[error("the body is over the limit of {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// It was not whole in time.
    #[error("the body was not whole in time")]
    TooSlow,
    /// Its type is that of an endless stream.
    #[error("the body is a stream without an end")]
    Endless,
    /// It was had whole, but does not decode. It may still be replaced.
    #[error("the body cannot be decoded: {problem}")]
    Undecodable {
        /// What is wrong with it.
        problem: String,
    },
}
