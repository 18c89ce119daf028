//! Sessions: limits, eviction, clearing, deletion, and what tails hear of it.

use std::time::Duration;

use bytes::Bytes;
use capture_store::{
    ErrorKind, ExchangeState, Query, Recorder, RecorderConfig, Seq, SessionId, SessionKind, SessionSpec,
    SessionState,
};

use crate::support::{Teller, TestStore, exchange, files_below, get, noise, query, response, targets};

fn record_many(recorder: &Recorder, ids: std::ops::Range<u64>, bytes: usize) {
    for id in ids {
        exchange(recorder, id, &format!("/{id}"), noise(bytes, id));
        recorder.flush().unwrap();
    }
}

#[test]
fn a_scratch_session_evicts_its_oldest_and_a_tail_counts_them() {
    let test = TestStore::new();
    let recorder = test.record(SessionSpec::Scratch { max_bytes: Some(100_000) });
    record_many(&recorder, 1..51, 10_000);
    let session = test.store.session(recorder.session()).unwrap();
    assert!(session.bytes <= 100_000, "{}", session.bytes);
    assert_eq!(session.exchanges + session.evicted, 50);
    assert!(session.exchanges >= 8, "{}", session.exchanges);
    let page = test.store.query(&Query::default()).unwrap();
    assert_eq!(page.items.len() as u64, session.exchanges);
    assert_eq!(page.items.last().unwrap().seq, Seq(50));

    for cursor in [0, 1, 17, session.evicted, session.evicted + 1, 50] {
        let tail = test.store.tail(Seq(cursor), &Query::default()).unwrap();
        let expected = session.evicted.saturating_sub(cursor);
        assert_eq!((tail.evicted, tail.next), (expected, Seq(50)), "from {cursor}");
        assert_eq!(tail.items.len() as u64 + expected, 50 - cursor);
    }
}

#[test]
fn evicted_body_files_are_removed() {
    let test = TestStore::new();
    let recorder = test.record(SessionSpec::Scratch { max_bytes: Some(600_000) });
    record_many(&recorder, 1..11, 180_000);
    let held: u64 = files_below(&test.bodies()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(held <= 600_000, "{held}");
    assert!(held >= 300_000, "{held}");
    assert_eq!(test.store.session(recorder.session()).unwrap().exchanges, 3);
}

#[test]
fn no_body_takes_more_than_half_of_a_scratch_session() {
    let test = TestStore::new();
    let recorder = test.record(SessionSpec::Scratch { max_bytes: Some(100_000) });
    let teller = Teller::begin(&recorder, 1, get("/huge")).response(response(200, "a/b"));
    let teller = (0..20).fold(teller, |teller, _| teller.response_body(noise(20_000, 1)));
    recorder.flush().unwrap();
    let recorded = test.store.exchange(Seq(1)).unwrap().response_body;
    assert_eq!((recorded.wire_bytes, recorded.stored_bytes), (400_000, 50_000));
    teller.end(proxy_core::Outcome::Response);
    recorder.flush().unwrap();
    assert_eq!(test.store.session(recorder.session()).unwrap().evicted, 0);
}

#[test]
fn a_full_named_session_says_so_counts_and_goes_on_when_cleared() {
    let test = TestStore::new();
    let recorder = test.record(SessionSpec::Named { name: "small".to_owned(), max_bytes: Some(50_000) });
    record_many(&recorder, 1..11, 10_000);
    let status = recorder.status().unwrap();
    let session = &status.session;
    assert_eq!((session.kind, session.state), (SessionKind::Named, SessionState::Full));
    assert_eq!(session.exchanges + session.not_recorded, 10);
    assert_eq!(status.dropped, session.not_recorded);
    assert!(session.bytes < 55_000, "{}", session.bytes);
    assert_eq!(session.evicted, 0);

    // The one that hit the limit is there, cut.
    let last = test.store.query(&Query::default()).unwrap().items.pop().unwrap();
    let recorded = test.store.exchange(last.seq).unwrap().response_body;
    assert!(recorded.stored_bytes < recorded.wire_bytes);

    let before = session.exchanges;
    assert_eq!(test.store.clear_session(session.id).unwrap(), before);
    record_many(&recorder, 20..24, 1_000);
    let session = test.store.session(session.id).unwrap();
    assert_eq!(session.state, SessionState::Active);
    assert!(session.exchanges >= 3, "{}", session.exchanges);
}

#[test]
fn clearing_keeps_what_is_open_and_tails_hear_of_the_rest() {
    let test = TestStore::new();
    let recorder = test.scratch();
    exchange(&recorder, 1, "/1", "x");
    recorder.flush().unwrap();
    let open = Teller::begin(&recorder, 2, get("/open"));
    recorder.flush().unwrap();
    exchange(&recorder, 3, "/3", noise(170_000, 1));
    recorder.flush().unwrap();
    let session = recorder.session();
    assert_eq!(test.store.clear_session(session).unwrap(), 2);
    assert!(files_below(&test.bodies()).is_empty());
    let info = test.store.session(session).unwrap();
    assert_eq!((info.exchanges, info.evicted), (1, 0));

    let tail = test.store.tail(Seq(0), &query(|query| query.session = Some(session))).unwrap();
    assert_eq!((targets(&tail.items), tail.evicted), (vec!["/open"], 2));
    open.end(proxy_core::Outcome::Response);
    recorder.flush().unwrap();
    assert_eq!(test.store.exchange(Seq(2)).unwrap().summary.state, ExchangeState::Response);
    assert_eq!(test.store.clear_session(session).unwrap(), 1);
    assert_eq!(test.store.session(session).unwrap().bytes, 0);
    assert_eq!(test.store.tail(Seq(0), &Query::default()).unwrap().evicted, 3);
}

#[test]
fn what_is_open_in_a_session_that_is_deleted_leaves_nothing() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.open_after = Duration::from_secs(3_600);
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    let written = Teller::begin(&recorder, 1, get("/written")).response(response(200, "a/b"));
    recorder.flush().unwrap();
    // No row tells of this one when its session goes.
    let unwritten = Teller::begin(&recorder, 2, get("/unwritten")).response(response(200, "a/b"));
    let unwritten = unwritten.response_body(noise(190_000, 1));
    let first = recorder.session();
    recorder.switch(SessionSpec::Scratch { max_bytes: None }).unwrap();
    test.store.delete_session(first).unwrap();
    recorder.flush().unwrap();
    written.end(proxy_core::Outcome::Response);
    unwritten.response_body(noise(190_000, 2)).end(proxy_core::Outcome::Response);
    exchange(&recorder, 3, "/after", "x");
    recorder.flush().unwrap();
    assert_eq!(recorder.close().unwrap().exchanges, 1);
    let database = rusqlite::Connection::open(test.directory.path().join("store.db")).unwrap();
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM exchanges"), 1);
    assert_eq!(count("SELECT count(*) FROM bodies"), 1);
    assert!(files_below(&test.bodies()).is_empty());
}

#[test]
fn switching_ends_one_session_and_open_exchanges_stay_where_they_began() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let first = recorder.session();
    let open = Teller::begin(&recorder, 1, get("/old"));
    let named = recorder.switch(SessionSpec::Named { name: "second".to_owned(), max_bytes: None }).unwrap();
    assert_eq!((named.name.as_deref(), named.state), (Some("second"), SessionState::Active));
    assert_eq!(recorder.session(), named.id);
    exchange(&recorder, 2, "/new", "x");
    open.response(response(200, "a/b")).end(proxy_core::Outcome::Response);
    recorder.flush().unwrap();
    let of = |id| test.store.query(&query(|query| query.session = Some(id))).unwrap().items;
    assert_eq!(targets(&of(first)), ["/old"]);
    assert_eq!(of(first)[0].state, ExchangeState::Response);
    assert_eq!(targets(&of(named.id)), ["/new"]);
    let states: Vec<_> = test.store.sessions().unwrap().iter().map(|info| info.state).collect();
    assert_eq!(states, [SessionState::Active, SessionState::Stopped]);
}

#[test]
fn an_active_session_is_not_deleted_and_a_stopped_one_leaves_nothing() {
    let test = TestStore::new();
    let recorder = test.scratch();
    exchange(&recorder, 1, "/1", noise(160_000, 1));
    let open = Teller::begin(&recorder, 2, get("/open"))
        .response(response(200, "a/b"))
        .response_body(noise(160_000, 2));
    recorder.flush().unwrap();
    let session = recorder.session();
    let refused = test.store.delete_session(session).unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::SessionActive(session));

    recorder.switch(SessionSpec::Scratch { max_bytes: None }).unwrap();
    test.store.delete_session(session).unwrap();
    assert_eq!(*test.store.session(session).unwrap_err().kind(), ErrorKind::UnknownSession(session));
    assert_eq!(*test.store.exchange(Seq(1)).unwrap_err().kind(), ErrorKind::UnknownExchange(Seq(1)));
    assert_eq!(test.store.tail(Seq(0), &Query::default()).unwrap().evicted, 2);
    // Its open exchange goes on without a place to be written to.
    open.response_body(noise(160_000, 3)).end(proxy_core::Outcome::Response);
    exchange(&recorder, 3, "/3", "x");
    recorder.flush().unwrap();
    assert_eq!(targets(&test.store.query(&Query::default()).unwrap().items), ["/3"]);
    assert!(files_below(&test.bodies()).is_empty());
}

#[test]
fn deleting_a_session_gives_its_space_back() {
    let test = TestStore::new();
    let recorder = test.scratch();
    for id in 0..500 {
        exchange(&recorder, id, "/", noise(20_000, id));
    }
    let session = recorder.close().unwrap();
    let database = test.directory.path().join("store.db");
    drop(recorder);
    test.store.delete_session(session.id).unwrap();
    // The last connection to close empties the log into the database.
    let TestStore { directory, store } = test;
    drop(store);
    let length = database.metadata().unwrap().len();
    assert!(length < 1_000_000, "{length} bytes in {}", directory.path().display());
}

#[test]
fn unknown_sessions_are_errors_everywhere() {
    let test = TestStore::new();
    let id = SessionId(99);
    let unknown = ErrorKind::UnknownSession(id);
    let asked = query(|query| query.session = Some(id));
    assert_eq!(*test.store.session(id).unwrap_err().kind(), unknown);
    assert_eq!(*test.store.query(&asked).unwrap_err().kind(), unknown);
    assert_eq!(*test.store.tail(Seq(0), &asked).unwrap_err().kind(), unknown);
    assert_eq!(*test.store.delete_session(id).unwrap_err().kind(), unknown);
    assert_eq!(*test.store.clear_session(id).unwrap_err().kind(), unknown);
    assert_eq!(*test.store.recover(Some(id)).unwrap_err().kind(), unknown);
    let search = capture_store::Search::new("x", Some(id));
    assert_eq!(*test.store.search(&search).unwrap_err().kind(), unknown);
}

#[test]
fn a_body_that_is_open_is_read_to_its_end_although_it_is_evicted() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let bytes = Bytes::from(noise(500_000, 9));
    exchange(&recorder, 1, "/1", bytes.clone());
    let seq = recorder.flush().unwrap();
    let body = test.store.body(seq, capture_store::BodySide::Response).unwrap().unwrap();
    test.store.clear_session(recorder.session()).unwrap();
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut body.into_reader(), &mut read).unwrap();
    assert!(read == bytes);
}
