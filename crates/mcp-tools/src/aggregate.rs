//! Groups of exchanges as rows of figures.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use traffic_analysis::group::{Figures, Groups, Key, KeyError, Metric, Ordering, Row, compared, ordered};

use crate::{
    budget::{NextCall, cut, fit},
    error::ToolError,
    scoped::ScopeParams,
    view::{Success, duration_millis, is_false},
};

/// Characters of a key in a row.
pub(crate) const MAX_KEY_CHARS: usize = 120;
/// Keys that are grouped by at most.
const MAX_KEYS: usize = 6;

fn by_host() -> Vec<String> {
    vec!["host".to_owned()]
}

fn twenty() -> u32 {
    20
}

/// What groups are ordered by, the most first; `name` from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderBy {
    Count,
    Errors,
    ErrorRate,
    Bytes,
    P50,
    P95,
    P99,
    Name,
    P50Change,
    P95Change,
    ErrorsChange,
    CountChange,
}

impl OrderBy {
    fn ordering(self) -> Ordering {
        let metric = match self {
            Self::Count => Metric::Count,
            Self::Errors => Metric::Errors,
            Self::ErrorRate => Metric::ErrorRate,
            Self::Bytes => Metric::Bytes,
            Self::P50 => Metric::Percentile(50),
            Self::P95 => Metric::Percentile(95),
            Self::P99 => Metric::Percentile(99),
            Self::Name => return Ordering::ascending(Metric::Name),
            Self::P50Change => Metric::ChangeOf50,
            Self::P95Change => Metric::ChangeOf95,
            Self::ErrorsChange => Metric::ChangeOfErrors,
            Self::CountChange => Metric::ChangeOfCount,
        };
        Ordering::descending(metric)
    }

    pub(crate) fn is_change(self) -> bool {
        matches!(self, Self::P50Change | Self::P95Change | Self::ErrorsChange | Self::CountChange)
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct AggregateParams {
    /// Fields: host, template, status, class, type, method, client, process, user, time:1m, resp.header.server.
    #[serde(default = "by_host")]
    #[schemars(length(max = 6), inner(length(max = 200)))]
    pub(crate) by: Vec<String>,
    #[serde(flatten)]
    pub(crate) scope: ScopeParams,
    /// Another session (s2), or a filter in place of filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4000))]
    pub(crate) compare_to: Option<String>,
    /// Most first; by default count, with compare_to p50_change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order_by: Option<OrderBy>,
    /// Groups at most.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1_000))]
    limit: u32,
    /// Groups to skip.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    offset: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Aggregated {
    status: Success,
    /// The session, or sessions, looked at.
    session: String,
    /// Exchanges in all groups.
    exchanges: u64,
    /// How many there are in what was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanges_before: Option<u64>,
    /// Groups in all.
    groups: usize,
    /// The keys, then figures: percentiles of durations in ms; errors are failures and statuses from 400 on.
    columns: Vec<String>,
    /// A row for each group; null where there is nothing.
    rows: Vec<Vec<Value>>,
    /// Whether not all could be looked at in time: narrow it by a filter.
    #[serde(skip_serializing_if = "is_false")]
    incomplete: bool,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

/// Reads what to group by.
pub(crate) fn keys(by: &[String]) -> Result<Vec<Key>, ToolError> {
    let names: Vec<&str> = by.iter().flat_map(|name| name.split(',')).collect();
    if names.len() > MAX_KEYS {
        return Err(ToolError::invalid(format!("by must name at most {MAX_KEYS} fields")));
    }
    let key = |name: &&str| {
        Key::parse(name).map_err(|error| match error {
            KeyError::Field(error) => {
                ToolError::invalid(format!("by: there is no field {:?}", cut(&error.name, 80)))
                    .hint(format!("fields are time:1m, {}", traffic_analysis::Field::known()))
            }
            error => ToolError::invalid(format!("by: failed to {error}")),
        })
    };
    names.iter().map(key).collect()
}

/// Writes a page of groups.
pub(crate) fn aggregated(
    params: &AggregateParams,
    session: String,
    (now, before): (Groups, Option<Groups>),
    order: OrderBy,
    budget: usize,
) -> Aggregated {
    let incomplete = [Some(&now), before.as_ref()].into_iter().flatten().any(|it| it.walked.next.is_some());
    let (exchanges, exchanges_before) = (now.total.count, before.as_ref().map(|it| it.total.count));
    let mut columns: Vec<String> =
        params.by.iter().flat_map(|name| name.split(',')).map(str::to_owned).collect();
    let figures: &[&str] = if before.is_some() {
        &["count", "count_before", "errors", "errors_before", "p50", "p50_before", "p95", "p95_before"]
    } else {
        &["count", "errors", "bytes", "p50", "p95", "p99"]
    };
    columns.extend(figures.iter().map(|name| (*name).to_owned()));
    let compares = before.is_some();
    let rows = match before {
        Some(before) => compared(now, before, order.ordering()),
        None => ordered(now, order.ordering()),
    };
    let groups = rows.len();
    let page = rows.into_iter().skip(params.offset as usize).take(params.limit as usize);
    let (rows, _) = fit(page.map(|row| figures_of(row, compares)).collect::<Vec<_>>(), budget);
    let reached = params.offset as usize + rows.len();
    let next = (reached < groups && !rows.is_empty()).then(|| {
        let mut arguments = json!(params);
        arguments["offset"] = reached.into();
        NextCall::new("aggregate", arguments)
    });
    Aggregated {
        status: Success::Success,
        session,
        exchanges,
        exchanges_before,
        groups,
        columns,
        rows,
        incomplete,
        next,
    }
}

fn figures_of(row: Row, compares: bool) -> Vec<Value> {
    let Row { key, mut now, before, .. } = row;
    let mut cells: Vec<Value> = key
        .into_iter()
        .map(|value| match Value::from(value) {
            Value::String(text) => cut(&text, MAX_KEY_CHARS).into(),
            other => other,
        })
        .collect();
    if compares {
        let mut before = before.unwrap_or_default();
        for value in [now.count, before.count, now.errors, before.errors] {
            cells.push(value.into());
        }
        for percent in [50, 95] {
            cells.push(percentile(&mut now, percent));
            cells.push(percentile(&mut before, percent));
        }
    } else {
        cells.extend([now.count, now.errors, now.bytes].map(Value::from));
        cells.extend([50, 95, 99].map(|percent| percentile(&mut now, percent)));
    }
    cells
}

/// A percentile in milliseconds; of short ones to a tenth.
pub(crate) fn percentile(figures: &mut Figures, percent: u32) -> Value {
    let Some(duration) = figures.percentile(percent) else { return Value::Null };
    let tenths = (duration.as_secs_f64() * 10_000.0).round() / 10.0;
    if tenths >= 100.0 || tenths.fract() == 0.0 {
        return duration_millis(duration + Duration::from_micros(500)).into();
    }
    tenths.into()
}
