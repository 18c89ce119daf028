//! What is observed is what is read back.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use capture_store::{
    BodySide, ExchangeKind, ExchangeState, Query, Recorder, RecorderConfig, Seq, SessionSpec,
};
use proxy_core::{
    ClientFacts, ConnectionId, Direction, Ending, Event, EventKind, ExchangeId, Failure, FailureKind,
    Headers, MessageKind, Observer, Outcome, ResponseSource, Sizes, Timings, TlsFacts, UpstreamFacts,
    WebSocketMessage,
};

use crate::support::{
    Teller, TestStore, exchange, files_below, get, noise, raw_body, request, response, targets,
};

#[test]
fn an_exchange_reads_back_as_it_was_observed() {
    let test = TestStore::new();
    let recorder = test.scratch();
    exchange(&recorder, 1, "/hello?x=1", "Hello, world");
    let newest = recorder.flush().unwrap();
    assert_eq!(newest, Seq(1));

    let page = test.store.query(&Query::default()).unwrap();
    assert_eq!((page.items.len(), page.total, page.more), (1, Some(1), false));
    let summary = &page.items[0];
    assert_eq!(summary.url, "https://example.test/hello?x=1");
    assert_eq!((summary.status, &summary.state), (Some(200), &ExchangeState::Response));
    assert_eq!(summary.response_body_bytes, 12);

    let whole = test.store.exchange(newest).unwrap();
    assert_eq!(whole.summary, *summary);
    assert_eq!(whole.request, get("/hello?x=1"));
    assert!(whole.response_body.complete);
    assert_eq!(raw_body(&test.store, newest, BodySide::Response), b"Hello, world");
    assert!(test.store.body(newest, BodySide::Request).unwrap().is_none());
}

#[test]
fn exchanges_are_numbered_in_the_order_of_their_ends_whoever_told_them() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.commit_interval = Duration::from_secs(3_600);
    let session = SessionSpec::Scratch { max_bytes: None };
    let recorder = Recorder::start(&test.store, session, config).unwrap();
    // After this nothing is committed but by the flush below.
    exchange(&recorder, 100, "/0", "");
    recorder.flush().unwrap();
    let large = noise(40_000, 1);
    let paths: Vec<_> = (1..=24).map(|number| format!("/{number}")).collect();
    for (number, path) in (1..).zip(&paths) {
        // Some are put together where they are told, some by the recorder.
        let told = recorder.clone();
        let (path, large) = (path.clone(), large.clone());
        let tell = move || match number % 5 {
            0 => exchange(&told, number, &path, large),
            _ => exchange(&told, number, &path, "small"),
        };
        std::thread::spawn(tell).join().unwrap();
    }
    let newest = recorder.flush().unwrap();
    let told = (2..=newest.0).map(|seq| test.store.exchange(Seq(seq)).unwrap().summary.target);
    assert_eq!(told.collect::<Vec<_>>(), paths);
}

#[test]
fn heads_keep_order_case_duplicates_and_any_byte() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut head = request("POST", "http", "EXAMPLE.test:8080", "/a b\u{e9}?");
    head.headers.push("x-Dup", "1");
    head.headers.push("X-DUP", Bytes::from_static(b"\xff\x80 \t;"));
    head.headers.push("Empty", "");
    let mut trailers = Headers::new();
    trailers.push("Checksum", "abc");
    let mut early = response(103, "text/css");
    early.reason = None;
    early.version = http::Version::HTTP_2;
    Teller::begin(&recorder, 7, head.clone())
        .request_body("half ")
        .request_body("and half")
        .tell(EventKind::RequestTrailers(trailers.clone()))
        .request_end()
        .tell(EventKind::Informational(Arc::new(early.clone())))
        .response(response(404, "text/html; charset=x"))
        .tell(EventKind::ResponseTrailers(trailers.clone()))
        .end(Outcome::Response);
    let seq = recorder.flush().unwrap();

    let whole = test.store.exchange(seq).unwrap();
    assert_eq!(whole.request, head);
    assert_eq!((&whole.request_trailers, &whole.response_trailers), (&trailers, &trailers));
    assert_eq!(whole.informational, [early]);
    assert_eq!(whole.response, Some(response(404, "text/html; charset=x")));
    assert_eq!((whole.summary.host.as_str(), whole.summary.port), ("example.test", 8080));
    assert_eq!(raw_body(&test.store, seq, BodySide::Request), b"half and half");
}

#[test]
fn connections_timings_and_sizes_are_kept() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let tls = |certificates| {
        let mut tls = TlsFacts::default();
        (tls.version, tls.cipher) = ("TLSv1.3".to_owned(), "TLS_AES_128_GCM_SHA256".to_owned());
        (tls.alpn, tls.sni, tls.certificates) =
            (Some("h2".to_owned()), Some("a.test".to_owned()), certificates);
        tls
    };
    let mut client =
        ClientFacts::new(ConnectionId(4), "[::1]:1".parse().unwrap(), "[::1]:2".parse().unwrap());
    (client.tunnel, client.tls) = (Some("a.test:443".to_owned()), Some(tls(Vec::new())));
    let mut upstream =
        UpstreamFacts::new(ConnectionId(9), "1.2.3.4:443".parse().unwrap(), "[::1]:2".parse().unwrap());
    upstream.tls = Some(tls(vec![Bytes::from(noise(900, 1)), Bytes::from(noise(900, 2))]));
    let upstream = Arc::new(upstream);
    let mut timings = Timings::default();
    (timings.dns, timings.wait) = (Some(Duration::from_nanos(1_234_567)), Duration::from_micros(3));
    timings.total = Duration::from_millis(5);
    let mut sizes = Sizes::default();
    (sizes.request_head, sizes.response_head) = (100, 200);
    let started_at = SystemTime::now();
    for id in 1..=2 {
        let tell = |kind| recorder.observe(&Event { exchange: ExchangeId(id), at: Duration::ZERO, kind });
        tell(EventKind::Request { client: Arc::new(client.clone()), head: Arc::new(get("/")), started_at });
        tell(EventKind::Upstream { upstream: upstream.clone(), reused: id > 1 });
        tell(EventKind::Response { head: Arc::new(response(200, "a/b")), source: ResponseSource::Mock });
        tell(EventKind::Ended(Box::new(Ending::new(Outcome::Mock, timings, sizes))));
    }
    let seq = recorder.flush().unwrap();

    let whole = test.store.exchange(seq).unwrap();
    assert_eq!((whole.timings, whole.sizes), (timings, sizes));
    assert_eq!(whole.summary.started_at, started_at);
    assert_eq!(whole.summary.duration, Some(Duration::from_millis(5)));
    assert_eq!(whole.summary.state, ExchangeState::Mock);
    assert_eq!(whole.response_source, Some(ResponseSource::Mock));
    let (client_side, upstream_side) = (whole.client.unwrap(), whole.upstream.unwrap());
    assert_eq!((client_side.connection, client_side.address), (4, Some(client.peer)));
    assert_eq!((client_side.tls, whole.tunnel), (client.tls, client.tunnel));
    assert_eq!((upstream_side.connection, upstream_side.address), (9, Some(upstream.peer)));
    assert_eq!(upstream_side.tls, upstream.tls);
}

#[test]
fn a_large_body_goes_to_a_file_and_comes_back_whole() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let body = noise(3_000_000, 5);
    let teller = Teller::begin(&recorder, 1, get("/big")).response(response(200, "application/octet-stream"));
    body.chunks(16_384)
        .fold(teller, |teller, piece| teller.response_body(piece.to_vec()))
        .end(Outcome::Response);
    let seq = recorder.flush().unwrap();
    let whole = test.store.exchange(seq).unwrap();
    assert_eq!(whole.response_body.stored_bytes, 3_000_000);
    assert!(raw_body(&test.store, seq, BodySide::Response) == body);
    assert_eq!(files_below(&test.bodies()).len(), 1);
}

#[test]
fn a_body_file_with_the_same_content_is_stored_once_until_the_last_is_gone() {
    let test = TestStore::new();
    let recorder = test.record(SessionSpec::Named { name: "one".to_owned(), max_bytes: None });
    let body = Bytes::from(noise(200_000, 3));
    exchange(&recorder, 1, "/a", body.clone());
    recorder.flush().unwrap();
    let first = recorder.session();
    recorder.switch(SessionSpec::Scratch { max_bytes: None }).unwrap();
    exchange(&recorder, 2, "/b", body.clone());
    exchange(&recorder, 3, "/c", body.clone());
    recorder.flush().unwrap();
    assert_eq!(files_below(&test.bodies()).len(), 1);
    test.store.delete_session(first).unwrap();
    assert!(raw_body(&test.store, Seq(3), BodySide::Response) == body);
    test.store.clear_session(recorder.session()).unwrap();
    assert_eq!(files_below(&test.bodies()).len(), 0);
}

#[test]
fn an_open_exchange_is_seen_and_then_updated_under_the_same_seq() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.open_after = Duration::from_millis(30);
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    let (seen, commits) = mpsc::channel();
    recorder.on_commit(move |newest| {
        let _ = seen.send(newest);
    });
    let teller = Teller::begin(&recorder, 1, get("/events"))
        .response(response(200, "text/event-stream"))
        .response_body("data: 1\n\n");
    // Nobody flushes: the writer finds it by itself.
    assert_eq!(commits.recv_timeout(Duration::from_secs(10)).unwrap(), Seq(1));
    let open = test.store.exchange(Seq(1)).unwrap();
    assert_eq!(open.summary.state, ExchangeState::Open);
    assert!(!open.response_body.complete);
    assert_eq!(raw_body(&test.store, Seq(1), BodySide::Response), b"data: 1\n\n");

    exchange(&recorder, 2, "/meanwhile", "x");
    teller.response_body(noise(200_000, 1)).end(Outcome::Response);
    assert_eq!(recorder.flush().unwrap(), Seq(2));
    let ended = test.store.exchange(Seq(1)).unwrap();
    assert_eq!(ended.summary.state, ExchangeState::Response);
    assert_eq!(ended.response_body.stored_bytes, 200_009);
    assert_eq!(raw_body(&test.store, Seq(1), BodySide::Response).len(), 200_009);
    let session = recorder.close().unwrap();
    assert_eq!(session.exchanges, 2);
}

#[test]
fn what_comes_after_an_open_exchange_was_quiet_is_written_without_being_asked_for() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.open_after = Duration::from_millis(30);
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    let (seen, commits) = mpsc::channel();
    recorder.on_commit(move |newest| _ = seen.send(newest));
    let committed = || commits.recv_timeout(Duration::from_secs(60)).expect("it is written");
    let message =
        || EventKind::Message(WebSocketMessage::new(Direction::ToClient, MessageKind::Text, "hi".into()));
    let messages = || test.store.exchange(Seq(1)).unwrap().summary.messages;

    let teller = Teller::begin(&recorder, 1, get("/chat")).response(response(101, "x/y")).tell(message());
    while committed() != Seq(1) || messages() != 1 {}
    // All that came is written, and nobody waits for anything.
    let _teller = teller.tell(message());
    while messages() != 2 {
        committed();
    }
    let _poll = Teller::begin(&recorder, 2, get("/poll"));
    while committed() != Seq(2) {}
}

#[test]
fn websocket_messages_are_kept_in_order() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut switching = response(101, "x/y");
    switching.headers.push("Upgrade", "websocket");
    let mut cut =
        WebSocketMessage::new(Direction::ToClient, MessageKind::Binary, Bytes::from(noise(50_000, 2)));
    (cut.length, cut.truncated, cut.compressed) = (90_000, true, true);
    let teller = Teller::begin(&recorder, 1, get("/chat")).response(switching).tell(EventKind::Message(
        WebSocketMessage::new(Direction::ToUpstream, MessageKind::Text, "hi".into()),
    ));
    recorder.flush().unwrap();
    teller
        .tell(EventKind::Message(cut))
        .tell(EventKind::Message(WebSocketMessage::new(Direction::ToClient, MessageKind::Close, "".into())))
        .end(Outcome::Upgrade);
    recorder.flush().unwrap();

    let messages = test.store.messages(Seq(1), 0, 0).unwrap();
    let seen: Vec<_> =
        messages.iter().map(|m| (m.index, m.from_client, m.kind, m.length, m.truncated)).collect();
    assert_eq!(
        seen,
        [
            (0, true, MessageKind::Text, 2, false),
            (1, false, MessageKind::Binary, 90_000, true),
            (2, false, MessageKind::Close, 0, false),
        ]
    );
    assert_eq!(messages[1].data.len(), 50_000);
    assert_eq!(test.store.messages(Seq(1), 1, 1).unwrap(), messages[1..2]);
    let summary = test.store.exchange(Seq(1)).unwrap().summary;
    assert_eq!((summary.kind, summary.messages), (ExchangeKind::WebSocket, 3));
    assert_eq!(summary.state, ExchangeState::Upgrade);
}

#[test]
fn tunnels_upgrades_and_failures_are_told_apart() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let bytes = |direction, bytes| EventKind::TunnelBytes { direction, bytes };
    Teller::begin(&recorder, 1, request("CONNECT", "https", "a.test:443", "a.test:443"))
        .tell(bytes(Direction::ToUpstream, 10))
        .tell(bytes(Direction::ToClient, 20))
        .tell(bytes(Direction::ToClient, 30))
        .end(Outcome::Tunnel);
    let failure = Failure::new(FailureKind::ClientDistrustsCa, "alert 48");
    Teller::begin(&recorder, 2, request("CONNECT", "https", "b.test:443", "b.test:443"))
        .end(Outcome::Failed(failure.clone()));
    Teller::begin(&recorder, 3, get("/up")).response(response(101, "a/b")).end(Outcome::Upgrade);
    recorder.flush().unwrap();

    let items = test.store.query(&Query::default()).unwrap().items;
    let kinds: Vec<_> = items.iter().map(|item| item.kind).collect();
    assert_eq!(kinds, [ExchangeKind::Tunnel, ExchangeKind::Tunnel, ExchangeKind::Upgrade]);
    assert_eq!(items[0].state, ExchangeState::Tunnel);
    assert_eq!(items[1].state, ExchangeState::Failed(failure));
    assert_eq!(items[1].target, "b.test:443");
    assert_eq!(test.store.exchange(Seq(1)).unwrap().tunnel_bytes, (10, 50));
}

#[test]
fn a_body_is_cut_at_its_limit_and_says_so() {
    let test = TestStore::new();
    for (limit, pieces) in [(10, 3), (0, 1), (100_000, 40), (200_000, 60)] {
        let mut config = RecorderConfig::default();
        config.max_body_bytes = Some(limit);
        let recorder =
            Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
        let teller = Teller::begin(&recorder, 1, get("/")).response(response(200, "a/b"));
        (0..pieces).fold(teller, |teller, _| teller.response_body(noise(4096, 1))).end(Outcome::Response);
        let seq = recorder.flush().unwrap();
        let recorded = test.store.exchange(seq).unwrap().response_body;
        assert_eq!((recorded.wire_bytes, recorded.stored_bytes), (pieces * 4096, limit), "{limit}");
        assert_eq!(raw_body(&test.store, seq, BodySide::Response).len() as u64, limit);
    }
}

#[test]
fn closing_ends_what_is_open_as_shut_down() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let _open = Teller::begin(&recorder, 1, get("/open"));
    let session = recorder.close().unwrap();
    assert!(session.ended_at.is_some());
    assert_eq!(recorder.close().unwrap().id, session.id);
    exchange(&recorder, 2, "/late", "x");
    let items = test.store.query(&Query::default()).unwrap().items;
    assert_eq!(targets(&items), ["/open"]);
    let ExchangeState::Failed(failure) = &items[0].state else { panic!("{:?}", items[0].state) };
    assert_eq!(failure.kind, FailureKind::Shutdown);
    assert!(recorder.flush().is_err());
}

#[test]
fn dropping_the_last_clone_writes_what_is_left() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let clone = recorder.clone();
    drop(recorder);
    exchange(&clone, 1, "/kept", "x");
    drop(clone);
    assert_eq!(test.store.query(&Query::default()).unwrap().total, Some(1));
    // The lock is free again.
    test.scratch();
}

#[test]
fn exchanges_from_many_threads_all_arrive_once() {
    let test = TestStore::new();
    let recorder = test.scratch();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let recorder = &recorder;
            scope.spawn(move || {
                for number in 0..250 {
                    exchange(
                        recorder,
                        thread * 1000 + number,
                        &format!("/{thread}/{number}"),
                        noise(300, number),
                    );
                }
            });
        }
    });
    assert_eq!(recorder.flush().unwrap(), Seq(2000));
    let page = test.store.query(&crate::support::query(|query| query.limit = 10_000)).unwrap();
    let mut urls: Vec<_> = page.items.iter().map(|item| item.url.clone()).collect();
    urls.sort();
    urls.dedup();
    assert_eq!((urls.len(), page.total), (2000, Some(2000)));
}
