//! What happens when the disk refuses: wait, then drop and count, then go on.

use std::{fs, time::Duration};

use capture_store::{BodySide, Query, Recorder, RecorderConfig, SessionSpec};

use crate::support::{TestStore, exchange, noise, raw_body, targets};

fn impatient(test: &TestStore) -> Recorder {
    let mut config = RecorderConfig::default();
    config.disk_patience = Duration::from_millis(30);
    Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap()
}

#[test]
fn a_body_that_no_file_takes_is_cut_and_the_next_is_whole_again() {
    let test = TestStore::new();
    let recorder = impatient(&test);
    // A file where the directory should be refuses every body file, whoever runs the test.
    fs::write(test.bodies(), "in the way").unwrap();
    exchange(&recorder, 1, "/cut", noise(20_000, 1));
    exchange(&recorder, 2, "/cut", noise(100_000, 2));
    let seq = recorder.flush().unwrap();
    let recorded = test.store.exchange(seq).unwrap().response_body;
    assert_eq!((recorded.wire_bytes, recorded.stored_bytes), (100_000, 0));
    let status = recorder.status().unwrap();
    assert!(status.last_error.is_some());
    assert_eq!(status.session.last_error, status.last_error);
    assert_eq!(status.dropped, 0);

    fs::remove_file(test.bodies()).unwrap();
    let body = noise(100_000, 3);
    exchange(&recorder, 3, "/whole", body.clone());
    let seq = recorder.flush().unwrap();
    assert!(raw_body(&test.store, seq, BodySide::Response) == body);
    let status = recorder.status().unwrap();
    assert_eq!(status.last_error, None);
    assert!(status.session.last_error.is_some());
}

#[test]
fn exchanges_that_the_database_refuses_are_counted_and_the_next_are_recorded() {
    let test = TestStore::new();
    let recorder = impatient(&test);
    exchange(&recorder, 1, "/before", "x");
    recorder.flush().unwrap();
    let database = rusqlite::Connection::open(test.directory.path().join("store.db")).unwrap();
    database.execute_batch("ALTER TABLE details RENAME TO hidden").unwrap();
    exchange(&recorder, 2, "/lost", noise(50_000, 1));
    assert!(recorder.flush().is_err());
    // The writer drops it by itself, once its own try failed too.
    let dropped = || recorder.status().unwrap().dropped;
    while dropped() == 0 {
        std::thread::yield_now();
    }
    assert!(recorder.status().unwrap().last_error.is_some_and(|error| error.contains("details")));

    database.execute_batch("ALTER TABLE hidden RENAME TO details").unwrap();
    exchange(&recorder, 3, "/after", "x");
    recorder.flush().unwrap();
    assert_eq!(targets(&test.store.query(&Query::default()).unwrap().items), ["/before", "/after"]);
    let status = recorder.status().unwrap();
    assert_eq!((status.dropped, status.session.not_recorded, status.last_error), (1, 1, None));
    assert!(crate::support::files_below(&test.bodies()).is_empty());
}

#[test]
fn a_body_whose_file_is_gone_or_short_is_an_error_and_no_end() {
    let test = TestStore::new();
    let recorder = impatient(&test);
    exchange(&recorder, 1, "/short", noise(50_000, 1));
    let seq = recorder.flush().unwrap();
    let [path] = &crate::support::files_below(&test.bodies())[..] else { panic!("one file") };
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10_000).unwrap();
    let body = test.store.body(seq, BodySide::Response).unwrap().unwrap();
    let mut read = Vec::new();
    let error = std::io::Read::read_to_end(&mut body.into_reader(), &mut read).unwrap_err();
    assert_eq!((read.len(), error.kind()), (10_000, std::io::ErrorKind::UnexpectedEof));
    let decoded = test.store.body(seq, BodySide::Response).unwrap().unwrap().decode(100_000);
    assert!(decoded.problem.is_some_and(|problem| problem.contains("40000 bytes short")));

    fs::remove_file(path).unwrap();
    let error = test.store.body(seq, BodySide::Response).map(|_| ()).unwrap_err();
    assert_eq!(*error.kind(), capture_store::ErrorKind::Body(seq));
    let found = test.store.search(&capture_store::Search::new("x", None)).unwrap();
    assert_eq!(found.skipped_bodies, 1);
}
