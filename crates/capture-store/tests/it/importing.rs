//! Imports are visible whole or not at all.

use std::{
    io::Read,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use capture_store::{
    BodySide, Exchange, ExchangeKind, ExchangeState, ImportBody, ImportMessages, ImportedExchange, Peer,
    Query, SessionKind, SessionState, SpooledMessages, Store, StoreConfig, StoredMessage,
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
    ImportedExchange {
        exchange,
        request_body: None,
        response_body: Some(body.into()),
        messages: ImportMessages::default(),
    }
}

#[test]
fn an_import_appears_when_it_is_finished_and_as_it_was_given() {
    let test = TestStore::new();
    let mut import = test.store.import("from a file", None).unwrap();
    let mut given = imported("/whole", noise(170_000, 1));
    given.exchange.comment = Some("remember this".to_owned());
    given.exchange.timings.total = Duration::from_micros(1_234);
    given.exchange.summary.kind = ExchangeKind::WebSocket;
    let mut tls = TlsFacts::default();
    (tls.version, tls.certificates) = ("TLSv1.3".to_owned(), vec![Bytes::from(noise(800, 2))]);
    given.exchange.upstream = Some(Peer::new(7, Some("9.9.9.9:443".parse().unwrap()), Some(tls)));
    let at = SystemTime::UNIX_EPOCH;
    given.messages = vec![StoredMessage::new(0, at, true, MessageKind::Text, "hi".into())].into();
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
    assert_eq!(raw_body(&test.store, seq, BodySide::Response), noise(170_000, 1));
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
        let size = if number % 100 == 0 { 150_000 } else { 10 };
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

#[test]
fn a_body_that_comes_in_pieces_is_stored_as_one() {
    let test = TestStore::new();
    let mut import = test.store.import("pieces", None).unwrap();
    let mut expected = Vec::new();
    for (number, pieces) in [1, 3, 40, 129, 700].into_iter().enumerate() {
        let mut body = ImportBody::default();
        let mut whole = Vec::new();
        for piece in 0..pieces {
            let piece = noise(1_000, piece);
            import.append(&mut body, &piece).unwrap();
            whole.extend(piece);
        }
        assert_eq!((body.len(), body.held().is_some()), (whole.len() as u64, whole.len() <= 128 * 1024));
        let mut read = Vec::new();
        import.open(&body).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, whole);
        let mut given = imported(&format!("/{number}"), "");
        (given.response_body, given.exchange.response_body.wire_bytes) = (Some(body), whole.len() as u64);
        expected.push((import.add(given).unwrap(), whole));
    }
    // The same content again is there once.
    let files = files_below(&test.bodies()).len();
    let mut again = ImportBody::default();
    import.append(&mut again, &expected[4].1).unwrap();
    let mut given = imported("/again", "");
    given.response_body = Some(again);
    import.add(given).unwrap();
    import.finish().unwrap();
    assert_eq!(files_below(&test.bodies()).len(), files);
    for (seq, whole) in expected {
        assert_eq!(raw_body(&test.store, seq, BodySide::Response), whole);
    }
    assert!(test.store.verify(None).unwrap().problems.is_empty());
}

#[test]
fn bodies_that_belong_to_no_exchange_leave_with_the_import() {
    let test = TestStore::new();
    for finish in [true, false] {
        let mut import = test.store.import("loose", None).unwrap();
        let (mut loose, mut discarded) = (ImportBody::default(), ImportBody::default());
        import.append(&mut loose, &noise(150_000, 1)).unwrap();
        import.append(&mut discarded, &noise(150_000, 2)).unwrap();
        assert_eq!(files_below(&test.bodies()).len(), 2);
        import.discard(discarded).unwrap();
        assert_eq!(files_below(&test.bodies()).len(), 1);
        if finish {
            import.finish().unwrap();
        } else {
            drop(import);
        }
        assert!(files_below(&test.bodies()).is_empty());
    }
}

#[test]
fn messages_are_read_when_they_are_written() {
    let test = TestStore::new();
    let mut import = test.store.import("messages", None).unwrap();
    let mut body = ImportBody::default();
    for number in 0..20_000_u64 {
        import.append(&mut body, format!("message {number}\n").as_bytes()).unwrap();
    }
    let mut index = 0;
    let next = move |from: &mut dyn std::io::BufRead| {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let data = Bytes::from(line.trim_end().to_owned());
        index += 1;
        let at = SystemTime::UNIX_EPOCH;
        Ok(Some(StoredMessage::new(index - 1, at, false, MessageKind::Text, data)))
    };
    let mut given = imported("/", "");
    given.messages = ImportMessages::Spooled(SpooledMessages {
        body,
        count: 20_000,
        bytes: 250_000,
        next: Box::new(next),
    });
    let seq = import.add(given).unwrap();
    import.finish().unwrap();
    assert_eq!(test.store.exchange(seq).unwrap().summary.messages, 20_000);
    assert_eq!(test.store.messages(seq, 19_999, 0).unwrap()[0].data, "message 19999");
    assert!(files_below(&test.bodies()).is_empty());
}

#[test]
fn what_a_file_said_besides_is_kept() {
    let test = TestStore::new();
    let mut import = test.store.import("facts", None).unwrap();
    import.set_foreign_facts("{\"pages\":[]}").unwrap();
    let mut given = imported("/", "");
    given.exchange.foreign = Some("{\"_x\":1}".to_owned());
    let seq = import.add(given).unwrap();
    let session = import.finish().unwrap().id;
    assert_eq!(test.store.foreign_facts(session).unwrap().as_deref(), Some("{\"pages\":[]}"));
    assert_eq!(test.store.exchange(seq).unwrap().foreign.as_deref(), Some("{\"_x\":1}"));
}

#[test]
fn a_batch_gives_whole_exchanges_as_they_are_given_one_by_one() {
    let test = TestStore::new();
    let mut import = test.store.import("batch", None).unwrap();
    for number in 0..25_u64 {
        let size = if number % 5 == 0 { 150_000 } else { 100 };
        import.add(imported(&format!("/{number}"), noise(size, number))).unwrap();
    }
    import.finish().unwrap();
    let mut seen = 0;
    let mut cursor = None;
    loop {
        let batch = test.store.batch(&query(|query| (query.limit, query.after) = (10, cursor))).unwrap();
        for recalled in &batch.exchanges {
            let seq = recalled.exchange.summary.seq;
            let alone = test.store.exchange(seq).unwrap();
            assert_eq!(format!("{:?}", recalled.exchange), format!("{alone:?}"));
            let mut body = Vec::new();
            let open = recalled.body(BodySide::Response).unwrap().unwrap();
            open.into_reader().read_to_end(&mut body).unwrap();
            assert_eq!(body, raw_body(&test.store, seq, BodySide::Response));
            assert_eq!(recalled.is_small(), body.len() == 100);
            assert!(recalled.body(BodySide::Request).unwrap().is_none());
            seen += 1;
        }
        cursor = batch.exchanges.last().map(|recalled| recalled.exchange.summary.seq);
        if !batch.more {
            break;
        }
    }
    assert_eq!(seen, 25);
}
