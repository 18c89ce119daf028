//! Typed questions, parsed once, paged by seq.

use std::time::SystemTime;

use crate::{
    condition::{Condition, NumberField, Pattern, StateFilter, TextField},
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
    /// Only those this holds for; a filter's text becomes one by [`parse`](crate::parse).
    pub condition: Option<Condition>,
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

impl Query {
    /// All that it asks for beside session, cursors, order and limits, as one condition.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        let wanted = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let contains = |field| move |text: String| Condition::Text(field, Pattern::contains(&text));
        let mut parts = Vec::new();
        if !self.methods.is_empty() {
            let is = |method: &String| Condition::Text(TextField::Method, Pattern::equals(method));
            parts.push(Condition::Any(self.methods.iter().map(is).collect()));
        }
        parts.extend(wanted(&self.host_contains).map(contains(TextField::Host)));
        parts.extend(wanted(&self.url_contains).map(contains(TextField::Url)));
        parts.extend(self.status.map(|status| {
            let (first, last) = match status {
                StatusFilter::Exactly(status) => (status, status),
                StatusFilter::Between(first, last) => (first, last),
            };
            Condition::Number(NumberField::Status, first.into(), last.into())
        }));
        parts.extend(wanted(&self.content_type_contains).map(contains(TextField::ResponseType)));
        if self.from.is_some() || self.to.is_some() {
            parts.push(Condition::Began(self.from, self.to));
        }
        parts.extend(self.kind.map(Condition::Kind));
        if self.failed {
            parts.push(Condition::State(StateFilter::Failed));
        }
        parts.extend(wanted(&self.text).map(|text| Condition::Anywhere(Pattern::contains(&text))));
        parts.extend(self.condition.clone());
        match Condition::All(parts).simplified() {
            Condition::All(parts) => parts,
            one => vec![one],
        }
    }
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
    /// How many match at least: `total` where that was counted.
    pub at_least: u64,
    /// Whether more match beyond this page.
    pub more: bool,
    /// Bodies that could not be looked through (undecodable, cut) although that was asked for, so that a missing
    /// exchange proves nothing there.
    pub skipped_bodies: u64,
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
