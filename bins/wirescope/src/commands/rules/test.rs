//! `rules test`: what rules would do to an exchange, and why.

use std::{path::PathBuf, time::SystemTime};

use anyhow::{Context as _, Result};
use capture_store::{BodySide, Exchange, Seq, Store};
use clap::Args;
use proxy_core::{
    Limits, ResponseHead,
    rules::{Described, DescribedBody, Explanation, Holds, Matched, Phase},
};

use super::{explained, load};
use crate::{failure::Usage, json, output::Out, place::Place, text};

/// Says what the rules of a file would do to an exchange, and why: each rule, each check, what it asks for and what there
/// is.
///
/// The exchange is a recorded one (e412), or a request described by a URL and the flags. Nothing is sent.
#[derive(Args)]
pub(super) struct Arguments {
    /// The file, .toml or .json.
    file: PathBuf,
    /// A URL, or the id of a recorded exchange, like e412.
    exchange: String,
    /// The request's method.
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<String>,
    /// A field of the request, like 'accept: text/html'; may be repeated.
    #[arg(long, short = 'H', value_name = "FIELD")]
    header: Vec<String>,
    /// The request's body.
    #[arg(long, short = 'd', value_name = "TEXT")]
    data: Option<String>,
    /// The status of a response, for rules that look at it.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=999))]
    status: Option<u16>,
    /// A field of that response; may be repeated.
    #[arg(long, value_name = "FIELD", requires = "status")]
    response_header: Vec<String>,
    /// That response's body.
    #[arg(long, value_name = "TEXT", requires = "status")]
    response_data: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let rules = load(&arguments.file)?;
    let described = match arguments.exchange.parse::<Seq>() {
        Ok(seq) if !arguments.exchange.contains(':') => recorded(&place.store_to_read()?, seq)?,
        _ => described(arguments)?,
    };
    let explanation = described.explain(&rules, SystemTime::now());
    let mut out = Out::new();
    if arguments.json {
        return out.line_now(json::line(&explained(&explanation)));
    }
    print(&mut out, &explanation)
}

/// The exchange that the arguments describe.
fn described(arguments: &Arguments) -> Result<Described> {
    let usage =
        |error: proxy_core::rules::ParsePatternError| Usage::error(format!("describe the request: {error}"));
    let mut described = Described::get(&arguments.exchange).map_err(usage)?;
    let method = arguments.method.as_deref().or(arguments.data.as_ref().map(|_| "POST"));
    if let Some(method) = method {
        described = described.method(method).map_err(usage)?;
    }
    for field in &arguments.header {
        let (name, value) = split(field)?;
        described = described.header(name, value);
    }
    if let Some(data) = &arguments.data {
        described = described.body(DescribedBody::Whole(data.clone().into_bytes()));
    }
    if let Some(status) = arguments.status {
        let status = status.try_into().map_err(|_| Usage::error("read --status: write one like 404"))?;
        let mut head = ResponseHead::new(status);
        for field in &arguments.response_header {
            let (name, value) = split(field)?;
            head.headers.push(name.to_owned(), value.to_owned());
        }
        let body = arguments.response_data.clone().unwrap_or_default().into_bytes();
        described = described.response(head, DescribedBody::Whole(body));
    }
    Ok(described)
}

fn split(field: &str) -> Result<(&str, &str)> {
    let (name, value) = field.split_once(':').ok_or_else(|| {
        Usage::error(format!("read the field {field:?}: write it like 'accept: text/html'"))
    })?;
    Ok((name.trim(), value.trim()))
}

/// An exchange as it was recorded.
fn recorded(store: &Store, seq: Seq) -> Result<Described> {
    let exchange = store.exchange(seq).context("find the exchange (`wirescope show` lists them)")?;
    let Exchange { request, response, .. } = exchange;
    let mut described = Described::of(request).body(body(store, seq, BodySide::Request)?);
    if let Some(head) = response {
        described = described.response(head, body(store, seq, BodySide::Response)?);
    }
    Ok(described)
}

/// A body as rules would see it, under the limit they have.
fn body(store: &Store, seq: Seq, side: BodySide) -> Result<DescribedBody> {
    let Some(body) = store.body(seq, side)? else { return Ok(DescribedBody::Whole(Vec::new())) };
    let decoded = body.decode(Limits::default().max_held_body_bytes);
    Ok(match (decoded.problem, decoded.truncated) {
        (Some(_), _) => DescribedBody::Undecodable,
        (None, true) => DescribedBody::OverLimit,
        (None, false) => DescribedBody::Whole(decoded.bytes.into()),
    })
}

fn print(out: &mut Out, explanation: &Explanation) -> Result<()> {
    for rule in &explanation.rules {
        let verdict = match (rule.matched, rule.enabled, rule.applies) {
            (Matched::No, _, _) => "does not match",
            (Matched::Unknown, _, _) => "cannot be decided",
            (_, false, _) => "matches, but is disabled",
            (Matched::Perhaps, _, true) => "may apply",
            (_, _, true) => "applies",
            _ => "matches, but a rule before it ended the round",
        };
        let name =
            if rule.name.is_empty() { String::new() } else { format!(" ({})", text::harmless(&rule.name)) };
        out.line(format_args!("{}{name}: {verdict}", rule.id))?;
        for check in &rule.checks {
            let mark = match check.holds {
                Holds::Yes => "ok  ",
                Holds::No => "FAIL",
                _ => "?   ",
            };
            let (expected, actual) = (text::one_line(&check.expected), text::one_line(&check.actual));
            out.line(format_args!(
                "    {mark} {} {}: {}",
                check.part,
                text::harmless(&expected),
                text::harmless(&actual)
            ))?;
        }
    }
    for step in &explanation.actions {
        let phase = if step.phase == Phase::Request { "request" } else { "response" };
        out.line(format_args!("-> {phase}: {} of {}", step.action, step.rule))?;
    }
    if explanation.actions.is_empty() {
        out.line("-> nothing is changed")?;
    }
    out.flush()
}
