//! Imports are visible whole or not at all.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use capture_store::{
    BodySide, Exchange, ExchangeKind, ExchangeState, ImportedExchange, Peer, Query, SessionKind,
    SessionState, Store, StoreConfig, StoredMessage,
};
use proxy_core::{Failure, FailureKind, MessageKind, TlsFacts};

use crate::support::{TestStore, exchange, files_below, get, noise, query, raw_body, response, targets};

fn imported(target: &str, body: impl Into<Bytes>) -> ImportedExchange {
    let mut exchange = Exchange::new(get(target), SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
    exchange.response = Some(response(200, "text/plain"));
    exchange.summary.state = ExchangeState::Response;
    let body = body.into();
    exchange.response_body.wire_bytes = body.len() as u64;
    exchange.response_body.complete = true;
    ImportedExchange { exchange, request_body: None, response_body: Some(body), messages: Vec::new() }
}

#[test]
fn an_import_appears_when_it_is_finished_and_as_it_was_given() {
    let test = TestStore::new();
    let mut import = test.store.import("from a file", None).unwrap();
    let mut given = imported("/whole", noise(70_000, 1));
    given.exchange.comment = Some("remember this".to_owned());
    given.exchange.timings.total = Duration::from_micros(1_234);
    given.exchange.summary.kind = ExchangeKind::WebSocket;
    let mut tls = TlsFacts::default();
    (tls.version, tls.certificates) = ("TLSv1.3".to_owned(), vec![Bytes::from(noise(800, 2))]);
    given.exchange.upstream = Some(Peer::new(7, Some("9.9.9.9:443".parse().unwrap()), Some(tls)));
    let at = SystemTime::UNIX_EPOCH;
    given.messages = vec![StoredMessage::new(0, at, true, MessageKind::Text, "hi".into())];
    let expected = given.exchange.clone();
    let seq = import.add(given).unwrap();
    assert!(test.store.sessions().unwrap().is_empty());
    assert!(test.store.query(&Query::default()).unwrap().items.is_empty());
    assert!(test.store.exchange(seq).is_err());

    let session = import.finish().unwrap();
    assert_eq!((session.kind, session.state), (SessionKind::Imported, SessionState::Stopped));
    assert_eq!((session.name.as_deref(), session.exchanges), (Some("from a file"), 1));
    let read = test.store.exchange(seq).unwrap();
    assert_eq!(read.summary.session, session.id);
    assert_eq!((&read.request, &read.response), (&expected.request, &expected.response));
    assert_eq!((&read.comment, &read.upstream), (&expected.comment, &expected.upstream));
    assert_eq!(read.summary.started_at, expected.summary.started_at);
    assert_eq!(read.summary.duration, Some(Duration::from_micros(1_234)));
    assert_eq!((read.summary.kind, read.summary.messages), (ExchangeKind::WebSocket, 1));
    assert_eq!(raw_body(&test.store, seq, BodySide::Response), noise(70_000, 1));
    assert_eq!(test.store.messages(seq, 0, 0).unwrap()[0].data, "hi");
}

#[test]
fn a_body_imported_decoded_is_not_decoded_again() {
    let test = TestStore::new();
    let mut import = test.store.import("decoded", None).unwrap();
    let mut given = imported("/", "plain text");
    given.exchange.response.as_mut().unwrap().headers.push("Content-Encoding", "br");
    given.exchange.response_body.identity = true;
    given.exchange.response_body.wire_bytes = 4;
    let seq = import.add(given).unwrap();
    import.finish().unwrap();
    let recorded = test.store.exchange(seq).unwrap().response_body;
    assert_eq!((recorded.wire_bytes, recorded.stored_bytes, recorded.identity), (4, 10, true));
    let body = test.store.body(seq, BodySide::Response).unwrap().unwrap();
    assert_eq!(body.content_encoding(), None);
    assert_eq!(body.decode(100).bytes, "plain text");
}

#[test]
fn a_dropped_import_leaves_no_trace() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut import = test.store.import("never", None).unwrap();
    for number in 0..1200 {
        let size = if number % 100 == 0 { 40_000 } else { 10 };
        import.add(imported(&format!("/{number}"), noise(size, number))).unwrap();
    }
    exchange(&recorder, 1, "/recorded", "x");
    recorder.flush().unwrap();
    drop(import);
    assert!(files_below(&test.bodies()).is_empty());
    assert_eq!(test.store.sessions().unwrap().len(), 1);
    let tail = test.store.tail(capture_store::Seq(0), &Query::default()).unwrap();
    assert_eq!((targets(&tail.items), tail.evicted), (vec!["/recorded"], 0));
}

#[test]
fn an_import_of_many_chunks_keeps_its_order_beside_a_recorder() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut import = test.store.import("many", None).unwrap();
    for number in 0..1_234 {
        import.add(imported(&format!("/{number}"), "x")).unwrap();
        if number % 100 == 0 {
            exchange(&recorder, number, "/recorded", "x");
            recorder.flush().unwrap();
        }
    }
    let session = import.finish().unwrap();
    assert_eq!(session.exchanges, 1_234);
    let page =
        test.store.query(&query(|query| (query.session, query.limit) = (Some(session.id), 10_000))).unwrap();
    let expected: Vec<_> = (0..1_234).map(|number| format!("/{number}")).collect();
    assert_eq!(targets(&page.items), expected.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(recorder.close().unwrap().exchanges, 13);
}

#[test]
fn an_import_beyond_its_limit_counts_what_it_leaves_out() {
    let test = TestStore::new();
    let mut import = test.store.import("small", Some(50_000)).unwrap();
    for number in 0..10 {
        import.add(imported("/", noise(10_000, number))).unwrap();
    }
    let session = import.finish().unwrap();
    assert_eq!(session.exchanges + session.not_recorded, 10);
    assert!(session.bytes <= 50_500 && session.exchanges >= 4, "{session:?}");
}

#[test]
fn an_open_exchange_stays_as_it_was_imported() {
    let test = TestStore::new();
    let mut import = test.store.import("open", None).unwrap();
    let mut open = imported("/open", "x");
    open.exchange.summary.state = ExchangeState::Open;
    let first = import.add(open).unwrap();
    let mut failed = imported("/failed", "x");
    failed.exchange.summary.state =
        ExchangeState::Failed(Failure::new(FailureKind::Unstated, "said the file"));
    let state = failed.exchange.summary.state.clone();
    let second = import.add(failed).unwrap();
    let session = import.finish().unwrap();
    let again = Store::open(test.directory.path(), StoreConfig::default()).unwrap();
    assert!(again.recovered().is_empty());
    assert_eq!(again.exchange(first).unwrap().summary.state, ExchangeState::Open);
    assert_eq!(again.exchange(second).unwrap().summary.state, state);
    assert_eq!(again.clear_session(session.id).unwrap(), 2);
}
