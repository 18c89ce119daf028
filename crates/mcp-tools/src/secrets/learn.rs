//! Credentials learnt from what was recorded, so that they are known where no name stands beside them.
//!
//! A column of `query_sql`, a value that was searched for, a key that was grouped by: there is nothing in such a result that
//! says that a text is a credential. But the exchange it came from said so, in a header field or a URL. So before an
//! answer leaves, the heads recorded since the last one are looked through.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use capture_store::{
    Sql, SqlValue, Store,
    secrets::{CREDENTIAL_HEADERS, SecretSpan},
};

use super::vault::Vault;
use crate::{
    error::ToolError,
    toolbox::{Toolbox, blocking},
};

/// Exchanges that are looked through at once.
const STEP: u64 = 500;
/// How long an answer waits for it; the next one goes on from there.
const PATIENCE: Duration = Duration::from_secs(4);
/// Of each body, this much is looked through.
const BODY_BYTES: usize = 256 * 1024;
/// Exchanges under way that are looked through again; beyond it the oldest is not.
const MAX_OPEN: usize = 1_000;

/// How far a store was looked through.
#[derive(Clone, Default)]
pub(super) struct Learnt {
    store: PathBuf,
    seq: u64,
    /// Those before it that were not over.
    open: Vec<u64>,
}

impl Vault {
    /// Looks through what was recorded into the current store since the last time.
    pub(crate) async fn learn(&self, toolbox: &Toolbox) {
        let Some(store) = toolbox.opened_store() else { return };
        let mut learnt = self.learnt.lock().await;
        if learnt.store != store.directory() {
            *learnt = Learnt { store: store.directory().to_owned(), ..Learnt::default() };
        }
        let (vault, mut progress) = (self.clone(), learnt.clone());
        match blocking(move || vault.learn_from(&store, &mut progress).map(|()| progress)).await {
            Ok(progress) => *learnt = progress,
            Err(error) => tracing::debug!(%error, "credentials of the recording could not be learnt"),
        }
    }

    /// Looks through a store from where `learnt` says.
    fn learn_from(&self, store: &Store, learnt: &mut Learnt) -> Result<(), ToolError> {
        let (newest, until) = (store.newest()?.0, Instant::now() + PATIENCE);
        let mut step = STEP;
        let mut again = std::mem::take(&mut learnt.open);
        while (learnt.seq < newest || !again.is_empty()) && Instant::now() < until {
            let to = newest.min(learnt.seq + step);
            let range = Range { after: learnt.seq, to, again: &again };
            match self.learn_range(store, &range) {
                Ok(open) => learnt.open.extend(open),
                // Too much at once.
                Err(_) if step > 1 => {
                    step /= 2;
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, seq = to, "credentials of an exchange could not be learnt");
                }
            }
            learnt.seq = to;
            again.clear();
        }
        learnt.open.extend(again);
        let surplus = learnt.open.len().saturating_sub(MAX_OPEN);
        learnt.open.drain(..surplus);
        Ok(())
    }

    /// Looks through some exchanges; gives those that are not over.
    fn learn_range(&self, store: &Store, range: &Range<'_>) -> Result<Vec<u64>, ToolError> {
        // Before the rest: what ends meanwhile is looked at again.
        let open = rows(store, &range.of("SELECT seq, '' FROM exchanges WHERE state = 'open' AND"))?;
        for (name, value) in rows(store, &range.of(&fields()))? {
            self.note(&value, &self.secrets.header(name.as_bytes(), value.as_bytes()));
        }
        for (_, url) in rows(store, &range.of(URLS))? {
            self.note(&url, &self.secrets.url(url.as_bytes()));
        }
        for side in ["request", "response"] {
            for (kind, body) in rows(store, &range.of(&bodies(side)))? {
                self.note_body(&body, &self.body(&kind, &body));
            }
        }
        Ok(open.into_iter().filter_map(|(seq, _)| seq.parse().ok()).collect())
    }

    fn body(&self, kind: &str, body: &str) -> Vec<SecretSpan> {
        let begins_like_form =
            !kind.contains('/') && !body.contains(['{', '<', '"', ' ']) && body.contains('=');
        if begins_like_form {
            self.secrets.form(body.as_bytes())
        } else {
            self.secrets.body(kind, body.as_bytes())
        }
    }
}

/// Exchanges: those of a range, and some before it.
struct Range<'a> {
    after: u64,
    to: u64,
    again: &'a [u64],
}

impl Range<'_> {
    /// The statement for them, where it ends with a condition or `WHERE`.
    fn of(&self, statement: &str) -> String {
        let again: Vec<String> = self.again.iter().map(u64::to_string).collect();
        let (after, to, again) = (self.after, self.to, again.join(","));
        format!("{statement} (seq > {after} AND seq <= {to} OR seq IN ({again}))")
    }
}

/// Header fields that may hold credentials.
fn fields() -> String {
    let listed: Vec<String> = CREDENTIAL_HEADERS.iter().map(|name| format!("'{name}'")).collect();
    format!(
        "SELECT name, value FROM headers WHERE (lower(name) IN ({}) OR name LIKE '%cookie' OR name LIKE '%token' \
         OR name LIKE '%secret' OR name LIKE '%key' OR name LIKE '%password' OR name IN ('location', 'referer') \
         OR length(value) > 20) AND",
        listed.join(", ")
    )
}

const URLS: &str = "SELECT '', url FROM exchanges WHERE (instr(url, '=') OR instr(url, '@')) AND";

/// The beginnings of one side's bodies that are text, with their types.
fn bodies(side: &str) -> String {
    let short = if side == "request" { "req" } else { "resp" };
    format!(
        "SELECT coalesce({side}_type, ''), coalesce(substr(body_text(seq, '{short}'), 1, {BODY_BYTES}), '') FROM exchanges \
         WHERE {side}_bytes > 0 AND"
    )
}

fn rows(store: &Store, statement: &str) -> Result<Vec<(String, String)>, ToolError> {
    let mut sql = Sql::new(statement);
    sql.max_rows = 100_000;
    let text = |value: SqlValue| match value {
        SqlValue::Text(text) => text,
        SqlValue::Blob(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        SqlValue::Integer(number) => number.to_string(),
        _ => String::new(),
    };
    let pair = |row: Vec<SqlValue>| {
        let mut texts = row.into_iter().map(text);
        Some((texts.next()?, texts.next()?))
    };
    let answer = store.sql(&sql)?;
    if answer.truncated {
        return Err(ToolError::new("internal", "there is too much to look through at once"));
    }
    Ok(answer.rows.into_iter().filter_map(pair).collect())
}
