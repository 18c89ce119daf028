//! Credentials learnt from what was recorded, so that they are known where no name stands beside them.
//!
//! A column of `query_sql`, a value that was searched for, a key that was grouped by: there is nothing in such a result that
//! says that a text is a credential. But the exchange it came from said so, in a header field or a URL. So before an
//! answer leaves, the heads recorded since the last one are looked through.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use capture_store::{Sql, SqlValue, Store, secrets::CREDENTIAL_HEADERS};

use super::vault::Vault;
use crate::{
    error::ToolError,
    toolbox::{Toolbox, blocking},
};

/// Exchanges that are looked through at once.
const STEP: u64 = 2_000;
/// How long an answer waits for it; the next one goes on from there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a store was looked through.
#[derive(Default)]
pub(super) struct Learnt {
    store: PathBuf,
    seq: u64,
}

impl Vault {
    /// Looks through what was recorded into the current store since the last time.
    pub(crate) async fn learn(&self, toolbox: &Toolbox) {
        let Some(store) = toolbox.opened_store() else { return };
        let mut learnt = self.learnt.lock().await;
        if learnt.store != store.directory() {
            *learnt = Learnt { store: store.directory().to_owned(), seq: 0 };
        }
        let (vault, from) = (self.clone(), learnt.seq);
        match blocking(move || vault.learn_from(&store, from)).await {
            Ok(seq) => learnt.seq = seq,
            Err(error) => tracing::debug!(%error, "credentials of the recording could not be learnt"),
        }
    }

    /// Looks through a store after `seq`; gives how far it came.
    fn learn_from(&self, store: &Store, mut seq: u64) -> Result<u64, ToolError> {
        let (newest, until) = (store.newest()?.0, Instant::now() + PATIENCE);
        while seq < newest && Instant::now() < until {
            let to = newest.min(seq + STEP);
            for (name, value) in rows(store, &fields(seq, to))? {
                self.note(&value, &self.secrets.header(name.as_bytes(), value.as_bytes()));
            }
            for (_, url) in rows(store, &urls(seq, to))? {
                self.note(&url, &self.secrets.url(url.as_bytes()));
            }
            seq = to;
        }
        Ok(seq)
    }
}

/// Header fields that may hold credentials.
fn fields(after: u64, to: u64) -> String {
    let listed: Vec<String> = CREDENTIAL_HEADERS.iter().map(|name| format!("'{name}'")).collect();
    format!(
        "SELECT name, value FROM headers WHERE seq > {after} AND seq <= {to} AND (lower(name) IN ({}) \
         OR name LIKE '%cookie' OR name LIKE '%token' OR name LIKE '%secret' OR name LIKE '%key' OR name LIKE '%password')",
        listed.join(", ")
    )
}

fn urls(after: u64, to: u64) -> String {
    format!(
        "SELECT '', url FROM exchanges WHERE seq > {after} AND seq <= {to} AND (instr(url, '=') OR instr(url, '@'))"
    )
}

fn rows(store: &Store, statement: &str) -> Result<Vec<(String, String)>, ToolError> {
    let mut sql = Sql::new(statement);
    sql.max_rows = 100_000;
    let pair = |row: Vec<SqlValue>| {
        let mut texts = row.into_iter().map(|value| match value {
            SqlValue::Text(text) => text,
            SqlValue::Blob(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            _ => String::new(),
        });
        Some((texts.next()?, texts.next()?))
    };
    Ok(store.sql(&sql)?.rows.into_iter().filter_map(pair).collect())
}
