//! Searching the live traffic, and what is shown of a hit.

use capture_store::{Condition, Search, SearchHit, Seq, Store};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{budget::cut, error::ToolError, live::LiveSession, rows::Short, view::Row};

/// Exchanges one call looks through at most; a cursor leads on.
const MAX_SCAN: u64 = 20_000;

/// The short row of a match: the place of the first hit, how many more there are, and what is around it.
pub(crate) const FOUND: Short =
    Short { columns: &["id", "method", "status", "url", "in", "text"], added: &["in", "text"] };
/// Characters before what was found.
const BEFORE: usize = 12;
/// Characters of what is around it, itself included.
const AROUND: usize = 60;

/// What the columns of [`FOUND`] hold beyond an exchange's fields.
pub(crate) fn cell(hit: &SearchHit, name: &str, query: &str) -> Value {
    let Some(first) = hit.places.first() else { return Value::Null };
    if name == "text" {
        return around(&first.snippet, query).into();
    }
    match hit.places.len() {
        1 => cut(&first.field, 80).into(),
        several => format!("{} +{}", cut(&first.field, 80), several - 1).into(),
    }
}

/// What is around the text that was looked for, beginning near it.
fn around(snippet: &str, query: &str) -> String {
    let (lower, query) = (snippet.to_lowercase(), query.to_lowercase());
    let at = lower.find(&query).map_or(0, |at| lower[..at].chars().count());
    let piece: String = snippet.chars().skip(at.saturating_sub(BEFORE)).collect();
    cut(&piece, AROUND)
}

/// An exchange that matched.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Hit {
    #[serde(flatten)]
    row: Row,
    /// Where.
    places: Vec<HitPlace>,
}

/// Where a text was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HitPlace {
    /// `url`, `request.header.<name>`, `response.header.<name>`, `request.body`, `response.body`, `message.<n>`.
    field: String,
    /// Byte offset in the decoded field.
    position: u64,
    /// The text around it.
    snippet: String,
}

impl Hit {
    pub(crate) fn new(store: &Store, hit: &SearchHit) -> Result<Self, ToolError> {
        let places = hit.places.iter().take(4).map(|place| HitPlace {
            field: place.field.clone(),
            position: place.position,
            snippet: cut(&place.snippet, 300),
        });
        Ok(Self { row: Row::new(store, &hit.exchange)?, places: places.collect() })
    }
}

/// What a search found.
pub(crate) struct Hits {
    pub(crate) hits: Vec<SearchHit>,
    pub(crate) scanned: u64,
    pub(crate) skipped_bodies: u64,
    /// Where to go on.
    pub(crate) next: Option<Seq>,
}

/// Searches the whole store newest first, and keeps what belongs to the live sessions: their seqs interleave.
pub(crate) fn search(
    store: &Store,
    live: &[LiveSession],
    (text, condition): (&str, Option<Condition>),
    (before, limit): (Option<Seq>, usize),
) -> Result<Hits, ToolError> {
    let mut found = Hits { hits: Vec::new(), scanned: 0, skipped_bodies: 0, next: None };
    let Some(first) = live.first() else { return Ok(found) };
    let mut search = Search::new(text, (live.len() == 1).then_some(first.id));
    search.filter.condition = condition;
    search.filter.before = before;
    search.filter.after = live.iter().map(|session| session.floor).min().filter(|floor| *floor > Seq(0));
    search.context_chars = 60;
    // What the index tells costs nothing.
    let mut read = 0;
    loop {
        search.limit = limit - found.hits.len();
        search.max_scan = MAX_SCAN - read;
        let page = store.search(&search)?;
        found.scanned += page.scanned;
        read += page.scanned - page.indexed;
        found.skipped_bodies += page.skipped_bodies;
        let ours = |hit: &SearchHit| {
            live.iter().any(|session| session.id == hit.exchange.session && hit.exchange.seq > session.floor)
        };
        found.hits.extend(page.hits.into_iter().filter(ours));
        found.next = page.next;
        if page.next.is_none() || found.hits.len() >= limit || read >= MAX_SCAN {
            return Ok(found);
        }
        search.filter.before = page.next;
    }
}
