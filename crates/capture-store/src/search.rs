//! Substring search over URL, header names and values, and decoded bodies.

use crate::{
    id::{Seq, SessionId},
    query::{Order, Query},
    record::ExchangeSummary,
};

/// What to look for and where.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Search {
    /// The text; matched in whatever (ASCII) case unless `case_sensitive`.
    pub text: String,
    /// Whether case matters.
    pub case_sensitive: bool,
    /// Which exchanges to look through; its own `text` and `limit` are not used.
    pub filter: Query,
    /// Hits at most; 0 means 20.
    pub limit: usize,
    /// Exchanges read at most before a cursor is returned; 0 means no bound. What the index tells does not count.
    pub max_scan: u64,
    /// Characters of context on each side of a hit in a snippet; 0 means 60.
    pub context_chars: usize,
    /// Whether bodies are looked through (they are by default).
    pub skip_bodies: bool,
}

/// An exchange that matched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SearchHit {
    /// The exchange.
    pub exchange: ExchangeSummary,
    /// Where it matched; at most 3 places each in headers and bodies.
    pub places: Vec<Place>,
}

/// Where a text was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// `url`, `request.header.<name>`, `response.header.<name>`, `request.body`, `response.body`, `message.<n>`.
    pub field: String,
    /// Byte offset in the (decoded) field.
    pub position: u64,
    /// The text around it.
    pub snippet: String,
}

/// One page of hits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SearchPage {
    /// The hits, in the filter's order.
    pub hits: Vec<SearchHit>,
    /// Exchanges looked through for this page, by reading them or by the index.
    pub scanned: u64,
    /// Those of them that were not read, because the index tells that the text is not in them. Of a run of exchanges
    /// that the index answers for, all that the session (or the store) holds count, whatever else the filter asks for.
    pub indexed: u64,
    /// Bodies that could not be looked through (undecodable, cut), so that a missing hit proves nothing there.
    pub skipped_bodies: u64,
    /// Where to go on: as `filter.after` (ascending) or `filter.before` (descending). `None` when all was seen.
    pub next: Option<Seq>,
}

impl Search {
    /// Looks for `text` in one session, newest first.
    #[must_use]
    pub fn new(text: impl Into<String>, session: Option<SessionId>) -> Self {
        Self {
            text: text.into(),
            filter: Query { session, order: Order::Descending, ..Query::default() },
            ..Self::default()
        }
    }
}
