//! What a recorder wrote, also while it goes on.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use capture_store::{Query, Recorder, RecorderConfig, SessionSpec};
use har_export::{ExportOptions, write};
use http::StatusCode;
use proxy_core::{
    ClientFacts, ConnectionId, Ending, Event, EventKind, ExchangeId, Observer, Outcome, ResponseHead,
    ResponseSource, Sizes, Timings,
};
use serde_json::{Value, json};

use crate::{
    schema,
    seed::{Place, at, gzip, request, seed},
};

fn exported(place: &Place) -> Value {
    let mut out = Vec::new();
    write(&place.store, &Query::default(), &mut out, &ExportOptions::default()).unwrap();
    let file: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(schema::problems(&file), Vec::<String>::new());
    file["log"]["entries"][0].clone()
}

#[test]
fn a_recorded_exchange_is_exported_as_it_stands_and_as_it_ended() {
    let place = Place::new();
    let spec = SessionSpec::Named { name: "live".to_owned(), max_bytes: None };
    let recorder = Recorder::start(&place.store, spec, RecorderConfig::default()).unwrap();
    let observe = |millis, kind| {
        recorder.observe(&Event { exchange: ExchangeId(1), at: Duration::from_millis(millis), kind });
    };
    let address = "127.0.0.1:9".parse().unwrap();
    let client = Arc::new(ClientFacts::new(ConnectionId(5), address, address));
    let head = Arc::new(request("GET", "/live", &[]).request);
    observe(0, EventKind::Request { client, head, started_at: at(0) });
    observe(0, EventKind::RequestEnd);
    let mut head = ResponseHead::new(StatusCode::OK);
    head.headers.push("Content-Encoding", "gzip");
    observe(1, EventKind::Response { head: Arc::new(head), source: ResponseSource::Upstream });
    let body = gzip(b"event by event, ".repeat(4000).as_slice());
    observe(2, EventKind::ResponseBody(Bytes::copy_from_slice(&body[..30])));
    recorder.flush().unwrap();

    let open = exported(&place);
    assert_eq!((&open["_wirescope"]["state"], &open["response"]["status"]), (&json!("open"), &json!(200)));

    observe(3, EventKind::ResponseBody(Bytes::copy_from_slice(&body[30..])));
    let mut timings = Timings::default();
    timings.wait = Duration::from_millis(1);
    timings.total = Duration::from_millis(4);
    let ending = Ending::new(Outcome::Response, timings, Sizes::default());
    observe(4, EventKind::Ended(Box::new(ending)));
    recorder.flush().unwrap();

    let ended = exported(&place);
    assert_eq!(ended["response"]["content"]["size"], 64_000);
    assert_eq!((&ended["_wirescope"]["state"], &ended["connection"]), (&json!("response"), &json!("5")));
    recorder.close().unwrap();
}

/// Calls back at each write.
struct Hook<F>(F);

impl<F: FnMut()> io::Write for Hook<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn exchanges_deleted_during_the_export_are_counted() {
    // Large bodies are opened when their entry is written; small ones are read ahead with it.
    let exchange = |target| seed(request("GET", target, &[])).answered(200, &[], vec![b'x'; 200_000]).done();
    let place = Place::with([exchange("/1"), exchange("/2"), exchange("/3")]);
    let session = place.store.sessions().unwrap()[0].id;
    // Each key and value is a write: the hundredth is within the first entry, when all three are listed.
    let mut writes = 0;
    let mut out = Hook(|| {
        writes += 1;
        if writes == 100 {
            place.store.delete_session(session).unwrap();
        }
    });
    let summary = write(&place.store, &Query::default(), &mut out, &ExportOptions::default()).unwrap();
    assert_eq!((summary.entries, summary.vanished), (1, 2));
}

#[test]
fn what_is_recorded_during_an_export_is_left_to_the_next() {
    let exchange = |target| seed(request("GET", target, &[])).answered(200, &[], "ok").done();
    let place = Place::with([exchange("/1")]);
    let mut session = None;
    let mut out = Hook(|| {
        session.get_or_insert_with(|| {
            let mut session = place.store.import("meanwhile", None).unwrap();
            session.add(exchange("/2")).unwrap();
            session.finish().unwrap()
        });
    });
    let summary = write(&place.store, &Query::default(), &mut out, &ExportOptions::default()).unwrap();
    assert_eq!(summary.entries, 1);
    let mut all = Vec::new();
    let summary = write(&place.store, &Query::default(), &mut all, &ExportOptions::default()).unwrap();
    assert_eq!(summary.entries, 2);
}
