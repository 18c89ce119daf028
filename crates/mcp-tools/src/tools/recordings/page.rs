//! A page of a recording's entries: short rows, columns, or entries as Charles has them.

use capture_store::{ExchangeSummary, Query, Seq, SessionInfo, Store};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::raw::{self, Kept};
use crate::{
    budget::{NextCall, json_bytes},
    columns::Table,
    error::ToolError,
    rows::{Rows, nothing},
    view::Success,
};

/// Exchanges that one page looks at.
const PAGE: usize = 200;

/// Entries of a recording.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Entries {
    status: Success,
    /// Always `history`.
    source: &'static str,
    /// The recording; null where there is none.
    pub(super) path: Option<String>,
    /// Entries as Charles has them, bodies cut, where `fields` asks for whole rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Value>>,
    #[serde(flatten)]
    table: Option<Table>,
    /// Entries that match in all.
    total_items: u64,
    /// Whether there are more than this answer holds.
    truncated: bool,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<NextCall>,
    warnings: Vec<String>,
}

/// What a page shows, and from where.
pub(super) struct Shown {
    pub(super) rows: Rows,
    pub(super) kept: Kept,
    pub(super) after: Option<Seq>,
}

/// A page of entries, and the last one it looked at where more follow.
pub(super) fn entries(
    store: &Store,
    session: Option<SessionInfo>,
    mut query: Query,
    shown: &Shown,
    budget: usize,
) -> Result<(Entries, Option<Seq>), ToolError> {
    let path = session.as_ref().map(|session| session.id.to_string());
    let mut warnings = Vec::new();
    let mut found = (Vec::new(), false, None);
    if let Some(session) = session {
        (query.session, query.after, query.limit) = (Some(session.id), shown.after, PAGE);
        let page = store.query(&query)?;
        if page.skipped_bodies > 0 {
            warnings.push(format!("bodies_skipped: {} could not be looked through", page.skipped_bodies));
        }
        found = (page.items, page.more, page.total);
    } else {
        warnings.push("no_saved_recordings".to_owned());
    }
    let (exchanges, more, total) = found;
    let (whole, table, read) = match &shown.rows {
        Rows::Reference => {
            let (items, read) = raw_entries(store, &exchanges, &shown.kept, budget)?;
            (Some(items), None, read)
        }
        columns @ Rows::Columns(_) => {
            let listing = columns.list::<Value>((store, &exchanges), budget, &nothing, || Ok(Vec::new()))?;
            (None, listing.table, listing.shown)
        }
    };
    let truncated = more || read < exchanges.len();
    let reached = exchanges.get(read.saturating_sub(1)).map(|last| last.seq).filter(|_| truncated);
    let page = Entries {
        status: Success::Success,
        source: "history",
        path,
        items: whole,
        table,
        total_items: total.unwrap_or(exchanges.len() as u64),
        truncated,
        next: None,
        warnings,
    };
    Ok((page, reached))
}

/// Raw entries as far as the budget goes, and how many exchanges were looked at.
fn raw_entries(
    store: &Store,
    found: &[ExchangeSummary],
    kept: &Kept,
    budget: usize,
) -> Result<(Vec<Value>, usize), ToolError> {
    let mut room = budget.saturating_sub(1024);
    let (mut items, mut read) = (Vec::new(), 0);
    for summary in found {
        if let Some(item) = raw::entry(store, summary.seq, kept)? {
            let bytes = json_bytes(&item) + 1;
            if bytes > room && !items.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes);
            items.push(item);
        }
        read += 1;
    }
    Ok((items, read))
}
