//! Recorders that are killed, again and again, under load: what was told as committed is there, and the store is whole.
//! Eight times here; `cargo xtask crash` does it as often as one likes.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdout},
    sync::mpsc,
    thread,
};

use capture_store::{
    BodySide, ErrorKind, Order, Query, Recorder, RecorderConfig, Search, Seq, SessionId, SessionSpec,
    SessionState, Store, StoreConfig,
};
use proxy_core::{Observer, Outcome};

use crate::{
    crash::{STORE, start_with},
    support::{Teller, exchange, files_below, get, noise, query, response},
};

/// How often, where more is wanted than is good for every day.
const TIMES: &str = "CAPTURE_STORE_KILLS";
/// What all chances of a run are drawn from.
const SEED: &str = "CAPTURE_STORE_SEED";
/// What the recorder keeps: less than it is given, so that it evicts.
const KEPT_BYTES: u64 = 4_000_000;

/// A generator, the same in every run of one seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// A body of some kind: small or large, text or noise, new or seen before.
fn body(chance: &mut Chance) -> Vec<u8> {
    let text =
        |bytes: u64, seed: u64| format!("line {seed} of a body that is text\n").repeat(bytes as usize / 32);
    let seed = chance.0;
    match chance.below(10) {
        0 | 1 => noise(chance.below(3_000) as usize, seed),
        2 => text(2_000 + chance.below(18_000), seed).into_bytes(),
        3 | 4 => text(5_000, chance.below(10)).into_bytes(),
        5 => noise(33_000 + chance.below(300_000) as usize, seed),
        6 => text(40_000 + chance.below(300_000), seed).into_bytes(),
        7 => noise(50_000 + 100_000 * chance.below(2) as usize, 1 + chance.below(4)),
        _ => format!("{{\"number\":{seed}}}").into_bytes(),
    }
}

/// Records as fast as it can until it is killed, and says of each commit what it reached.
#[test]
fn child_records_under_load() {
    let (Some(directory), Some(seed)) = (env::var_os(STORE), number(SEED)) else { return };
    let store = Store::open(&directory, StoreConfig::default()).unwrap();
    println!("newest {}", store.newest().unwrap().0);
    let spec = SessionSpec::Scratch { max_bytes: Some(KEPT_BYTES) };
    let recorder = Recorder::start(&store, spec, RecorderConfig::default()).unwrap();
    recorder.on_commit(|seq| {
        println!("committed {}", seq.0);
        let _ = std::io::stdout().flush();
    });
    let mut chance = Chance(seed | 1);
    let mut open = Teller::begin(&recorder, u64::MAX, get("/open")).response(response(200, "a/b"));
    for id in 0.. {
        while recorder.ready().is_some() {
            thread::yield_now();
        }
        exchange(&recorder, id, &format!("/{id}"), body(&mut chance));
        if chance.below(20) == 0 {
            open = open.response_body(noise(chance.below(5_000) as usize, id));
        }
        if chance.below(100) == 0 {
            recorder.flush().unwrap();
        }
        if chance.below(500) == 0 {
            open.end(Outcome::Response);
            open = Teller::begin(&recorder, u64::MAX - id, get("/open")).response(response(200, "a/b"));
        }
    }
}

/// Reads until its input ends, and says how often it did.
#[test]
fn child_reads_all_the_while() {
    let (Some(directory), None) = (env::var_os(STORE), number(SEED)) else { return };
    let store = Store::open(&directory, StoreConfig::read_only()).unwrap();
    let (end, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(end);
    });
    println!("reading 1");
    let _ = std::io::stdout().flush();
    let (mut rounds, mut cursor) = (0, Seq(0));
    while ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
        let tail = store.tail(cursor, &query(|query| query.limit = 50)).unwrap();
        cursor = if tail.items.is_empty() { Seq(0) } else { tail.next };
        for item in &tail.items {
            match store.body(item.seq, BodySide::Response) {
                Ok(body) => {
                    let mut read = Vec::new();
                    body.map(|body| body.into_reader().read_to_end(&mut read)).transpose().unwrap();
                }
                // Evicted, or deleted, since it was listed.
                Err(error) => assert_eq!(*error.kind(), ErrorKind::UnknownExchange(item.seq), "{error:?}"),
            }
        }
        let newest = query(|query| (query.order, query.limit) = (Order::Descending, 20));
        store.query(&newest).unwrap();
        let mut search = Search::new("number", None);
        search.max_scan = 200;
        store.search(&search).unwrap();
        store.sessions().unwrap();
        rounds += 1;
    }
    println!("rounds {rounds}");
}

/// A process that reads, all the while.
struct Reader {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Reader {
    fn start(store: &Path) -> Self {
        let mut child = start_with("killing::child_reads_all_the_while", store, &[]);
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        crate::crash::number_after("reading", &mut lines);
        Self { child, lines }
    }

    /// How often it read without an error.
    fn end(mut self) -> u64 {
        drop(self.child.stdin.take());
        let rounds = crate::crash::number_after("rounds", &mut self.lines);
        assert!(self.child.wait().unwrap().success());
        rounds
    }
}

/// What a recorder said before it was killed.
#[derive(Debug)]
struct Said {
    /// The newest exchange when it began.
    before: Seq,
    /// The last that it told as committed.
    committed: Seq,
}

/// Lets a recorder go on for a while, by chance, and kills it.
fn record_and_kill(store: &Path, chance: &mut Chance) -> Said {
    let seed = chance.below(u64::MAX >> 12).to_string();
    let mut child = start_with("killing::child_records_under_load", store, &[(SEED, &seed)]);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let before = Seq(crate::crash::number_after("newest", &mut lines));
    let mut committed = 0;
    for _ in 0..=chance.below(25) {
        committed = crate::crash::number_after("committed", &mut lines);
    }
    // Into the middle of whatever comes next.
    for _ in 0..chance.below(2_000_000) {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said in its last moments is said as well; the last line may be cut.
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        if let Some((_, number)) = line.split_once("committed ") {
            committed = number.trim().parse().unwrap();
        }
    }
    Said { before, committed: Seq(committed) }
}

/// Opens what the kill left and looks whether everything is there. Returns the session.
fn check(directory: &Path, said: &Said) -> SessionId {
    let store = Store::open(directory, StoreConfig::default()).unwrap();
    let [session] = store.recovered() else { panic!("{said:?}: {:?}", store.recovered()) };
    assert_eq!(session.state, SessionState::Recovered);
    let newest = store.newest().unwrap();
    assert!(newest >= said.committed, "{newest} is older than what was committed: {said:?}");
    // Every seq since it began is there, or counted as evicted.
    let (mut cursor, mut there, mut evicted) = (said.before, 0, 0);
    loop {
        let asked = query(|query| (query.session, query.limit) = (Some(session.id), 1_000));
        let tail = store.tail(cursor, &asked).unwrap();
        there += tail.items.len() as u64;
        evicted += tail.evicted;
        if tail.items.is_empty() && tail.next <= cursor {
            break;
        }
        cursor = tail.next;
    }
    assert_eq!(there + evicted, newest.0 - said.before.0, "{said:?}, newest {newest}");
    assert_eq!(there, session.exchanges);
    let found = store.verify(None).unwrap();
    assert!(found.is_whole(), "{said:?}: {:?}", found.problems);
    check_files(directory);
    session.id
}

/// Every file has a row that says how long it is, and the other way round.
fn check_files(directory: &Path) {
    let database = rusqlite::Connection::open(directory.join("store.db")).unwrap();
    let sql = "SELECT id, coalesce(stored, length), coding IS NOT NULL FROM files WHERE data IS NULL";
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let name = format!("{:x}{}", row.get::<_, i64>(0)?, if row.get(2)? { ".z" } else { "" });
        Ok((name, row.get::<_, i64>(1)? as u64))
    });
    let known: BTreeMap<String, u64> = rows.unwrap().map(Result::unwrap).collect();
    let files = files_below(&directory.join("bodies"));
    let there: BTreeMap<String, u64> = files
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::metadata(path).unwrap().len())
        })
        .collect();
    assert_eq!(known, there);
}

#[test]
fn what_was_committed_is_there_however_often_the_recorder_is_killed() {
    if env::var_os(STORE).is_some() {
        return;
    }
    let times = number(TIMES).unwrap_or(8);
    let mut chance = Chance(number(SEED).unwrap_or(20) | 1);
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path(), StoreConfig::default()).unwrap());
    let reader = Reader::start(directory.path());
    let mut earlier = Vec::new();
    for round in 1..=times {
        let said = record_and_kill(directory.path(), &mut chance);
        earlier.push(check(directory.path(), &said));
        if earlier.len() > 3 {
            let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
            store.delete_session(earlier.remove(0)).unwrap();
            assert!(store.verify(None).unwrap().is_whole());
            check_files(directory.path());
        }
        if round % 20 == 0 {
            println!("killed {round} times, {} exchanges so far", said.committed.0);
        }
    }
    let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
    assert!(!store.query(&Query::default()).unwrap().items.is_empty());
    let rounds = reader.end();
    println!("killed {times} times; a reader looked {rounds} times meanwhile");
    assert!(rounds > 0);
}
