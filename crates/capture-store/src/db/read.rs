//! The way back: rows out of the database.

use rusqlite::{OptionalExtension, Row, params, params_from_iter, types::ValueRef};

use bytes::Bytes;
use proxy_core::{Failure, FailureKind};

use super::{
    DbError, Tx,
    codes::{self, state, to_time},
    filter::Filter,
    int, uint,
    write::{after_authority, body_id},
};
use crate::{
    detail::joined,
    id::{Seq, SessionId},
    query::Order,
    record::{BodySide, ExchangeState, ExchangeSummary, StoredMessage},
};

pub(super) const COLUMNS: &str = "seq, session, kind, state, started_at, duration, method, scheme, host, port, url, target, \
                       http_version, status, request_content_type, response_content_type, request_body_bytes, \
                       response_body_bytes, messages, failure, failure_detail";

/// Rows that are looked at for such a count.
const MAX_ROWS: u64 = 200;

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// So many.
    All(u64),
    /// So many, and perhaps more.
    AtLeast(u64),
}

/// A stored body.
pub(crate) struct BodyRow {
    pub(crate) length: u64,
    pub(crate) source: BodySource,
}

/// What a search looks through of an exchange.
#[derive(Default)]
pub(crate) struct Content {
    /// The encoded details.
    pub(crate) detail: Vec<u8>,
    pub(crate) request_body: Option<BodyRow>,
    pub(crate) response_body: Option<BodyRow>,
}

/// Where a stored body's bytes are.
pub(crate) enum BodySource {
    /// Here.
    Inline(Vec<u8>),
    /// Here, as a frame (`crate::packing`).
    Frame(Vec<u8>),
    /// In a body file.
    File {
        /// Its number.
        file: u64,
        /// Whether it is a frame.
        is_frame: bool,
    },
}

/// What [`read_body`] reads, after the columns before it.
pub(super) const BODY_COLUMNS: &str = "b.length, b.file, coalesce(b.data, f.data), coalesce(b.coding, f.coding) IS NOT NULL \
                                       FROM bodies b LEFT JOIN files f ON f.id = b.file";

/// What [`read_detail`] reads, after the columns before it.
pub(super) const DETAIL_COLUMNS: &str = "d.detail, f.data FROM details d LEFT JOIN facts f ON f.id = d.facts";

impl Tx<'_> {
    /// Summaries that pass a filter.
    pub(crate) fn summaries(
        &self,
        filter: &Filter,
        order: Order,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<ExchangeSummary>, DbError> {
        let Some(rows) = self.rows(filter, order, offset, limit)? else { return Ok(Vec::new()) };
        let sql = format!("SELECT {COLUMNS} FROM exchanges WHERE {}", rows.sql);
        let mut statement = self.sql.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(&rows.values), read_summary)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many pass a filter.
    pub(crate) fn count(&self, filter: &Filter) -> Result<u64, DbError> {
        let Some(range) = self.range(filter)? else { return Ok(0) };
        if filter.asks_nothing() {
            return self.count_held(filter.session, &range);
        }
        if let Some(count) = self.count_began(filter, &range)? {
            return Ok(count);
        }
        self.count_passing(filter, &range)
    }

    /// How many pass a filter, as far as that is told by looking at few rows or postings alone.
    pub(crate) fn count_briefly(&self, filter: &Filter) -> Result<Count, DbError> {
        let Some(range) = self.range(filter)? else { return Ok(Count::All(0)) };
        if let Some(count) = self.count_began(filter, &range)? {
            return Ok(Count::All(count));
        }
        if let Some(count) = self.count_briefly_led(filter, &range)? {
            return Ok(count);
        }
        if self.leads_to_few(filter, &range, MAX_ROWS)? {
            return self.count(filter).map(Count::All);
        }
        Ok(Count::AtLeast(0))
    }

    /// One summary, unless its session is hidden.
    pub(crate) fn summary(&self, seq: Seq) -> Result<Option<ExchangeSummary>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM exchanges WHERE seq = ?
             AND session NOT IN (SELECT id FROM sessions WHERE hidden <> 0)"
        );
        Ok(self.sql.prepare_cached(&sql)?.query_row([int(seq.0)], read_summary).optional()?)
    }

    /// The encoded rest of an exchange.
    pub(crate) fn detail(&self, seq: Seq) -> Result<Option<Vec<u8>>, DbError> {
        let mut statement = self.sql.prepare_cached(&format!("SELECT {DETAIL_COLUMNS} WHERE d.seq = ?"))?;
        Ok(statement.query_row([int(seq.0)], |row| read_detail(row, 0)).optional()?)
    }

    /// How many bytes of a body are stored.
    pub(crate) fn body_length(&self, seq: Seq, side: BodySide) -> Result<u64, DbError> {
        let mut statement = self.sql.prepare_cached("SELECT length FROM bodies WHERE id = ?")?;
        let length: Option<i64> = statement.query_row([body_id(seq, side)], |row| row.get(0)).optional()?;
        Ok(length.map_or(0, uint))
    }

    /// A stored body; inline bytes come with it.
    pub(crate) fn body(&self, seq: Seq, side: BodySide) -> Result<Option<BodyRow>, DbError> {
        let mut statement = self.sql.prepare_cached(&format!("SELECT {BODY_COLUMNS} WHERE b.id = ?"))?;
        let row = statement.query_row([body_id(seq, side)], |row| read_body(row, 0));
        Ok(row.optional()?)
    }

    /// What a search looks through of an exchange, with or without its bodies.
    pub(crate) fn content(&self, seq: Seq, bodies: bool) -> Result<Content, DbError> {
        let mut content = Content { detail: self.detail(seq)?.unwrap_or_default(), ..Content::default() };
        if bodies {
            content.request_body = self.body(seq, BodySide::Request)?;
            content.response_body = self.body(seq, BodySide::Response)?;
        }
        Ok(content)
    }

    /// Messages of an exchange from a number on.
    pub(crate) fn messages(&self, seq: Seq, from: u64, limit: usize) -> Result<Vec<StoredMessage>, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT number, at, direction, kind, length, flags, data FROM messages
             WHERE seq = ? AND number >= ? ORDER BY number LIMIT ?",
        )?;
        let rows = statement.query_map(params![int(seq.0), int(from), int(limit as u64)], read_message)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A certificate's DER.
    pub(crate) fn certificate_der(&self, id: u64) -> Result<Option<Bytes>, DbError> {
        let mut statement = self.sql.prepare_cached("SELECT der FROM certificates WHERE id = ?")?;
        let der: Option<Vec<u8>> = statement.query_row([int(id)], |row| row.get(0)).optional()?;
        Ok(der.map(Bytes::from))
    }

    /// How many exchanges a session, or all, held between two seqs (first excluded, last included) and hold no more.
    pub(crate) fn gone(&self, session: Option<SessionId>, after: Seq, to: Seq) -> Result<u64, DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT coalesce(sum(min(last, ?2) - max(first, ?1 + 1) + 1), 0) FROM gone
             WHERE last > ?1 AND first <= ?2 AND (?3 IS NULL OR session = ?3)",
        )?;
        let session = session.map(|id| int(id.0));
        Ok(uint(statement.query_row(params![int(after.0), int(to.0), session], |row| row.get(0))?))
    }
}

/// Reads [`DETAIL_COLUMNS`], which begin at a column, as one.
pub(super) fn read_detail(row: &Row<'_>, at: usize) -> rusqlite::Result<Vec<u8>> {
    match row.get_ref(at + 1)? {
        ValueRef::Blob(facts) => Ok(joined(facts, row.get_ref(at)?.as_blob()?)),
        _ => row.get(at),
    }
}

/// Reads [`BODY_COLUMNS`], which begin at a column.
pub(super) fn read_body(row: &Row<'_>, at: usize) -> rusqlite::Result<BodyRow> {
    let length = uint(row.get(at)?);
    let file: Option<i64> = row.get(at + 1)?;
    // Damage may have any type.
    let data = match row.get_ref(at + 2)? {
        ValueRef::Blob(data) | ValueRef::Text(data) => Some(data.to_vec()),
        _ => None,
    };
    let is_frame: bool = row.get(at + 3)?;
    let source = match (data, file) {
        (Some(data), _) if is_frame => BodySource::Frame(data),
        (Some(data), _) => BodySource::Inline(data),
        (None, Some(file)) => BodySource::File { file: uint(file), is_frame },
        (None, None) => BodySource::Inline(Vec::new()),
    };
    Ok(BodyRow { length, source })
}

pub(super) fn read_summary(row: &Row<'_>) -> rusqlite::Result<ExchangeSummary> {
    let url: String = row.get(10)?;
    let target: Option<String> = row.get(11)?;
    Ok(ExchangeSummary {
        seq: Seq(uint(row.get(0)?)),
        session: SessionId(uint(row.get(1)?)),
        kind: codes::to_exchange_kind(row.get(2)?),
        started_at: to_time(row.get(4)?),
        duration: row.get::<_, Option<i64>>(5)?.map(|nanos| std::time::Duration::from_nanos(uint(nanos))),
        method: row.get(6)?,
        scheme: codes::to_scheme(row.get(7)?).as_str().to_owned(),
        host: row.get(8)?,
        port: row.get(9)?,
        target: target.unwrap_or_else(|| after_authority(&url).to_owned()),
        url,
        http_version: row.get(12)?,
        status: row.get(13)?,
        request_content_type: row.get(14)?,
        response_content_type: row.get(15)?,
        request_body_bytes: uint(row.get(16)?),
        response_body_bytes: uint(row.get(17)?),
        messages: uint(row.get(18)?),
        state: read_state(row)?,
    })
}

fn read_state(row: &Row<'_>) -> rusqlite::Result<ExchangeState> {
    Ok(match row.get(3)? {
        state::OPEN => ExchangeState::Open,
        state::MOCK => ExchangeState::Mock,
        state::UPGRADE => ExchangeState::Upgrade,
        state::TUNNEL => ExchangeState::Tunnel,
        state::FAILED => {
            let code: Option<String> = row.get(19)?;
            let detail: Option<String> = row.get(20)?;
            // A code this version does not know was written by a newer one; what it says is kept.
            let kind = code.as_deref().and_then(FailureKind::from_code).unwrap_or(FailureKind::Aborted);
            ExchangeState::Failed(Failure::new(kind, detail.unwrap_or_default()))
        }
        _ => ExchangeState::Response,
    })
}

fn read_message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let flags: i64 = row.get(5)?;
    Ok(StoredMessage {
        index: uint(row.get(0)?),
        at: to_time(row.get(1)?),
        from_client: row.get::<_, i64>(2)? == 0,
        kind: codes::to_message_kind(row.get(3)?),
        length: uint(row.get(4)?),
        truncated: flags & 1 != 0,
        compressed: flags & 2 != 0,
        data: Bytes::from(row.get::<_, Vec<u8>>(6)?),
    })
}
