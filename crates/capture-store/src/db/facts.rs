//! Facts that the exchanges of a connection share, once for all of a session in one block of seqs.
//!
//! What belongs to a session and a block goes with the last of their exchanges, and needs no counting of who refers to
//! it; a block is long enough that repeating it in the next costs little.

use rusqlite::{OptionalExtension, params};

use super::{DbError, Tx, int, tally::SPAN, uint};
use crate::id::{Seq, SessionId};

/// What facts belong to: who refers to them has this place too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FactsPlace {
    session: SessionId,
    block: u64,
}

impl FactsPlace {
    /// Where an exchange's facts belong.
    pub(crate) fn of(session: SessionId, seq: Seq) -> Self {
        Self::at(session, seq.0 / SPAN)
    }

    /// The place of a block.
    pub(super) fn at(session: SessionId, block: u64) -> Self {
        Self { session, block }
    }
}

impl Tx<'_> {
    /// Puts facts down and returns their number.
    pub(crate) fn put_facts(&self, place: FactsPlace, data: &[u8]) -> Result<u64, DbError> {
        self.sql
            .prepare_cached("INSERT INTO facts (session, block, data) VALUES (?, ?, ?)")?
            .execute(params![int(place.session.0), int(place.block), data])?;
        Ok(uint(self.sql.last_insert_rowid()))
    }

    /// Whether facts of this number and place are there. All of a place go together.
    pub(crate) fn has_facts(&self, place: FactsPlace, number: u64) -> Result<bool, DbError> {
        let found: Option<i64> = self
            .sql
            .prepare_cached("SELECT 1 FROM facts WHERE id = ? AND session = ? AND block = ?")?
            .query_row(params![int(number), int(place.session.0), int(place.block)], |row| row.get(0))
            .optional()?;
        Ok(found.is_some())
    }

    /// Removes the facts of a place that has no exchange any more.
    pub(crate) fn remove_facts(&self, place: FactsPlace) -> Result<(), DbError> {
        self.sql
            .prepare_cached("DELETE FROM facts WHERE session = ? AND block = ?")?
            .execute(params![int(place.session.0), int(place.block)])?;
        Ok(())
    }
}
