//! Processes: one that reads beside the recorder, and one that is killed. This test binary starts itself again for
//! them; the tests named `child_…` do nothing unless they are started so.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use capture_store::{
    BodySide, ExchangeState, Query, Recorder, RecorderConfig, Seq, SessionSpec, SessionState, Store,
    StoreConfig,
};
use proxy_core::FailureKind;

use crate::support::{Teller, TestStore, exchange, files_below, get, noise, query, raw_body, response};

pub(crate) const STORE: &str = "CAPTURE_STORE_TEST_CHILD";

/// Starts a `child_…` test of this binary as a process of its own, on a store.
fn start(test: &str, store: &Path) -> Child {
    start_with(test, store, &[])
}

/// The same, with variables that say more.
pub(crate) fn start_with(test: &str, store: &Path, variables: &[(&str, &str)]) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env_remove("CAPTURE_STORE_SEED")
        .envs(variables.iter().copied())
        .env(STORE, store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for a line that begins with `word` and returns the number after it.
pub(crate) fn number_after(word: &str, lines: &mut impl BufRead) -> u64 {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // The harness writes `test … ` without an end of line before ours.
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().parse().unwrap();
        }
        line.clear();
    }
    panic!("the child ended before it said {word:?}");
}

/// Records until it is killed, and says after each flush what is committed.
#[test]
fn child_records_until_killed() {
    let Some(directory) = env::var_os(STORE) else { return };
    let store = Store::open(&directory, StoreConfig::default()).unwrap();
    let recorder =
        Recorder::start(&store, SessionSpec::Scratch { max_bytes: None }, RecorderConfig::default()).unwrap();
    let mut open = Teller::begin(&recorder, 1_000_000, get("/open"))
        .response(response(200, "a/b"))
        .response_body(noise(150_000, 1));
    recorder.flush().unwrap();
    for id in 1.. {
        exchange(&recorder, id * 2, &format!("/small/{id}"), noise(2_000, id));
        exchange(
            &recorder,
            id * 2 + 1,
            &format!("/large/{id}"),
            noise(if id % 2 == 0 { 60_000 } else { 140_000 } + id as usize, id),
        );
        open = open.response_body(noise(3_000, id));
        if id % 5 == 0 {
            println!("committed {}", recorder.flush().unwrap().0);
            std::io::stdout().flush().unwrap();
        }
    }
}

/// Tails a store that another process writes, until it saw as many exchanges as it is told.
#[test]
fn child_tails() {
    let Some(directory) = env::var_os(STORE) else { return };
    let mut config = StoreConfig::default();
    config.read_only = true;
    let store = Store::open(&directory, config).unwrap();
    println!("reading 1");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let wanted: u64 = line.trim().parse().unwrap();
    let (mut cursor, mut seen) = (Seq(0), 0);
    while seen < wanted {
        let tail = store.tail(cursor, &query(|query| query.limit = 100)).unwrap();
        for item in &tail.items {
            assert!(!raw_body(&store, item.seq, BodySide::Response).is_empty());
        }
        (cursor, seen) = (tail.next, seen + tail.items.len() as u64);
        std::thread::yield_now();
    }
    println!("seen {seen}");
}

#[test]
fn another_process_reads_while_this_one_writes() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut child = start("crash::child_tails", test.directory.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    number_after("reading", &mut lines);
    child.stdin.take().unwrap().write_all(b"3000\n").unwrap();
    for id in 0..3_000 {
        exchange(
            &recorder,
            id,
            &format!("/{id}"),
            noise(if id % 50 == 0 { 80_000 + 40 * id as usize } else { 500 }, id),
        );
        if id % 500 == 0 {
            recorder.flush().unwrap();
        }
    }
    recorder.flush().unwrap();
    assert_eq!(number_after("seen", &mut lines), 3_000);
    assert!(child.wait().unwrap().success());
    assert_eq!(recorder.status().unwrap().last_error, None);
}

#[test]
fn what_was_committed_survives_a_kill_and_what_was_lost_is_told() {
    let test = TestStore::new();
    let mut last = Seq(0);
    for round in 0..4 {
        let mut child = start("crash::child_records_until_killed", test.directory.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut committed = 0;
        let until = Instant::now() + Duration::from_millis(50 * round);
        while committed <= last.0 || Instant::now() < until {
            committed = number_after("committed", &mut lines);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        last = check_recovered(test.directory.path(), Seq(committed));
    }
}

/// Opens a store after a kill, checks it, and returns its newest seq.
fn check_recovered(directory: &Path, committed: Seq) -> Seq {
    let store = Store::open(directory, StoreConfig::default()).unwrap();
    let [session] = store.recovered() else { panic!("{:?}", store.recovered()) };
    assert_eq!(session.state, SessionState::Recovered);
    let recovery = session.recovery.as_ref().unwrap();
    assert!(recovery.unfinished >= 1 && recovery.window_ms == 1_000, "{recovery:?}");
    let newest = store.newest().unwrap();
    assert!(newest >= committed, "{newest} is older than {committed}, which was committed");

    let asked = query(|query| (query.session, query.limit) = (Some(session.id), 10_000));
    let page = store.query(&asked).unwrap();
    assert_eq!(page.total, Some(session.exchanges));
    let mut unfinished = 0;
    for item in &page.items {
        let body = raw_body(&store, item.seq, BodySide::Response);
        assert_eq!(body.len() as u64, item.response_body_bytes, "{}", item.url);
        if let ExchangeState::Failed(failure) = &item.state {
            assert_eq!(failure.kind, FailureKind::Crash);
            unfinished += 1;
        }
    }
    assert_eq!(unfinished, recovery.unfinished);
    check_files(directory, &store);
    check_database(directory);
    assert!(Store::open(directory, StoreConfig::default()).unwrap().recovered().is_empty());
    newest
}

/// Every body file has a row, and is as long as it says.
fn check_files(directory: &Path, store: &Store) {
    let all = store.query(&query(|query| query.limit = 10_000)).unwrap();
    let recorded: u64 = all
        .items
        .iter()
        .map(|item| store.exchange(item.seq).unwrap().response_body.stored_bytes)
        .filter(|bytes| *bytes > 128 * 1024)
        .sum();
    let on_disk: u64 =
        files_below(&directory.join("bodies")).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk <= recorded, "{on_disk} bytes of files for {recorded} of bodies");
}

fn check_database(directory: &Path) {
    let database = rusqlite::Connection::open(directory.join("store.db")).unwrap();
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[test]
fn a_session_is_recovered_on_request_once_its_recorder_is_gone() {
    let test = TestStore::new();
    let mut child = start("crash::child_records_until_killed", test.directory.path());
    number_after("committed", &mut BufReader::new(child.stdout.take().unwrap()));
    let [session] = &test.store.sessions().unwrap()[..] else { panic!("one session") };
    assert_eq!(session.state, SessionState::Active);
    let refused = test.store.recover(Some(session.id)).unwrap_err();
    assert_eq!(*refused.kind(), capture_store::ErrorKind::SessionActive(session.id));
    assert!(test.store.recover(None).unwrap().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let [recovered] = &test.store.recover(Some(session.id)).unwrap()[..] else { panic!("one session") };
    assert_eq!((recovered.id, recovered.state), (session.id, SessionState::Recovered));
    assert!(test.store.recover(Some(session.id)).unwrap().is_empty());
}

/// Begins an import and never ends it.
#[test]
fn child_imports_until_killed() {
    let Some(directory) = env::var_os(STORE) else { return };
    let store = Store::open(&directory, StoreConfig::default()).unwrap();
    let mut import = store.import("half", None).unwrap();
    for number in 0..u64::MAX {
        let exchange = capture_store::Exchange::new(get("/"), std::time::SystemTime::now());
        let response_body = Some(noise(150_000, number).into());
        let imported = capture_store::ImportedExchange {
            exchange,
            request_body: None,
            response_body,
            messages: capture_store::ImportMessages::default(),
        };
        import.add(imported).unwrap();
        if number == 300 {
            println!("imported {number}");
            std::io::stdout().flush().unwrap();
        }
    }
}

#[test]
fn a_killed_import_is_removed_at_the_next_opening() {
    let test = TestStore::new();
    let mut child = start("crash::child_imports_until_killed", test.directory.path());
    number_after("imported", &mut BufReader::new(child.stdout.take().unwrap()));
    // While it lives it is left alone.
    let beside = Store::open(test.directory.path(), StoreConfig::default()).unwrap();
    assert!(!files_below(&test.bodies()).is_empty());
    assert!(beside.sessions().unwrap().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Store::open(test.directory.path(), StoreConfig::default()).unwrap();
    assert!(files_below(&test.bodies()).is_empty());
    assert!(store.query(&Query::default()).unwrap().items.is_empty());
}
