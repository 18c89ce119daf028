//! Two sessions, endpoint by endpoint.

use std::time::Duration;

use anyhow::Result;
use capture_store::{SessionId, Store};
use serde_json::{Value, json};
use traffic_analysis::{
    Scope,
    diff::{
        Endpoint, EndpointDiff, EndpointFigures, SessionsDiff, SessionsOptions, Side, SideFigures, Verdict,
        endpoint, sessions,
    },
};

use super::{super::replay::difference_object, Arguments, difference_line, limit, options};
use crate::{
    json,
    output::{Out, note},
    progress::Bar,
    table::{Column, Table},
    text,
};

/// Pairs of an endpoint that are compared.
const MAX_PAIRS: usize = 1_000;

/// Prints how they differ; says whether they do not.
pub(super) fn print(arguments: &Arguments, store: &Store, left: SessionId, right: SessionId) -> Result<bool> {
    let side = |session: SessionId| -> Result<Side<'_>> {
        let scope = Scope::of_session(store.session(session)?.id);
        let scope = match &arguments.filter {
            Some(filter) => scope.filtered(filter.clone()),
            None => scope,
        };
        Ok(Side { store, scope })
    };
    let (left, right) = (side(left)?, side(right)?);
    let bar = Bar::spinner("comparing");
    if let Some(asked) = &arguments.endpoint {
        let diff = endpoint(&left, &right, asked, &options(arguments), MAX_PAIRS)?;
        drop(bar);
        return one(arguments, asked, &diff);
    }
    let diff = sessions(&left, &right, SessionsOptions::default())?;
    drop(bar);
    all(arguments, &diff)
}

fn all(arguments: &Arguments, diff: &SessionsDiff) -> Result<bool> {
    let mut out = Out::new();
    let shown = diff.endpoints.iter().take(limit(arguments));
    if arguments.json {
        for (endpoint, figures) in shown {
            out.line(json::line(&object(endpoint, figures)))?;
        }
    } else {
        let mut table = Table::new([
            Column::Left("DIFFERS"),
            Column::Right("LEFT"),
            Column::Right("RIGHT"),
            Column::Wide("OUTCOMES"),
            Column::Right("MEDIAN"),
            Column::Wide("ENDPOINT"),
        ]);
        for (endpoint, figures) in shown {
            table.add(row(endpoint, figures));
        }
        for line in table.lines(out.width()) {
            out.line(line)?;
        }
    }
    out.flush()?;
    let alike = diff.endpoints.iter().all(|(_, figures)| figures.verdict == Verdict::Alike);
    note(format_args!(
        "{} and {}, {} in all{}{}",
        text::count(diff.left.exchanges, "exchange"),
        text::count(diff.right.exchanges, "exchange"),
        text::count(diff.endpoints.len() as u64, "endpoint"),
        if diff.hosts_ignored { "; no host is in both, so hosts are left out" } else { "" },
        if diff.endpoints.len() > limit(arguments) { "; raise --limit for all" } else { "" },
    ));
    for (count, side) in [(diff.beyond.0, "left"), (diff.beyond.1, "right")] {
        if count > 0 {
            note(format_args!(
                "{} of the {side} are of endpoints beyond those told apart",
                text::count(count, "exchange")
            ));
        }
    }
    Ok(alike)
}

fn row(endpoint: &Endpoint, figures: &EndpointFigures) -> Vec<String> {
    let median = |side: &SideFigures| side.median.map_or_else(|| "-".to_owned(), text::duration);
    let outcomes = |side: &SideFigures| -> String {
        let parts: Vec<String> =
            side.outcomes.iter().map(|(outcome, count)| format!("{outcome}x{count}")).collect();
        if parts.is_empty() { "-".to_owned() } else { parts.join(",") }
    };
    let (left, right) = (&figures.left, &figures.right);
    let outcome = match left.outcomes == right.outcomes {
        true => outcomes(left),
        false => format!("{} | {}", outcomes(left), outcomes(right)),
    };
    vec![
        figures.verdict.as_str().to_owned(),
        left.count.to_string(),
        right.count.to_string(),
        outcome,
        format!("{} | {}", median(left), median(right)),
        text::harmless(&endpoint.to_string()).into_owned(),
    ]
}

fn object(endpoint: &Endpoint, figures: &EndpointFigures) -> Value {
    let side = |side: &SideFigures| {
        json!({
            "count": side.count,
            "outcomes": side.outcomes,
            "bytes": side.bytes,
            "medianMs": side.median.map(millis),
            "examples": side.examples.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    json!({
        "endpoint": endpoint.to_string(),
        "differs": figures.verdict.as_str(),
        "left": side(&figures.left),
        "right": side(&figures.right),
    })
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

fn one(arguments: &Arguments, endpoint: &Endpoint, diff: &EndpointDiff) -> Result<bool> {
    let mut out = Out::new();
    if arguments.json {
        out.line(json::line(&json!({
            "endpoint": endpoint.to_string(),
            "pairs": diff.pairs,
            "compared": diff.compared,
            "differing": diff.differing,
            "unpaired": { "left": diff.unpaired.0, "right": diff.unpaired.1 },
            "places": diff.places.iter().map(|place| {
                let mut object = difference_object(&place.first);
                object["pairs"] = place.pairs.into();
                object["example"] = json!([place.example.0.to_string(), place.example.1.to_string()]);
                object
            }).collect::<Vec<_>>(),
        })))?;
    } else {
        for place in diff.places.iter().take(limit(arguments)) {
            let (left, right) = place.example;
            let first = difference_line(&place.first);
            out.line(format_args!("{}x  {first}  ({left} {right})", place.pairs))?;
        }
    }
    out.flush()?;
    note(format_args!(
        "{} of {} compared differ; {} and {} have no partner",
        diff.differing,
        text::count(diff.compared, "pair"),
        diff.unpaired.0,
        diff.unpaired.1,
    ));
    if diff.compared < diff.pairs {
        note(format_args!("{} more pairs were not compared; --filter chooses", diff.pairs - diff.compared));
    }
    let alike = diff.differing == 0 && diff.unpaired == (0, 0);
    Ok(alike)
}
