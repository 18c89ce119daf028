//! Conditions, alone and put together.

use std::time::SystemTime;

use super::{Network, NumberField, Pattern, PeerSide, TextField};
use crate::{
    id::SessionId,
    record::{BodySide, ExchangeKind},
};

/// What an exchange must be. What an exchange does not have (a status, a header) is no match.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// All of these hold; of none, it holds.
    All(Vec<Self>),
    /// One of these holds; of none, it does not.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// It is in this session.
    Session(SessionId),
    /// A text is as the pattern says.
    Text(TextField, Pattern),
    /// A number is between these, both included.
    Number(NumberField, u64, u64),
    /// It began at or after the first and at or before the second.
    Began(Option<SystemTime>, Option<SystemTime>),
    /// It stands or ended so.
    State(StateFilter),
    /// It is of this kind.
    Kind(ExchangeKind),
    /// The peer's address is in the network.
    Peer(PeerSide, Network),
    /// The URL's query has the parameter, with such a value where one is given; both percent-decoded.
    Parameter {
        /// The parameter's name, in whatever case.
        name: String,
        /// Its value; any where it is not given.
        value: Option<Pattern>,
    },
    /// A message has the field, with such a value where one is given.
    Header {
        /// Of which message; of either where it is not given.
        side: Option<BodySide>,
        /// The field's name, in whatever case.
        name: String,
        /// Its value; any where it is not given.
        value: Option<Pattern>,
    },
    /// The request has the cookie, or the response sets it.
    Cookie {
        /// The cookie's name, in whatever case.
        name: String,
        /// Its value; any where it is not given.
        value: Option<Pattern>,
    },
    /// A body, decoded, is as the pattern says. Of bodies longer than 16 MiB only a text that is contained is found
    /// beyond that.
    Body {
        /// Whose; either's where it is not given.
        side: Option<BodySide>,
        /// What it is compared with.
        pattern: Pattern,
    },
    /// A WebSocket message is as the pattern says.
    Message {
        /// From the client, or from upstream; either where it is not given.
        from_client: Option<bool>,
        /// What it is compared with.
        pattern: Pattern,
    },
    /// The URL, a header field as a line, a decoded body or a message is as the pattern says.
    Anywhere(Pattern),
}

/// How an exchange stands or ended, as a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateFilter {
    /// It goes on.
    Open,
    /// The origin's response passed whole.
    Response,
    /// A rule, an interceptor or the proxy itself answered.
    Mock,
    /// An upgraded stream came to its end.
    Upgrade,
    /// A tunnel came to its end.
    Tunnel,
    /// It failed.
    Failed,
}

/// What has to be read of an exchange to tell whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// Its summary.
    Summary,
    /// Its heads and facts.
    Detail,
    /// Its bodies and messages.
    Content,
}

impl Condition {
    /// What has to be read to tell.
    #[must_use]
    pub fn cost(&self) -> Cost {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().map(Self::cost).max().unwrap_or(Cost::Summary)
            }
            Self::Not(part) => part.cost(),
            Self::Text(field, _) => match field {
                TextField::Method
                | TextField::Scheme
                | TextField::Host
                | TextField::Url
                | TextField::Path
                | TextField::HttpVersion
                | TextField::RequestType
                | TextField::ResponseType
                | TextField::Failure
                | TextField::FailureDetail => Cost::Summary,
                _ => Cost::Detail,
            },
            Self::Number(NumberField::Wait, ..)
            | Self::Peer(..)
            | Self::Header { .. }
            | Self::Cookie { .. } => Cost::Detail,
            Self::Body { .. } | Self::Message { .. } | Self::Anywhere(_) => Cost::Content,
            _ => Cost::Summary,
        }
    }

    /// The same with what costs less asked first, and nested lists flattened.
    #[must_use]
    pub fn simplified(self) -> Self {
        match self {
            Self::All(parts) => {
                let mut flat = Vec::new();
                for part in parts.into_iter().map(Self::simplified) {
                    match part {
                        Self::All(inner) => flat.extend(inner),
                        part => flat.push(part),
                    }
                }
                one_or(flat, Self::All)
            }
            Self::Any(parts) => {
                let mut flat = Vec::new();
                for part in parts.into_iter().map(Self::simplified) {
                    match part {
                        Self::Any(inner) => flat.extend(inner),
                        part => flat.push(part),
                    }
                }
                one_or(flat, Self::Any)
            }
            Self::Not(part) => match part.simplified() {
                Self::Not(inner) => *inner,
                part => Self::Not(Box::new(part)),
            },
            leaf => leaf,
        }
    }
}

fn one_or(mut parts: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    parts.sort_by_key(Condition::cost);
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            parts.push(last);
            many(parts)
        }
        (_, None) => many(parts),
    }
}

impl StateFilter {
    pub(crate) fn of(state: &crate::record::ExchangeState) -> Self {
        use crate::record::ExchangeState as State;
        match state {
            State::Open => Self::Open,
            State::Response => Self::Response,
            State::Mock => Self::Mock,
            State::Upgrade => Self::Upgrade,
            State::Tunnel => Self::Tunnel,
            State::Failed(_) => Self::Failed,
        }
    }
}
