//! Typed questions, parsed once, paged by seq.

use std::time::SystemTime;

use crate::{
    id::{Seq, SessionId},
    record::{ExchangeKind, ExchangeSummary},
};

/// Which exchanges, in which order, and how many. All given parts must hold.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Query {
    /// Only this session's; all sessions' otherwise.
    pub session: Option<SessionId>,
    /// Any of these methods, in whatever case; empty means all.
    pub methods: Vec<String>,
    /// Host contains this, in whatever case.
    pub host_contains: Option<String>,
    /// URL contains this, in whatever case.
    pub url_contains: Option<String>,
    /// The status.
    pub status: Option<StatusFilter>,
    /// The response's content type contains this, in whatever case.
    pub content_type_contains: Option<String>,
    /// Begun at or after.
    pub from: Option<SystemTime>,
    /// Begun before or at.
    pub to: Option<SystemTime>,
    /// URL, header names or values, or decoded bodies contain this, in whatever case.
    pub text: Option<String>,
    /// Only of this kind.
    pub kind: Option<ExchangeKind>,
    /// Only those that failed.
    pub failed: bool,
    /// Only after this seq (exclusive).
    pub after: Option<Seq>,
    /// Only before this seq (exclusive).
    pub before: Option<Seq>,
    /// The order by seq.
    pub order: Order,
    /// How many to skip; prefer `after` and `before`, which stay stable.
    pub offset: u64,
    /// How many at most; 0 means the default of 50, and no more than 10,000 are given.
    pub limit: usize,
}

/// A status or a span of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusFilter {
    /// Just this one.
    Exactly(u16),
    /// From the first to the last, both included.
    Between(u16, u16),
}

/// The order by seq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    #[default]
    Ascending,
    /// Newest first.
    Descending,
}

/// One page of an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The exchanges.
    pub items: Vec<ExchangeSummary>,
    /// How many match in all, cursors and offset left aside; `None` where it was not counted.
    pub total: Option<u64>,
    /// Whether more match beyond this page.
    pub more: bool,
}

/// What came after a cursor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tail {
    /// The exchanges, oldest first.
    pub items: Vec<ExchangeSummary>,
    /// The cursor to go on from.
    pub next: Seq,
    /// How many matching ones remain after `next`.
    pub remaining: u64,
    /// How many exchanges after the given cursor were evicted or deleted before they could be read.
    pub evicted: u64,
}
