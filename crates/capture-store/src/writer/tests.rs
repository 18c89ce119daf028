//! The writer alone, without its thread.

use std::{
    io,
    sync::{Arc, Mutex, mpsc::sync_channel},
    time::{Duration, Instant, SystemTime},
};

use proxy_core::{
    ClientFacts, ConnectionId, Direction, Ending, Event, EventKind, ExchangeId, Headers, MessageKind,
    Outcome, RequestHead, Scheme, Sizes, Timings, WebSocketMessage,
};

use super::{
    Command, Writer,
    rest::LULL,
    thread::{Include, MANY_UNSYNCED, MUCH_PENDING, Next},
};
use crate::{
    error::ErrorKind,
    faults::{DiskFaults, DiskOperation},
    id::Seq,
    query::Query,
    recorder::{OnDiskFailure, RecorderConfig, SessionSpec, Shared, SyncPolicy},
    store::{Store, StoreConfig},
};

/// A writer, the store it writes to, and what its disk refuses.
struct Bench {
    writer: Writer,
    refused: Arc<Mutex<Option<DiskOperation>>>,
    store: Store,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(spec: SessionSpec, mut config: RecorderConfig) -> Self {
        let refused: Arc<Mutex<Option<DiskOperation>>> = Arc::default();
        let refuses = refused.clone();
        config.faults = DiskFaults::new(move |operation| match *refuses.lock().unwrap() {
            Some(refused) if refused == operation => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        });
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
        let parts = store.recording_parts(config.sync).unwrap();
        let mut writer = Writer::new(Arc::new(Shared::new(&config)), parts, config);
        writer.begin_with(&spec).unwrap();
        Self { writer, refused, store, _directory: directory }
    }

    fn scratch(config: RecorderConfig) -> Self {
        Self::new(SessionSpec::Scratch { max_bytes: None }, config)
    }

    fn refuse(&self, operation: impl Into<Option<DiskOperation>>) {
        *self.refused.lock().unwrap() = operation.into();
    }

    fn tell(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.writer.event(event).unwrap();
        }
    }

    fn commit(&mut self) {
        self.writer.commit(Include::All).unwrap();
    }

    /// Asks for a flush, and says whether a step later it was answered that the disk fails.
    fn flush_is_refused(&mut self) -> bool {
        let (reply, answer) = sync_channel(1);
        assert!(self.writer.shared.queue.command(Command::Flush(reply)));
        assert_eq!(self.writer.step(), Next::GoOn);
        answer.try_recv().is_ok_and(|answer| answer.is_err_and(|error| *error.kind() == ErrorKind::Disk))
    }

    fn states(&self) -> Vec<(Seq, String)> {
        let query = Query { limit: 10_000, ..Query::default() };
        let page = self.store.query(&query).unwrap();
        page.items.into_iter().map(|item| (item.seq, format!("{:?}", item.state))).collect()
    }
}

/// Drops at the first failure.
fn dropping() -> RecorderConfig {
    let mut config = RecorderConfig::default();
    (config.disk_patience, config.on_disk_failure) = (Duration::ZERO, OnDiskFailure::Drop);
    config
}

fn event(exchange: u64, kind: EventKind) -> Event {
    Event { exchange: ExchangeId(exchange), at: Duration::ZERO, kind }
}

fn request(exchange: u64) -> Event {
    let address = "127.0.0.1:1".parse().unwrap();
    let head = RequestHead {
        method: http::Method::GET,
        scheme: Scheme::Http,
        authority: "a.test".to_owned(),
        target: "/".to_owned(),
        version: http::Version::HTTP_11,
        headers: Headers::new(),
    };
    let client = Arc::new(ClientFacts::new(ConnectionId(1), address, address));
    event(exchange, EventKind::Request { client, head: Arc::new(head), started_at: SystemTime::now() })
}

fn body(exchange: u64, bytes: usize) -> Event {
    event(exchange, EventKind::ResponseBody(vec![7; bytes].into()))
}

fn end(exchange: u64) -> Event {
    let ending = Ending::new(Outcome::Response, Timings::default(), Sizes::default());
    event(exchange, EventKind::Ended(Box::new(ending)))
}

#[test]
fn an_exchange_that_was_gathered_is_due_from_its_beginning_on() {
    let config = RecorderConfig::default();
    let open_after = config.open_after;
    let mut bench = Bench::scratch(config);
    let begun = Instant::now();
    bench.writer.late(request(1), begun);
    assert_eq!(bench.writer.open_due, Some(begun + open_after));
}

#[test]
fn many_ends_that_cannot_be_written_are_kept_and_do_not_keep_the_writer_busy() {
    const MANY: u64 = 2_100;
    let mut bench = Bench::scratch(dropping());
    bench.tell((1..=MANY).map(request));
    bench.commit();
    bench.refuse(DiskOperation::Begin);
    bench.tell((1..=MANY).map(end));
    assert!(bench.writer.is_due());
    assert_eq!(bench.writer.step(), Next::GoOn);
    assert!(!bench.writer.is_due(), "it waits with the next try");
    assert!(bench.flush_is_refused());
    assert_eq!(bench.writer.ended.len() as u64, MANY);

    bench.refuse(None);
    bench.commit();
    let states = bench.states();
    assert_eq!(states.len() as u64, MANY);
    assert!(states.iter().all(|(_, state)| state == "Response"), "{states:?}");
    assert_eq!(bench.writer.unwritten.exchanges, 0);
}

#[test]
fn ends_that_cannot_be_written_take_no_more_memory_than_there_is_room_for() {
    const BODY: usize = 30_000;
    let mut bench = Bench::scratch(dropping());
    let count = (2 * MUCH_PENDING / BODY) as u64;
    for id in 1..=count {
        bench.tell([request(id), body(id, BODY)]);
    }
    bench.commit();
    bench.refuse(DiskOperation::Commit);
    bench.tell((1..=count).map(end));
    assert_eq!(bench.writer.step(), Next::GoOn);
    let kept = bench.writer.ended.len();
    assert!((1..=MUCH_PENDING / BODY).contains(&kept), "{kept}");
    assert!(!bench.writer.is_due());
    bench.refuse(None);
    bench.commit();
    let states = bench.states();
    assert_eq!(states.iter().filter(|(_, state)| state == "Response").count(), kept);
    assert!(bench.store.verify(None).unwrap().is_whole());
}

#[test]
fn files_that_cannot_be_synced_are_closed_with_what_is_dropped() {
    let mut config = dropping();
    config.sync = SyncPolicy::Full;
    let mut bench = Bench::scratch(config);
    bench.tell([request(1), body(1, 150_000)]);
    bench.commit();
    bench.refuse(DiskOperation::SyncFile);
    let many = MANY_UNSYNCED as u64 + 10;
    bench.tell((2..=many).flat_map(|id| [request(id), body(id, 140_000), end(id)]));
    bench.tell([end(1)]);
    assert!(bench.writer.is_due());
    assert_eq!(bench.writer.step(), Next::GoOn);
    assert!(!bench.writer.is_due());
    // That of the exchange that is kept.
    assert_eq!((bench.writer.ended.len(), bench.writer.disk.files.unsynced()), (1, 1));
    assert!(bench.flush_is_refused());
    bench.refuse(None);
    bench.commit();
    assert_eq!(bench.states(), [(Seq(1), "Response".to_owned())]);
    assert!(bench.store.verify(None).unwrap().is_whole());
}

#[test]
fn a_session_is_not_full_of_what_was_dropped() {
    let spec = SessionSpec::Named { name: "small".to_owned(), max_bytes: Some(50_000) };
    let mut bench = Bench::new(spec, dropping());
    bench.tell([request(90)]);
    bench.commit();
    bench.refuse(DiskOperation::Begin);
    for round in 0..3 {
        // Beyond what there is room for, together with what is open.
        let ids = round * 10 + 1..round * 10 + 8;
        bench.tell(ids.flat_map(|id| [request(id), body(id, 10_000), end(id)]));
        let message = WebSocketMessage::new(Direction::ToClient, MessageKind::Text, vec![b'x'; 500].into());
        bench.tell([event(90, EventKind::Message(message))]);
        bench.writer.drop_ended();
        let recording = &bench.writer.sessions[&bench.writer.current];
        assert_eq!((recording.uncommitted, recording.is_full()), (0, false));
    }
    bench.refuse(None);
    bench.tell([request(100), body(100, 10_000), end(100)]);
    bench.commit();
    let session = bench.store.session(bench.writer.current).unwrap();
    assert_eq!((session.exchanges, session.not_recorded), (2, 21));
    let recorded = bench.store.exchange(Seq(2)).unwrap().response_body;
    assert_eq!((recorded.stored_bytes, recorded.wire_bytes), (10_000, 10_000));
}

#[test]
fn the_wire_goes_on_when_what_the_disk_refuses_is_deleted() {
    let mut bench = Bench::scratch(RecorderConfig::default());
    let before = bench.writer.current;
    bench.tell([request(1), body(1, 20_000)]);
    bench.commit();
    bench.writer.switch(&SessionSpec::Scratch { max_bytes: None }).unwrap();
    bench.refuse(DiskOperation::CreateFile);
    bench.writer.shared.queue.push(body(1, 90_000));
    assert!(matches!(bench.writer.step(), Next::Stalled(_)));
    bench.writer.hold_or_let_go();
    assert!(bench.writer.shared.queue.is_full());
    assert!(bench.writer.open_due.is_some(), "a commit finds out that it was deleted");

    bench.store.delete_session(before).unwrap();
    bench.commit();
    assert_eq!(bench.writer.step(), Next::GoOn);
    bench.writer.hold_or_let_go();
    assert!(!bench.writer.shared.queue.is_full());
    assert_eq!(bench.writer.shared.last_error(), None);
}

#[test]
fn the_wire_goes_on_after_a_session_that_could_not_be_begun() {
    let config = RecorderConfig { disk_patience: Duration::ZERO, ..RecorderConfig::default() };
    let mut bench = Bench::scratch(config);
    bench.refuse(DiskOperation::Begin);
    let (reply, answer) = sync_channel(1);
    let switch = Command::Switch(SessionSpec::Scratch { max_bytes: None }, reply);
    assert!(bench.writer.shared.queue.command(switch));
    let Next::Stalled(until) = bench.writer.step() else { panic!("the disk refuses") };
    bench.writer.stall(until);
    assert!(answer.try_recv().unwrap().is_err());
    assert!(bench.writer.shared.queue.is_full());
    bench.writer.hold_or_let_go();
    assert!(!bench.writer.shared.queue.is_full());
}

#[test]
fn memory_is_given_back_once_after_a_lull_and_recording_goes_on() {
    let mut bench = Bench::scratch(RecorderConfig::default());
    for round in 0..3_u64 {
        let ids = round * 1_000..round * 1_000 + 1_000;
        // Beyond what is little, so that pages are kept.
        bench.tell(ids.flat_map(|id| [request(id), body(id, 6_000), end(id)]));
        bench.commit();
        let due = bench.writer.disk.rest_due.expect("something came");
        assert!(due > Instant::now() && due <= Instant::now() + LULL);
        bench.writer.rest_when_due();
        assert_eq!(bench.writer.disk.rest_due, Some(due), "it waits for a lull");
        bench.writer.disk.rest_due = Some(Instant::now());
        bench.writer.rest_when_due();
        assert_eq!(bench.writer.disk.rest_due, None, "and then for nothing");
        assert_eq!((bench.writer.ended.capacity(), bench.writer.open.capacity()), (0, 0));
    }
    assert_eq!(bench.states().len(), 3_000);
    assert!(bench.store.verify(None).unwrap().is_whole());
}

fn files(bench: &Bench) -> usize {
    let shelves = std::fs::read_dir(bench._directory.path().join("bodies")).into_iter().flatten().flatten();
    shelves.map(|shelf| std::fs::read_dir(shelf.path()).unwrap().count()).sum()
}

#[test]
fn bodies_grow_in_memory_while_there_is_room_for_all_and_go_to_files_beyond() {
    let mut config = dropping();
    config.max_queued_bytes = 400_000;
    let mut bench = Bench::scratch(config);
    for round in 0..3 {
        // Open or ended, and whatever else becomes of them, they count while they wait.
        let ids = round * 10..round * 10 + 10;
        for id in ids.clone() {
            let pieces = (0..6).map(|_| body(id, 10_000));
            bench.tell([request(id)].into_iter().chain(pieces));
            if id % 2 == 0 {
                bench.tell([end(id)]);
            }
        }
        let waiting = bench.writer.disk.waiting.bytes();
        assert!((60_000..=450_000).contains(&waiting), "{waiting}");
        let in_files = files(&bench);
        assert!((1..10).contains(&in_files), "{in_files}");
        if round == 1 {
            bench.writer.drop_ended();
            bench.writer.open.clear();
        }
        bench.tell(ids.filter(|id| id % 2 == 1 && round != 1).map(end));
        bench.commit();
        assert_eq!(bench.writer.disk.waiting.bytes(), 0);
        bench.writer.disk.db.begin().unwrap().commit().unwrap();
        let sessions = bench.store.sessions().unwrap();
        bench.writer.switch(&SessionSpec::Scratch { max_bytes: None }).unwrap();
        bench.store.clear_session(sessions.last().unwrap().id).unwrap();
        std::fs::remove_dir_all(bench._directory.path().join("bodies")).unwrap();
    }
    bench.tell([request(90), body(90, 60_000), end(90)]);
    bench.commit();
    assert_eq!(files(&bench), 0, "there is room again");
}

#[test]
fn a_body_that_is_in_the_store_as_open_or_is_known_to_be_long_goes_to_its_file_early() {
    let mut bench = Bench::scratch(RecorderConfig::default());
    bench.tell([request(1), body(1, 30_000)]);
    bench.commit();
    assert_eq!(files(&bench), 0);
    bench.tell([body(1, 10_000)]);
    assert_eq!(files(&bench), 1);

    let announced = |id: u64, length: &str| {
        let mut head = proxy_core::ResponseHead::new(http::StatusCode::OK);
        head.headers.push("Content-Length", length.to_owned());
        let kind = EventKind::Response { head: Arc::new(head), source: proxy_core::ResponseSource::Upstream };
        event(id, kind)
    };
    // Who announces nothing that makes sense is waited for.
    for (id, length, in_files) in [(2, "131073", 2), (3, "131072", 2), (4, "x", 2), (5, "900000", 3)] {
        bench.tell([request(id), announced(id, length), body(id, 30_000), body(id, 10_000)]);
        assert_eq!(files(&bench), in_files, "{length}");
    }
    bench.tell((1..=5).map(end));
    bench.commit();
    assert!(bench.states().iter().all(|(_, state)| state == "Response"));
    assert_eq!(bench.writer.disk.waiting.bytes(), 0);
    assert!(bench.store.verify(None).unwrap().is_whole());
}
