//! What people do with sessions: mark, copy, merge, verify, move; and what is kept of them.

use std::time::Duration;

use capture_store::{
    BodySide, ErrorKind, Recorder, RecorderConfig, Seq, SessionEdit, SessionId, SessionSpec, Store,
    StoreConfig, SyncPolicy, parse,
};

use crate::support::{TestStore, exchange, files_below, noise, query, raw_body, targets};

#[test]
fn a_session_has_a_comment_and_tags_and_keeps_what_is_not_changed() {
    let test = TestStore::new();
    let recorder = test.record(SessionSpec::Named { name: "one".into(), max_bytes: None });
    let id = recorder.session();
    let mut edit = SessionEdit::default();
    edit.comment = Some("before the fix".into());
    edit.tags = Some(vec!["login".into(), "slow, \"odd\"".into()]);
    test.store.edit_session(id, &edit).unwrap();
    let mut rename = SessionEdit::default();
    rename.name = Some("two".into());
    test.store.edit_session(id, &rename).unwrap();
    let info = recorder.close().unwrap();
    assert_eq!((info.name.as_deref(), info.comment.as_deref()), (Some("two"), Some("before the fix")));
    assert_eq!(info.tags, ["login", "slow, \"odd\""]);
    let error = test.store.edit_session(SessionId(99), &rename).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::UnknownSession(SessionId(99)));
}

#[test]
fn a_filtered_part_is_copied_and_outlives_what_it_was_copied_from() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let large = noise(200_000, 3);
    for id in 0..1_300 {
        let target = if id % 2 == 0 { format!("/even/{id}") } else { format!("/odd/{id}") };
        exchange(&recorder, id, &target, format!("body of {id}"));
    }
    exchange(&recorder, 5_000, "/even/large", large.clone());
    let first = recorder.close().unwrap();
    let even = query(|query| query.condition = Some(parse("path:/even").unwrap()));
    let copied = test.store.copy(&even, "even").unwrap();
    assert_eq!((copied.exchanges, copied.name.as_deref()), (651, Some("even")));
    assert_eq!(files_below(&test.bodies()).len(), 1);
    test.store.delete_session(first.id).unwrap();
    let mut all = query(|query| (query.session, query.limit) = (Some(copied.id), 10_000));
    let page = test.store.query(&all).unwrap();
    assert_eq!((page.items.len(), page.total), (651, Some(651)));
    assert_eq!(page.items[3].target, "/even/6");
    assert_eq!(raw_body(&test.store, page.items[3].seq, BodySide::Response), b"body of 6");
    assert_eq!(page.items[650].target, "/even/large");
    assert!(raw_body(&test.store, page.items[650].seq, BodySide::Response) == large);
    assert!(test.store.verify(None).unwrap().is_whole());
    // What nothing names any more goes.
    test.store.delete_session(copied.id).unwrap();
    assert!(files_below(&test.bodies()).is_empty());
    all.session = Some(copied.id);
    assert!(test.store.copy(&all, "nothing").is_err());
}

#[test]
fn sessions_are_merged_by_copying_both() {
    let test = TestStore::new();
    for target in ["/a", "/b", "/c"] {
        let recorder = test.scratch();
        exchange(&recorder, 1, target, "x");
        recorder.close().unwrap();
    }
    let wanted = query(|query| query.condition = Some(parse("session:s1,s3").unwrap()));
    let merged = test.store.copy(&wanted, "both").unwrap();
    let all = query(|query| query.session = Some(merged.id));
    assert_eq!(targets(&test.store.query(&all).unwrap().items), ["/a", "/c"]);
}

#[test]
fn a_scratch_session_keeps_so_many_exchanges_and_none_older_than_it_may() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.max_exchanges = Some(10);
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    for id in 0..25 {
        exchange(&recorder, id, &format!("/{id}"), "x");
    }
    recorder.flush().unwrap();
    let info = recorder.close().unwrap();
    assert_eq!((info.exchanges, info.evicted, info.max_exchanges), (10, 15, Some(10)));
    let tail = test.store.tail(Seq(0), &query(|query| query.session = Some(info.id))).unwrap();
    assert_eq!((tail.items.len(), tail.evicted, tail.items[0].target.as_str()), (10, 15, "/15"));

    let mut config = RecorderConfig::default();
    config.max_age = Some(Duration::ZERO);
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    exchange(&recorder, 1, "/old", "x");
    recorder.flush().unwrap();
    assert_eq!(recorder.close().unwrap().evicted, 1);
}

#[test]
fn what_is_too_old_goes_although_nothing_comes_after_it_and_tails_hear_of_it() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.max_age = Some(Duration::from_millis(300));
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    recorder.on_commit(move |seq| _ = tell.send(seq));
    for id in 0..5 {
        exchange(&recorder, id, "/", noise(160_000, id));
    }
    recorder.flush().unwrap();
    let session = recorder.session();
    // Each commit is told, also one that only evicts.
    while test.store.session(session).unwrap().evicted < 5 {
        told.recv_timeout(Duration::from_secs(60)).expect("a commit evicts what is too old");
    }
    let tail = test.store.tail(Seq(0), &query(|query| query.session = Some(session))).unwrap();
    assert_eq!((tail.items.len(), tail.evicted), (0, 5));
    assert!(files_below(&test.bodies()).is_empty());
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn damage_is_found_where_it_is() {
    let test = TestStore::new();
    let recorder = test.scratch();
    for id in 0..5 {
        exchange(&recorder, id, "/", format!("body {id}"));
    }
    exchange(&recorder, 9, "/large", noise(170_000, 2));
    let session = recorder.close().unwrap().id;
    let whole = test.store.verify(Some(session)).unwrap();
    assert_eq!((whole.is_whole(), whole.exchanges, whole.bodies, whole.bytes), (true, 6, 6, 170_030));
    let database = rusqlite::Connection::open(test.directory.path().join("store.db")).unwrap();
    database.execute("UPDATE bodies SET data = 'bodX 1' WHERE id = 5", []).unwrap();
    database.execute("UPDATE details SET detail = x'ff' WHERE seq = 3", []).unwrap();
    database.execute("DELETE FROM details WHERE seq = 4", []).unwrap();
    let [file] = &files_below(&test.bodies())[..] else { panic!("one file") };
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap();
    let damaged = test.store.verify(None).unwrap();
    let problems: Vec<_> = damaged.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(problems.len(), 4, "{problems:?}");
    for said in
        ["exchange e4 has no details", "its details cannot be read", "its hash differs", "short of what"]
    {
        assert!(problems.iter().any(|problem| problem.contains(said)), "{said}: {problems:?}");
    }
    assert_eq!(damaged.problems[2].exchange, Some(Seq(2)));
}

/// A store with a small body, one in a file and one that is packed, closed and moved elsewhere.
fn moved() -> (tempfile::TempDir, std::path::PathBuf) {
    let test = TestStore::new();
    let recorder = test.scratch();
    exchange(&recorder, 1, "/large", noise(170_000, 2));
    exchange(&recorder, 2, "/small", "small");
    exchange(&recorder, 3, "/text", "text of a body ".repeat(1_000));
    recorder.close().unwrap();
    let TestStore { directory, store } = test;
    drop((recorder, store));
    let moved = directory.path().join("mo%ved? #1");
    std::fs::create_dir(&moved).unwrap();
    for name in ["store.db", "bodies"] {
        std::fs::rename(directory.path().join(name), moved.join(name)).unwrap();
    }
    (directory, moved)
}

fn check_moved(store: &Store) {
    assert_eq!(raw_body(store, Seq(1), BodySide::Response).len(), 170_000);
    assert_eq!(raw_body(store, Seq(2), BodySide::Response), b"small");
    assert_eq!(raw_body(store, Seq(3), BodySide::Response).len(), 15_000);
    assert_eq!(store.search(&capture_store::Search::new("of a body", None)).unwrap().hits.len(), 1);
    assert_eq!(store.sql(&capture_store::Sql::new("select count(*) from exchanges")).unwrap().rows.len(), 1);
    assert!(store.verify(None).unwrap().is_whole());
}

#[test]
fn a_store_that_is_moved_opens_where_it_is_now() {
    let (_directory, moved) = moved();
    check_moved(&Store::open(&moved, StoreConfig::read_only()).unwrap());
    check_moved(&Store::open(&moved, StoreConfig::default()).unwrap());
}

#[cfg(unix)]
#[test]
fn a_store_is_read_where_nothing_can_be_written() {
    let (_directory, moved) = moved();
    // What readers share cannot be made where its name leads nowhere, whoever runs the test.
    std::os::unix::fs::symlink(moved.join("nowhere/shm"), moved.join("store.db-shm")).unwrap();
    check_moved(&Store::open(&moved, StoreConfig::read_only()).unwrap());

    // What stands in a log alone is not passed over in silence.
    std::fs::write(moved.join("store.db-wal"), "what was committed last").unwrap();
    let error = Store::open(&moved, StoreConfig::read_only()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::UnreadLog(moved));
}

#[test]
fn what_was_written_is_counted_from_the_first_small_exchange_on() {
    for sync in [SyncPolicy::Normal, SyncPolicy::Full, SyncPolicy::Off] {
        let test = TestStore::new();
        let mut config = RecorderConfig::default();
        config.sync = sync;
        let recorder =
            Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
        exchange(&recorder, 1, "/", "x");
        exchange(&recorder, 2, "/", noise(150_000, 1));
        recorder.flush().unwrap();
        let status = recorder.status().unwrap();
        assert_eq!(status.bytes_written, status.session.bytes);
        assert!(status.bytes_written > 150_000);
    }
}
