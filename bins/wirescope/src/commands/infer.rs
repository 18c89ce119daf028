//! `infer`: the API behind a session as OpenAPI 3.1, and what drifted from a document.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use capture_store::{Query, Store};
use clap::Args;
use serde_json::Value;
use traffic_analysis::infer::{self, Counts, Drift, Options};

use crate::{
    filter::FilterArguments,
    ids::SessionName,
    output::{Out, note},
    place::Place,
    text,
};

/// Bytes of a document that is read.
const MAX_DOCUMENT: u64 = 64 * 1024 * 1024;

/// Infers the API behind a session as an OpenAPI 3.1 document.
///
/// Path templates, parameters, schemas merged over samples, enumerations, formats and security schemes of one origin: the
/// busiest, unless --host names one. With --against, tells instead how the session differs from a document, and exits with
/// 1 where it does.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The session, like s3, or `last`.
    #[arg(value_name = "SESSION")]
    session: SessionName,
    /// The JSON file to write [default: stdout].
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Hold the session against this OpenAPI 3 document (JSON).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "examples"])]
    against: Option<PathBuf>,
    /// Put a sample of each body in, with credentials masked.
    #[arg(long)]
    examples: bool,
    /// Describe the parts of pages, too: documents, scripts, images.
    #[arg(long)]
    everything: bool,
    /// The origin, like `https://api.example.com`, or its host.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    #[command(flatten)]
    filter: FilterArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<ExitCode> {
    let store = place.store_to_read()?;
    let session = arguments.session.resolve(&store)?;
    store.session(session)?;
    let query = arguments.filter.query(session);
    let mut options = Options::default();
    options.examples = arguments.examples;
    options.everything = arguments.everything;
    options.origin.clone_from(&arguments.origin);
    match &arguments.against {
        Some(path) => against(&store, &query, path, &options),
        None => infer_into(&store, &query, arguments.out.as_deref(), &options).map(|()| ExitCode::SUCCESS),
    }
}

fn infer_into(store: &Store, query: &Query, out: Option<&Path>, options: &Options) -> Result<()> {
    let inferred = infer::infer(store, query, options)?;
    let others = inferred.other_origins.iter().take(5).map(|(origin, count)| format!("{origin} ({count})"));
    let others: Vec<String> = others.collect();
    if inferred.origin.is_none() {
        let known = if others.is_empty() { "no calls".to_owned() } else { others.join(", ") };
        anyhow::bail!("infer an API: there are {known}; --everything takes pages, too");
    }
    let json = serde_json::to_string_pretty(&inferred.document)?;
    match out {
        Some(path) => fs::write(path, json + "\n")
            .with_context(|| format!("write {}", text::harmless(&path.display().to_string())))?,
        None => Out::new().text(&(json + "\n"))?,
    }
    note(format_args!(
        "wirescope: {} of {} from {}",
        text::count(inferred.operations.len() as u64, "operation"),
        text::harmless(inferred.origin.as_deref().unwrap_or_default()),
        text::count(inferred.counts.described, "exchange"),
    ));
    tell(&inferred.counts);
    if !others.is_empty() {
        note(format_args!("  other origins: {}", text::harmless(&others.join(", "))));
    }
    Ok(())
}

fn against(store: &Store, query: &Query, path: &Path, options: &Options) -> Result<ExitCode> {
    let named = || format!("read {}", text::harmless(&path.display().to_string()));
    let size = fs::metadata(path).with_context(named)?.len();
    anyhow::ensure!(size <= MAX_DOCUMENT, "read --against: it is longer than {}", text::size(MAX_DOCUMENT));
    let document: Value = serde_json::from_slice(&fs::read(path).with_context(named)?)
        .context("not JSON; convert YAML first")
        .with_context(named)?;
    let drift = infer::drift(store, query, &document, options)?;
    show(&drift)?;
    Ok(if drift.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(drift: &Drift) -> Result<()> {
    let mut out = Out::new();
    for change in &drift.changes {
        let at = if change.at.is_empty() { String::new() } else { format!(" at {}", change.at) };
        let line = format!(
            "{}  {}{at}: {} ({}, first {})",
            change.kind.as_str(),
            change.endpoint,
            change.detail,
            text::count(change.count, "time"),
            change.first
        );
        out.line(text::harmless(&line))?;
    }
    out.flush()?;
    let verdict = match drift.changes.len() {
        0 => "nothing differs".to_owned(),
        count => text::count(count as u64 + drift.more_changes, "difference"),
    };
    note(format_args!("wirescope: {verdict} in {}", text::count(drift.checked, "exchange")));
    for (count, what) in [
        (drift.elsewhere, "with other origins than the document's; --origin names one to hold against it"),
        (drift.unused.len() as u64, "documented operations were not used"),
    ] {
        if count > 0 {
            note(format_args!("  {count} {what}"));
        }
    }
    tell(&drift.counts);
    Ok(())
}

fn tell(counts: &Counts) {
    for (count, what) in [
        (counts.unanswered, "left out: without a response of upstream"),
        (counts.not_api, "left out: parts of pages, preflights"),
        (
            counts.other_methods + counts.beyond_limit,
            "left out: other methods, or beyond the limit of operations",
        ),
        (counts.unread_bodies, "bodies not looked into: cut, too long, or not what their type says"),
    ] {
        if count > 0 {
            note(format_args!("  {count} {what}"));
        }
    }
    if counts.more {
        note("  there are more exchanges than were read");
    }
}
