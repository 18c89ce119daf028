//! Traffic as it comes: the exchanges of the sessions this server recorded, read as one list.

use capture_store::{Error, ErrorKind, ExchangeSummary, Order, Query, Seq, SessionId, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    /// Oldest first.
    #[default]
    Asc,
    /// Newest first.
    Desc,
}

impl Sort {
    pub(crate) fn order(self) -> Order {
        match self {
            Self::Asc => Order::Ascending,
            Self::Desc => Order::Descending,
        }
    }

    pub(crate) fn desc() -> Self {
        Self::Desc
    }
}

/// A session this server records or recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveSession {
    pub(crate) id: SessionId,
    /// What is at or before it is not in view: there before the session began, or cleared (but kept, in a named
    /// session).
    pub(crate) floor: Seq,
    pub(crate) scratch: bool,
}

impl LiveSession {
    /// A session that began when `newest` was the newest exchange of the store.
    pub(crate) fn new(id: SessionId, newest: Seq, scratch: bool) -> Self {
        Self { id, floor: newest, scratch }
    }

    fn filter(&self, filter: &Query) -> Query {
        let mut query = filter.clone();
        query.session = Some(self.id);
        query.after = query.after.max(Some(self.floor)).filter(|seq| *seq > Seq(0));
        query
    }
}

/// One page of traffic.
pub(crate) struct LivePage {
    pub(crate) items: Vec<ExchangeSummary>,
    /// How many match in all.
    pub(crate) total: u64,
}

/// Which part of the traffic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) limit: usize,
}

/// Reads one page over all sessions, in `filter.order`; sessions follow each other in the order they began.
pub(crate) fn page(
    store: &Store,
    sessions: &[LiveSession],
    filter: &Query,
    span: Span,
) -> Result<LivePage, Error> {
    let mut ordered = sessions.to_vec();
    if filter.order == Order::Descending {
        ordered.reverse();
    }
    let mut page = LivePage { items: Vec::new(), total: 0 };
    let mut skip = span.offset;
    for session in &ordered {
        let Some(count) = unless_deleted(count(store, session, filter))? else { continue };
        page.total += count;
        let room = span.limit - page.items.len();
        if skip >= count || room == 0 {
            skip = skip.saturating_sub(count);
            continue;
        }
        let mut query = session.filter(filter);
        (query.offset, query.limit) = (skip, room);
        skip = 0;
        if let Some(found) = unless_deleted(store.query(&query))? {
            page.items.extend(found.items);
        }
    }
    Ok(page)
}

/// How many exchanges of a session are in view and match.
fn count(store: &Store, session: &LiveSession, filter: &Query) -> Result<u64, Error> {
    let mut query = session.filter(filter);
    query.limit = 1;
    let tail = store.tail(session.floor, &query)?;
    Ok(tail.items.len() as u64 + tail.remaining)
}

/// How many exchanges are in view.
pub(crate) fn total(store: &Store, sessions: &[LiveSession]) -> Result<u64, Error> {
    let mut total = 0;
    for session in sessions {
        total += unless_deleted(count(store, session, &Query::default()))?.unwrap_or(0);
    }
    Ok(total)
}

/// What came after a cursor, over all sessions, oldest first.
pub(crate) struct LiveTail {
    pub(crate) items: Vec<ExchangeSummary>,
    /// The cursor to go on from.
    pub(crate) next: Seq,
    /// How many there are after the given cursor, those in `items` included.
    pub(crate) total: u64,
    /// How many were evicted or deleted before they could be read.
    pub(crate) evicted: u64,
}

/// Reads what came after `cursor`, at most `limit`, merged by seq.
///
/// The sessions are asked one after the other while the recorder goes on, so the answer reaches only as far as the
/// session asked for the least: what one of them got meanwhile is left to the next call.
pub(crate) fn tail(
    store: &Store,
    sessions: &[LiveSession],
    cursor: Seq,
    filter: &Query,
    limit: usize,
) -> Result<LiveTail, Error> {
    let mut merged = LiveTail { items: Vec::new(), next: cursor, total: 0, evicted: 0 };
    let mut reach: Option<Seq> = None;
    for session in sessions {
        let mut query = filter.clone();
        (query.session, query.limit) = (Some(session.id), limit);
        let Some(tail) = unless_deleted(store.tail(cursor.max(session.floor), &query))? else { continue };
        merged.total += tail.items.len() as u64 + tail.remaining;
        merged.evicted += tail.evicted;
        merged.items.extend(tail.items);
        reach = Some(reach.map_or(tail.next, |reach| reach.min(tail.next)));
    }
    merged.next = reach.unwrap_or(cursor).max(cursor);
    merged.items.retain(|item| item.seq <= merged.next);
    merged.items.sort_by_key(|item| item.seq);
    if merged.items.len() > limit {
        merged.items.truncate(limit);
        merged.next = merged.items.last().map_or(cursor, |last| last.seq);
    }
    Ok(merged)
}

/// A session that was deleted since holds nothing.
fn unless_deleted<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::UnknownSession(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
