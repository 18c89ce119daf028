//! `search`: a text in URLs, header fields and decoded bodies.

use anyhow::Result;
use capture_store::{Condition, Search, SearchPage};
use clap::Args;

use crate::{
    filter::condition,
    ids::SessionName,
    json,
    output::{Out, note},
    place::Place,
    progress::Bar,
    row::Row,
    text,
};

/// Finds a text in URLs, header names and values, decoded bodies and WebSocket messages, the newest exchange first.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The text, in whatever case.
    text: String,
    /// Only in this session, like s3 or `last`; in all otherwise.
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionName>,
    /// Only in exchanges that a filter finds, like 'host:*.example.com type:json since:1h' (docs/filter.md).
    #[arg(long, short = 'f', value_name = "FILTER", value_parser = condition)]
    filter: Option<Condition>,
    /// At most this many exchanges.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Match the case too.
    #[arg(long)]
    case_sensitive: bool,
    /// Leave bodies out, which is faster.
    #[arg(long)]
    no_bodies: bool,
    /// Print one JSON object to the line.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let store = place.store_to_read()?;
    let session = arguments.session.map(|name| name.resolve(&store)).transpose()?;
    let mut search = Search::new(arguments.text.clone(), session);
    search.filter.condition.clone_from(&arguments.filter);
    search.case_sensitive = arguments.case_sensitive;
    search.skip_bodies = arguments.no_bodies;
    search.limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let bar = Bar::spinner("searching");
    let page = store.search(&search)?;
    drop(bar);
    print(arguments, &page)
}

fn print(arguments: &Arguments, page: &SearchPage) -> Result<()> {
    let mut out = Out::new();
    for hit in &page.hits {
        if arguments.json {
            out.line(json::line(&json::hit(hit)))?;
            continue;
        }
        let row = Row::new(&hit.exchange);
        out.line(format_args!(
            "{}  {}  {}  {}",
            row.id,
            row.method,
            row.status,
            text::harmless(&hit.exchange.url)
        ))?;
        for place in &hit.places {
            out.line(format_args!(
                "    {}: {}",
                text::harmless(&place.field),
                text::harmless(&place.snippet)
            ))?;
        }
    }
    out.flush()?;
    if page.hits.is_empty() {
        let read = page.scanned - page.indexed;
        let by_index =
            if page.indexed > 0 { format!(", of which {read} had to be read") } else { String::new() };
        note(format_args!("not found in {}{by_index}", text::count(page.scanned, "exchange")));
    }
    if page.skipped_bodies > 0 {
        let bodies = if page.skipped_bodies == 1 { "body" } else { "bodies" };
        note(format_args!(
            "{} {bodies} could not be looked through whole (cut, or undecodable)",
            page.skipped_bodies
        ));
    }
    if page.next.is_some() {
        note("there may be more; raise --limit");
    }
    Ok(())
}
