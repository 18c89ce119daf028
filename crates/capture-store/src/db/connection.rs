//! Opening the database, and transactions.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{OpenFlags, config::DbConfig};

use super::{DbError, blocks::Live, functions, schema, uint};
use crate::{
    faults::{DiskFaults, DiskOperation},
    recorder::SyncPolicy,
};

/// The page size; 16 KiB pages took twice the rows of 4 KiB ones at 2 KB each.
const PAGE_BYTES: u32 = 16 * 1024;
/// Pages that a writing connection keeps once they are written, in KiB, and how many while much is written.
const SMALL_CACHE_KIB: u32 = 1024;
const LARGE_CACHE_KIB: u32 = 16 * 1024;
/// Pages that a transaction may change before some are written to make room: 16 MiB, whatever is kept.
const SPILL_PAGES: u32 = 1024;
/// How long one statement waits for another process's transaction before it says busy.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// Statements kept prepared per connection; there are fewer different ones than this.
const CACHED_STATEMENTS: usize = 128;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads, and changes nothing.
    Read,
    /// Reads what nobody changes: a database without a log, where no file can be made beside it.
    Immutable,
    /// Reads and writes; creates the database where there is none.
    Write,
}

/// One connection to the database.
pub(crate) struct Connection {
    pub(super) sql: rusqlite::Connection,
    faults: DiskFaults,
}

impl Connection {
    /// Opens the database at `path`.
    pub(crate) fn open(path: &Path, mode: Mode) -> Result<Self, DbError> {
        let access = match mode {
            Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Mode::Immutable => OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
            Mode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
        // Each connection is used by one thread at a time, under a lock of ours.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match mode {
            Mode::Immutable => rusqlite::Connection::open_with_flags(immutable(path), flags)?,
            Mode::Read | Mode::Write => rusqlite::Connection::open_with_flags(path, flags)?,
        };
        connection.busy_timeout(BUSY_WAIT)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        // Else SQLite looks at values that are bound (a LIMIT's, or one that rows are joined by) to plan by them, and
        // prepares the statement anew each time that another is bound.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        functions::add(&connection)?;
        connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;")?;
        match mode {
            Mode::Read | Mode::Immutable => connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -4096;")?,
            // The page size and the vacuum mode take effect on a new database only.
            Mode::Write => connection.execute_batch(&format!(
                "PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = NORMAL; PRAGMA cache_size = -{SMALL_CACHE_KIB}; PRAGMA cache_spill = {SPILL_PAGES};
                 PRAGMA journal_size_limit = 67108864;"
            ))?,
        }
        Ok(Self { sql: connection, faults: DiskFaults::default() })
    }

    /// Makes writing fail.
    pub(crate) fn failing(mut self, faults: DiskFaults) -> Self {
        self.faults = faults;
        self
    }

    /// The schema's version in the database, and the newest this crate knows.
    pub(crate) fn versions(&self) -> Result<(u32, u32), DbError> {
        Ok((schema::version(&self.sql)?, schema::newest()))
    }

    /// Brings the schema up to date.
    pub(crate) fn migrate(&mut self) -> Result<(), DbError> {
        schema::migrate(&mut self.sql)
    }

    /// Chooses when what is written is forced to the disk.
    pub(crate) fn set_sync(&self, policy: SyncPolicy) -> Result<(), DbError> {
        let level = match policy {
            SyncPolicy::Normal => "NORMAL",
            SyncPolicy::Full => "FULL",
            SyncPolicy::Off => "OFF",
        };
        Ok(self.sql.execute_batch(&format!("PRAGMA synchronous = {level}"))?)
    }

    /// Begins to write. Waits for another writer, then says busy.
    pub(crate) fn begin(&self) -> Result<Tx<'_>, DbError> {
        self.faults.before(DiskOperation::Begin)?;
        self.start("BEGIN IMMEDIATE")
    }

    /// Begins to read: all that is read is of one moment.
    pub(crate) fn snapshot(&self) -> Result<Tx<'_>, DbError> {
        self.start("BEGIN DEFERRED")
    }

    fn start(&self, begin: &str) -> Result<Tx<'_>, DbError> {
        self.sql.prepare_cached(begin)?.execute([])?;
        Ok(Tx {
            sql: &self.sql,
            open: true,
            faults: &self.faults,
            kept: Kept::default(),
            live: Live::default(),
        })
    }

    /// Leaves it to another connection to take the log into the database, until that is behind by this many bytes.
    pub(crate) fn checkpoint_beyond(&self, bytes: u64) -> Result<(), DbError> {
        let pages = bytes / u64::from(PAGE_BYTES);
        Ok(self.sql.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(()))?)
    }

    /// Takes as much of the log into the database as there is and readers allow, while others write on. Says whether that
    /// was all of it: who writes next begins the log anew then.
    pub(crate) fn checkpoint_beside(&self) -> Result<bool, DbError> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (busy, all, done): (i64, i64, i64) =
            self.sql.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], read)?;
        Ok(busy == 0 && all == done)
    }

    /// Takes the log into the database and empties it, so that the database alone has all; as far as readers allow.
    pub(crate) fn checkpoint(&self) -> Result<(), DbError> {
        Ok(self.sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    /// Keeps more pages from here on: much is written, and reading them again would cost a fifth of that.
    pub(crate) fn keep_more(&self) -> Result<(), DbError> {
        Ok(self.sql.execute_batch(&format!("PRAGMA cache_size = -{LARGE_CACHE_KIB}"))?)
    }

    /// Gives back the memory that pages are kept in, and keeps few from here on.
    pub(crate) fn rest(&self) -> Result<(), DbError> {
        let text = format!("PRAGMA cache_size = -{SMALL_CACHE_KIB}; PRAGMA shrink_memory");
        Ok(self.sql.execute_batch(&text)?)
    }

    /// Gives pages of deleted rows back to the file system, at most `pages` of them, and says how many are left.
    pub(crate) fn shrink(&self, pages: u32) -> Result<u64, DbError> {
        // Each step frees one page, so the statement is stepped to its end.
        let mut vacuum = self.sql.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        Ok(uint(self.sql.query_row("PRAGMA freelist_count", [], |row| row.get(0))?))
    }
}

/// Opens connections that write, for those who need one seldom: each takes some hundred kilobytes.
#[derive(Clone, Debug)]
pub(crate) struct Opener {
    path: PathBuf,
    sync: SyncPolicy,
}

impl Opener {
    pub(crate) fn new(path: PathBuf, sync: SyncPolicy) -> Self {
        Self { path, sync }
    }

    /// Opens one.
    pub(crate) fn open(&self) -> Result<Connection, DbError> {
        let db = Connection::open(&self.path, Mode::Write)?;
        db.set_sync(self.sync)?;
        Ok(db)
    }
}

/// The address of a database that nobody changes (<https://sqlite.org/uri.html>).
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for character in path.to_string_lossy().chars() {
        match character {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3f"),
            '#' => uri.push_str("%23"),
            other => uri.push(other),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// A transaction; dropped without [`commit`](Self::commit) it leaves no trace.
pub(crate) struct Tx<'c> {
    pub(super) sql: &'c rusqlite::Connection,
    open: bool,
    faults: &'c DiskFaults,
    pub(super) kept: Kept<'c>,
    pub(super) live: Live,
}

/// Statements that a transaction runs for each exchange: each is looked up once.
#[derive(Default)]
pub(super) struct Kept<'c> {
    pub(super) exchange: KeptStatement<'c>,
    pub(super) detail: KeptStatement<'c>,
    pub(super) body: KeptStatement<'c>,
}

/// A statement that is prepared when it is first run.
#[derive(Default)]
pub(super) struct KeptStatement<'c>(RefCell<Option<rusqlite::CachedStatement<'c>>>);

impl<'c> KeptStatement<'c> {
    /// Runs it with what is bound to its places.
    pub(super) fn run(
        &self,
        sql: &'c rusqlite::Connection,
        text: &str,
        bind: impl FnOnce(&mut Binder<'_, 'c>) -> rusqlite::Result<()>,
    ) -> Result<(), DbError> {
        let mut kept = self.0.borrow_mut();
        let statement = match kept.take() {
            Some(statement) => kept.insert(statement),
            None => kept.insert(sql.prepare_cached(text)?),
        };
        bind(&mut Binder { statement, at: 0 })?;
        statement.raw_execute()?;
        Ok(())
    }
}

/// Binds values to the places of a statement, one after the other, each as what it is: the list of references that
/// rusqlite takes costs a call through a table for each.
pub(super) struct Binder<'s, 'c> {
    statement: &'s mut rusqlite::Statement<'c>,
    at: usize,
}

impl Binder<'_, '_> {
    /// Binds the next.
    pub(super) fn put(&mut self, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
        self.at += 1;
        self.statement.raw_bind_parameter(self.at, value)
    }
}

impl Tx<'_> {
    /// Makes it last and visible to other connections.
    pub(crate) fn commit(mut self) -> Result<(), DbError> {
        self.before(DiskOperation::Commit)?;
        self.sql.prepare_cached("COMMIT")?.execute([])?;
        self.open = false;
        Ok(())
    }

    /// What the disk says to an operation before it is tried.
    pub(super) fn before(&self, operation: DiskOperation) -> Result<(), DbError> {
        Ok(self.faults.before(operation)?)
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        // Some errors end the transaction by themselves; then there is nothing left to roll back.
        if self.open && !self.sql.is_autocommit() {
            let rolled_back = self.sql.execute_batch("ROLLBACK");
            if let Err(error) = rolled_back {
                tracing::error!(%error, "rolling back failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::db::read::{BODY_COLUMNS, DETAIL_COLUMNS};

    #[test]
    fn statements_stay_prepared_whatever_is_bound() {
        let directory = tempfile::tempdir().unwrap();
        let mut db = Connection::open(&directory.path().join("store.db"), Mode::Write).unwrap();
        db.migrate().unwrap();
        let questions = [
            format!("SELECT {BODY_COLUMNS} WHERE b.id = ?"),
            format!("SELECT {DETAIL_COLUMNS} WHERE d.seq = ?"),
            "SELECT seq FROM exchanges ORDER BY seq LIMIT ?".to_owned(),
            "SELECT value FROM terms WHERE field = 1 LIMIT ?".to_owned(),
        ];
        for question in questions {
            let mut statement = db.sql.prepare(&question).unwrap();
            for value in 1..5 {
                statement.query([value]).unwrap().next().unwrap();
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{question}");
        }
    }
}
