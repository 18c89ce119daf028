//! WebSocket messages: what a rule does to them.

use serde::{Deserialize, Serialize};

use super::{content::Content, edit::BodyEdits, pace::bounded_ms, pattern::Pattern};
use crate::event::{Direction, MessageKind};

/// Edits messages that pass. They are seen whole: fragments joined, permessage-deflate decoded. Pings, pongs and the
/// closing handshake pass untouched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EditMessages {
    /// Who sends them; both without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Peer>,
    /// Text or binary; both without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<DataKind>,
    /// What they must be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<Pattern>,
    /// What becomes of them.
    pub then: MessageEdit,
}

impl EditMessages {
    /// Edits every message.
    #[must_use]
    pub fn all(then: MessageEdit) -> Self {
        Self { from: None, kind: None, matching: None, then }
    }

    /// Tells whether a message is meant.
    #[must_use]
    pub fn is_for(&self, direction: Direction, kind: MessageKind, data: &[u8]) -> bool {
        let Some(kind) = DataKind::of(kind) else { return false };
        self.from.is_none_or(|from| from == Peer::sending(direction))
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.matching.as_ref().is_none_or(|pattern| pattern.matches(data))
    }
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MessageEdit {
    /// It does not arrive.
    Drop,
    /// This arrives instead, of the same kind.
    Replace(Content),
    /// It arrives edited.
    Edit(BodyEdits),
    /// It does not arrive; its sender gets this, of the same kind, as if the other side had answered.
    Answer(Content),
}

/// A message of our own, sent once, when the WebSocket is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct InjectMessage {
    /// Who gets it.
    pub to: Peer,
    /// What is in it; a text has to be UTF-8.
    pub content: Content,
    /// Text or binary; text without this.
    #[serde(default = "text")]
    pub kind: DataKind,
    /// How long after the opening, in milliseconds.
    #[serde(default, deserialize_with = "bounded_ms", skip_serializing_if = "super::pace::is_zero")]
    pub after_ms: u64,
}

fn text() -> DataKind {
    DataKind::Text
}

impl InjectMessage {
    /// Sends a text at once.
    #[must_use]
    pub fn text(to: Peer, text: impl Into<Content>) -> Self {
        Self { to, content: text.into(), kind: DataKind::Text, after_ms: 0 }
    }
}

/// One end of a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// The client.
    Client,
    /// Upstream.
    Upstream,
}

impl Peer {
    /// Who sends in a direction.
    #[must_use]
    pub fn sending(direction: Direction) -> Self {
        match direction {
            Direction::ToUpstream => Self::Client,
            Direction::ToClient => Self::Upstream,
        }
    }
}

/// The kind of a message that carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataKind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

impl DataKind {
    fn of(kind: MessageKind) -> Option<Self> {
        match kind {
            MessageKind::Text => Some(Self::Text),
            MessageKind::Binary => Some(Self::Binary),
            _ => None,
        }
    }
}
