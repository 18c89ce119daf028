//! What of the exchanges looked at a filter matches.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use capture_store::{BodySide, Condition, Exchange, ExchangeSummary, NumberField, Pattern, Query, Seq};
use proxy_core::Headers;
use serde_json::Value;
use traffic_analysis::priority::{Priority, is_error, prioritize};

use super::{
    filter::{TrafficFilter, contains},
    scan::{Plane, Scan},
};
use crate::error::ToolError;

/// Decoded bytes of a body that a JSON query is asked of.
const MAX_JSON_BYTES: u64 = 4 * 1024 * 1024;

/// A match.
pub(super) struct Hit {
    pub(super) summary: ExchangeSummary,
    pub(super) priority: Priority,
}

/// The matches, those of most priority first.
pub(super) struct Matched {
    pub(super) hits: Vec<Hit>,
    /// What the preset left out, by class.
    pub(super) excluded: BTreeMap<&'static str, u64>,
    pub(super) warnings: Vec<String>,
}

/// Finds the matches.
pub(super) fn find(plane: &Plane, scan: &Scan, filter: &TrafficFilter) -> Result<Matched, ToolError> {
    let deep = Deep::new(plane, scan, filter)?;
    let mut matched = Matched { hits: Vec::new(), excluded: BTreeMap::new(), warnings: Vec::new() };
    if deep.skipped_bodies > 0 {
        let count = deep.skipped_bodies;
        matched.warnings.push(format!("bodies_skipped: {count} could not be looked through"));
    }
    for summary in &scan.items {
        let priority = prioritize(summary);
        if filter.preset.excludes(summary, priority.class) {
            *matched.excluded.entry(priority.class.as_str()).or_default() += 1;
            continue;
        }
        if filter.fits(summary, &priority) && deep.fits(plane, summary.seq)? {
            matched.hits.push(Hit { summary: summary.clone(), priority });
        }
    }
    matched.hits.sort_by(|a, b| {
        (b.priority.score, is_error(&b.summary), b.summary.started_at, b.summary.seq).cmp(&(
            a.priority.score,
            is_error(&a.summary),
            a.summary.started_at,
            a.summary.seq,
        ))
    });
    Ok(matched)
}

/// What heads and bodies are asked.
struct Deep<'f> {
    headers: [HeaderFilter<'f>; 2],
    /// Exchanges whose bodies contain the text, where one was given.
    bodies: Vec<BTreeSet<Seq>>,
    json: [Option<jmespath::Expression<'static>>; 2],
    skipped_bodies: u64,
}

struct HeaderFilter<'f> {
    name: Option<&'f str>,
    value: Option<&'f str>,
}

impl HeaderFilter<'_> {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.value.is_none()
    }

    /// A name is the whole name, a value a part of it; a value alone is looked for in every field.
    fn fits(&self, headers: Option<&Headers>) -> bool {
        self.is_empty()
            || headers.is_some_and(|headers| {
                headers.iter().any(|header| {
                    self.name.is_none_or(|name| header.is(name))
                        && self.value.is_none_or(|value| contains(&header.value_text(), value))
                })
            })
    }
}

/// A given text that says something.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

impl<'f> Deep<'f> {
    fn new(plane: &Plane, scan: &Scan, filter: &'f TrafficFilter) -> Result<Self, ToolError> {
        let headers = [
            HeaderFilter {
                name: given(&filter.request_header_name),
                value: given(&filter.request_header_value_contains),
            },
            HeaderFilter {
                name: given(&filter.response_header_name),
                value: given(&filter.response_header_value_contains),
            },
        ];
        let json = [
            compiled("request_json_query", given(&filter.request_json_query))?,
            compiled("response_json_query", given(&filter.response_json_query))?,
        ];
        let mut deep = Self { headers, bodies: Vec::new(), json, skipped_bodies: 0 };
        for (side, text) in [
            (BodySide::Request, given(&filter.request_body_contains)),
            (BodySide::Response, given(&filter.response_body_contains)),
        ] {
            if let Some(text) = text {
                let (found, skipped) = containing(plane, scan, side, text)?;
                deep.bodies.push(found);
                deep.skipped_bodies += skipped;
            }
        }
        Ok(deep)
    }

    fn fits(&self, plane: &Plane, seq: Seq) -> Result<bool, ToolError> {
        if !self.bodies.iter().all(|found| found.contains(&seq)) {
            return Ok(false);
        }
        if self.headers.iter().all(HeaderFilter::is_empty) && self.json.iter().all(Option::is_none) {
            return Ok(true);
        }
        let exchange = match plane.store.exchange(seq) {
            Ok(exchange) => exchange,
            Err(error) if matches!(error.kind(), capture_store::ErrorKind::UnknownExchange(_)) => {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let response = exchange.response.as_ref().map(|head| &head.headers);
        let [of_request, of_response] = &self.headers;
        Ok(of_request.fits(Some(&exchange.request.headers))
            && of_response.fits(response)
            && self.json_fits(plane, &exchange)?)
    }

    fn json_fits(&self, plane: &Plane, exchange: &Exchange) -> Result<bool, ToolError> {
        for (query, side) in self.json.iter().zip([BodySide::Request, BodySide::Response]) {
            let Some(query) = query else { continue };
            let Some(value) = json(plane, exchange.summary.seq, side)? else { return Ok(false) };
            // What cannot be asked of this body (a function of another type) does not hold of it.
            let truthy = query.search(value).is_ok_and(|found| is_true(&found));
            if !truthy {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What Charles MCP takes for true: numbers, 0 too; of lists, objects and texts those that are not empty.
fn is_true(found: &jmespath::Variable) -> bool {
    found.is_number() || found.is_truthy()
}

fn compiled(name: &str, query: Option<&str>) -> Result<Option<jmespath::Expression<'static>>, ToolError> {
    query
        .map(|query| {
            jmespath::compile(query).map_err(|error| {
                let line = error.to_string().lines().next().unwrap_or_default().to_owned();
                ToolError::invalid(format!("failed to read {name} as JMESPath: {line}"))
                    .hint("write one like items[?price > `10`] or user.name")
            })
        })
        .transpose()
}

fn json(plane: &Plane, seq: Seq, side: BodySide) -> Result<Option<Value>, ToolError> {
    let Some(body) = plane.store.body(seq, side)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = body.into_decoded_reader().take(MAX_JSON_BYTES).read_to_end(&mut bytes);
    Ok(read.ok().and_then(|_| serde_json::from_slice(&bytes).ok()))
}

/// The exchanges looked at whose body contains a text, and how many bodies could not be looked through.
fn containing(
    plane: &Plane,
    scan: &Scan,
    side: BodySide,
    text: &str,
) -> Result<(BTreeSet<Seq>, u64), ToolError> {
    let seqs = || scan.items.iter().map(|item| item.seq.0);
    let (Some(first), Some(last)) = (seqs().min(), seqs().max()) else { return Ok((BTreeSet::new(), 0)) };
    let mut query = Query::default();
    query.condition = Some(Condition::All(vec![
        Condition::Number(NumberField::Seq, first, last),
        Condition::Any(plane.sessions().into_iter().map(Condition::Session).collect()),
        Condition::Body { side: Some(side), pattern: Pattern::contains(text) },
    ]));
    query.limit = 10_000;
    let page = plane.store.query(&query)?;
    Ok((page.items.into_iter().map(|item| item.seq).collect(), page.skipped_bodies))
}
