//! `sessions verify`: whether everything is there as it was recorded.

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    ids::SessionName,
    output::{Out, note},
    place::Place,
    progress::Bar,
    text,
};

/// Verifies a session, or the whole store: the database, every exchange, and every body against its hash.
#[derive(Args)]
pub(super) struct Arguments {
    /// The session, like s3, or `last`; all otherwise.
    #[arg(value_name = "SESSION")]
    session: Option<SessionName>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let store = place.store_to_read()?;
    let session = arguments.session.map(|name| name.resolve(&store)).transpose()?;
    let bar = Bar::spinner("verifying");
    let found = store.verify(session)?;
    drop(bar);
    let mut out = Out::new();
    for problem in &found.problems {
        let message = text::one_line(&problem.message);
        match problem.exchange {
            Some(exchange) => out.line(format_args!("{exchange}: {message}"))?,
            None => out.line(message)?,
        }
    }
    out.flush()?;
    note(format_args!(
        "wirescope: looked at {}, {} of bodies compared with their hashes{}",
        text::count(found.exchanges, "exchange"),
        text::size(found.bytes),
        match found.unhashed {
            0 => String::new(),
            unhashed => format!("; {unhashed} have none, being cut off or open"),
        }
    ));
    if found.is_whole() {
        return Ok(());
    }
    let more = if found.more { "at least " } else { "" };
    bail!(
        "find the store whole: {more}{} wrong; what is not named can still be read",
        text::count(found.problems.len() as u64, "thing")
    );
}
