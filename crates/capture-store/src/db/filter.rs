//! A query's filters as a `WHERE` clause. Values are bound, never pasted; substrings are found with `instr`, which
//! knows no wildcards, so nothing needs escaping.

use rusqlite::{ParamsFromIter, params_from_iter, types::Value};

use super::{
    codes::{self, nanos, state},
    int,
};
use crate::{
    id::Seq,
    query::{Query, StatusFilter},
};

/// Conditions that must all hold.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
    /// Whether nothing but the session is asked for.
    plain: bool,
}

impl Filter {
    /// What a query asks for; its cursors, its `text`, order and limits left aside.
    pub(crate) fn new(query: &Query) -> Self {
        let mut filter = Self { conditions: Vec::new(), values: Vec::new(), plain: true };
        match query.session {
            Some(session) => filter.push("session = ?", [int(session.0).into()]),
            None => filter.push("session NOT IN (SELECT id FROM sessions WHERE hidden <> 0)", []),
        }
        let before = filter.conditions.len();
        filter.add_request(query);
        filter.add_response(query);
        filter.add_times(query);
        filter.plain = filter.conditions.len() == before;
        filter
    }

    fn add_request(&mut self, query: &Query) {
        if !query.methods.is_empty() {
            let marks = vec!["?"; query.methods.len()].join(", ");
            self.push(
                &format!("method COLLATE NOCASE IN ({marks})"),
                query.methods.iter().map(|method| method.clone().into()),
            );
        }
        if let Some(needle) = wanted(query.host_contains.as_deref()) {
            self.push("instr(host, ?) > 0", [needle.into()]);
        }
        if let Some(needle) = wanted(query.url_contains.as_deref()) {
            self.push("instr(lower(url), ?) > 0", [needle.into()]);
        }
        if let Some(kind) = query.kind {
            self.push("kind = ?", [codes::exchange_kind(kind).into()]);
        }
    }

    fn add_response(&mut self, query: &Query) {
        match query.status {
            Some(StatusFilter::Exactly(status)) => self.push("status = ?", [i64::from(status).into()]),
            Some(StatusFilter::Between(first, last)) => {
                self.push("status BETWEEN ? AND ?", [i64::from(first).into(), i64::from(last).into()]);
            }
            None => {}
        }
        if let Some(needle) = wanted(query.content_type_contains.as_deref()) {
            self.push("instr(lower(response_content_type), ?) > 0", [needle.into()]);
        }
        if query.failed {
            self.push("state = ?", [state::FAILED.into()]);
        }
    }

    fn add_times(&mut self, query: &Query) {
        if let Some(from) = query.from {
            self.push("started_at >= ?", [nanos(from).into()]);
        }
        if let Some(to) = query.to {
            self.push("started_at <= ?", [nanos(to).into()]);
        }
    }

    /// Only what lies between two seqs, both excluded.
    #[must_use]
    pub(crate) fn between(mut self, after: Option<Seq>, before: Option<Seq>) -> Self {
        if let Some(after) = after {
            self.push("seq > ?", [int(after.0).into()]);
        }
        if let Some(before) = before {
            self.push("seq < ?", [int(before.0).into()]);
        }
        self
    }

    /// Whether nothing but the session is asked for.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    pub(super) fn sql(&self) -> String {
        self.conditions.join(" AND ")
    }

    pub(super) fn values(&self) -> ParamsFromIter<std::slice::Iter<'_, Value>> {
        params_from_iter(self.values.iter())
    }

    fn push(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.to_owned());
        self.values.extend(values);
    }
}

/// A needle in lower case, unless it is empty and so asks for nothing.
fn wanted(needle: Option<&str>) -> Option<String> {
    needle.filter(|needle| !needle.is_empty()).map(str::to_ascii_lowercase)
}
