//! Answers to typed questions: what SQL can tell comes from an index or a scan of summaries; what lies in blobs and
//! bodies is looked through exchange by exchange.

use std::cell::Cell;

use crate::{
    condition::{Subject, TextField, holds},
    db::{Count, DbError, Filter, Tx},
    error::{Error, ErrorKind},
    filter::{Candidate, complete_with},
    id::{Seq, SessionId},
    index::Narrow,
    matching::{Examined, Matcher},
    plan::{Bodies, Plan, Probe},
    query::{Order, Page, Query, Tail},
    record::ExchangeSummary,
    scan::{Next, Scan, Walked},
    search::{Search, SearchHit, SearchPage},
    store::Store,
};

/// Exchanges given where no limit is named.
const DEFAULT_LIMIT: usize = 50;
/// Exchanges given at most.
const MAX_LIMIT: usize = 10_000;
/// Hits given where no limit is named.
const DEFAULT_HITS: usize = 20;
/// Hits given at most.
const MAX_HITS: usize = 1_000;
/// Recorded values that a completion proposes at most.
const MAX_PROPOSED: usize = 30;
/// Exchanges that a filter is counted over whatever it asks for; beyond it only what an index counts is, and what is the
/// whole answer.
const MAX_COUNTED: u64 = 200_000;

/// Answers a query.
pub(crate) fn query(store: &Store, query: &Query) -> Result<Page, Error> {
    check_session(store, query.session)?;
    let limit = limit(query);
    let plan = Plan::new(query);
    // Where no index of a column leads to few rows, the index of texts is asked first, also where rows tell all.
    let narrows = plan.narrow.is_some() && !store.read(|tx| tx.is_selective(&plan.filter))?;
    if plan.rest.is_some() || narrows {
        return query_by_looking(store, query, &plan, limit);
    }
    let page_filter = plan.filter.clone().between(query.after, query.before);
    let (mut items, count) = store.read(|tx| {
        let items = tx.summaries(&page_filter, query.order, query.offset, limit + 1)?;
        let whole =
            items.len() <= limit && query.offset == 0 && query.after.is_none() && query.before.is_none();
        let count = if whole { Count::All(items.len() as u64) } else { total(tx, query, &plan.filter)? };
        Ok((items, count))
    })?;
    let more = items.len() > limit;
    let seen = if items.is_empty() { 0 } else { query.offset + items.len() as u64 };
    items.truncate(limit);
    let (total, at_least) = told(count, seen);
    Ok(Page { items, total, at_least, more, skipped_bodies: 0 })
}

/// The page of a query, without counting how many there are in all, and whether there are more.
pub(crate) fn uncounted(store: &Store, query: &Query) -> Result<(Vec<ExchangeSummary>, bool), Error> {
    check_session(store, query.session)?;
    let limit = limit(query);
    let plan = Plan::new(query);
    if plan.rest.is_some() {
        let page = query_by_looking(store, query, &plan, limit)?;
        return Ok((page.items, page.more));
    }
    let filter = plan.filter.clone().between(query.after, query.before);
    let mut items = store.read(|tx| tx.summaries(&filter, query.order, query.offset, limit + 1))?;
    let more = items.len() > limit;
    items.truncate(limit);
    Ok((items, more))
}

/// A count as a page tells it, where so many were seen.
fn told(count: Count, seen: u64) -> (Option<u64>, u64) {
    match count {
        Count::All(total) => (Some(total), total),
        Count::AtLeast(count) => (None, count.max(seen)),
    }
}

/// How many match, as far as that is known without looking at very many.
fn total(tx: &Tx<'_>, query: &Query, filter: &Filter) -> Result<Count, DbError> {
    let held = match query.session {
        Some(id) => tx.session(id)?.map_or(0, |info| info.exchanges),
        None => tx.sessions()?.iter().map(|info| info.exchanges).sum(),
    };
    if filter.is_plain() {
        Ok(Count::All(held))
    } else if held <= MAX_COUNTED {
        tx.count(filter).map(Count::All)
    } else {
        tx.count_briefly(filter)
    }
}

/// Answers a query of which the database's columns do not tell all, or not at once.
fn query_by_looking(store: &Store, query: &Query, plan: &Plan, limit: usize) -> Result<Page, Error> {
    let mut skip = query.offset;
    let mut page = Page { items: Vec::new(), total: None, at_least: 0, more: false, skipped_bodies: 0 };
    let scan = Scan::of_plan(store, query, plan);
    scan.run(&|summary| fits(store, plan, &summary).map(|fit| (summary, fit)), |_, looked| {
        let (summary, fit) = match looked {
            Some((summary, fit)) => (summary, fit),
            None => return Ok(Next::GoOn),
        };
        page.skipped_bodies += fit.skipped_bodies;
        if !fit.holds {
            return Ok(Next::GoOn);
        }
        if skip > 0 {
            skip -= 1;
            return Ok(Next::GoOn);
        }
        if page.items.len() == limit {
            page.more = true;
            return Ok(Next::Stop);
        }
        page.items.push(summary);
        Ok(Next::GoOn)
    })?;
    let whole = !page.more && query.after.is_none() && query.before.is_none();
    let seen = query.offset - skip + page.items.len() as u64 + u64::from(page.more);
    let count = match (whole, &plan.rest) {
        (true, _) => Count::All(seen),
        (false, None) => store.read(|tx| total(tx, query, &plan.filter))?,
        (false, Some(_)) => Count::AtLeast(0),
    };
    (page.total, page.at_least) = told(count, seen);
    Ok(page)
}

/// Whether an exchange is as asked.
#[derive(Clone, Copy, Debug)]
struct Fit {
    holds: bool,
    skipped_bodies: u64,
}

fn fits(store: &Store, plan: &Plan, summary: &ExchangeSummary) -> Result<Fit, Error> {
    let Some(rest) = &plan.rest else { return Ok(Fit { holds: true, skipped_bodies: 0 }) };
    let subject = Subject::new(store, summary);
    match holds(rest, &subject) {
        Ok(holds) => Ok(Fit { holds, skipped_bodies: subject.skipped_bodies() }),
        // It went a moment ago.
        Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => {
            Ok(Fit { holds: false, skipped_bodies: 0 })
        }
        Err(error) => Err(error),
    }
}

/// What came after a cursor.
pub(crate) fn tail(store: &Store, cursor: Seq, query: &Query) -> Result<Tail, Error> {
    check_session(store, query.session)?;
    let limit = limit(query);
    let plan = Plan::new(query);
    if plan.rest.is_some() {
        return tail_by_looking(store, cursor, query, limit);
    }
    let filter = plan.filter;
    store.read(|tx| {
        let newest = tx.newest_seq()?;
        let after = filter.clone().between(Some(cursor), None);
        let mut items = tx.summaries(&after, Order::Ascending, 0, limit + 1)?;
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().map_or(cursor, |item| item.seq);
        let remaining = if more { tx.count(&filter.clone().between(Some(last), None))? } else { 0 };
        let next = if more { last } else { newest.max(cursor) };
        let evicted = tx.gone(query.session, cursor, next)?;
        Ok(Tail { items, next, remaining, evicted })
    })
}

/// What came after a cursor and is as asked, where the database does not tell.
fn tail_by_looking(store: &Store, cursor: Seq, query: &Query, limit: usize) -> Result<Tail, Error> {
    // What comes while this looks is left to the next call.
    let newest = store.newest()?.max(cursor);
    let mut tail = Tail { items: Vec::new(), next: newest, remaining: 0, evicted: 0 };
    let bounded = Query {
        after: Some(cursor),
        before: Some(Seq(newest.0 + 1)),
        order: Order::Ascending,
        ..query.clone()
    };
    let plan = Plan::new(&bounded);
    let scan = Scan::of_plan(store, &bounded, &plan);
    scan.run(&|summary| fits(store, &plan, &summary).map(|fit| (summary, fit)), |_, looked| {
        if let Some((summary, Fit { holds: true, .. })) = looked {
            if tail.items.len() < limit {
                tail.items.push(summary);
            } else {
                tail.remaining += 1;
            }
        }
        Ok(Next::GoOn)
    })?;
    if let (true, Some(last)) = (tail.remaining > 0, tail.items.last()) {
        tail.next = last.seq;
    }
    tail.evicted = store.read(|tx| tx.gone(query.session, cursor, tail.next))?;
    Ok(tail)
}

/// Looks for a text.
pub(crate) fn search(store: &Store, search: &Search) -> Result<SearchPage, Error> {
    check_session(store, search.filter.session)?;
    let limit = if search.limit == 0 { DEFAULT_HITS } else { search.limit.min(MAX_HITS) };
    let max_scan = if search.max_scan == 0 { u64::MAX } else { search.max_scan };
    let mut page = SearchPage { hits: Vec::new(), scanned: 0, indexed: 0, skipped_bodies: 0, next: None };
    let mut matcher = Matcher::new(&search.text, search.case_sensitive).context(search.context_chars);
    let bodies = if search.skip_bodies { Bodies::Impossible } else { Bodies::Possible };
    if search.skip_bodies {
        matcher = matcher.without_bodies();
    }
    // The search's own text narrows down more than a text of its filter.
    let filter = Query { text: None, ..search.filter.clone() };
    let plan = Plan::new(&filter);
    let probe = Probe::search(&search.text, search.case_sensitive, bodies);
    let own = probe.as_ref().and_then(|probe| Narrow::needle(&probe.needle));
    let narrow = Narrow::all(own.into_iter().chain(plan.narrow.clone()));
    let scan =
        Scan { probe: probe.as_ref(), narrow: narrow.as_ref(), ..Scan::of_plan(store, &filter, &plan) };
    let look = |summary: ExchangeSummary| {
        let fit = fits(store, &plan, &summary)?;
        if !fit.holds {
            return Ok((summary, Examined { skipped_bodies: fit.skipped_bodies, ..Examined::default() }));
        }
        let content = store.read(|tx| tx.content(summary.seq, matcher.wants_bodies()))?;
        let examined = if content.detail.is_empty() {
            Examined::default()
        } else {
            matcher.examine(store, &summary, content)?
        };
        Ok((summary, examined))
    };
    let walked = scan.run(&look, |_, looked| {
        if page.hits.len() == limit || page.scanned == max_scan {
            return Ok(Next::Stop);
        }
        page.scanned += 1;
        let Some((summary, examined)) = looked else { return Ok(Next::GoOn) };
        page.skipped_bodies += examined.skipped_bodies;
        if examined.found() {
            page.hits.push(SearchHit { exchange: summary, places: examined.places });
        }
        Ok(Next::GoOn)
    })?;
    page.next = walked.reached.filter(|_| walked.next == Next::Stop);
    count_indexed(store, &search.filter, &walked, &mut page)?;
    Ok(page)
}

/// Counts what the index answered for: all that a session, or the store, holds there.
fn count_indexed(store: &Store, filter: &Query, walked: &Walked, page: &mut SearchPage) -> Result<(), Error> {
    let mut ranges = walked.by_index.clone();
    ranges.sort_by_key(|range| *range.start());
    ranges.dedup_by(|next, range| {
        let joined = *range.end() + 1 == *next.start();
        if joined {
            *range = *range.start()..=*next.end();
        }
        joined
    });
    let held = store.read(|tx| {
        let counts = ranges.iter().map(|range| tx.count_held(filter.session, range));
        counts.sum::<Result<u64, _>>()
    })?;
    page.indexed = held.saturating_sub(walked.left_over);
    page.scanned += page.indexed;
    Ok(())
}

/// Proposes what may be written in a filter.
pub(crate) fn complete(store: &Store, filter: &str, cursor: usize) -> Result<Vec<Candidate>, Error> {
    let failed = Cell::new(None);
    let known = |field: TextField, begin: &str| {
        let read = store.read(|tx| tx.values_beginning(field, begin, MAX_PROPOSED));
        read.unwrap_or_else(|error| {
            failed.set(Some(error));
            Vec::new()
        })
    };
    let candidates = complete_with(filter, cursor, &known);
    failed.into_inner().map_or(Ok(candidates), Err)
}

fn check_session(store: &Store, session: Option<SessionId>) -> Result<(), Error> {
    match session {
        Some(id) if store.read(|tx| tx.session(id))?.is_none() => {
            Err(Error::new(ErrorKind::UnknownSession(id)))
        }
        _ => Ok(()),
    }
}

fn limit(query: &Query) -> usize {
    if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) }
}
