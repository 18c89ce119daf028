//! Stores written by older versions.

use std::path::Path;

use capture_store::{ErrorKind, Search, Seq, SessionId, Store, StoreConfig, parse};

use crate::support::query;

fn version_1(directory: &Path) {
    let database = rusqlite::Connection::open(directory.join("store.db")).unwrap();
    database.execute_batch("PRAGMA page_size = 16384; PRAGMA journal_mode = WAL;").unwrap();
    database.execute_batch(include_str!("fixtures/v1.sql")).unwrap();
}

#[test]
fn a_store_of_version_1_is_migrated_with_all_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    version_1(directory.path());
    let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
    let session = store.session(SessionId(1)).unwrap();
    assert_eq!((session.name.as_deref(), session.exchanges), (Some("old"), 2));
    assert_eq!(store.exchange(Seq(1)).unwrap().summary.url, "https://api.example.com/v1/items?q=1");
    for (filter, seqs) in [
        ("host:static.test", vec![2]),
        ("status:4xx", vec![2]),
        ("type:json", vec![1]),
        ("body:token", vec![1]),
        ("req.body:pwd", vec![2]),
        ("since:2026-01-02T03:04:05.5Z before:2026-01-03T00:00:00Z", vec![2]),
        ("before:2026-01-01T00:00:00Z", vec![]),
    ] {
        let page = store.query(&query(|query| query.condition = Some(parse(filter).unwrap()))).unwrap();
        let found: Vec<_> = page.items.iter().map(|item| item.seq.0).collect();
        assert_eq!(found, seqs, "{filter}");
    }
    assert_eq!(store.search(&Search::new("TOKEN", None)).unwrap().hits.len(), 1);
}

#[test]
fn an_older_store_is_not_migrated_by_reading_and_the_error_says_how() {
    let directory = tempfile::tempdir().unwrap();
    version_1(directory.path());
    let error = Store::open(directory.path(), StoreConfig::read_only()).unwrap_err();
    let ErrorKind::OlderSchema { found: 1, .. } = error.kind() else { panic!("{error}") };
    Store::open(directory.path(), StoreConfig::default()).unwrap();
    Store::open(directory.path(), StoreConfig::read_only()).unwrap();
}

#[test]
fn an_older_store_is_not_migrated_while_an_older_version_records_into_it() {
    let directory = tempfile::tempdir().unwrap();
    version_1(directory.path());
    for lock in ["recorder.lock", "bodies.lock"] {
        let held = std::fs::File::create(directory.path().join(lock)).unwrap();
        held.lock_shared().unwrap();
        let error = Store::open(directory.path(), StoreConfig::default()).unwrap_err();
        let ErrorKind::OlderWriter { found: 1, .. } = error.kind() else { panic!("{error}") };
    }
    Store::open(directory.path(), StoreConfig::default()).unwrap();
}
