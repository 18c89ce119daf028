//! What happens when the disk refuses: the wire waits, or what is not recorded is counted; then it goes on.

use std::{
    fs, io,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use capture_store::{
    BodySide, DiskFaults, DiskOperation, ErrorKind, OnDiskFailure, Query, Recorder, RecorderConfig,
    RecorderState, SessionSpec, SessionState, Store, StoreConfig, SyncPolicy,
};
use proxy_core::{Observer, Outcome};

use crate::support::{
    Teller, TestStore, exchange, files_below, get, noise, query, raw_body, response, targets,
};

fn impatient(test: &TestStore) -> Recorder {
    let mut config = RecorderConfig::default();
    config.disk_patience = Duration::from_millis(30);
    config.on_disk_failure = OnDiskFailure::Drop;
    Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap()
}

#[test]
fn a_body_that_no_file_takes_is_cut_and_the_next_is_whole_again() {
    let test = TestStore::new();
    let recorder = impatient(&test);
    // A file where the directory should be refuses every body file, whoever runs the test.
    fs::write(test.bodies(), "in the way").unwrap();
    exchange(&recorder, 1, "/cut", noise(20_000, 1));
    exchange(&recorder, 2, "/cut", noise(200_000, 2));
    let seq = recorder.flush().unwrap();
    let recorded = test.store.exchange(seq).unwrap().response_body;
    assert_eq!((recorded.wire_bytes, recorded.stored_bytes), (200_000, 0));
    let status = recorder.status().unwrap();
    assert!(status.last_error.is_some());
    assert_eq!(status.session.last_error, status.last_error);
    assert_eq!(status.dropped, 0);

    fs::remove_file(test.bodies()).unwrap();
    let body = noise(200_000, 3);
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
    exchange(&recorder, 2, "/lost", noise(150_000, 1));
    assert!(recorder.flush().is_err());
    // The writer drops it by itself, once its own try failed too.
    let dropped = || recorder.status().unwrap().dropped;
    while dropped() == 0 {
        thread::yield_now();
    }
    assert!(recorder.status().unwrap().last_error.is_some_and(|error| error.contains("details")));

    database.execute_batch("ALTER TABLE hidden RENAME TO details").unwrap();
    exchange(&recorder, 3, "/after", "x");
    recorder.flush().unwrap();
    assert_eq!(targets(&test.store.query(&Query::default()).unwrap().items), ["/before", "/after"]);
    let status = recorder.status().unwrap();
    assert_eq!((status.dropped, status.session.not_recorded, status.last_error), (1, 1, None));
    assert!(files_below(&test.bodies()).is_empty());
}

#[test]
fn a_body_whose_file_is_gone_or_short_is_an_error_and_no_end() {
    let test = TestStore::new();
    let recorder = impatient(&test);
    exchange(&recorder, 1, "/short", noise(150_000, 1));
    let seq = recorder.flush().unwrap();
    let [path] = &files_below(&test.bodies())[..] else { panic!("one file") };
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10_000).unwrap();
    let body = test.store.body(seq, BodySide::Response).unwrap().unwrap();
    let mut read = Vec::new();
    let error = io::Read::read_to_end(&mut body.into_reader(), &mut read).unwrap_err();
    assert_eq!((read.len(), error.kind()), (10_000, io::ErrorKind::UnexpectedEof));
    let decoded = test.store.body(seq, BodySide::Response).unwrap().unwrap().decode(200_000);
    assert!(decoded.problem.is_some_and(|problem| problem.contains("140000 bytes short")));

    fs::remove_file(path).unwrap();
    let error = test.store.body(seq, BodySide::Response).map(|_| ()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Body(seq));
    let found = test.store.search(&capture_store::Search::new("x", None)).unwrap();
    assert_eq!(found.skipped_bodies, 1);
}

/// A disk that says what it is told to.
#[derive(Clone, Default)]
struct Disk(Arc<(Mutex<Says>, Condvar)>);

#[derive(Default)]
struct Says {
    /// Which operation fails, after how many that do not, and how.
    fails: Option<(DiskOperation, usize, io::ErrorKind)>,
    /// Whether operations wait.
    stands: bool,
    failed: usize,
}

impl Disk {
    fn faults(&self) -> DiskFaults {
        let disk = self.clone();
        DiskFaults::new(move |operation| disk.before(operation))
    }

    fn before(&self, operation: DiskOperation) -> io::Result<()> {
        let (says, changed) = &*self.0;
        let mut says = changed.wait_while(says.lock().unwrap(), |says| says.stands).unwrap();
        match &mut says.fails {
            Some((failing, 0, kind)) if *failing == operation => {
                let error = Err((*kind).into());
                says.failed += 1;
                changed.notify_all();
                error
            }
            Some((failing, left, _)) if *failing == operation => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fail(&self, operation: DiskOperation, after: usize, kind: io::ErrorKind) {
        self.0.0.lock().unwrap().fails = Some((operation, after, kind));
    }

    fn mend(&self) {
        let mut says = self.0.0.lock().unwrap();
        (says.fails, says.stands) = (None, false);
        self.0.1.notify_all();
    }

    fn stand_still(&self) {
        self.0.0.lock().unwrap().stands = true;
    }

    /// Waits until it has failed so often.
    fn wait_until_failed(&self, times: usize) {
        let (says, changed) = &*self.0;
        drop(changed.wait_while(says.lock().unwrap(), |says| says.failed < times).unwrap());
    }
}

fn start(test: &TestStore, disk: &Disk, then: OnDiskFailure, sync: SyncPolicy) -> Recorder {
    let mut config = RecorderConfig::default();
    config.disk_patience = Duration::from_millis(30);
    (config.on_disk_failure, config.sync, config.faults) = (then, sync, disk.faults());
    Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap()
}

fn wait_for(recorder: &Recorder, state: RecorderState) {
    while recorder.status().unwrap().state != state {
        thread::yield_now();
    }
}

/// Every way the disk may refuse, with the fsync policy that meets it.
const REFUSALS: [(DiskOperation, SyncPolicy); 6] = [
    (DiskOperation::Begin, SyncPolicy::Normal),
    (DiskOperation::Row, SyncPolicy::Normal),
    (DiskOperation::Commit, SyncPolicy::Normal),
    (DiskOperation::CreateFile, SyncPolicy::Normal),
    (DiskOperation::WriteFile, SyncPolicy::Normal),
    (DiskOperation::SyncFile, SyncPolicy::Full),
];

#[test]
fn the_wire_waits_for_a_disk_that_refuses_and_nothing_is_lost() {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::TimedOut];
    for ((operation, sync), kind) in REFUSALS.into_iter().zip(kinds.into_iter().cycle()) {
        let (test, disk) = (TestStore::new(), Disk::default());
        let recorder = start(&test, &disk, OnDiskFailure::Hold, sync);
        exchange(&recorder, 1, "/before", "x");
        recorder.flush().unwrap();
        assert!(recorder.ready().is_none());

        disk.fail(operation, 1, kind);
        let large = noise(200_000, 7);
        for id in 2..6 {
            exchange(&recorder, id, &format!("/small/{id}"), format!("small {id}"));
            let halves = (large[..90_000].to_vec(), large[90_000..].to_vec());
            Teller::begin(&recorder, id + 100, get(&format!("/large/{id}")))
                .response(response(200, "a/b"))
                .response_body(halves.0)
                .response_body(halves.1)
                .end(Outcome::Response);
        }
        wait_for(&recorder, RecorderState::Holding);
        let status = recorder.status().unwrap();
        assert!(status.last_error.is_some() && status.failing_since.is_some(), "{operation:?}");
        assert!(recorder.ready().is_some(), "{operation:?}: the wire waits");
        // Who asks is answered all the same.
        assert_eq!(*recorder.flush().unwrap_err().kind(), ErrorKind::Disk, "{operation:?}");
        let named = SessionSpec::Named { name: "next".into(), max_bytes: None };
        assert_eq!(*recorder.switch(named).unwrap_err().kind(), ErrorKind::Disk, "{operation:?}");
        assert!(test.store.verify(None).unwrap().is_whole(), "{operation:?}");

        disk.mend();
        recorder.flush().unwrap();
        let status = recorder.status().unwrap();
        assert_eq!((status.state, status.last_error), (RecorderState::Recording, None), "{operation:?}");
        assert_eq!((status.dropped, status.session.not_recorded), (0, 0), "{operation:?}");
        assert!(recorder.ready().is_none());
        let page = test.store.query(&Query::default()).unwrap();
        assert_eq!(page.items.len(), 9, "{operation:?}");
        for item in page.items.iter().filter(|item| item.target.starts_with("/large")) {
            assert!(raw_body(&test.store, item.seq, BodySide::Response) == large, "{operation:?}");
        }
        let found = test.store.verify(None).unwrap();
        assert!(found.is_whole(), "{operation:?}: {:?}", found.problems);
        recorder.close().unwrap();
    }
}

#[test]
fn traffic_goes_on_where_that_is_chosen_and_what_is_not_recorded_is_counted() {
    for (operation, sync) in REFUSALS {
        let (test, disk) = (TestStore::new(), Disk::default());
        let recorder = start(&test, &disk, OnDiskFailure::Drop, sync);
        exchange(&recorder, 1, "/before", noise(200_000, 1));
        recorder.flush().unwrap();
        disk.fail(operation, 0, io::ErrorKind::StorageFull);
        for id in 2..12 {
            exchange(&recorder, id, "/meanwhile", noise(200_000, id));
        }
        wait_for(&recorder, RecorderState::Dropping);
        while recorder.ready().is_some() {
            thread::yield_now();
        }
        let _ = recorder.flush();
        disk.mend();
        exchange(&recorder, 20, "/after", noise(200_000, 20));
        recorder.flush().unwrap();
        let status = recorder.status().unwrap();
        assert_eq!(status.state, RecorderState::Recording, "{operation:?}");
        let page = test.store.query(&Query::default()).unwrap();
        let (mut cut, mut whole) = (0, 0);
        for item in &page.items {
            let recorded = test.store.exchange(item.seq).unwrap().response_body;
            assert_eq!(recorded.wire_bytes, 200_000, "{operation:?}");
            *(if recorded.stored_bytes == recorded.wire_bytes { &mut whole } else { &mut cut }) += 1;
        }
        assert_eq!(whole + cut + status.dropped, 12, "{operation:?}: every exchange is told of");
        assert!(cut + status.dropped > 0 && whole >= 2, "{operation:?}");
        assert_eq!(status.session.not_recorded, status.dropped, "{operation:?}");
        let found = test.store.verify(None).unwrap();
        assert!(found.is_whole(), "{operation:?}: {:?}", found.problems);
        recorder.close().unwrap();
        // What was dropped leaves no file.
        drop(Store::open(test.directory.path(), StoreConfig::default()).unwrap());
        assert!(files_below(&test.bodies()).len() as u64 <= whole + cut, "{operation:?}");
    }
}

#[test]
fn a_slow_disk_makes_the_wire_wait_and_loses_nothing() {
    let (test, disk) = (TestStore::new(), Disk::default());
    let mut config = RecorderConfig::default();
    (config.max_queued_bytes, config.faults) = (300_000, disk.faults());
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    disk.stand_still();
    for id in 0..20 {
        exchange(&recorder, id, "/", noise(50_000, id));
    }
    wait_for(&recorder, RecorderState::Behind);
    assert!(recorder.ready().is_some());
    disk.mend();
    recorder.flush().unwrap();
    let status = recorder.status().unwrap();
    assert_eq!((status.state, status.dropped, status.queued_bytes), (RecorderState::Recording, 0, 0));
    assert!(recorder.ready().is_none());
    assert_eq!(test.store.query(&Query::default()).unwrap().items.len(), 20);
}

#[test]
fn a_session_that_the_disk_does_not_let_begin_is_an_error_and_leaves_nothing() {
    for operation in [DiskOperation::Begin, DiskOperation::Commit] {
        let (test, disk) = (TestStore::new(), Disk::default());
        disk.fail(operation, 0, io::ErrorKind::StorageFull);
        let mut config = RecorderConfig::default();
        config.faults = disk.faults();
        let spec = || SessionSpec::Scratch { max_bytes: None };
        let error = Recorder::start(&test.store, spec(), config.clone()).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Disk, "{operation:?}");
        assert!(test.store.sessions().unwrap().is_empty());
        disk.mend();
        Recorder::start(&test.store, spec(), config).unwrap().close().unwrap();
    }
}

#[test]
fn closing_does_not_wait_for_a_disk_that_never_comes_back() {
    let (test, disk) = (TestStore::new(), Disk::default());
    let recorder = start(&test, &disk, OnDiskFailure::Hold, SyncPolicy::Normal);
    exchange(&recorder, 1, "/kept", "x");
    recorder.flush().unwrap();
    disk.fail(DiskOperation::Commit, 0, io::ErrorKind::StorageFull);
    exchange(&recorder, 2, "/lost", noise(190_000, 1));
    disk.wait_until_failed(2);
    assert_eq!(*recorder.close().unwrap_err().kind(), ErrorKind::Disk);
    drop(recorder);
    let store = Store::open(test.directory.path(), StoreConfig::default()).unwrap();
    assert_eq!(store.recovered().len(), 1);
    assert_eq!(targets(&store.query(&Query::default()).unwrap().items), ["/kept"]);
    assert!(store.verify(None).unwrap().is_whole());
    assert!(files_below(&test.bodies()).is_empty());
}

#[test]
fn a_full_disk_in_the_middle_of_a_large_body_holds_it_and_the_body_is_whole() {
    let (test, disk) = (TestStore::new(), Disk::default());
    let recorder = start(&test, &disk, OnDiskFailure::Hold, SyncPolicy::Normal);
    let body = noise(2_000_000, 3);
    disk.fail(DiskOperation::WriteFile, 10, io::ErrorKind::StorageFull);
    let mut teller = Teller::begin(&recorder, 1, get("/")).response(response(200, "a/b"));
    for piece in body.chunks(64 * 1024) {
        teller = teller.response_body(piece.to_vec());
    }
    disk.wait_until_failed(3);
    // Another begins meanwhile, and ends.
    exchange(&recorder, 2, "/small", "x");
    disk.mend();
    teller.end(Outcome::Response);
    recorder.flush().unwrap();
    let found = query(|query| query.url_contains = Some("example.test/".to_owned()));
    let page = test.store.query(&found).unwrap();
    let large = page.items.iter().find(|item| item.target == "/").unwrap();
    assert!(raw_body(&test.store, large.seq, BodySide::Response) == body);
    assert_eq!(recorder.status().unwrap().dropped, 0);
    assert_eq!(recorder.close().unwrap().state, SessionState::Stopped);
    assert!(test.store.verify(None).unwrap().is_whole());
}
