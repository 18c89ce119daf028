//! `diff`: how two exchanges differ, or two sessions.

mod sessions;

use std::process::ExitCode;

use anyhow::Result;
use capture_store::{Condition, Seq, Store};
use clap::Args;
use serde_json::json;
use traffic_analysis::{
    Subject,
    diff::{Endpoint, ExchangeDiff, Options, Shown, exchanges},
};

use super::replay::{difference_line, difference_object};
use crate::{
    failure::Usage,
    filter::condition,
    ids::Target,
    json,
    output::{Out, note},
    place::Place,
};

/// Tells how two exchanges differ, or two sessions.
///
/// Exchanges are compared by meaning: fields by name, cookies by attribute, JSON by structure with differences named by
/// pointer. Dates, ids and tokens that differ are counted apart. Sessions are compared by endpoint (method, host and path
/// template): how often each was asked, what came of it, how long it took; --endpoint pairs the exchanges of one and tells
/// where they differ. Where the sessions have no host in common, hosts are left out of it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// An exchange like e412, or a session like s3 or `last`.
    #[arg(value_name = "LEFT")]
    left: Target,
    /// Another of the same kind.
    #[arg(value_name = "RIGHT")]
    right: Target,
    /// List dates, ids, tokens and framing that differ as well.
    #[arg(long)]
    volatile: bool,
    /// Do not compare this place, like resp.header.x-build or resp.json./items/*/price; may be repeated.
    #[arg(long, value_name = "PLACE")]
    ignore: Vec<String>,
    /// Of two sessions: one endpoint in detail, as the list names it: 'GET api.example.com/users/{id}'.
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    endpoint: Option<Endpoint>,
    /// Of two sessions: only exchanges that a filter finds, on both sides.
    #[arg(long, short = 'f', value_name = "FILTER", value_parser = condition)]
    filter: Option<Condition>,
    /// Print at most this many differences or endpoints.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Exit with 1 where they differ, and 2 on errors.
    #[arg(long)]
    exit_code: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let refused = || "not an endpoint; write one like 'GET api.example.com/users/{id}'".to_owned();
    let (method, rest) = text.split_once(' ').ok_or_else(refused)?;
    let (host, template) = rest.split_at(rest.find('/').ok_or_else(refused)?);
    Ok(Endpoint::new(method, Some(host).filter(|host| !host.is_empty()), template))
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<ExitCode> {
    let store = place.store_to_read()?;
    let same = match (arguments.left, arguments.right) {
        (Target::Exchange(left), Target::Exchange(right)) => {
            if arguments.endpoint.is_some() || arguments.filter.is_some() {
                return Err(Usage::error(
                    "compare two exchanges with --endpoint or --filter: these choose from sessions; name two sessions",
                ));
            }
            two_exchanges(arguments, &store, left, right)?
        }
        (Target::Session(left), Target::Session(right)) => {
            let (left, right) = (left.resolve(&store)?, right.resolve(&store)?);
            sessions::print(arguments, &store, left, right)?
        }
        _ => {
            return Err(Usage::error(
                "compare an exchange with a session: name two exchanges like e1 e2, or two sessions like s1 s2",
            ));
        }
    };
    Ok(if same || !arguments.exit_code { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(arguments: &Arguments) -> Options {
    let mut options = Options::default();
    options.volatile = if arguments.volatile { Shown::Listed } else { Shown::Counted };
    options.ignore.clone_from(&arguments.ignore);
    options.max_differences = limit(arguments);
    options
}

fn limit(arguments: &Arguments) -> usize {
    usize::try_from(arguments.limit).unwrap_or(usize::MAX)
}

fn two_exchanges(arguments: &Arguments, store: &Store, left: Seq, right: Seq) -> Result<bool> {
    let of = |seq: Seq| -> Result<_> { Ok(Subject::new(store, store.exchange(seq)?.summary)) };
    let diff = exchanges(&of(left)?, &of(right)?, &options(arguments))?;
    let mut out = Out::new();
    if arguments.json {
        out.line(json::line(&json!({
            "left": left.to_string(),
            "right": right.to_string(),
            "same": diff.is_same(),
            "total": diff.total,
            "volatile": diff.volatile,
            "differences": diff.differences.iter().map(difference_object).collect::<Vec<_>>(),
            "notes": diff.notes,
        })))?;
        out.flush()?;
        return Ok(diff.is_same());
    }
    for difference in &diff.differences {
        out.line(difference_line(difference))?;
    }
    out.flush()?;
    tell(arguments, &diff);
    Ok(diff.is_same())
}

fn tell(arguments: &Arguments, diff: &ExchangeDiff) {
    for told in &diff.notes {
        note(told);
    }
    let listed = diff.differences.iter().filter(|difference| difference.volatile.is_none()).count() as u64;
    if diff.total > listed {
        note(format_args!("{} more differ; raise --limit", diff.total - listed));
    }
    let hidden = match (diff.volatile, arguments.volatile) {
        (0, _) | (_, true) => String::new(),
        (count, false) => {
            format!(" ({count} dates, ids, tokens and framing left out; --volatile lists them)")
        }
    };
    match diff.total {
        0 => note(format_args!("they are the same{hidden}")),
        _ if !hidden.is_empty() => note(hidden.trim_start()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_they_are_written() {
        for text in ["GET a.test/users/{id}", "POST /x"] {
            assert_eq!(endpoint(text).unwrap().to_string(), text);
        }
        for bad in ["", "GET", "GET a.test", "/x"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
