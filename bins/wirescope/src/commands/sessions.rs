//! `sessions`: what was recorded, and what can be done with it.

mod edit;
mod verify;

use std::time::SystemTime;

use anyhow::Result;
use capture_store::{SessionFilter, SessionInfo};
use clap::{Args, Subcommand};

use crate::{
    json,
    output::{Out, note},
    place::Place,
    table::{Column, Table},
    text,
};

/// Lists the sessions of the store, the newest first; or marks, copies, merges or verifies them.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Only those a filter finds, like 'tag:login kind:named since:2d -state:active' (docs/filter.md).
    #[arg(long, short = 'f', value_name = "FILTER", value_parser = filter, allow_hyphen_values = true)]
    filter: Option<SessionFilter>,
    /// Print one JSON object to the line.
    #[arg(long)]
    json: bool,
}

/// What to do with sessions.
#[derive(Subcommand)]
enum What {
    Edit(edit::Edit),
    Copy(edit::Copy),
    Merge(edit::Merge),
    Verify(verify::Arguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    match &arguments.what {
        None => list(arguments, place),
        Some(What::Edit(edit)) => edit.run(place),
        Some(What::Copy(copy)) => copy.run(place),
        Some(What::Merge(merge)) => merge.run(place),
        Some(What::Verify(verify)) => verify::run(verify, place),
    }
}

/// Reads a filter of sessions; where it is wrong the error says the column.
fn filter(text: &str) -> Result<SessionFilter, String> {
    SessionFilter::parse(text).map_err(|error| format!("column {}: {}", error.column, error.message))
}

fn list(arguments: &Arguments, place: &Place) -> Result<()> {
    let sessions = match place.store_to_list()? {
        Some(store) => store.sessions()?,
        None => Vec::new(),
    };
    let any = !sessions.is_empty();
    let sessions: Vec<_> = sessions
        .into_iter()
        .filter(|session| arguments.filter.as_ref().is_none_or(|f| f.admits(session)))
        .collect();
    let mut out = Out::new();
    if arguments.json {
        for session in &sessions {
            out.line(json::line(&json::session(session)))?;
        }
        return out.flush();
    }
    if any && sessions.is_empty() {
        note("wirescope: no session is as asked; `wirescope sessions` lists all");
        return Ok(());
    }
    if sessions.is_empty() {
        note(format_args!(
            "wirescope: no session in {} yet; `wirescope run` and `wirescope exec` record one",
            place.store_path().display()
        ));
        return Ok(());
    }
    let mut table = Table::new([
        Column::Left("id"),
        Column::Wide("name"),
        Column::Left("state"),
        Column::Left("began"),
        Column::Left("lasted"),
        Column::Right("exchanges"),
        Column::Right("size"),
        Column::Wide("notes"),
    ]);
    for session in &sessions {
        table.add(row(session));
    }
    for line in table.lines(out.width()) {
        out.line(line)?;
    }
    out.flush()
}

fn row(session: &SessionInfo) -> Vec<String> {
    let lasted = session.ended_at.unwrap_or_else(SystemTime::now).duration_since(session.started_at);
    let name =
        session.name.as_deref().map_or_else(|| "-".to_owned(), |name| text::harmless(name).into_owned());
    vec![
        session.id.to_string(),
        name,
        state(session),
        text::date_and_time(session.started_at),
        text::duration(lasted.unwrap_or_default()),
        session.exchanges.to_string(),
        text::size(session.bytes),
        notes(session),
    ]
}

/// The kind where it says more than the state.
pub(crate) fn state(session: &SessionInfo) -> String {
    match session.kind {
        capture_store::SessionKind::Imported => json::session_kind(session.kind).to_owned(),
        _ => json::session_state(session.state).to_owned(),
    }
}

/// What its reader should know before trusting that it has everything.
pub(crate) fn notes(session: &SessionInfo) -> String {
    let mut notes = Vec::new();
    if !session.tags.is_empty() {
        notes.push(format!("[{}]", text::one_line(&session.tags.join(", "))));
    }
    notes.extend(session.comment.as_deref().map(text::one_line));
    if session.evicted > 0 {
        notes.push(format!("{} evicted", session.evicted));
    }
    if session.not_recorded > 0 {
        notes.push(format!("{} not recorded", session.not_recorded));
    }
    if let Some(recovery) = &session.recovery {
        let window = std::time::Duration::from_millis(recovery.window_ms);
        notes.push(format!(
            "{} cut off by a crash, up to {} before it may be missing",
            recovery.unfinished,
            text::duration(window)
        ));
    }
    if let Some(error) = &session.last_error {
        notes.push(format!("failed to record: {}", text::one_line(error)));
    }
    notes.join("; ")
}
