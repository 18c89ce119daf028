//! Short reports over a session or the live traffic, for resources.

use capture_store::{SessionId, Sql, SqlValue, Store};
use serde_json::{Map, Value, json};

use crate::{error::ToolError, live::LiveSession};

/// Rows of a list in a report.
const TOP: usize = 15;
/// Intervals of a timeline at most.
const INTERVALS: i64 = 60;
/// From how many milliseconds on an exchange counts as slow.
const SLOW_MS: u32 = 3_000;

/// Which exchanges, as a condition over the view of exchanges.
pub(crate) struct Scope(String);

impl Scope {
    pub(crate) fn session(id: SessionId) -> Self {
        Self(format!("session = {}", id.0))
    }

    /// What this server recorded since it started.
    pub(crate) fn live(sessions: &[LiveSession]) -> Self {
        let each =
            sessions.iter().map(|live| format!("(session = {} AND seq > {})", live.id.0, live.floor.0));
        let each: Vec<String> = each.collect();
        Self(if each.is_empty() { "0".to_owned() } else { format!("({})", each.join(" OR ")) })
    }
}

/// How many, how they ended, who was asked.
pub(crate) fn summary(store: &Store, scope: &Scope) -> Result<Value, ToolError> {
    let Scope(scope) = scope;
    let totals = rows(
        store,
        &format!(
            "SELECT count(*) AS exchanges, coalesce(sum(state = 'open'), 0) AS open, \
             coalesce(sum(state = 'failed'), 0) AS failed, coalesce(sum(status >= 400), 0) AS errors, \
             coalesce(sum(request_bytes), 0) AS request_bytes, coalesce(sum(response_bytes), 0) AS response_bytes, \
             min(started_ms) AS first_ms, max(started_ms) AS last_ms FROM exchanges WHERE {scope}"
        ),
    )?;
    let mut report = match totals.into_iter().next() {
        Some(Value::Object(totals)) => totals,
        _ => Map::new(),
    };
    let lists = [
        (
            "hosts",
            "SELECT host, count(*) AS exchanges, coalesce(sum(status >= 400 OR state = 'failed'), 0) AS errors, \
             round(avg(duration_ms)) AS mean_ms",
            "host",
        ),
        ("statuses", "SELECT status, count(*) AS exchanges", "status"),
        ("methods", "SELECT method, count(*) AS exchanges", "method"),
        ("types", "SELECT response_type AS type, count(*) AS exchanges", "response_type"),
        ("failures", "SELECT failure, count(*) AS exchanges", "failure"),
    ];
    for (name, select, by) in lists {
        let sql = format!(
            "{select} FROM exchanges WHERE {scope} AND {by} IS NOT NULL GROUP BY {by} ORDER BY 2 DESC LIMIT {TOP}"
        );
        report.insert(name.to_owned(), Value::Array(rows(store, &sql)?));
    }
    Ok(Value::Object(report))
}

/// How many began in each of at most sixty intervals.
pub(crate) fn timeline(store: &Store, scope: &Scope) -> Result<Value, ToolError> {
    let Scope(scope) = scope;
    let span = rows(
        store,
        &format!("SELECT min(started_ms) AS first, max(started_ms) AS last FROM exchanges WHERE {scope}"),
    )?;
    let bound = |name: &str| span.first().and_then(|row| row[name].as_i64());
    let (Some(first), Some(last)) = (bound("first"), bound("last")) else {
        return Ok(json!({"interval_ms": 0, "intervals": []}));
    };
    let width = ((last - first) / INTERVALS + 1).max(1_000);
    let sql = format!(
        "SELECT {first} + (started_ms - {first}) / {width} * {width} AS from_ms, count(*) AS exchanges, \
         coalesce(sum(status >= 400 OR state = 'failed'), 0) AS errors, \
         coalesce(sum(request_bytes + response_bytes), 0) AS bytes \
         FROM exchanges WHERE {scope} GROUP BY 1 ORDER BY 1"
    );
    Ok(json!({"interval_ms": width, "intervals": rows(store, &sql)?}))
}

/// What is worth a look: failures, errors, slow answers, credentials in the clear.
pub(crate) fn findings(store: &Store, scope: &Scope) -> Result<Value, ToolError> {
    let Scope(scope) = scope;
    let kinds = [
        ("failed", "failure || ' at ' || host", "state = 'failed'".to_owned()),
        ("server_error", "status || ' of ' || method || ' ' || host || template", "status >= 500".to_owned()),
        ("refused", "status || ' of ' || method || ' ' || host || template", "status IN (401, 403, 407)".to_owned()),
        ("not_found", "method || ' ' || host || template", "status IN (404, 410)".to_owned()),
        ("throttled", "host", "status IN (429, 503)".to_owned()),
        ("slow", "method || ' ' || host || template", format!("duration_ms >= {SLOW_MS} AND kind = 'http'")),
        (
            "credentials_in_the_clear",
            "host",
            "scheme = 'http' AND host NOT IN ('localhost', '127.0.0.1', '[::1]') AND header(seq, 'req', 'authorization') IS NOT NULL"
                .to_owned(),
        ),
    ];
    let mut found = Vec::new();
    for (kind, what, condition) in kinds {
        let sql = format!(
            "SELECT '{kind}' AS kind, {what} AS what, count(*) AS exchanges, min(id) AS example, max(started_ms) AS last_ms \
             FROM exchanges WHERE {scope} AND {condition} GROUP BY 2 ORDER BY 3 DESC LIMIT {TOP}"
        );
        found.extend(rows(store, &sql)?);
    }
    Ok(json!({"findings": found}))
}

/// The rows of an answer as objects.
fn rows(store: &Store, statement: &str) -> Result<Vec<Value>, ToolError> {
    let mut sql = Sql::new(statement);
    sql.max_rows = 200;
    let answer = store.sql(&sql)?;
    let row = |values: Vec<SqlValue>| {
        let named = answer.columns.iter().cloned().zip(values.into_iter().map(json_value));
        Value::Object(named.collect())
    };
    Ok(answer.rows.into_iter().map(row).collect())
}

fn json_value(value: SqlValue) -> Value {
    match value {
        SqlValue::Integer(number) => number.into(),
        SqlValue::Real(number) => number.into(),
        SqlValue::Text(text) => text.into(),
        _ => Value::Null,
    }
}
