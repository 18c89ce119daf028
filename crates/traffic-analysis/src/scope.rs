//! Which exchanges are looked at, and the walk over them.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use capture_store::{
    Condition, Cost, Error, ExchangeSummary, NumberField, Order, Query, Seq, SessionId, Store,
};

/// Exchanges in the first window of a walk, so that what is near its beginning is told at once.
const FIRST_WINDOW: usize = 250;
/// Exchanges in a window at most.
const LARGEST_WINDOW: usize = 4_000;

/// Which exchanges are looked at: those of a session, or of several, for which a condition holds.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    session: Option<SessionId>,
    after: Option<Seq>,
    condition: Option<Condition>,
    stop: Option<Arc<AtomicBool>>,
}

/// How long a walk may go on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Bounds {
    /// Exchanges looked at, at most.
    pub exchanges: u64,
    /// When it stops; looked at between windows.
    pub until: Option<Instant>,
}

impl Default for Bounds {
    /// A million exchanges, however long that takes.
    fn default() -> Self {
        Self { exchanges: 1_000_000, until: None }
    }
}

impl Bounds {
    /// Looks at this many exchanges at most.
    #[must_use]
    pub fn exchanges(mut self, most: u64) -> Self {
        self.exchanges = most;
        self
    }

    /// Stops at a time.
    #[must_use]
    pub fn until(mut self, until: Instant) -> Self {
        self.until = Some(until);
        self
    }
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walked {
    /// Exchanges looked at.
    pub exchanges: u64,
    /// Bodies that could not be looked through (undecodable, cut), so that a missing hit proves nothing there.
    pub skipped_bodies: u64,
    /// The last exchange looked at, where the walk stopped before its end: the cursor to go on from.
    pub next: Option<Seq>,
}

impl Scope {
    /// Every exchange of the store.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The exchanges of one session.
    #[must_use]
    pub fn of_session(session: SessionId) -> Self {
        Self { session: Some(session), ..Self::default() }
    }

    /// The exchanges of several sessions, of each what came after a seq; of none, no exchange.
    #[must_use]
    pub fn of_sessions(parts: &[(SessionId, Seq)]) -> Self {
        if let [(session, after)] = parts {
            return Self { session: Some(*session), after: Some(*after), ..Self::default() };
        }
        let part = |(session, after): &(SessionId, Seq)| {
            let later = Condition::Number(NumberField::Seq, after.0 + 1, i64::MAX as u64);
            Condition::All(vec![Condition::Session(*session), later])
        };
        Self { condition: Some(Condition::Any(parts.iter().map(part).collect())), ..Self::default() }
    }

    /// Of these, those for which a condition holds, too.
    #[must_use]
    pub fn filtered(mut self, condition: Condition) -> Self {
        self.condition = Some(match self.condition.take() {
            Some(before) => Condition::All(vec![before, condition]),
            None => condition,
        });
        self
    }

    /// Walks stop, as at a bound, once this is set: nobody waits for the answer any more.
    #[must_use]
    pub fn stopped_by(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// As a query, oldest first.
    #[must_use]
    pub fn query(&self) -> Query {
        let mut query = Query::default();
        query.session = self.session;
        query.after = self.after.filter(|seq| *seq > Seq(0));
        query.condition = self.condition.clone();
        query
    }

    /// Visits the exchanges in `order`, beginning after `cursor`, until `visit` breaks or a bound is reached. No
    /// transaction stays open meanwhile: what is recorded while this walks oldest first is met at its end.
    ///
    /// # Errors
    /// When the store cannot be read, and those of `visit`.
    pub fn walk<E: From<Error>>(
        &self,
        store: &Store,
        (order, cursor): (Order, Option<Seq>),
        bounds: Bounds,
        mut visit: impl FnMut(ExchangeSummary) -> Result<ControlFlow<()>, E>,
    ) -> Result<Walked, E> {
        let mut walked = Walked::default();
        let mut windows = Windows::new(self, order, cursor);
        while let Some(page) = windows.next(store, bounds.exchanges - walked.exchanges)? {
            walked.skipped_bodies += page.skipped_bodies;
            for summary in page.items {
                walked.exchanges += 1;
                walked.next = Some(summary.seq);
                if visit(summary)?.is_break() || self.is_stopped() {
                    return Ok(walked);
                }
            }
            if (is_over(&walked, bounds) || self.is_stopped()) && !windows.ended {
                return Ok(walked);
            }
        }
        walked.next = None;
        Ok(walked)
    }

    /// Visits those exchanges for which `wanted` holds, too, and tells how many were looked at for that. What is wanted is
    /// looked for window by window, so that a search through large bodies can be stopped and gone on with.
    ///
    /// # Errors
    /// As for [`walk`](Self::walk).
    pub fn search<E: From<Error>>(
        &self,
        store: &Store,
        (wanted, order, cursor): (&Condition, Order, Option<Seq>),
        bounds: Bounds,
        mut visit: impl FnMut(ExchangeSummary) -> Result<ControlFlow<()>, E>,
    ) -> Result<Walked, E> {
        let mut walked = Walked::default();
        let mut windows = Windows::new(self, order, cursor);
        while let Some(page) = windows.next(store, bounds.exchanges - walked.exchanges)? {
            walked.skipped_bodies += page.skipped_bodies;
            let seqs: Vec<Seq> = page.items.iter().map(|item| item.seq).collect();
            let (Some(low), Some(high)) = (seqs.iter().min(), seqs.iter().max()) else { break };
            let mut query = self.clone().filtered(wanted.clone()).query();
            (query.order, query.limit) = (order, seqs.len().max(1));
            query.after = Some(Seq(low.0.saturating_sub(1))).filter(|seq| *seq > Seq(0));
            query.before = Some(Seq(high.0 + 1));
            let found = store.query(&query)?;
            for summary in found.items {
                let seq = summary.seq;
                if visit(summary)?.is_break() || self.is_stopped() {
                    let seen = seqs.iter().position(|other| *other == seq).map_or(seqs.len(), |at| at + 1);
                    walked.exchanges += seen as u64;
                    walked.next = Some(seq);
                    return Ok(walked);
                }
            }
            walked.skipped_bodies += found.skipped_bodies;
            walked.exchanges += seqs.len() as u64;
            walked.next = seqs.last().copied();
            if (is_over(&walked, bounds) || self.is_stopped()) && !windows.ended {
                return Ok(walked);
            }
        }
        walked.next = None;
        Ok(walked)
    }
}

fn is_over(walked: &Walked, bounds: Bounds) -> bool {
    walked.exchanges >= bounds.exchanges || bounds.until.is_some_and(|until| Instant::now() >= until)
}

/// Pages of a scope, one after the other, each larger than the one before.
struct Windows {
    query: Query,
    size: usize,
    largest: usize,
    ended: bool,
}

impl Windows {
    fn new(scope: &Scope, order: Order, cursor: Option<Seq>) -> Self {
        let mut query = scope.query();
        query.order = order;
        match order {
            Order::Ascending => query.after = query.after.max(cursor),
            Order::Descending => query.before = cursor,
        }
        let dear = scope.condition.as_ref().is_some_and(|condition| condition.cost() != Cost::Summary);
        let largest = if dear { FIRST_WINDOW } else { LARGEST_WINDOW };
        Self { query, size: FIRST_WINDOW, largest, ended: false }
    }

    fn next(&mut self, store: &Store, most: u64) -> Result<Option<capture_store::Page>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.query.limit = self.size.min(usize::try_from(most).unwrap_or(usize::MAX)).max(1);
        self.size = (self.size * 4).min(self.largest);
        let page = store.query(&self.query)?;
        self.ended = !page.more;
        let Some(last) = page.items.last().map(|item| item.seq) else { return Ok(None) };
        match self.query.order {
            Order::Ascending => self.query.after = Some(last),
            Order::Descending => self.query.before = Some(last),
        }
        Ok(Some(page))
    }
}

#[cfg(test)]
mod tests {
    use capture_store::parse;

    use super::*;
    use crate::fixture::{Fed, Fixture};

    fn seqs(
        scope: &Scope,
        fixture: &Fixture,
        order: Order,
        cursor: Option<Seq>,
        most: u64,
    ) -> (Vec<u64>, Walked) {
        let mut seen = Vec::new();
        let walked = scope
            .walk::<Error>(&fixture.store, (order, cursor), Bounds::default().exchanges(most), |item| {
                seen.push(item.seq.0);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        (seen, walked)
    }

    #[test]
    fn a_walk_meets_each_exchange_once_and_goes_on_from_its_cursor() {
        let fixture = Fixture::of((0..700).map(|n| Fed::get(&format!("https://a.test/{n}"))).collect());
        let scope = Scope::of_session(fixture.session);
        for order in [Order::Ascending, Order::Descending] {
            let (mut all, whole) = seqs(&scope, &fixture, order, None, 10_000);
            assert_eq!((all.len(), whole.exchanges, whole.next), (700, 700, None));
            let (mut parts, mut cursor) = (Vec::new(), None);
            loop {
                let (some, walked) = seqs(&scope, &fixture, order, cursor, 333);
                parts.extend(some);
                cursor = walked.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(all, parts);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 700);
        }
    }

    #[test]
    fn a_search_tells_how_many_it_looked_at() {
        let fixture = Fixture::of((0..600).map(|n| Fed::get(&format!("https://a.test/{n}"))).collect());
        let scope = Scope::of_session(fixture.session).filtered(parse("-path:/7").unwrap());
        let wanted = parse("path~\"/5\\d\\d\"").unwrap();
        let mut hits = Vec::new();
        let search = |cursor, stop: usize, hits: &mut Vec<String>| {
            scope
                .search::<Error>(
                    &fixture.store,
                    (&wanted, Order::Ascending, cursor),
                    Bounds::default(),
                    |item| {
                        hits.push(item.target);
                        Ok(if hits.len() == stop {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        })
                    },
                )
                .unwrap()
        };
        let first = search(None, 3, &mut hits);
        assert_eq!(hits, ["/500", "/501", "/502"]);
        let rest = search(first.next, 0, &mut hits);
        assert_eq!((hits.len(), rest.next), (100, None));
        assert_eq!(first.exchanges + rest.exchanges, 600 - 11);
    }

    #[test]
    fn a_walk_stops_when_it_is_told_to() {
        let fixture = Fixture::of((0..300).map(|n| Fed::get(&format!("https://a.test/{n}"))).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let scope = Scope::of_session(fixture.session).stopped_by(stop.clone());
        let mut seen = 0;
        let walked = scope
            .walk::<Error>(&fixture.store, (Order::Ascending, None), Bounds::default(), |_| {
                seen += 1;
                stop.store(seen == 7, Ordering::Relaxed);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        assert_eq!((seen, walked.exchanges, walked.next.is_some()), (7, 7, true));
    }

    #[test]
    fn several_sessions_are_one_list_each_from_its_own_seq_on() {
        let fixture = Fixture::of((0..3).map(|n| Fed::get(&format!("https://a.test/{n}"))).collect());
        let other = fixture.import((0..3).map(|n| Fed::get(&format!("https://b.test/{n}"))).collect());
        let first = seqs(&Scope::of_session(fixture.session), &fixture, Order::Ascending, None, 99).0;
        let scope = Scope::of_sessions(&[(fixture.session, Seq(first[1])), (other, Seq(0))]);
        assert_eq!(seqs(&scope, &fixture, Order::Ascending, None, 99).0.len(), 4);
        assert_eq!(seqs(&Scope::of_sessions(&[]), &fixture, Order::Ascending, None, 99).0.len(), 0);
        assert_eq!(seqs(&Scope::all(), &fixture, Order::Ascending, None, 99).0.len(), 6);
    }
}
