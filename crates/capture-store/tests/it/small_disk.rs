//! A file system of 48 MB that really fills up, is emptied, and becomes read-only. It needs the right to mount: `cargo
//! xtask crash --full-disk` runs it in a mount namespace of its own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use capture_store::{
    BodySide, ErrorKind, OnDiskFailure, Recorder, RecorderConfig, RecorderState, Seq, SessionSpec, Store,
    StoreConfig,
};
use proxy_core::Observer;

use crate::support::{exchange, files_below, noise, query, raw_body};

/// Says that this process may mount.
const MAY_MOUNT: &str = "CAPTURE_STORE_MAY_MOUNT";

/// A small file system, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(at));
        Self(at.to_owned())
    }

    fn make_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

fn start(store: &Store, then: OnDiskFailure) -> Recorder {
    let mut config = RecorderConfig::default();
    config.disk_patience = Duration::from_millis(200);
    (config.on_disk_failure, config.max_queued_bytes) = (then, 1_000_000);
    Recorder::start(store, SessionSpec::Named { name: "disk".into(), max_bytes: None }, config).unwrap()
}

/// Records until the disk takes no more, and says how many exchanges that were.
fn fill(recorder: &Recorder, until: RecorderState) -> u64 {
    for id in 0.. {
        while recorder.ready().is_some() {
            if recorder.status().unwrap().state == until {
                return id;
            }
            thread::yield_now();
        }
        if recorder.status().unwrap().state == until {
            return id;
        }
        exchange(
            recorder,
            id,
            &format!("/{id}"),
            noise(if id % 3 == 0 { 160_000 } else { 3_000 + 50_000 * (id % 2) as usize }, id + 1),
        );
    }
    unreachable!("the disk has no end")
}

#[test]
fn a_disk_that_fills_up_is_waited_for_and_what_was_recorded_is_whole() {
    if env::var_os(MAY_MOUNT).is_none() {
        return;
    }
    let outer = tempfile::tempdir().unwrap();
    let disk = Disk::mount(outer.path());
    let directory = disk.0.join("store");
    let last = wait_for_room(&directory, &disk.0.join("ballast"));
    get_rid_of_it_on_the_full_disk(&directory, last);
    let before = drop_and_count(&directory);
    read_where_nothing_can_be_written(&directory, &disk, before);
}

/// The wire waits while the disk is full, and all is there once it is not. Leaves it full, and says what was committed.
fn wait_for_room(directory: &Path, ballast: &Path) -> Seq {
    fs::write(ballast, noise(8_000_000, 9)).unwrap();
    let store = Store::open(directory, StoreConfig::default()).unwrap();
    let recorder = start(&store, OnDiskFailure::Hold);
    let committed = Arc::new(AtomicU64::new(0));
    let told = committed.clone();
    recorder.on_commit(move |seq| told.store(seq.0, Ordering::Relaxed));
    let passed = fill(&recorder, RecorderState::Holding);
    // A try may still find room for a few.
    let before = committed.load(Ordering::Relaxed);
    let found = store.verify(None).unwrap();
    assert!(found.is_whole(), "{:?}", found.problems);
    assert!(before <= found.exchanges && found.exchanges <= passed, "{before} of {passed}: {found:?}");
    assert_eq!(*recorder.flush().unwrap_err().kind(), ErrorKind::Disk);
    println!("{} of {passed} exchanges are on the full disk; the rest waits", found.exchanges);

    fs::remove_file(ballast).unwrap();
    while recorder.flush().is_err() {
        thread::yield_now();
    }
    let status = recorder.status().unwrap();
    assert_eq!((status.state, status.dropped), (RecorderState::Recording, 0));
    assert_eq!(status.session.exchanges, passed);
    assert!(store.verify(None).unwrap().is_whole());
    fill(&recorder, RecorderState::Holding);
    let last = committed.load(Ordering::Relaxed);
    let _ = recorder.close();
    Seq(last)
}

/// What was committed is there; and there is room for getting rid of something although there is none.
fn get_rid_of_it_on_the_full_disk(directory: &Path, last: Seq) {
    let store = Store::open(directory, StoreConfig::read_only()).unwrap();
    assert!(store.newest().unwrap() >= last);
    assert!(store.verify(None).unwrap().is_whole());
    drop(store);
    let store = Store::open(directory, StoreConfig::default()).unwrap();
    let session = store.sessions().unwrap()[0].id;
    store.delete_session(session).unwrap();
    assert!(files_below(&directory.join("bodies")).is_empty());
}

/// Where that is chosen traffic goes on, and what is not recorded is counted. Says what was the newest before.
fn drop_and_count(directory: &Path) -> Seq {
    let store = Store::open(directory, StoreConfig::default()).unwrap();
    let recorder = start(&store, OnDiskFailure::Drop);
    let before = store.newest().unwrap();
    let passed = fill(&recorder, RecorderState::Dropping);
    for id in 0..200 {
        while recorder.ready().is_some() {
            thread::yield_now();
        }
        exchange(&recorder, passed + id, "/meanwhile", noise(20_000, id));
    }
    let _ = recorder.flush();
    let status = recorder.status().unwrap();
    let there = store.newest().unwrap().0 - before.0;
    println!("{there} recorded, {} dropped and counted", status.dropped);
    assert_eq!(there + status.dropped, passed + 200);
    let _ = recorder.close();
    assert!(store.verify(None).unwrap().is_whole());
    before
}

/// Once it is closed properly it is read where nothing can be written.
fn read_where_nothing_can_be_written(directory: &Path, disk: &Disk, before: Seq) {
    let store = Store::open(directory, StoreConfig::default()).unwrap();
    let small = store.copy(&query(|query| query.before = Some(Seq(before.0 + 4))), "small").unwrap();
    for session in store.sessions().unwrap() {
        if session.id != small.id {
            store.delete_session(session.id).unwrap();
        }
    }
    let kept = query(|query| query.session = Some(small.id));
    let seqs: Vec<Seq> = store.query(&kept).unwrap().items.iter().map(|item| item.seq).collect();
    assert!(!seqs.is_empty());
    drop(store);
    disk.make_read_only();
    assert!(Store::open(directory, StoreConfig::default()).is_err());
    let store = Store::open(directory, StoreConfig::read_only()).unwrap();
    for seq in seqs {
        assert!(!raw_body(&store, seq, BodySide::Response).is_empty());
    }
    assert!(store.verify(None).unwrap().is_whole());
}
