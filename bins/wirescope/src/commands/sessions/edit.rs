//! `sessions edit`, `copy` and `merge`.

use anyhow::Result;
use capture_store::{Condition, Query, SessionEdit, SessionInfo};
use clap::Args;

use crate::{
    failure::Usage,
    filter::FilterArguments,
    ids::SessionName,
    output::{Out, note},
    place::Place,
    text,
};

/// Changes a session's name, comment or tags.
#[derive(Args)]
pub(super) struct Edit {
    /// The session, like s3, or `last`.
    #[arg(value_name = "SESSION")]
    session: SessionName,
    /// Its name; empty takes it away.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its comment; empty takes it away.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// A tag, in place of those it has; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A tag beside those it has; may be repeated.
    #[arg(long = "add-tag", value_name = "TAG", conflicts_with_all = ["tags", "no_tags"])]
    added: Vec<String>,
    /// A tag to take away; may be repeated.
    #[arg(long = "remove-tag", value_name = "TAG", conflicts_with_all = ["tags", "no_tags"])]
    removed: Vec<String>,
    /// Take all tags away.
    #[arg(long, conflicts_with = "tags")]
    no_tags: bool,
}

impl Edit {
    pub(super) fn run(&self, place: &Place) -> Result<()> {
        place.store_to_read()?;
        let store = place.store()?;
        let mut edit = SessionEdit::default();
        edit.name.clone_from(&self.name);
        edit.comment.clone_from(&self.comment);
        edit.tags = (self.no_tags || !self.tags.is_empty()).then(|| self.tags.clone());
        let id = self.session.resolve(&store)?;
        if !self.added.is_empty() || !self.removed.is_empty() {
            let mut tags = store.session(id)?.tags;
            tags.retain(|tag| !self.removed.contains(tag));
            tags.extend(self.added.iter().filter(|tag| !tags.contains(tag)).cloned().collect::<Vec<_>>());
            edit.tags = Some(tags);
        }
        if edit == SessionEdit::default() {
            return Err(Usage::error(
                "change the session: name what to change with --name, --comment or --tag",
            ));
        }
        let info = store.edit_session(id, &edit)?;
        note(format_args!("wirescope: changed session {}", info.id));
        Ok(())
    }
}

/// Copies a session, or what a filter finds in it, into a new one.
#[derive(Args)]
pub(super) struct Copy {
    /// The session, like s3, or `last`.
    #[arg(value_name = "SESSION")]
    session: SessionName,
    /// The new session's name.
    #[arg(long, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    filter: FilterArguments,
}

impl Copy {
    pub(super) fn run(&self, place: &Place) -> Result<()> {
        place.store_to_read()?;
        let store = place.store()?;
        let query = self.filter.query(self.session.resolve(&store)?);
        told(&store.copy(&query, &self.name)?)
    }
}

/// Copies several sessions into a new one, in the order their exchanges were recorded.
#[derive(Args)]
pub(super) struct Merge {
    /// The sessions, like s3 s5.
    #[arg(value_name = "SESSION", required = true, num_args = 2..)]
    sessions: Vec<SessionName>,
    /// The new session's name.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Delete the sessions that were merged.
    #[arg(long)]
    delete: bool,
}

impl Merge {
    pub(super) fn run(&self, place: &Place) -> Result<()> {
        place.store_to_read()?;
        let store = place.store()?;
        let sessions = self.sessions.iter().map(|name| name.resolve(&store)).collect::<Result<Vec<_>>>()?;
        for session in &sessions {
            store.session(*session)?;
        }
        let mut query = Query::default();
        query.condition = Some(Condition::Any(sessions.iter().copied().map(Condition::Session).collect()));
        let info = store.copy(&query, &self.name)?;
        if self.delete {
            for session in sessions {
                store.delete_session(session)?;
            }
        }
        told(&info)
    }
}

/// Prints the new session's id.
fn told(info: &SessionInfo) -> Result<()> {
    let mut out = Out::new();
    out.line(info.id)?;
    out.flush()?;
    note(format_args!(
        "wirescope: session {} has {}, {}",
        info.id,
        text::count(info.exchanges, "exchange"),
        text::size(info.bytes)
    ));
    Ok(())
}
