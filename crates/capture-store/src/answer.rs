//! Answers to typed questions: what SQL can tell comes from an index or a scan of summaries; what lies in blobs and
//! bodies is looked through exchange by exchange.

use crate::{
    db::{Content, DbError, Filter, Tx},
    error::{Error, ErrorKind},
    id::{Seq, SessionId},
    matching::Matcher,
    query::{Order, Page, Query, Tail},
    record::ExchangeSummary,
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
/// Exchanges read at once while looking through them; each comes with up to 64 KiB of bodies.
const SCAN_PAGE: usize = 64;
/// Exchanges that a filter is counted over; beyond it the total is not counted unless the page is the whole answer.
const MAX_COUNTED: u64 = 200_000;

/// Answers a query.
pub(crate) fn query(store: &Store, query: &Query) -> Result<Page, Error> {
    check_session(store, query.session)?;
    let limit = limit(query);
    let filter = Filter::new(query);
    if let Some(text) = text(query) {
        return query_text(store, query, text, limit);
    }
    let page_filter = filter.clone().between(query.after, query.before);
    let (mut items, total) = store.read(|tx| {
        let items = tx.summaries(&page_filter, query.order, query.offset, limit + 1)?;
        let whole =
            items.len() <= limit && query.offset == 0 && query.after.is_none() && query.before.is_none();
        let total = if whole { Some(items.len() as u64) } else { total(tx, query, &filter)? };
        Ok((items, total))
    })?;
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Page { items, total, more })
}

/// How many match, where that is known without looking at very many.
fn total(tx: &Tx<'_>, query: &Query, filter: &Filter) -> Result<Option<u64>, DbError> {
    let held = match query.session {
        Some(id) => tx.session(id)?.map_or(0, |info| info.exchanges),
        None => tx.sessions()?.iter().map(|info| info.exchanges).sum(),
    };
    if filter.is_plain() {
        Ok(Some(held))
    } else if held <= MAX_COUNTED {
        tx.count(filter).map(Some)
    } else {
        Ok(None)
    }
}

/// Answers a query that looks for a text.
fn query_text(store: &Store, query: &Query, text: &str, limit: usize) -> Result<Page, Error> {
    let matcher = Matcher::new(text, false).first_place_only();
    let mut skip = query.offset;
    let mut page = Page { items: Vec::new(), total: None, more: false };
    Scan::new(query, &matcher).run(store, |summary, content| {
        if !matcher.examine(store, &summary, content)?.found() {
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
    page.total = whole.then_some(query.offset - skip + page.items.len() as u64);
    Ok(page)
}

/// What came after a cursor.
pub(crate) fn tail(store: &Store, cursor: Seq, query: &Query) -> Result<Tail, Error> {
    check_session(store, query.session)?;
    let limit = limit(query);
    if let Some(text) = text(query) {
        return tail_text(store, cursor, query, text, limit);
    }
    let filter = Filter::new(query);
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

/// What came after a cursor and holds a text.
fn tail_text(store: &Store, cursor: Seq, query: &Query, text: &str, limit: usize) -> Result<Tail, Error> {
    // What comes while this looks is left to the next call.
    let newest = store.newest()?.max(cursor);
    let matcher = Matcher::new(text, false).first_place_only();
    let mut tail = Tail { items: Vec::new(), next: newest, remaining: 0, evicted: 0 };
    let bounded = Query {
        after: Some(cursor),
        before: Some(Seq(newest.0 + 1)),
        order: Order::Ascending,
        ..query.clone()
    };
    Scan::new(&bounded, &matcher).run(store, |summary, content| {
        if matcher.examine(store, &summary, content)?.found() {
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
    let mut matcher = Matcher::new(&search.text, search.case_sensitive).context(search.context_chars);
    if search.skip_bodies {
        matcher = matcher.without_bodies();
    }
    let mut page = SearchPage { hits: Vec::new(), scanned: 0, skipped_bodies: 0, next: None };
    let end = Scan::new(&search.filter, &matcher).run(store, |summary, content| {
        if page.hits.len() == limit || page.scanned == max_scan {
            return Ok(Next::Stop);
        }
        let examined = matcher.examine(store, &summary, content)?;
        page.scanned += 1;
        page.skipped_bodies += examined.skipped_bodies;
        page.next = Some(summary.seq);
        if examined.found() {
            page.hits.push(SearchHit { exchange: summary, places: examined.places });
        }
        Ok(Next::GoOn)
    })?;
    if end == Next::GoOn {
        page.next = None;
    }
    Ok(page)
}

/// Whether a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// A walk over the exchanges that pass a filter, in pages, so that no transaction stays open over a body.
struct Scan<'q> {
    query: &'q Query,
    filter: Filter,
    bodies: bool,
}

impl<'q> Scan<'q> {
    fn new(query: &'q Query, matcher: &Matcher) -> Self {
        Self { query, filter: Filter::new(query), bodies: matcher.wants_bodies() }
    }

    /// Visits each exchange until the visitor stops; says whether all were seen.
    fn run(
        &self,
        store: &Store,
        mut visit: impl FnMut(ExchangeSummary, Content) -> Result<Next, Error>,
    ) -> Result<Next, Error> {
        let (mut after, mut before) = (self.query.after, self.query.before);
        loop {
            let filter = self.filter.clone().between(after, before);
            let page = store.read(|tx| self.page(tx, &filter))?;
            let last = page.len() < SCAN_PAGE;
            match self.query.order {
                Order::Ascending => after = page.last().map(|(item, _)| item.seq).or(after),
                Order::Descending => before = page.last().map(|(item, _)| item.seq).or(before),
            }
            for (summary, content) in page {
                if visit(summary, content)? == Next::Stop {
                    return Ok(Next::Stop);
                }
            }
            if last {
                return Ok(Next::GoOn);
            }
        }
    }
}

impl Scan<'_> {
    fn page(&self, tx: &Tx<'_>, filter: &Filter) -> Result<Vec<(ExchangeSummary, Content)>, DbError> {
        let summaries = tx.summaries(filter, self.query.order, 0, SCAN_PAGE)?;
        let contents = summaries.into_iter().map(|summary| {
            let content = tx.content(summary.seq, self.bodies)?;
            Ok((summary, content))
        });
        contents.collect()
    }
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

fn text(query: &Query) -> Option<&str> {
    query.text.as_deref().filter(|text| !text.is_empty())
}
