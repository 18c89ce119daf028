//! What is observed is what is read back.

use std::io::Read;

use capture_store::{BodySide, ExchangeState, Order, Query, Search};

use crate::support::{TestStore, exchange};

#[test]
fn an_exchange_reads_back_as_it_was_observed() {
    let test = TestStore::new();
    let recorder = test.scratch();
    exchange(&recorder, 1, "/hello?x=1", "Hello, world");
    let newest = recorder.flush().unwrap();
    assert_eq!(newest.0, 1);

    let page = test.store.query(&Query::default()).unwrap();
    assert_eq!((page.items.len(), page.total, page.more), (1, Some(1), false));
    let summary = &page.items[0];
    assert_eq!(summary.url, "https://example.test/hello?x=1");
    assert_eq!((summary.status, &summary.state), (Some(200), &ExchangeState::Response));

    let whole = test.store.exchange(newest).unwrap();
    assert_eq!(whole.summary, *summary);
    assert_eq!(whole.request.headers.get_str("user-agent"), Some("Test/1.0"));
    assert!(whole.response_body.complete);

    let mut text = String::new();
    let body = test.store.body(newest, BodySide::Response).unwrap().unwrap();
    body.into_reader().read_to_string(&mut text).unwrap();
    assert_eq!(text, "Hello, world");
    assert!(test.store.body(newest, BodySide::Request).unwrap().is_none());

    let found = test.store.search(&Search::new("WORLD", None)).unwrap();
    assert_eq!(found.hits[0].places[0].field, "response.body");
    assert_eq!(found.hits[0].places[0].position, 7);
}

#[test]
fn a_large_body_goes_to_a_file_and_comes_back_whole() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let teller = crate::support::Teller::begin(&recorder, 1, crate::support::get("/big"))
        .response(crate::support::response(200, "application/octet-stream"));
    let teller = body.chunks(16_384).fold(teller, |teller, piece| teller.response_body(piece.to_vec()));
    teller.end(proxy_core::Outcome::Response);
    let seq = recorder.flush().unwrap();
    let mut read = Vec::new();
    let stored = test.store.body(seq, BodySide::Response).unwrap().unwrap();
    assert_eq!(stored.recorded().stored_bytes, 3_000_000);
    stored.into_reader().read_to_end(&mut read).unwrap();
    assert!(read == body);
}

#[test]
fn a_tail_goes_on_from_its_cursor() {
    let test = TestStore::new();
    let recorder = test.scratch();
    for id in 1..=5 {
        exchange(&recorder, id, &format!("/{id}"), "x");
    }
    recorder.flush().unwrap();
    let mut query = Query::default();
    (query.limit, query.order) = (3, Order::Ascending);
    let first = test.store.tail(capture_store::Seq(0), &query).unwrap();
    assert_eq!((first.items.len(), first.remaining, first.evicted), (3, 2, 0));
    let second = test.store.tail(first.next, &query).unwrap();
    assert_eq!((second.items.len(), second.remaining), (2, 0));
    assert_eq!(recorder.close().unwrap().exchanges, 5);
}
