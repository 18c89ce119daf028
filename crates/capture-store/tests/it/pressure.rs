//! Back-pressure: bounded in bytes, without dropping.

use std::time::Duration;

use capture_store::{Recorder, RecorderConfig, SessionSpec};
use proxy_core::{Observer, Outcome};

use crate::support::{Teller, TestStore, get, noise, response};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_bytes_beyond_the_bound_wait_and_go_on() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.max_queued_bytes = 100_000;
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    assert!(recorder.ready().is_none());
    let piece = bytes::Bytes::from(noise(60_000, 1));
    let mut teller = Teller::begin(&recorder, 1, get("/")).response(response(200, "a/b"));
    let mut waits = 0;
    for _ in 0..500 {
        if let Some(ready) = recorder.ready() {
            waits += 1;
            tokio::time::timeout(Duration::from_secs(30), ready).await.expect("the writer makes room");
        }
        teller = teller.response_body(piece.clone());
    }
    teller.end(Outcome::Response);
    let flushing = recorder.clone();
    let seq = tokio::task::spawn_blocking(move || flushing.flush()).await.unwrap().unwrap();
    assert!(waits > 0, "thirty megabytes never filled a tenth of one");
    let recorded = test.store.exchange(seq).unwrap().response_body;
    assert_eq!((recorded.wire_bytes, recorded.stored_bytes), (30_000_000, 30_000_000));
    assert!(recorder.ready().is_none());
    let status = recorder.status().unwrap();
    assert_eq!((status.queued_bytes, status.dropped, status.last_error), (0, 0, None));
    assert!(status.bytes_written >= 30_000_000 && status.last_commit.is_some());
}

#[tokio::test]
async fn who_waits_goes_on_when_the_recorder_closes() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.max_queued_bytes = 0;
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    let teller = Teller::begin(&recorder, 1, get("/")).response(response(200, "a/b"));
    let _teller = teller.response_body(noise(1_000, 1));
    let ready = recorder.ready();
    let closing = recorder.clone();
    let closed = tokio::task::spawn_blocking(move || closing.close());
    if let Some(ready) = ready {
        tokio::time::timeout(Duration::from_secs(30), ready).await.expect("closing lets go");
    }
    closed.await.unwrap().unwrap();
    assert!(recorder.ready().is_none());
}
