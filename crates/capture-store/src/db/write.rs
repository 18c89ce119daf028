//! The path of an exchange into the database.

use std::time::{Duration, SystemTime};

use rusqlite::{
    OptionalExtension, ToSql, params,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    DbError, Tx,
    codes::{self, duration, nanos, state},
    connection::Binder,
    int, uint,
};
use crate::{
    faults::DiskOperation,
    id::{Seq, SessionId},
    record::{BodySide, ExchangeKind, ExchangeState, ExchangeSummary, StoredMessage},
};

/// An exchange as it is written.
pub(crate) struct ExchangeRow<'a> {
    pub(crate) columns: Columns<'a>,
    /// The encoded rest (`crate::detail`).
    pub(crate) detail: &'a [u8],
    /// The number of the facts that it shares with others, where they are not part of the rest.
    pub(crate) facts: Option<u64>,
    /// What it takes on disk, bodies included.
    pub(crate) bytes: u64,
}

/// What lists show of an exchange, borrowed from wherever it lies.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) seq: Seq,
    pub(crate) session: SessionId,
    pub(crate) kind: ExchangeKind,
    pub(crate) state: &'a ExchangeState,
    pub(crate) started_at: SystemTime,
    pub(crate) duration: Option<Duration>,
    pub(crate) method: Text<'a>,
    pub(crate) scheme: &'a str,
    pub(crate) host: Text<'a>,
    pub(crate) port: u16,
    pub(crate) target: Text<'a>,
    pub(crate) url: Text<'a>,
    pub(crate) http_version: &'a str,
    pub(crate) status: Option<u16>,
    pub(crate) request_content_type: Option<Text<'a>>,
    pub(crate) response_content_type: Option<Text<'a>>,
    pub(crate) request_body_bytes: u64,
    pub(crate) response_body_bytes: u64,
    pub(crate) messages: u64,
}

/// A text that was checked where it came from; it is bound without another look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

impl<'a> From<&'a ExchangeSummary> for Columns<'a> {
    fn from(summary: &'a ExchangeSummary) -> Self {
        Self {
            seq: summary.seq,
            session: summary.session,
            kind: summary.kind,
            state: &summary.state,
            started_at: summary.started_at,
            duration: summary.duration,
            method: Text(summary.method.as_bytes()),
            scheme: &summary.scheme,
            host: Text(summary.host.as_bytes()),
            port: summary.port,
            target: Text(summary.target.as_bytes()),
            url: Text(summary.url.as_bytes()),
            http_version: &summary.http_version,
            status: summary.status,
            request_content_type: summary.request_content_type.as_ref().map(|text| Text(text.as_bytes())),
            response_content_type: summary.response_content_type.as_ref().map(|text| Text(text.as_bytes())),
            request_body_bytes: summary.request_body_bytes,
            response_body_bytes: summary.response_body_bytes,
            messages: summary.messages,
        }
    }
}

/// Where a body's bytes are.
#[derive(Clone, Copy)]
pub(crate) enum BodyContent<'a> {
    /// Here; and whether the body is the text itself, with nothing to be taken off.
    Inline { data: &'a [u8], plain: bool },
    /// Here, as a frame (`crate::packing`) of a body of this length.
    Packed { frame: &'a [u8], length: u64, plain: bool },
    /// With others of the same content, under this number.
    Shared { file: u64, length: u64, plain: bool },
    /// In a file of this number, as many of its bytes.
    File { file: u64, length: u64 },
}

/// What the column `coding` says of a frame.
pub(super) const PACKED: i64 = 1;

/// A content hash (SHA-256).
pub(crate) type Hash = [u8; 32];

/// A body's row id.
pub(super) fn body_id(seq: Seq, side: BodySide) -> i64 {
    int(seq.0) * 2 + i64::from(side == BodySide::Response)
}

impl Tx<'_> {
    /// Writes an exchange for the first time. Its seq must be new.
    pub(crate) fn insert_exchange(&self, row: &ExchangeRow<'_>) -> Result<(), DbError> {
        self.before(DiskOperation::Row)?;
        self.kept.exchange.run(
            self.sql,
            "INSERT INTO exchanges (seq, session, kind, state, started_at, duration, method, scheme, host,
             port, url, target, http_version, status, request_content_type, response_content_type,
             request_body_bytes, response_body_bytes, messages, bytes, failure, failure_detail)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            |binder| bind_exchange(binder, row),
        )?;
        self.kept.detail.run(
            self.sql,
            "INSERT INTO details (seq, detail, facts) VALUES (?, ?, ?)",
            |binder| {
                binder.put(int(row.columns.seq.0))?;
                binder.put(row.detail)?;
                binder.put(row.facts.map(int))
            },
        )
    }

    /// Writes an exchange again, with what came since. Returns false when it was deleted meanwhile.
    pub(crate) fn update_exchange(&self, row: &ExchangeRow<'_>) -> Result<bool, DbError> {
        let columns = &row.columns;
        let (state, failure, failure_detail) = state_columns(columns.state);
        let posted = self.posted(columns.seq)?;
        let changed = self
            .sql
            .prepare_cached(
                "UPDATE exchanges SET kind = ?, state = ?, duration = ?, status = ?,
                 response_content_type = ?, request_body_bytes = ?, response_body_bytes = ?, messages = ?,
                 bytes = ?, failure = ?, failure_detail = ? WHERE seq = ?",
            )?
            .execute(params![
                codes::exchange_kind(columns.kind),
                state,
                columns.duration.map(duration),
                columns.status,
                columns.response_content_type,
                int(columns.request_body_bytes),
                int(columns.response_body_bytes),
                int(columns.messages),
                int(row.bytes),
                failure,
                failure_detail,
                int(columns.seq.0),
            ])?;
        if changed == 0 {
            return Ok(false);
        }
        if let Some(posted) = posted {
            self.repost(columns.seq, &posted)?;
        }
        self.sql
            .prepare_cached("UPDATE details SET detail = ?, facts = ? WHERE seq = ?")?
            .execute(params![row.detail, row.facts.map(int), int(columns.seq.0)])?;
        Ok(true)
    }

    /// Writes a body, or writes it again with what came since. The hash is known once the body is whole.
    pub(crate) fn put_body(
        &self,
        seq: Seq,
        side: BodySide,
        content: BodyContent<'_>,
        hash: Option<&Hash>,
    ) -> Result<(), DbError> {
        let (length, file, data, plain, coding) = match content {
            BodyContent::Inline { data, plain } => (data.len() as u64, None, Some(data), Some(plain), None),
            BodyContent::Packed { frame, length, plain } => {
                (length, None, Some(frame), Some(plain), Some(PACKED))
            }
            BodyContent::Shared { file, length, plain } => (length, Some(int(file)), None, Some(plain), None),
            BodyContent::File { file, length } => (length, Some(int(file)), None, None, None),
        };
        self.kept.body.run(
            self.sql,
            "INSERT OR REPLACE INTO bodies (id, length, hash, file, data, plain, coding)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            |binder| {
                binder.put(body_id(seq, side))?;
                binder.put(int(length))?;
                binder.put(hash)?;
                binder.put(file)?;
                binder.put(data)?;
                binder.put(plain)?;
                binder.put(coding)
            },
        )
    }

    /// Counts one more body on a small content that is shared, and returns its number; none where it is not.
    pub(crate) fn share_content(&self, length: u64, hash: &Hash) -> Result<Option<u64>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "UPDATE files SET refs = refs + 1 WHERE id =
             (SELECT id FROM files WHERE hash = ? AND length = ? AND data IS NOT NULL LIMIT 1) RETURNING id",
        )?;
        let found: Option<i64> =
            statement.query_row(params![hash, int(length)], |row| row.get(0)).optional()?;
        Ok(found.map(uint))
    }

    /// Counts more bodies on a content that this transaction shared already.
    pub(crate) fn count_content(&self, file: u64, more: u64) -> Result<(), DbError> {
        let mut statement = self.sql.prepare_cached("UPDATE files SET refs = refs + ? WHERE id = ?")?;
        statement.execute(params![int(more), int(file)])?;
        Ok(())
    }

    /// Puts down a small content to be shared, with one body on it, and returns its number.
    pub(crate) fn put_content(
        &self,
        length: u64,
        hash: &Hash,
        data: &[u8],
        is_frame: bool,
    ) -> Result<u64, DbError> {
        let number = self.reserve_files(1)?;
        self.sql
            .prepare_cached(
                "INSERT INTO files (id, length, refs, hash, data, stored, coding) VALUES (?, ?, 1, ?, ?, ?, ?)",
            )?
            .execute(params![
                int(number),
                int(length),
                hash,
                data,
                int(data.len() as u64),
                is_frame.then_some(PACKED)
            ])?;
        Ok(number)
    }

    /// Notes that a body file was replaced by its frame. Returns false where the file is no longer known, or packed.
    pub(crate) fn note_packed(&self, file: u64, stored: u64) -> Result<bool, DbError> {
        let changed = self
            .sql
            .prepare_cached("UPDATE files SET coding = ?, stored = ? WHERE id = ? AND coding IS NULL")?
            .execute(params![PACKED, int(stored), int(file)])?;
        Ok(changed > 0)
    }

    /// Notes a body file, or what it has become since.
    pub(crate) fn put_file(&self, file: u64, length: u64, hash: Option<&Hash>) -> Result<(), DbError> {
        self.sql
            .prepare_cached(
                "INSERT INTO files (id, length, refs, hash) VALUES (?1, ?2, 1, ?3)
                 ON CONFLICT (id) DO UPDATE SET length = ?2, hash = ?3",
            )?
            .execute(params![int(file), int(length), hash])?;
        Ok(())
    }

    /// Finds another body file with the same content and counts one more body on it.
    pub(crate) fn share_file(&self, own: u64, length: u64, hash: &Hash) -> Result<Option<u64>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "UPDATE files SET refs = refs + 1 WHERE id =
             (SELECT id FROM files WHERE hash = ? AND length = ? AND id <> ? AND data IS NULL LIMIT 1) RETURNING id",
        )?;
        let found: Option<i64> =
            statement.query_row(params![hash, int(length), int(own)], |row| row.get(0)).optional()?;
        if found.is_some() {
            self.sql.prepare_cached("DELETE FROM files WHERE id = ?")?.execute([int(own)])?;
        }
        Ok(found.map(uint))
    }

    /// Adds a message to an exchange.
    pub(crate) fn insert_message(&self, seq: Seq, message: &StoredMessage) -> Result<(), DbError> {
        self.sql
            .prepare_cached(
                "INSERT INTO messages (seq, number, at, direction, kind, length, flags, data)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                int(seq.0),
                int(message.index),
                nanos(message.at),
                codes::direction(message.from_client),
                codes::message_kind(message.kind),
                int(message.length),
                i64::from(message.truncated) | i64::from(message.compressed) << 1,
                &message.data[..],
            ])?;
        Ok(())
    }

    /// The number of a certificate, which is stored once.
    pub(crate) fn certificate(&self, hash: &Hash, der: &[u8]) -> Result<u64, DbError> {
        let known: Option<i64> = self
            .sql
            .prepare_cached("SELECT id FROM certificates WHERE hash = ?")?
            .query_row([hash], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            return Ok(uint(id));
        }
        self.sql
            .prepare_cached("INSERT INTO certificates (hash, der) VALUES (?, ?)")?
            .execute(params![hash, der])?;
        Ok(uint(self.sql.last_insert_rowid()))
    }
}

/// Binds the columns of [`Tx::insert_exchange`].
fn bind_exchange(binder: &mut Binder<'_, '_>, row: &ExchangeRow<'_>) -> rusqlite::Result<()> {
    let columns = &row.columns;
    let (state, failure, failure_detail) = state_columns(columns.state);
    binder.put(int(columns.seq.0))?;
    binder.put(int(columns.session.0))?;
    binder.put(codes::exchange_kind(columns.kind))?;
    binder.put(state)?;
    binder.put(nanos(columns.started_at))?;
    binder.put(columns.duration.map(duration))?;
    binder.put(columns.method)?;
    binder.put(codes::scheme(columns.scheme))?;
    binder.put(columns.host)?;
    binder.put(columns.port)?;
    binder.put(columns.url)?;
    binder.put(target_column(columns.url, columns.target))?;
    binder.put(columns.http_version)?;
    binder.put(columns.status)?;
    binder.put(columns.request_content_type)?;
    binder.put(columns.response_content_type)?;
    binder.put(int(columns.request_body_bytes))?;
    binder.put(int(columns.response_body_bytes))?;
    binder.put(int(columns.messages))?;
    binder.put(int(row.bytes))?;
    binder.put(failure)?;
    binder.put(failure_detail)
}

fn state_columns(state: &ExchangeState) -> (i64, Option<&'static str>, Option<&str>) {
    match state {
        ExchangeState::Open => (state::OPEN, None, None),
        ExchangeState::Response => (state::RESPONSE, None, None),
        ExchangeState::Mock => (state::MOCK, None, None),
        ExchangeState::Upgrade => (state::UPGRADE, None, None),
        ExchangeState::Tunnel => (state::TUNNEL, None, None),
        ExchangeState::Failed(failure) => {
            (state::FAILED, Some(failure.kind.code()), Some(failure.detail.as_str()))
        }
    }
}

/// The target, unless it is what follows the URL's authority, as it nearly always is.
fn target_column<'a>(url: Text<'_>, target: Text<'a>) -> Option<Text<'a>> {
    (url.0.get(authority_end(url.0)..) != Some(target.0)).then_some(target)
}

/// What follows a URL's authority.
pub(super) fn after_authority(url: &str) -> &str {
    url.get(authority_end(url.as_bytes())..).unwrap_or("")
}

/// Where a URL's authority ends.
fn authority_end(url: &[u8]) -> usize {
    let start = memchr::memmem::find(url, b"://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    memchr::memchr3(b'/', b'?', b'#', rest).map_or(url.len(), |at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_stored_only_where_the_url_does_not_say_it() {
        for (url, target, column) in [
            ("https://a.test/x?y=1", "/x?y=1", None),
            ("https://a.test/", "/", None),
            ("https://a.test", "*", Some("*")),
            ("https://a.test", "a.test:443", Some("a.test:443")),
            ("https://a.test?x", "?x", None),
            ("", "", None),
        ] {
            let text = |text: &'static str| Text(text.as_bytes());
            assert_eq!(target_column(text(url), text(target)), column.map(text), "{url}");
        }
    }
}
