//! What a search of the live traffic is asked, and what it answers.

use capture_store::{Condition, Seq, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    budget::NextCall,
    columns::Table,
    error::ToolError,
    hits::{self, FOUND, Hit, search},
    live::LiveSession,
    rows::{Fields, Rows},
    scoped::filter,
    view::Success,
};

fn twenty() -> u32 {
    20
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SearchParams {
    /// Text to look for, in whatever case, in URLs, header names and values, decoded bodies and WebSocket messages.
    #[schemars(length(min = 1, max = 1000))]
    query: String,
    /// Exchanges at most.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
    /// Filter: host:a.test status:>=500 since:10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    filter: Option<String>,
    /// Only before this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    before: Option<String>,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Found {
    status: Success,
    query: String,
    /// Exchanges in this answer.
    matches: usize,
    /// Whole rows, newest first, where `fields` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<Hit>>,
    /// Newest first; `in` is where the text stands, `text` what surrounds it there.
    #[serde(flatten)]
    table: Option<Table>,
    /// Exchanges looked through.
    scanned: u64,
    /// Bodies that could not be looked through (not decodable, cut): a missing match proves nothing there.
    #[serde(skip_serializing_if = "is_zero")]
    skipped_bodies: u64,
    /// Whether there is more to look through.
    truncated: bool,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl SearchParams {
    pub(super) fn before(&self) -> Result<Option<Seq>, ToolError> {
        Ok(self.before.as_deref().map(str::parse::<Seq>).transpose()?)
    }

    pub(super) fn condition(&self) -> Result<Option<Condition>, ToolError> {
        self.filter.as_deref().map(|text| filter("filter", text)).transpose()
    }

    pub(super) fn rows(&self) -> Result<Rows, ToolError> {
        self.fields.rows(&FOUND)
    }
}

/// Searches, and shows what was found. Blocks.
pub(super) fn answer(
    (store, live): (&Store, &[LiveSession]),
    params: SearchParams,
    (before, condition): (Option<Seq>, Option<Condition>),
    rows: &Rows,
    budget: usize,
) -> Result<Found, ToolError> {
    let (cursor, limit) = (before, params.limit as usize);
    let found = search(store, live, (&params.query, condition), (cursor, limit))?;
    let exchanges: Vec<_> = found.hits.iter().map(|hit| hit.exchange.clone()).collect();
    let added = |index: usize, name: &str| hits::cell(&found.hits[index], name, &params.query);
    let whole = || found.hits.iter().map(|hit| Hit::new(store, hit)).collect();
    let listing = rows.list((store, &exchanges), budget, &added, whole)?;
    let shown = listing.shown;
    // Where rows were dropped, the search goes on after the last one shown.
    let last = exchanges.get(shown.saturating_sub(1)).filter(|_| shown < exchanges.len());
    let next = last.map(|last| last.seq).or(found.next);
    Ok(Found {
        status: Success::Success,
        matches: shown,
        results: listing.whole,
        table: listing.table,
        scanned: found.scanned,
        skipped_bodies: found.skipped_bodies,
        truncated: next.is_some(),
        next: next.map(|seq| {
            let mut arguments = json!(params);
            arguments["before"] = seq.to_string().into();
            NextCall::new("proxy_search_traffic", arguments)
        }),
        query: params.query,
    })
}
