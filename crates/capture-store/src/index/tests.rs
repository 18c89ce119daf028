//! Whatever is asked, the index changes nothing but the time it takes: answers are compared with asking each exchange.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use proptest::prelude::*;
use proxy_core::{
    ClientFacts, ConnectionId, Direction, Ending, Event, EventKind, ExchangeId, Failure, FailureKind,
    Headers, MessageKind, Observer as _, Outcome, RequestHead, ResponseHead, ResponseSource, Scheme, Sizes,
    Timings, WebSocketMessage,
};

use super::{Limits, Progress, step, tidy};
use crate::{
    Order, Query, Recorder, RecorderConfig, Search, Seq, SessionId, SessionSpec, Store, StoreConfig,
    condition::{Subject, holds},
    parse,
    scan::Next,
};

/// A few exchanges to a segment, so that there are many.
const SMALL: Limits = Limits { exchanges: 7, set_bytes: 1 << 20, text_bytes: 1 << 20 };

const WORDS: [&str; 8] = ["alpha", "Beta", "gamma/x", "caf\u{e9}", "needle", "zz", "0a1b2c", "say \"hi\""];
const HOSTS: [&str; 3] = ["api.test", "www.example.com", "static.test"];
const FILTERS: [&str; 24] = [
    "",
    "url:alpha",
    "url:needle",
    "path:/beta",
    "path:/nowhere/at/all",
    "path:/gamma/*",
    "host:api.test url:zz",
    "status:5xx url:a",
    "is:error",
    "is:failed or status:404",
    "is:websocket",
    "body:needle",
    "body:caf\u{e9}",
    "body:\"say \\\"hi\\\"\"",
    "body:zz",
    "-body:needle",
    "body:needle or url:beta",
    "body:alpha body:gamma",
    "body=alpha",
    "text:needle host:www.example.com",
    "header.x-word:needle",
    "header:x-word",
    "cookie.sid:beta",
    "message:needle",
];

/// What an exchange is made of: numbers that pick words.
#[derive(Clone, Debug)]
struct Made {
    path: usize,
    host: usize,
    status: u16,
    words: Vec<usize>,
    header: Option<usize>,
    kind: u8,
}

fn made() -> impl Strategy<Value = Made> {
    let status = prop_oneof![Just(200_u16), Just(404), Just(500), Just(503)];
    let words = proptest::collection::vec(0..WORDS.len(), 0..4);
    (0..WORDS.len(), 0..HOSTS.len(), status, words, proptest::option::of(0..WORDS.len()), 0_u8..8).prop_map(
        |(path, host, status, words, header, kind)| Made { path, host, status, words, header, kind },
    )
}

fn tell(recorder: &Recorder, number: u64, made: &Made) {
    let client = ClientFacts::new(
        ConnectionId(1),
        "127.0.0.1:50000".parse().unwrap(),
        "127.0.0.1:8080".parse().unwrap(),
    );
    let mut headers = Headers::new();
    if let Some(word) = made.header {
        headers.push("X-Word", WORDS[word].to_owned());
        headers.push("Cookie", format!("a=1; SID={}", WORDS[word]));
    }
    let head = RequestHead {
        method: http::Method::GET,
        scheme: Scheme::Https,
        authority: HOSTS[made.host].to_owned(),
        target: format!("/{}/{number}?q={}", WORDS[made.path], made.kind),
        version: http::Version::HTTP_11,
        headers,
    };
    let say = |kind| {
        recorder.observe(&Event { exchange: ExchangeId(number), at: Duration::from_millis(1), kind });
    };
    say(EventKind::Request { client: Arc::new(client), head: Arc::new(head), started_at: SystemTime::now() });
    let text: Vec<&str> = made.words.iter().map(|word| WORDS[*word]).collect();
    let text = text.join(" ");
    match made.kind {
        0 => return say(EventKind::Ended(ending(Outcome::Failed(Failure::new(FailureKind::Dns, "none"))))),
        1 => {
            let data = Bytes::from(text);
            let message = WebSocketMessage::new(Direction::ToClient, MessageKind::Text, data);
            say(EventKind::Message(message));
            return say(EventKind::Ended(ending(Outcome::Upgrade)));
        }
        // It goes on.
        2 if number.is_multiple_of(3) => return,
        _ => {}
    }
    let mut head = ResponseHead::new(http::StatusCode::from_u16(made.status).unwrap());
    let body = match made.kind {
        3 => {
            head.headers.push("Content-Type", "text/plain; charset=utf-16le");
            text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()
        }
        4 => {
            head.headers.push("Content-Encoding", "gzip");
            // Not what it says: it cannot be looked through.
            text.into_bytes()
        }
        5 => serde_json::Value::from(text).to_string().into_bytes(),
        _ => text.into_bytes(),
    };
    say(EventKind::Response { head: Arc::new(head), source: ResponseSource::Upstream });
    if !body.is_empty() {
        say(EventKind::ResponseBody(body.into()));
    }
    say(EventKind::Ended(ending(Outcome::Response)));
}

fn ending(outcome: Outcome) -> Box<Ending> {
    Box::new(Ending::new(outcome, Timings::default(), Sizes::default()))
}

fn build(store: &Store) -> u64 {
    while step(store, SMALL, &mut || Next::GoOn).unwrap() == Progress::More {}
    store.index_status().unwrap().segments
}

/// Asks each exchange.
fn naive(store: &Store, filter: &str) -> Vec<u64> {
    let condition = parse(filter).unwrap();
    let mut all = Query { limit: 10_000, ..Query::default() };
    let mut found = Vec::new();
    loop {
        let page = store.query(&all).unwrap();
        for summary in &page.items {
            if holds(&condition, &Subject::new(store, summary)).unwrap() {
                found.push(summary.seq.0);
            }
        }
        if !page.more {
            return found;
        }
        all.after = page.items.last().map(|item| item.seq);
    }
}

/// Reads an answer page by page.
fn paged(store: &Store, filter: &str, order: Order, limit: usize) -> Vec<u64> {
    let mut query = Query { condition: Some(parse(filter).unwrap()), order, limit, ..Query::default() };
    let mut found = Vec::new();
    loop {
        let page = store.query(&query).unwrap();
        assert!(page.items.len() <= limit && page.at_least >= page.items.len() as u64);
        found.extend(page.items.iter().map(|item| item.seq.0));
        if !page.more {
            break;
        }
        let last = page.items.last().map(|item| item.seq);
        match order {
            Order::Ascending => query.after = last,
            Order::Descending => query.before = last,
        }
    }
    if order == Order::Descending {
        found.reverse();
    }
    found
}

/// A search's hits and what it says of its way, page by page.
fn searched(store: &Store, text: &str, order: Order, limit: usize, max_scan: u64) -> (Vec<u64>, u64, u64) {
    let mut search = Search { limit, max_scan, ..Search::new(text, None) };
    search.filter.order = order;
    let (mut hits, mut scanned, mut skipped) = (Vec::new(), 0, 0);
    loop {
        let page = store.search(&search).unwrap();
        assert!(page.indexed <= page.scanned);
        hits.extend(page.hits.iter().map(|hit| hit.exchange.seq.0));
        scanned += page.scanned;
        skipped += page.skipped_bodies;
        let Some(next) = page.next else { break };
        match order {
            Order::Ascending => search.filter.after = Some(next),
            Order::Descending => search.filter.before = Some(next),
        }
    }
    hits.sort_unstable();
    (hits, scanned, skipped)
}

fn check(store: &Store, held: u64, when: &str) {
    for filter in FILTERS {
        let expected = naive(store, filter);
        for order in [Order::Ascending, Order::Descending] {
            for limit in [3, 1_000] {
                assert_eq!(paged(store, filter, order, limit), expected, "{filter} {order:?} {limit} {when}");
            }
        }
        let whole = Query { condition: Some(parse(filter).unwrap()), limit: 1_000, ..Query::default() };
        assert_eq!(store.query(&whole).unwrap().total, Some(expected.len() as u64), "{filter} {when}");
        let mut tail = Query { condition: whole.condition, limit: 3, ..Query::default() };
        tail.session = None;
        let (mut cursor, mut seen) = (Seq(0), Vec::new());
        loop {
            let part = store.tail(cursor, &tail).unwrap();
            seen.extend(part.items.iter().map(|item| item.seq.0));
            cursor = part.next;
            if part.remaining == 0 {
                break;
            }
            assert_eq!(part.remaining as usize, expected.len() - seen.len(), "{filter} {when}");
        }
        assert_eq!(seen, expected, "{filter} tailed {when}");
    }
    for text in WORDS {
        let expected = naive(store, &format!("text:{}", quoted(text)));
        for order in [Order::Ascending, Order::Descending] {
            let (hits, scanned, skipped) = searched(store, text, order, 1_000, 0);
            assert_eq!((&hits, scanned), (&expected, held), "{text} {order:?} {when}");
            let by_pages = searched(store, text, order, 2, 0);
            assert_eq!(by_pages, (hits.clone(), scanned, skipped), "{text} {order:?} by pages {when}");
            assert_eq!(searched(store, text, order, 1_000, 3).0, expected, "{text} {order:?} resumed {when}");
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn open() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
    (directory, store)
}

fn record(store: &Store, exchanges: &[Made]) -> SessionId {
    let session = SessionSpec::Named { name: "made".to_owned(), max_bytes: None };
    let config = RecorderConfig { index: crate::IndexPolicy::Never, ..RecorderConfig::default() };
    let recorder = Recorder::start(store, session, config).unwrap();
    for (number, made) in (0..).zip(exchanges) {
        tell(&recorder, number, made);
        // Open exchanges are recorded as open.
        if number % 10 == 9 {
            recorder.flush().unwrap();
        }
    }
    recorder.close().unwrap().id
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_changes_no_answer(
        exchanges in proptest::collection::vec(made(), 20..40),
        later in proptest::collection::vec(made(), 1..12),
    ) {
        let (_directory, store) = open();
        let first = record(&store, &exchanges);
        let held = exchanges.len() as u64;
        check(&store, held, "without an index");
        prop_assert!(build(&store) >= 2);
        check(&store, held, "with an index");
        // What comes after it, and what is copied, is not in it.
        record(&store, &later);
        let copied = Query { condition: Some(parse("body:needle").unwrap()), ..Query::default() };
        let copy = store.copy(&copied, "copied").unwrap();
        let held = held + later.len() as u64 + copy.exchanges;
        check(&store, held, "with more behind the index");
        build(&store);
        check(&store, held, "with all indexed");
        store.clear_session(first).unwrap();
        check(&store, held - exchanges.len() as u64, "with a part deleted");
        store.delete_session(first).unwrap();
        store.write(|db| Ok(tidy(db)?)).unwrap();
        check(&store, held - exchanges.len() as u64, "after tidying up");
        prop_assert_eq!(store.verify(None).unwrap().problems, Vec::new());
    }
}

/// An exchange whose body is this.
fn with_body(recorder: &Recorder, number: u64, body: impl Into<Bytes>) {
    let client = ClientFacts::new(
        ConnectionId(1),
        "127.0.0.1:50000".parse().unwrap(),
        "127.0.0.1:8080".parse().unwrap(),
    );
    let head = RequestHead {
        method: http::Method::GET,
        scheme: Scheme::Https,
        authority: "api.test".to_owned(),
        target: format!("/{number}"),
        version: http::Version::HTTP_11,
        headers: Headers::new(),
    };
    let head = Arc::new(head);
    for kind in [
        EventKind::Request { client: Arc::new(client), head, started_at: SystemTime::now() },
        EventKind::Response {
            head: Arc::new(ResponseHead::new(http::StatusCode::OK)),
            source: ResponseSource::Upstream,
        },
        EventKind::ResponseBody(body.into()),
        EventKind::Ended(ending(Outcome::Response)),
    ] {
        recorder.observe(&Event { exchange: ExchangeId(number), at: Duration::from_millis(1), kind });
    }
}

fn recorder(store: &Store, index: crate::IndexPolicy) -> Recorder {
    let session = SessionSpec::Named { name: "made".to_owned(), max_bytes: None };
    Recorder::start(store, session, RecorderConfig { index, ..RecorderConfig::default() }).unwrap()
}

fn hits(store: &Store, text: &str) -> Vec<u64> {
    let search = Search { limit: 1_000, ..Search::new(text, None) };
    let mut hits: Vec<u64> =
        store.search(&search).unwrap().hits.iter().map(|hit| hit.exchange.seq.0).collect();
    hits.sort_unstable();
    hits
}

#[test]
fn texts_of_all_sizes_stand_in_one_segment_and_each_part_of_them_is_found() {
    let (_directory, store) = open();
    let recorder = recorder(&store, crate::IndexPolicy::Never);
    let mut state = 1_u64;
    let mut letters = |length: usize| -> String {
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
        };
        (0..length).map(|_| letter()).collect()
    };
    // The last has all runs of three letters there are many times over, the one before nearly all.
    let texts: Vec<String> =
        [4, 90, 700, 3_000, 20_000, 60_000, 300_000].into_iter().map(&mut letters).collect();
    for (number, text) in (1..).zip(&texts) {
        with_body(&recorder, number, text.clone());
    }
    recorder.close().unwrap();
    assert_eq!(build(&store), 1);
    for (seq, text) in (1..).zip(&texts) {
        for at in [0, text.len() / 2, text.len() - 4] {
            let part = &text[at..text.len().min(at + 12)];
            assert!(hits(&store, part).contains(&seq), "{seq} {part}");
        }
    }
    let none = store.search(&Search::new("xqzjvkwqyxzjqkvwpfgq", None)).unwrap();
    assert_eq!((none.hits.len(), none.scanned), (0, texts.len() as u64));
    assert!(none.indexed >= 5, "{} of {} told by the index", none.indexed, none.scanned);
}

#[test]
fn a_store_opened_for_reading_asks_the_index_too() {
    let (directory, store) = open();
    let recorder = recorder(&store, crate::IndexPolicy::Never);
    for number in 1..=20 {
        with_body(&recorder, number, format!("text of number-{number}-"));
    }
    recorder.close().unwrap();
    assert_eq!(build(&store), 2);
    let reader = Store::open(directory.path(), StoreConfig::read_only()).unwrap();
    let page = reader.search(&Search::new("number-5-", None)).unwrap();
    assert_eq!((page.hits.len(), page.scanned), (1, 20));
    assert!(page.indexed >= 10, "{}", page.indexed);
    assert!(matches!(reader.build_index().unwrap_err().kind(), crate::ErrorKind::ReadOnly));
}

#[test]
fn what_is_imported_into_an_indexed_run_is_found_and_the_rest_too() {
    let (_directory, store) = open();
    let recorder = recorder(&store, crate::IndexPolicy::Never);
    for number in 1..=8 {
        with_body(&recorder, number, format!("recorded needle {number}"));
    }
    recorder.flush().unwrap();
    let exchange = store.exchange(Seq(1)).unwrap();
    let mut import = store.import("imported", None).unwrap();
    let imported = crate::ImportedExchange {
        exchange,
        request_body: None,
        response_body: Some(Bytes::from("imported needle").into()),
        messages: crate::ImportMessages::List(Vec::new()),
    };
    // Its seq is reserved now, and written when the import ends: behind it others are recorded and indexed.
    let seq = import.add(imported).unwrap();
    for number in 9..=16 {
        with_body(&recorder, number, format!("recorded later needle {number}"));
    }
    recorder.flush().unwrap();
    assert!(build(&store) >= 1);
    import.finish().unwrap();
    assert_eq!(hits(&store, "imported needle"), [seq.0]);
    assert_eq!(hits(&store, "needle").len(), 17);
    build(&store);
    assert_eq!(hits(&store, "imported needle"), [seq.0]);
    assert_eq!(hits(&store, "needle").len(), 17);
    recorder.close().unwrap();
}

#[test]
fn what_is_left_of_an_index_goes_with_its_exchanges() {
    let (_directory, store) = open();
    let recorder = recorder(&store, crate::IndexPolicy::Never);
    for number in 1..=30 {
        with_body(&recorder, number, format!("text {number}"));
    }
    let session = recorder.close().unwrap().id;
    assert!(build(&store) > 0);
    store.delete_session(session).unwrap();
    assert_eq!(store.index_status().unwrap().segments, 0);
    assert_eq!(store.read(|tx| tx.orphaned_segment()).unwrap(), None);
}

#[test]
fn the_index_is_built_while_little_comes() {
    let (_directory, store) = open();
    let recorder = recorder(&store, crate::IndexPolicy::Never);
    for number in 1..=20 {
        with_body(&recorder, number, format!("text {number}"));
    }
    recorder.close().unwrap();
    let shared = Arc::new(crate::recorder::Shared::new(&RecorderConfig::default()));
    let keeper = super::Keeper::start_with(store.clone(), shared, SMALL).unwrap();
    keeper.wait_until_kept();
    assert_eq!(store.index_status().unwrap().segments, 2);
}

#[test]
fn a_text_that_many_exchanges_hold_is_told_page_by_page() {
    let (_directory, store) = open();
    let recorder = recorder(&store, crate::IndexPolicy::Never);
    for number in 1..=400 {
        with_body(&recorder, number, format!("a common text, {number}"));
    }
    recorder.close().unwrap();
    let limits = Limits { exchanges: 190, ..SMALL };
    while step(&store, limits, &mut || Next::GoOn).unwrap() == Progress::More {}
    assert_eq!(store.index_status().unwrap().segments, 2);
    for order in [Order::Ascending, Order::Descending] {
        for (filter, found) in [("url:api.test", 400), ("body:\"common text\"", 400), ("url:api.test/1", 111)]
        {
            for limit in [37, 150] {
                let all = paged(&store, filter, order, limit);
                assert!(all.is_sorted() && all.len() == found, "{filter} {order:?} {limit}");
            }
        }
        let (hits, scanned, _) = searched(&store, "common", order, 100, 0);
        assert_eq!((hits.len(), scanned), (400, 400));
        let (hits, scanned, _) = searched(&store, "common", order, 100, 90);
        assert_eq!((hits.len(), scanned), (400, 400));
    }
}

#[test]
fn everything_is_found_while_it_is_recorded_indexed_and_evicted_at_once() {
    let (_directory, store) = open();
    let recorder = recorder(&store, crate::IndexPolicy::Never);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let builder = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                step(&store, SMALL, &mut || Next::GoOn).unwrap();
                store.write(|db| Ok(tidy(db)?)).unwrap();
            }
        });
        let mut cleared = 0;
        for number in 1..=60 {
            with_body(&recorder, number, format!("a needle, {number}"));
            recorder.flush().unwrap();
            if number == 30 {
                cleared = store.clear_session(recorder.session()).unwrap();
            }
            assert_eq!(hits(&store, "needle").len() as u64, number - cleared, "after {number}");
            let last =
                Query { condition: Some(parse("url:api.test/").unwrap()), limit: 100, ..Query::default() };
            assert_eq!(store.query(&last).unwrap().total, Some(number - cleared), "after {number}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        builder.join().unwrap();
    });
    recorder.close().unwrap();
}
