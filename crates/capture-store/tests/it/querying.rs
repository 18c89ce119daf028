//! Typed queries: each filter, both orders, pages, totals.

use std::time::Duration;

use capture_store::{ExchangeKind, Order, Query, Seq, StatusFilter};
use proptest::prelude::*;
use proxy_core::{Failure, FailureKind, Outcome};

use crate::support::{Teller, TestStore, exchange, query, request, response, targets};

/// Five exchanges of different kinds, seqs 1 to 5.
fn mixed() -> TestStore {
    let test = TestStore::new();
    let recorder = test.scratch();
    let cases = [
        ("GET", "https", "api.example.test", "/v1/items?q=100%25", 200, "application/json"),
        ("POST", "https", "API.example.test:8443", "/v1/items", 201, "application/JSON; charset=utf-8"),
        ("GET", "http", "static.test", "/logo_big.png", 304, "image/png"),
        ("DELETE", "https", "api.example.test", "/v1/items/5", 503, "text/html"),
    ];
    for (id, (method, scheme, authority, target, status, kind)) in cases.into_iter().enumerate() {
        Teller::begin(&recorder, id as u64, request(method, scheme, authority, target))
            .response(response(status, kind))
            .response_body(format!("body of {target}"))
            .end(Outcome::Response);
    }
    Teller::begin(&recorder, 9, request("CONNECT", "https", "dead.test:443", "dead.test:443"))
        .end(Outcome::Failed(Failure::new(FailureKind::Dns, "no such host")));
    recorder.close().unwrap();
    test
}

#[test]
fn each_filter_gives_what_it_says() {
    let test = mixed();
    type Change = fn(&mut Query);
    let cases: [(&str, Change, &[u64]); 22] = [
        ("nothing", |_| {}, &[1, 2, 3, 4, 5]),
        ("method", |q| q.methods = vec!["get".into()], &[1, 3]),
        ("methods", |q| q.methods = vec!["POST".into(), "Delete".into()], &[2, 4]),
        ("host", |q| q.host_contains = Some("EXAMPLE".into()), &[1, 2, 4]),
        ("no host", |q| q.host_contains = Some("nowhere".into()), &[]),
        ("url", |q| q.url_contains = Some("/V1/Items".into()), &[1, 2, 4]),
        ("url with port", |q| q.url_contains = Some(":8443/".into()), &[2]),
        ("percent is itself", |q| q.url_contains = Some("100%25".into()), &[1]),
        ("percent is no wildcard", |q| q.url_contains = Some("v1%5".into()), &[]),
        ("underscore is no wildcard", |q| q.url_contains = Some("logo_".into()), &[3]),
        ("backslash", |q| q.url_contains = Some("\\".into()), &[]),
        ("empty asks for nothing", |q| q.url_contains = Some(String::new()), &[1, 2, 3, 4, 5]),
        ("status", |q| q.status = Some(StatusFilter::Exactly(304)), &[3]),
        ("statuses", |q| q.status = Some(StatusFilter::Between(200, 299)), &[1, 2]),
        ("type", |q| q.content_type_contains = Some("json".into()), &[1, 2]),
        ("kind", |q| q.kind = Some(ExchangeKind::Tunnel), &[5]),
        ("failed", |q| q.failed = true, &[5]),
        ("text in a body", |q| q.text = Some("BODY OF /logo".into()), &[3]),
        ("text in a header", |q| q.text = Some("user-agent: test".into()), &[1, 2, 3, 4, 5]),
        ("after", |q| q.after = Some(Seq(3)), &[4, 5]),
        ("before", |q| q.before = Some(Seq(3)), &[1, 2]),
        (
            "all hold",
            |q| (q.methods, q.status) = (vec!["GET".into()], Some(StatusFilter::Exactly(200))),
            &[1],
        ),
    ];
    for (name, change, expected) in cases {
        let up = query(change);
        let page = test.store.query(&up).unwrap();
        let seqs: Vec<_> = page.items.iter().map(|item| item.seq.0).collect();
        assert_eq!(seqs, expected, "{name}");
        let mut down = up.clone();
        down.order = Order::Descending;
        let mut seqs: Vec<_> = test.store.query(&down).unwrap().items.iter().map(|item| item.seq.0).collect();
        seqs.reverse();
        assert_eq!(seqs, expected, "{name}, newest first");
        let tail = test.store.tail(up.after.unwrap_or_default(), &up).unwrap();
        if up.before.is_none() {
            assert_eq!(tail.items.len(), expected.len(), "{name}, as a tail");
        }
    }
}

#[test]
fn times_bound_what_began() {
    let test = mixed();
    let items = test.store.query(&Query::default()).unwrap().items;
    let third = items[2].started_at;
    let from = test.store.query(&query(|query| query.from = Some(third))).unwrap();
    assert_eq!(from.items.first().unwrap().seq, Seq(3));
    let to = test.store.query(&query(|query| query.to = Some(third))).unwrap();
    assert_eq!(to.items.last().unwrap().seq, Seq(3));
    let later = third + Duration::from_secs(60);
    assert!(test.store.query(&query(|query| query.from = Some(later))).unwrap().items.is_empty());
}

#[test]
fn pages_are_stable_and_say_their_total() {
    let test = TestStore::new();
    let recorder = test.scratch();
    for id in 1..=10 {
        exchange(&recorder, id, &format!("/{}/{id}", id % 2), "needle");
    }
    recorder.flush().unwrap();
    let first = test.store.query(&query(|query| query.limit = 4)).unwrap();
    assert_eq!((first.items.len(), first.total, first.more), (4, Some(10), true));
    exchange(&recorder, 11, "/1/11", "needle");
    recorder.flush().unwrap();
    let after = first.items.last().map(|item| item.seq);
    let second = test.store.query(&query(|query| (query.limit, query.after) = (4, after))).unwrap();
    assert_eq!(targets(&second.items), ["/1/5", "/0/6", "/1/7", "/0/8"]);
    assert_eq!((second.total, second.more), (Some(11), true));

    let odd = |change: fn(&mut Query)| {
        let mut asked = query(change);
        asked.url_contains = Some("test/1/".to_owned());
        test.store.query(&asked).unwrap()
    };
    let page = odd(|query| (query.limit, query.offset) = (2, 3));
    assert_eq!((targets(&page.items), page.total, page.more), (vec!["/1/7", "/1/9"], Some(6), true));
    let page = odd(|query| (query.limit, query.offset) = (2, 4));
    assert_eq!((targets(&page.items), page.total, page.more), (vec!["/1/9", "/1/11"], Some(6), false));
    let page = odd(|query| query.offset = 100);
    assert_eq!((page.items.len(), page.total, page.more), (0, Some(6), false));

    let text = |limit| {
        let asked =
            query(|query| (query.limit, query.offset, query.text) = (limit, 2, Some("NEEDLE".to_owned())));
        test.store.query(&asked).unwrap()
    };
    let page = text(3);
    assert_eq!((targets(&page.items), page.total, page.more), (vec!["/1/3", "/0/4", "/1/5"], None, true));
    let page = text(9);
    assert_eq!((page.items.len(), page.total, page.more), (9, Some(11), false));
}

#[test]
fn a_tail_misses_nothing_and_repeats_nothing() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut cursor = test.store.newest().unwrap();
    let mut seen = Vec::new();
    for round in 0..5 {
        for id in 0..7 {
            exchange(&recorder, round * 7 + id, &format!("/{}", round * 7 + id), "x");
        }
        recorder.flush().unwrap();
        loop {
            let tail = test.store.tail(cursor, &query(|query| query.limit = 3)).unwrap();
            seen.extend(tail.items.iter().map(|item| item.target.clone()));
            cursor = tail.next;
            if tail.remaining == 0 {
                break;
            }
        }
    }
    let expected: Vec<_> = (0..35).map(|id| format!("/{id}")).collect();
    assert_eq!(seen, expected);
    let none = test.store.tail(Seq(1_000), &Query::default()).unwrap();
    assert_eq!((none.items.len(), none.next, none.evicted), (0, Seq(1_000), 0));
}

#[test]
fn a_tail_with_a_filter_moves_past_what_does_not_match() {
    let test = mixed();
    let asked = query(|query| (query.url_contains, query.limit) = (Some("items".to_owned()), 2));
    let tail = test.store.tail(Seq(0), &asked).unwrap();
    assert_eq!((tail.next, tail.remaining), (Seq(2), 1));
    let tail = test.store.tail(tail.next, &asked).unwrap();
    assert_eq!((tail.items.len(), tail.next, tail.remaining), (1, Seq(5), 0));
    let asked = query(|query| (query.text, query.limit) = (Some("body of /v1".to_owned()), 2));
    let tail = test.store.tail(Seq(0), &asked).unwrap();
    assert_eq!((tail.items.len(), tail.next, tail.remaining), (2, Seq(2), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever a needle holds, it finds what contains it, and only that.
    #[test]
    fn needles_are_literal(needle in "[%_\\\\*?a'\"\\[\\]^-]{1,6}", other in "[%_a*?]{0,6}") {
        let test = TestStore::new();
        let recorder = test.scratch();
        let found = format!("/x{needle}y");
        exchange(&recorder, 1, &found, "");
        exchange(&recorder, 2, &format!("/{other}"), "");
        recorder.flush().unwrap();
        let page = test.store.query(&query(|query| query.url_contains = Some(needle.clone()))).unwrap();
        let expected = 1 + usize::from(format!("https://example.test/{other}").contains(&needle));
        prop_assert_eq!(page.items.len(), expected);
        prop_assert_eq!(&page.items[0].target, &found);
    }
}
