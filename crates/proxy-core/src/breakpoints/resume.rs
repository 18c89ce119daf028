//! What may become of a paused exchange.

use bytes::Bytes;

use super::paused::{PauseId, Paused};
use crate::{
    body::Unread,
    head::{RequestHead, ResponseHead},
    rules::Phase,
};

/// What is to become of a paused exchange. Its `Debug` tells how long bodies are, not what is in them.
#[derive(Clone)]
#[non_exhaustive]
pub enum Resume {
    /// It goes on as it is.
    Continue,
    /// It goes on, changed.
    Edit(Box<Edit>),
    /// This is the answer; upstream is not asked, or its response is discarded.
    Respond {
        /// The head. `Content-Length` is put right by the engine.
        head: ResponseHead,
        /// The body, in the content coding that the head names.
        body: Bytes,
    },
    /// It ends without an answer.
    Abort,
}

/// Changes to what waits; what is `None` stays as it is.
#[derive(Clone, Default)]
pub struct Edit {
    /// Another head, where the request waits. Another `authority` or `scheme` sends it elsewhere.
    pub request: Option<RequestHead>,
    /// Another head, where the response waits.
    pub response: Option<ResponseHead>,
    /// Another body, decoded: the codings that the head names are put on, and the length is put right.
    pub body: Option<Bytes>,
}

impl std::fmt::Debug for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Continue => f.write_str("Continue"),
            Self::Edit(edit) => edit.fmt(f),
            Self::Respond { head, body } => f
                .debug_struct("Respond")
                .field("head", head)
                .field("body", &format_args!("<{} bytes>", body.len()))
                .finish(),
            Self::Abort => f.write_str("Abort"),
        }
    }
}

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edit")
            .field("request", &self.request)
            .field("response", &self.response)
            .field("body_bytes", &self.body.as_ref().map(Bytes::len))
            .finish()
    }
}

/// Why a paused exchange cannot go on so. It stays paused, but for the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It was resumed already, its deadline passed, or its client left.
    #[error("resume {0}: it is not paused any more")]
    NotPaused(PauseId),
    /// There was a response's head for a request that waits, or a request's for a response.
    #[error("edit the {0}, which is what waits here")]
    OtherPhase(&'static str),
    /// An interim (1xx) status can be no answer.
    #[error("answer with an interim status: give one from 200 to 599")]
    Interim,
    /// The body passes untouched because it could not be held.
    #[error("replace the body: {0}")]
    Body(Unread),
}

impl Resume {
    /// Whether a paused exchange can become this.
    pub(super) fn check(&self, paused: &Paused) -> Result<(), ResumeError> {
        match self {
            Self::Continue | Self::Abort => Ok(()),
            Self::Respond { head, .. } if head.status.is_informational() => Err(ResumeError::Interim),
            Self::Respond { .. } => Ok(()),
            Self::Edit(edit) => edit.check(paused),
        }
    }
}

impl Edit {
    fn check(&self, paused: &Paused) -> Result<(), ResumeError> {
        match paused.phase {
            Phase::Request if self.response.is_some() => return Err(ResumeError::OtherPhase("request")),
            Phase::Response if self.request.is_some() => return Err(ResumeError::OtherPhase("response")),
            _ => {}
        }
        let was = paused.response.as_ref().map(|head| head.status);
        let becomes = self.response.as_ref().map(|head| head.status);
        if becomes.is_some_and(|status| status.is_informational()) && becomes != was {
            return Err(ResumeError::Interim);
        }
        match &paused.body {
            Err(unread) if self.body.is_some() && !matches!(unread, Unread::Undecodable { .. }) => {
                Err(ResumeError::Body(unread.clone()))
            }
            _ => Ok(()),
        }
    }
}
