//! A session at a glance, in two kilobytes.

use capture_store::BodySide;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use traffic_analysis::{Credential, Glance};

use crate::{
    aggregate::percentile,
    budget::{cut, json_bytes},
    view::{Success, is_false, millis},
};

/// Bytes of the whole answer.
const MAX_BYTES: usize = 2_000;
/// Rows of each table at most.
const MAX_ROWS: usize = 10;
/// Characters of a host or template.
const MAX_CHARS: usize = 60;

/// A session at a glance.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Overview {
    status: Success,
    /// The session, or sessions, looked at.
    session: String,
    exchanges: u64,
    /// Those that failed, or have a status of 400 and above.
    errors: u64,
    /// Bytes of bodies.
    bytes: u64,
    /// When the first began; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// When the last ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    /// Median duration in milliseconds.
    #[serde(skip_serializing_if = "Value::is_null")]
    p50: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    p95: Value,
    /// WebSockets, upgrades and tunnels, where there are any.
    #[serde(skip_serializing_if = "Value::is_null")]
    other_kinds: Value,
    /// By host.
    hosts: Table,
    /// By route and outcome: a status or the code of a failure.
    #[serde(skip_serializing_if = "Table::is_empty")]
    error_groups: Table,
    /// Failures by cause; explain_failure tells more of one.
    #[serde(skip_serializing_if = "Table::is_empty")]
    failures: Table,
    /// Routes of three exchanges and more by the 95th percentile of their durations.
    #[serde(skip_serializing_if = "Table::is_empty")]
    slowest: Table,
    /// Kinds of credentials seen, never their values.
    #[serde(skip_serializing_if = "Table::is_empty")]
    credentials: Table,
    /// Whether not all could be looked at in time.
    #[serde(skip_serializing_if = "is_false")]
    incomplete: bool,
}

/// Rows under their columns.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
    /// Rows left out; aggregate gives all.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes references")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

impl Table {
    fn new(columns: &'static [&'static str], rows: impl ExactSizeIterator<Item = Vec<Value>>) -> Self {
        let all = rows.len();
        let rows: Vec<_> = rows.take(MAX_ROWS).collect();
        Self { columns, more: all - rows.len(), rows }
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.more == 0
    }

    fn drop_last(&mut self) {
        self.rows.pop();
        self.more += 1;
    }
}

impl Overview {
    /// Writes what fits of a glance: of the largest table the last row goes first.
    pub(crate) fn new(session: String, glance: Glance) -> Self {
        let mut overview = Self::whole(session, glance);
        while json_bytes(&overview) > MAX_BYTES {
            let largest = overview.tables().into_iter().filter(|table| table.rows.len() > 1);
            let Some(table) = largest.max_by_key(|table| json_bytes(&table.rows)) else { break };
            table.drop_last();
        }
        overview
    }

    fn tables(&mut self) -> [&mut Table; 5] {
        [
            &mut self.hosts,
            &mut self.error_groups,
            &mut self.failures,
            &mut self.slowest,
            &mut self.credentials,
        ]
    }

    fn whole(session: String, mut glance: Glance) -> Self {
        let (p50, p95) = (percentile(&mut glance.total, 50), percentile(&mut glance.total, 95));
        glance.kinds.remove("http");
        Self {
            status: Success::Success,
            session,
            exchanges: glance.total.count,
            errors: glance.total.errors,
            bytes: glance.total.bytes,
            from: glance.span.map(|(from, _)| millis(from)),
            to: glance.span.map(|(_, to)| millis(to)),
            p50,
            p95,
            other_kinds: if glance.kinds.is_empty() { Value::Null } else { json!(glance.kinds) },
            hosts: Table::new(
                &["host", "count", "errors", "p95"],
                glance.hosts.iter_mut().map(|(host, figures)| {
                    vec![short(host), json!(figures.count), json!(figures.errors), percentile(figures, 95)]
                }),
            ),
            error_groups: Table::new(
                &["route", "outcome", "count", "first"],
                glance.errors.iter().map(|group| {
                    let route = format!("{} {}{}", group.method, group.host, group.template);
                    vec![
                        short(&route),
                        json!(group.outcome),
                        json!(group.count),
                        json!(group.first.to_string()),
                    ]
                }),
            ),
            failures: Table::new(
                &["cause", "count", "first"],
                glance
                    .failures
                    .iter()
                    .map(|(cause, count, first)| vec![json!(cause), json!(count), json!(first.to_string())]),
            ),
            slowest: Table::new(
                &["route", "count", "p50", "p95"],
                glance.slowest.iter_mut().map(|((method, host, template), figures)| {
                    let route = short(&format!("{method} {host}{template}"));
                    vec![route, json!(figures.count), percentile(figures, 50), percentile(figures, 95)]
                }),
            ),
            credentials: credentials(&glance.credentials),
            incomplete: glance.walked.next.is_some(),
        }
    }
}

fn short(text: &str) -> Value {
    cut(text, MAX_CHARS).into()
}

/// A row for each kind and name, with the first host it was seen with.
fn credentials(seen: &[Credential]) -> Table {
    let mut told: Vec<(String, Vec<&Credential>)> = Vec::new();
    for credential in seen {
        let side = if credential.side == BodySide::Request { "req" } else { "resp" };
        let what = format!("{side}.{}.{}", credential.kind.as_str(), credential.name);
        match told.iter_mut().find(|(known, _)| *known == what) {
            Some((_, seen)) => seen.push(credential),
            None => told.push((what, vec![credential])),
        }
    }
    let rows = told.iter().map(|(what, seen)| {
        let first = seen.first();
        let host = first.map(|credential| short(&credential.host)).unwrap_or_default();
        vec![
            short(what),
            host,
            json!(seen.len()),
            json!(first.map(|credential| credential.first.to_string())),
        ]
    });
    Table::new(&["what", "host", "hosts", "first"], rows)
}
