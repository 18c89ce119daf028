//! `delete`: a session, for good.

use anyhow::Result;
use clap::Args;

use crate::{ids::SessionName, output::note, place::Place};

/// Deletes a session with everything in it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The session, like s3, or `last`.
    #[arg(value_name = "SESSION")]
    session: SessionName,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    // Opened for reading first: a store that is not there is not to be made.
    place.store_to_read()?;
    let store = place.store()?;
    let session = arguments.session.resolve(&store)?;
    store.delete_session(session)?;
    note(format_args!("wirescope: deleted session {session}"));
    Ok(())
}
