//! What rules look at: a request, and what came back.

use std::cell::OnceCell;

use super::{
    apply_head,
    matcher::{ListenerMatch, SchemeMatch},
    query,
};
use crate::{
    event::ClientFacts,
    head::{RequestHead, ResponseHead, Scheme},
};

/// What is known of a body, decoded from its content coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen<'a> {
    /// It was not read; there may be one.
    #[default]
    NotRead,
    /// All of it. An exchange without a body has an empty one.
    Whole(&'a [u8]),
    /// It is larger than the limit for buffered bodies.
    OverLimit,
    /// It has a content coding that is not understood, or is not what its coding says.
    Undecodable,
}

/// A request as the client sent it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// The connection it came on.
    pub client: &'a ClientFacts,
    /// Its body.
    pub body: Seen<'a>,
}

/// A response as upstream sent it.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Its head.
    pub head: &'a ResponseHead,
    /// Its body.
    pub body: Seen<'a>,
}

/// A request with what is computed from it, once for all rules.
pub(super) struct Subject<'a> {
    pub(super) asked: Asked<'a>,
    /// In lower case, without port, brackets and trailing dot.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) scheme: SchemeMatch,
    pub(super) path: &'a str,
    pub(super) listener: ListenerMatch,
    url: OnceCell<String>,
    query: OnceCell<Vec<(String, String)>>,
    json: OnceCell<Option<serde_json::Value>>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(asked: Asked<'a>) -> Self {
        let head = asked.head;
        Self {
            asked,
            host: head.host().trim_end_matches('.').to_ascii_lowercase(),
            port: head.port(),
            scheme: match head.scheme {
                Scheme::Http => SchemeMatch::Http,
                Scheme::Https => SchemeMatch::Https,
            },
            path: query::split(&head.target).0,
            listener: ListenerMatch::of(asked.client.listener),
            url: OnceCell::new(),
            query: OnceCell::new(),
            json: OnceCell::new(),
        }
    }

    /// The whole URL, its scheme and host in lower case.
    pub(super) fn url(&self) -> &str {
        self.url.get_or_init(|| apply_head::lower_url(self.asked.head))
    }

    pub(super) fn query(&self) -> &[(String, String)] {
        self.query.get_or_init(|| query::parameters(&self.asked.head.target).collect())
    }

    /// The body as JSON, where it is.
    pub(super) fn json(&self) -> Option<&serde_json::Value> {
        self.json.get_or_init(|| parsed(self.asked.body)).as_ref()
    }
}

/// A body as JSON, where it is.
pub(super) fn parsed(body: Seen<'_>) -> Option<serde_json::Value> {
    if let Seen::Whole(bytes) = body { serde_json::from_slice(bytes).ok() } else { None }
}
