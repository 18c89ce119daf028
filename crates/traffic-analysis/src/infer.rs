//! The API behind recorded exchanges: an OpenAPI 3.1 document made from samples, and what drifted from one.
//!
//! [`infer`] reads exchanges one by one and keeps shapes, not bodies: memory grows with the API, not with the traffic,
//! and every part of it is bounded by [`Options`] or by a constant that says so. [`drift`] holds exchanges against a
//! document, whether inferred or written by hand.

mod auth;
mod collect;
mod document;
mod drift;
mod format;
mod operation;
mod route;
mod sample;
mod shape;

pub use drift::{Change, ChangeKind, Drift, DriftError, drift};

use capture_store::{Error, Query, Store};
use serde_json::Value;

/// How to infer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Exchanges read at most; the oldest first. Default 20,000.
    pub max_exchanges: u64,
    /// Bodies looked into for each operation and status; further ones are only counted. Default 200.
    pub max_samples: u64,
    /// Decoded bytes of a body; one that is longer is not looked into. Default 1 MiB.
    pub max_body_bytes: u64,
    /// Operations; exchanges that would make more are only counted. Default 2,000.
    pub max_operations: usize,
    /// Only this origin, as `https://api.example.com`. Default the one with most calls.
    pub origin: Option<String>,
    /// Only the paths whose template contains this.
    pub path_contains: Option<String>,
    /// Whether pages, scripts, images, fonts and media are described, too. Default off.
    pub everything: bool,
    /// Whether a sample of each body stands in the document; credentials in it are masked by name. Default off.
    pub examples: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_exchanges: 20_000,
            max_samples: 200,
            max_body_bytes: 1024 * 1024,
            max_operations: 2_000,
            origin: None,
            path_contains: None,
            everything: false,
            examples: false,
        }
    }
}

/// An API as exchanges showed it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inferred {
    /// The OpenAPI 3.1 document.
    pub document: Value,
    /// The origin it describes; `None` where no exchange showed an API.
    pub origin: Option<String>,
    /// Its operations, by path and method.
    pub operations: Vec<OperationSummary>,
    /// Other origins with calls, and how many, the busiest first.
    pub other_origins: Vec<(String, u64)>,
    /// What was read and what was left out.
    pub counts: Counts,
}

/// An operation in short.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationSummary {
    /// The method.
    pub method: String,
    /// The path's template.
    pub path: String,
    /// Calls.
    pub count: u64,
    /// Statuses it answered with.
    pub statuses: Vec<u16>,
}

/// What was read and what was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Exchanges that matched the query and were read.
    pub read: u64,
    /// Exchanges the document describes.
    pub described: u64,
    /// Those without a response of upstream: failed, open, mocked, tunnels, WebSockets.
    pub unanswered: u64,
    /// Pages, scripts, images and the like, and preflight requests.
    pub not_api: u64,
    /// Those of methods that OpenAPI has no place for.
    pub other_methods: u64,
    /// Those beyond the limit of operations.
    pub beyond_limit: u64,
    /// Bodies not looked into: cut, too long, not decodable, or not what their type says.
    pub unread_bodies: u64,
    /// Whether there were more exchanges than were read.
    pub more: bool,
}

/// Infers the API of one origin from the exchanges of a query. Blocks on the disk.
///
/// # Errors
/// When the store cannot be read.
pub fn infer(store: &Store, query: &Query, options: &Options) -> Result<Inferred, Error> {
    let mut collected = collect::collect(store, query, options)?;
    let origin = collected.choose(options.origin.as_deref());
    let other_origins = collected.others(origin.as_deref());
    let mut operations = origin.as_deref().map(|origin| collected.take(origin)).unwrap_or_default();
    route::merge_siblings(&mut operations);
    if let Some(part) = &options.path_contains {
        operations.retain(|key, _| key.template().contains(part.as_str()));
    }
    let summaries = operations.iter().map(|(key, operation)| operation.summary(key)).collect();
    let mut counts = collected.counts;
    counts.described = operations.values().map(|operation| operation.count).sum();
    let document = document::write(origin.as_deref(), &operations, options.examples);
    Ok(Inferred { document, origin, operations: summaries, other_origins, counts })
}
