//! `show`: one exchange, its body or its messages; or the exchanges of a session.

mod body;
mod exchange;
mod messages;

use anyhow::Result;
use capture_store::{BodySide, Order, Query, Seq, Store};
use clap::{Args, ValueEnum};

use super::sessions;
use crate::{
    failure::Usage,
    filter::FilterArguments,
    ids::{SessionName, Target},
    json,
    output::{Out, note},
    place::Place,
    row, text,
};

/// Exchanges read at a time.
const PAGE: usize = 1_000;

/// Shows an exchange, its body or its messages; or lists the exchanges of a session.
#[derive(Args)]
pub(crate) struct Arguments {
    /// An exchange like e412, a session like s3, or `last` for the newest session.
    #[arg(value_name = "ID")]
    target: Target,
    /// Print this body of the exchange and nothing else, with its content coding taken off.
    #[arg(long, value_name = "SIDE")]
    body: Option<Side>,
    /// With --body: print the bytes as they were on the wire.
    #[arg(long, requires = "body")]
    raw: bool,
    /// Print the WebSocket messages of the exchange.
    #[arg(long, conflicts_with = "body")]
    messages: bool,
    /// Print one JSON object to the line.
    #[arg(long, conflicts_with = "body")]
    json: bool,
    /// List at most this many exchanges of the session, 0 all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: usize,
    /// List the newest exchanges of the session first.
    #[arg(long)]
    newest_first: bool,
    #[command(flatten)]
    filter: FilterArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    Request,
    Response,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let store = place.store_to_read()?;
    match arguments.target {
        Target::Session(name) => session(arguments, &store, name),
        Target::Exchange(seq) => one(arguments, &store, seq),
    }
}

fn one(arguments: &Arguments, store: &Store, seq: Seq) -> Result<()> {
    if arguments.messages {
        return messages::print(store, seq, arguments.json);
    }
    match arguments.body {
        Some(Side::Request) => body::print(store, seq, BodySide::Request, arguments.raw),
        Some(Side::Response) => body::print(store, seq, BodySide::Response, arguments.raw),
        None => exchange::print(store, seq, arguments.json),
    }
}

fn session(arguments: &Arguments, store: &Store, name: SessionName) -> Result<()> {
    if arguments.body.is_some() || arguments.messages {
        return Err(Usage::error(
            "print a body or messages of a session; name an exchange, like `wirescope show e412`",
        ));
    }
    let info = store.session(name.resolve(store)?)?;
    let mut query = arguments.filter.query(info.id);
    let mut out = Out::new();
    if !arguments.json {
        let name =
            info.name.as_deref().map(|name| format!(" {:?}", text::harmless(name))).unwrap_or_default();
        let notes = sessions::notes(&info);
        let notes = if notes.is_empty() { notes } else { format!("; {notes}") };
        note(format_args!(
            "session {}{name}, {}, began {}: {}, {}{notes}",
            info.id,
            sessions::state(&info),
            text::date_and_time(info.started_at),
            text::count(info.exchanges, "exchange"),
            text::size(info.bytes),
        ));
    }
    let shown = list(arguments, store, &mut query, &mut out)?;
    out.flush()?;
    if shown == 0 && !arguments.json && info.exchanges > 0 {
        note("no exchange of it is as asked");
    }
    Ok(())
}

/// Prints page by page, each aligned in itself, so that memory stays flat; gives the number printed.
fn list(arguments: &Arguments, store: &Store, query: &mut Query, out: &mut Out) -> Result<usize> {
    let mut shown = 0;
    if arguments.newest_first {
        query.order = Order::Descending;
    }
    loop {
        let left = if arguments.limit == 0 { PAGE } else { arguments.limit - shown };
        query.limit = left.min(PAGE);
        let page = store.query(query)?;
        if arguments.json {
            for item in &page.items {
                out.line(json::line(&json::exchange(item)))?;
            }
        } else if !page.items.is_empty() {
            let lines = row::table(&page.items).lines(out.width());
            for line in lines.iter().skip(usize::from(shown > 0)) {
                out.line(line)?;
            }
        }
        shown += page.items.len();
        let Some(last) = page.items.last().map(|item| item.seq).filter(|_| page.more) else {
            return Ok(shown);
        };
        let (cursor, flag) = if arguments.newest_first {
            (&mut query.before, "--before")
        } else {
            (&mut query.after, "--after")
        };
        *cursor = Some(last);
        if arguments.limit > 0 && shown >= arguments.limit {
            note(format_args!("more follow; go on with {flag} {last}"));
            return Ok(shown);
        }
    }
}
