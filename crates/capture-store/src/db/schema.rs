//! What is stored, and how an older store becomes a newer one.

use rusqlite::{Connection, TransactionBehavior};

use super::{DbError, filing, uint};

/// Each takes the schema from the version of its index to the next; `PRAGMA user_version` says where a store is.
/// A migration that was released is never edited.
const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5, V6, V7];

/// The first version with postings.
const POSTINGS: usize = 7;

/// The newest version this crate knows.
pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The version a store has; 0 when it is new.
pub(super) fn version(connection: &Connection) -> Result<u32, DbError> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(u32::try_from(uint(version)).unwrap_or(u32::MAX))
}

/// Brings the schema up to date, whole or not at all.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), DbError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = version(&transaction)? as usize;
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(from) {
        transaction.execute_batch(migration)?;
        transaction.execute_batch(&format!("PRAGMA user_version = {}", index + 1))?;
    }
    if from < POSTINGS {
        filing::file_all(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Version 1.
///
/// Times are nanoseconds since the Unix epoch, durations nanoseconds. What lists and filters need stands in
/// `exchanges`, which stays narrow so that a scan reads little; the rest of an exchange is one blob in `details`
/// (the `detail` module has its layout). `bodies.id` is `seq * 2`, plus one for the response's, so that what is
/// recorded together lies together and a run of exchanges is deleted as a range. `gone` holds runs of seqs that a
/// session held and holds no more, for tails.
const V1: &str = "
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters VALUES ('seq', 0), ('file', 0);

CREATE TABLE sessions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT,
    kind          INTEGER NOT NULL,
    state         INTEGER NOT NULL,
    hidden        INTEGER NOT NULL DEFAULT 0,
    started_at    INTEGER NOT NULL,
    ended_at      INTEGER,
    exchanges     INTEGER NOT NULL DEFAULT 0,
    bytes         INTEGER NOT NULL DEFAULT 0,
    max_bytes     INTEGER,
    evicted       INTEGER NOT NULL DEFAULT 0,
    not_recorded  INTEGER NOT NULL DEFAULT 0,
    window_ms     INTEGER NOT NULL DEFAULT 0,
    recovered_at  INTEGER,
    unfinished    INTEGER NOT NULL DEFAULT 0,
    dropped_bytes INTEGER NOT NULL DEFAULT 0,
    last_error    TEXT
);

CREATE TABLE exchanges (
    seq                   INTEGER PRIMARY KEY,
    session               INTEGER NOT NULL,
    kind                  INTEGER NOT NULL,
    state                 INTEGER NOT NULL,
    started_at            INTEGER NOT NULL,
    duration              INTEGER,
    method                TEXT NOT NULL,
    scheme                INTEGER NOT NULL,
    host                  TEXT NOT NULL,
    port                  INTEGER NOT NULL,
    url                   TEXT NOT NULL,
    target                TEXT,
    http_version          TEXT NOT NULL,
    status                INTEGER,
    request_content_type  TEXT,
    response_content_type TEXT,
    request_body_bytes    INTEGER NOT NULL,
    response_body_bytes   INTEGER NOT NULL,
    messages              INTEGER NOT NULL,
    bytes                 INTEGER NOT NULL,
    failure               TEXT,
    failure_detail        TEXT
);
CREATE INDEX exchanges_by_session ON exchanges (session);
CREATE INDEX exchanges_open ON exchanges (session) WHERE state = 0;

CREATE TABLE details (
    seq    INTEGER PRIMARY KEY,
    detail BLOB NOT NULL
);

CREATE TABLE bodies (
    id     INTEGER PRIMARY KEY,
    length INTEGER NOT NULL,
    hash   BLOB,
    file   INTEGER,
    data   BLOB
);

CREATE TABLE files (
    id     INTEGER PRIMARY KEY,
    length INTEGER NOT NULL,
    refs   INTEGER NOT NULL,
    hash   BLOB
);
CREATE INDEX files_by_hash ON files (hash) WHERE hash IS NOT NULL;

CREATE TABLE messages (
    id        INTEGER PRIMARY KEY,
    seq       INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    length    INTEGER NOT NULL,
    flags     INTEGER NOT NULL,
    data      BLOB NOT NULL
);
CREATE UNIQUE INDEX messages_by_exchange ON messages (seq, number);

CREATE TABLE certificates (
    id   INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    der  BLOB NOT NULL
);

CREATE TABLE gone (
    session INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (session, first)
) WITHOUT ROWID;
";

/// Version 2.
///
/// Indexes of columns with few different values: a page of what has one of them is read in the order of seqs from each
/// value's run, whatever else is asked for. `spans` has, for each block of 4,096 seqs, when its first and last exchange
/// began, so that a question about a time reads the blocks that it falls into; what is deleted does not narrow it.
/// `bodies.plain` is 1 where the stored bytes are the text itself, UTF-8 without content coding, 0 where they have to be
/// decoded, and NULL where nobody looked.
const V2: &str = "
CREATE INDEX exchanges_by_host ON exchanges (host);
CREATE INDEX exchanges_by_method ON exchanges (method);
CREATE INDEX exchanges_by_status ON exchanges (status);
CREATE INDEX exchanges_by_type ON exchanges (response_content_type);
CREATE INDEX exchanges_by_failure ON exchanges (failure) WHERE failure IS NOT NULL;

CREATE TABLE spans (
    block INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL
);
INSERT INTO spans SELECT seq / 4096, min(started_at), max(started_at) FROM exchanges GROUP BY 1;

ALTER TABLE bodies ADD COLUMN plain INTEGER;

ALTER TABLE sessions ADD COLUMN comment TEXT;
ALTER TABLE sessions ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE sessions ADD COLUMN max_exchanges INTEGER;
ALTER TABLE sessions ADD COLUMN max_age_ms INTEGER;
";

/// Version 3: packed and shared contents.
///
/// `coding` is 1 where the bytes are a zstd frame that the store made of a body, NULL where they are the body. `length` is
/// the body's in either case; `files.stored` is the frame's. A row of `files` with `data` is a small body that came
/// again and again: its bytes stand there once, and no file has its number.
const V3: &str = "
ALTER TABLE bodies ADD COLUMN coding INTEGER;
ALTER TABLE files ADD COLUMN coding INTEGER;
ALTER TABLE files ADD COLUMN stored INTEGER;
ALTER TABLE files ADD COLUMN data BLOB;
";

/// Version 4.
///
/// `tallies` has how many exchanges each session holds in each block of 4,096 seqs, so that what lies between two seqs
/// is counted by adding up. `exchanges_by_kind` and `exchanges_by_state` have only what is no plain HTTP exchange with
/// its response, so that most exchanges cost them nothing.
///
/// The rest is the index of texts (`crate::index`). A segment is a run of seqs whose exchanges were all looked at:
/// `docs` lists them, `segment_urls` has their URLs as lines, `segment_bits` which of them can hold which three bytes.
/// A row of those is named by its segment's id and a number within it (`db::segments`). An exchange that comes into a
/// segment's run later takes the segment's row away with it; what is left of it is removed when the index is next built.
const V4: &str = "
CREATE TABLE tallies (
    session   INTEGER NOT NULL,
    block     INTEGER NOT NULL,
    exchanges INTEGER NOT NULL,
    PRIMARY KEY (session, block)
) WITHOUT ROWID;
INSERT INTO tallies SELECT session, seq / 4096, count(*) FROM exchanges GROUP BY 1, 2;

CREATE INDEX exchanges_by_kind ON exchanges (kind) WHERE kind <> 0;
CREATE INDEX exchanges_by_state ON exchanges (state) WHERE state <> 1;

CREATE TABLE segments (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    first INTEGER NOT NULL UNIQUE,
    last  INTEGER NOT NULL,
    docs  BLOB NOT NULL
);
CREATE TABLE segment_urls (
    id   INTEGER PRIMARY KEY,
    text BLOB NOT NULL
);
CREATE TABLE segment_bits (
    id   INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
);
";

/// Version 5.
///
/// `foreign_facts` is what the file a session was imported from said of itself that has no other place here, as JSON.
const V5: &str = "
ALTER TABLE sessions ADD COLUMN foreign_facts TEXT;
";

/// Version 6.
///
/// `facts` has what exchanges of the same connections share, encoded (the `detail` module has its layout), once for each
/// session and block of 4,096 seqs: it goes when the block has no exchange of the session any more. `details.facts` is its
/// number; NULL where the details have all of it themselves.
const V6: &str = "
CREATE TABLE facts (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    block   INTEGER NOT NULL,
    data    BLOB NOT NULL
);
CREATE INDEX facts_by_block ON facts (session, block);
ALTER TABLE details ADD COLUMN facts INTEGER;
";

/// Version 7.
///
/// Postings in place of the indexes of host, method, status, response content type and session (`filing`). A posting
/// is a row for each value that a column has in a block of 4,096 seqs: `field` is the column's number, `offsets` says which
/// exchanges of the block have the value (`posting`), `count` how many they are. `unfiled` has the blocks that have no
/// postings, for they grow, or lost rows: their rows are looked at instead. One that `wanes` is filed no more until the
/// store is next opened. `terms` has each value once: in how many blocks there are postings of it, and bounds of those
/// blocks, which what is unfiled does not narrow. Which sessions have exchanges in a block is told by `tallies`.
const V7: &str = "
CREATE TABLE postings (
    block   INTEGER NOT NULL,
    field   INTEGER NOT NULL,
    value   NOT NULL,
    count   INTEGER NOT NULL,
    offsets BLOB NOT NULL,
    PRIMARY KEY (block, field, value)
) WITHOUT ROWID;
CREATE TABLE terms (
    field  INTEGER NOT NULL,
    value  NOT NULL,
    blocks INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    PRIMARY KEY (field, value)
) WITHOUT ROWID;
CREATE TABLE unfiled (
    block INTEGER PRIMARY KEY,
    wanes INTEGER NOT NULL DEFAULT 0
);
INSERT INTO unfiled (block) SELECT DISTINCT block FROM tallies;
CREATE INDEX tallies_by_block ON tallies (block, session);

DROP INDEX exchanges_by_host;
DROP INDEX exchanges_by_method;
DROP INDEX exchanges_by_status;
DROP INDEX exchanges_by_type;
DROP INDEX exchanges_by_session;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_store_migrates_to_the_newest_version_and_again_to_the_same() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(version(&connection).unwrap(), 0);
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), newest());
    }
}
