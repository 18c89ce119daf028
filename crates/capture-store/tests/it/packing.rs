//! How bodies are put down: shared where they come again, packed where that pays, and read back as they were.

use std::{fs, io::Read, time::Duration};

use capture_store::{BodySide, Query, Recorder, RecorderConfig, Search, Seq, SessionSpec, Store, parse};

use crate::support::{TestStore, exchange, files_below, noise, query, raw_body};

/// JSON of this many bytes that is unlike any other number's.
fn text(bytes: usize, number: usize) -> String {
    let mut text = format!("{{\"number\":{number},\"items\":[");
    while text.len() + 20 < bytes {
        text.push_str(&format!("{{\"id\":{}}},", text.len() * 7919 + number));
    }
    text.push_str(&"x".repeat(bytes - text.len() - 2));
    text.push_str("]}");
    text
}

/// A count the database gives.
fn number(test: &TestStore, sql: &str) -> i64 {
    let database = rusqlite::Connection::open(test.directory.path().join("store.db")).unwrap();
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Waits until the files below `bodies` are as wanted; packing happens in its own time.
fn wait_for_files(test: &TestStore, wanted: impl Fn(&[std::path::PathBuf]) -> bool) {
    while !wanted(&files_below(&test.bodies())) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_frame(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "z")
}

#[test]
fn a_small_body_that_comes_again_is_stored_once_more_and_then_shared() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let body = text(6_000, 1);
    for id in 0..50 {
        exchange(&recorder, id, &format!("/{id}"), body.clone());
    }
    exchange(&recorder, 90, "/short", "short");
    exchange(&recorder, 91, "/short", "short");
    recorder.flush().unwrap();
    assert_eq!(number(&test, "SELECT count(*) FROM bodies WHERE data IS NOT NULL AND length = 6000"), 1);
    assert_eq!(number(&test, "SELECT refs FROM files"), 49);
    assert_eq!(number(&test, "SELECT count(*) FROM bodies WHERE data = CAST('short' AS BLOB)"), 2);
    let page = test.store.query(&query(|query| query.limit = 100)).unwrap();
    for item in page.items.iter().filter(|item| item.target != "/short") {
        assert_eq!(raw_body(&test.store, item.seq, BodySide::Response), body.as_bytes());
    }
    assert!(test.store.verify(None).unwrap().is_whole());
    assert!(files_below(&test.bodies()).is_empty());

    // A copy shares, too, and what nobody holds any more goes.
    let session = recorder.close().unwrap().id;
    let copied = test.store.copy(&query(|query| query.session = Some(session)), "copy").unwrap();
    test.store.delete_session(session).unwrap();
    assert_eq!(number(&test, "SELECT refs FROM files"), 49);
    let page = test.store.query(&query(|query| query.session = Some(copied.id))).unwrap();
    assert_eq!(raw_body(&test.store, page.items[7].seq, BodySide::Response), body.as_bytes());
    test.store.delete_session(copied.id).unwrap();
    assert_eq!(number(&test, "SELECT count(*) FROM files"), 0);
}

#[test]
fn a_body_of_a_hundred_kilobytes_needs_no_file_and_is_shared_when_it_comes_again() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let (text, noise) = (text(131_072, 1), noise(100_000, 1));
    for id in 0..20 {
        exchange(&recorder, id, "/text", text.clone());
        exchange(&recorder, id + 100, "/noise", noise.clone());
    }
    // One byte more is too many.
    let large = crate::support::noise(131_073, 9);
    exchange(&recorder, 200, "/large", large);
    recorder.flush().unwrap();
    assert_eq!(number(&test, "SELECT count(*) FROM bodies WHERE data IS NOT NULL"), 2);
    assert_eq!(number(&test, "SELECT sum(refs) FROM files WHERE data IS NOT NULL"), 38);
    assert_eq!(number(&test, "SELECT count(*) FROM files WHERE data IS NULL AND length = 131073"), 1);
    assert_eq!(files_below(&test.bodies()).len(), 1);
    for item in test.store.query(&query(|query| query.limit = 100)).unwrap().items {
        let expected = match item.target.as_str() {
            "/text" => text.as_bytes(),
            "/noise" => &noise[..],
            _ => continue,
        };
        assert!(raw_body(&test.store, item.seq, BodySide::Response) == expected, "{}", item.target);
    }
    let found = query(|query| query.condition = Some(parse("body:'\"number\":1,'").unwrap()));
    assert_eq!(test.store.query(&found).unwrap().total, Some(20));
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn a_content_that_a_store_has_in_a_file_stays_there_and_is_stored_once_more_at_most_beside_it() {
    let test = TestStore::new();
    let content = noise(90_000, 1);
    // Where bodies have no room to wait in, they are put down as all of this size once were.
    let mut config = RecorderConfig::default();
    config.max_queued_bytes = 1;
    let before = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    exchange(&before, 1, "/before", content.clone());
    exchange(&before, 2, "/before", content.clone());
    before.close().unwrap();
    assert_eq!(files_below(&test.bodies()).len(), 1);
    let recorder = test.scratch();
    for id in 3..13 {
        exchange(&recorder, id, "/after", content.clone());
    }
    recorder.flush().unwrap();
    let held = "SELECT count(*) FROM bodies WHERE data IS NOT NULL AND length = 90000";
    assert_eq!(number(&test, held), 1);
    assert_eq!(number(&test, "SELECT count(*) FROM files WHERE length = 90000"), 2);
    assert_eq!(files_below(&test.bodies()).len(), 1);
    for seq in 1..=12 {
        assert!(raw_body(&test.store, Seq(seq), BodySide::Response) == content, "{seq}");
    }
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn a_commit_packs_no_more_text_than_it_has_time_for() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.commit_interval = Duration::from_secs(3_600);
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    // After this nothing is committed but by the flush below.
    exchange(&recorder, 100, "/0", "");
    recorder.flush().unwrap();
    for id in 1..=50 {
        exchange(&recorder, id, &format!("/{id}"), text(100_000, id as usize));
    }
    recorder.flush().unwrap();
    assert_eq!(number(&test, "SELECT count(*) FROM bodies WHERE coding = 1"), 20);
    assert_eq!(number(&test, "SELECT count(*) FROM bodies WHERE coding IS NULL AND data IS NOT NULL"), 30);
    exchange(&recorder, 60, "/again", text(100_000, 60));
    recorder.flush().unwrap();
    assert_eq!(number(&test, "SELECT count(*) FROM bodies WHERE coding = 1"), 21);
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn text_is_packed_and_found_and_given_as_it_was() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let bodies: Vec<String> = (0..20).map(|n| text(8_000, n)).collect();
    for (id, body) in bodies.iter().enumerate() {
        exchange(&recorder, id as u64, &format!("/{id}"), body.clone());
    }
    exchange(&recorder, 100, "/noise", noise(8_000, 1));
    recorder.flush().unwrap();
    assert_eq!(number(&test, "SELECT count(*) FROM bodies WHERE coding = 1"), 20);
    let stored = number(&test, "SELECT sum(length(data)) FROM bodies WHERE coding = 1");
    assert!(stored < 80_000, "{stored}");
    let page = test.store.query(&Query::default()).unwrap();
    for (item, body) in page.items.iter().zip(&bodies) {
        assert_eq!(raw_body(&test.store, item.seq, BodySide::Response), body.as_bytes());
        assert_eq!(test.store.exchange(item.seq).unwrap().response_body.stored_bytes, 8_000);
    }
    let hits = test.store.search(&Search::new("\"number\":13,", None)).unwrap().hits;
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].exchange.target, "/13");
    let found =
        test.store.query(&query(|query| query.condition = Some(parse("body:'\"number\":17,'").unwrap())));
    assert_eq!(found.unwrap().items[0].target, "/17");
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn many_at_once_are_stored_as_they_are() {
    let test = TestStore::new();
    let recorder = test.scratch();
    for id in 0..2_000 {
        exchange(&recorder, id, &format!("/{id}"), text(2_000, id as usize));
    }
    recorder.flush().unwrap();
    let packed = number(&test, "SELECT count(*) FROM bodies WHERE coding = 1");
    let plain = number(&test, "SELECT count(*) FROM bodies WHERE coding IS NULL");
    assert_eq!(packed + plain, 2_000);
    assert!(test.store.verify(None).unwrap().is_whole());
    assert_eq!(test.store.search(&Search::new("\"number\":1234,", None)).unwrap().hits.len(), 1);
}

#[test]
fn a_file_of_text_becomes_a_frame_when_there_is_time_and_one_of_noise_stays() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let (long, noise) = (text(300_000, 5), noise(300_000, 5));
    exchange(&recorder, 1, "/text", long.clone());
    exchange(&recorder, 2, "/noise", noise.clone());
    recorder.flush().unwrap();
    wait_for_files(&test, |files| files.len() == 2 && files.iter().any(|path| is_frame(path)));
    exchange(&recorder, 3, "/text", long.clone());
    recorder.flush().unwrap();
    for (target, body) in [("/text", long.as_bytes()), ("/noise", &noise[..])] {
        let found = query(|query| query.url_contains = Some(target.to_owned()));
        for item in test.store.query(&found).unwrap().items {
            assert!(raw_body(&test.store, item.seq, BodySide::Response) == body, "{target}");
        }
    }
    assert_eq!(number(&test, "SELECT refs FROM files WHERE coding = 1"), 2);
    assert!(number(&test, "SELECT stored FROM files WHERE coding = 1") < 150_000);
    assert_eq!(test.store.search(&Search::new("\"number\":5,", None)).unwrap().hits.len(), 2);
    assert!(test.store.verify(None).unwrap().is_whole());
    let session = recorder.close().unwrap().id;
    test.store.delete_session(session).unwrap();
    assert!(files_below(&test.bodies()).is_empty());
}

#[test]
fn a_frame_that_is_damaged_is_an_error_and_no_end() {
    let test = TestStore::new();
    let recorder = test.scratch();
    exchange(&recorder, 1, "/", text(300_000, 5));
    let seq = recorder.flush().unwrap();
    wait_for_files(&test, |files| files.len() == 1 && is_frame(&files[0]));
    let [path] = &files_below(&test.bodies())[..] else { panic!("one file") };
    let length = path.metadata().unwrap().len();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length - 100).unwrap();
    let mut read = Vec::new();
    let body = test.store.body(seq, BodySide::Response).unwrap().unwrap();
    assert!(body.into_reader().read_to_end(&mut read).is_err());
    assert_eq!(test.store.verify(None).unwrap().problems.len(), 1);
}

#[test]
fn bodies_evicted_while_they_are_packed_leave_nothing() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.max_exchanges = Some(3);
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    for id in 0..60 {
        exchange(&recorder, id, "/", text(200_000, id as usize));
        recorder.flush().unwrap();
    }
    recorder.close().unwrap();
    assert_eq!(test.store.query(&Query::default()).unwrap().items.len(), 3);
    assert!(test.store.verify(None).unwrap().is_whole());
    assert_eq!(files_below(&test.bodies()).len(), 3, "{:?}", files_below(&test.bodies()));
    assert_eq!(test.store.newest().unwrap(), Seq(60));
    drop(Store::open(test.directory.path(), capture_store::StoreConfig::default()).unwrap());
}
