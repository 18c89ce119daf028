//! Substring search over URLs, fields, decoded bodies and messages.

use std::io::Write;

use capture_store::{Order, Search, Seq};
use flate2::{Compression, write::GzEncoder};
use proxy_core::{Direction, EventKind, MessageKind, Outcome, WebSocketMessage};

use crate::support::{Teller, TestStore, exchange, get, noise, response};

fn search(text: &str, change: impl FnOnce(&mut Search)) -> Search {
    let mut search = Search::new(text, None);
    change(&mut search);
    search
}

#[test]
fn places_name_their_field_position_and_surroundings() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all("{\"user\": \"caf\u{e9} Tok\u{e9}n-99 rest\"}".as_bytes()).unwrap();
    let mut head = response(200, "application/json");
    head.headers.push("Content-Encoding", "gzip");
    head.headers.push("X-Trace", "abc tok\u{e9}n-99");
    Teller::begin(&recorder, 1, get("/?q=tok\u{e9}n-99"))
        .response(head)
        .response_body(gzip.finish().unwrap())
        .end(Outcome::Response);
    exchange(&recorder, 2, "/other", "nothing here");
    recorder.flush().unwrap();

    let page = test.store.search(&search("TOK\u{e9}N-99", |search| search.context_chars = 5)).unwrap();
    assert_eq!((page.hits.len(), page.scanned, page.skipped_bodies, page.next), (1, 2, 0, None));
    let places: Vec<_> =
        page.hits[0].places.iter().map(|p| (p.field.as_str(), p.position, p.snippet.as_str())).collect();
    assert_eq!(
        places,
        [
            ("url", 24, "t/?q=tok\u{e9}n-99"),
            ("response.header.x-trace", 13, " abc tok\u{e9}n-99"),
            ("response.body", 16, "caf\u{e9} Tok\u{e9}n-99 rest"),
        ]
    );
    let exact = test.store.search(&search("Tok\u{e9}n", |search| search.case_sensitive = true)).unwrap();
    assert_eq!(exact.hits[0].places.len(), 1);
    let heads = test.store.search(&search("rest\"", |search| search.skip_bodies = true)).unwrap();
    assert!(heads.hits.is_empty());
    assert_eq!(test.store.search(&search("", |_| {})).unwrap().hits.len(), 0);
}

#[test]
fn a_text_is_found_wherever_it_lies_in_a_large_body() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let needle = b"NeedleInTheHaystack";
    // Around the reading window's edges, at the very ends, and twice side by side.
    let places = [0, 65_530, 65_536, 131_060, 300_000, 300_000 + needle.len(), 400_000 - needle.len()];
    for (id, place) in places.iter().enumerate() {
        let mut body = vec![b'.'; 400_000];
        body[*place..place + needle.len()].copy_from_slice(needle);
        exchange(&recorder, id as u64, &format!("/{place}"), body);
    }
    recorder.flush().unwrap();
    let found =
        test.store.search(&search("needleinthehaystack", |search| search.filter.order = Order::Ascending));
    let positions: Vec<_> = found.unwrap().hits.iter().map(|hit| hit.places[0].position).collect();
    assert_eq!(positions, places.map(|place| place as u64));
}

#[test]
fn at_most_three_places_of_a_body_are_told() {
    let test = TestStore::new();
    let recorder = test.scratch();
    exchange(&recorder, 1, "/", "abab abab");
    recorder.flush().unwrap();
    let page = test.store.search(&search("ab", |search| search.filter.order = Order::Ascending)).unwrap();
    let positions: Vec<_> = page.hits[0].places.iter().map(|place| place.position).collect();
    assert_eq!(positions, [0, 2, 5]);
}

#[test]
fn a_search_stops_at_its_budget_and_goes_on_from_its_cursor() {
    let test = TestStore::new();
    let recorder = test.scratch();
    for id in 0..450 {
        exchange(&recorder, id, &format!("/{id}"), if id % 100 == 7 { "needle" } else { "hay" });
    }
    recorder.flush().unwrap();
    for order in [Order::Ascending, Order::Descending] {
        let mut asked = search("needle", |search| (search.max_scan, search.limit) = (130, 2));
        asked.filter.order = order;
        let (mut found, mut scanned, mut rounds) = (Vec::new(), 0, 0);
        loop {
            let page = test.store.search(&asked).unwrap();
            assert!(page.hits.len() <= 2 && page.scanned <= 130);
            found.extend(page.hits.iter().map(|hit| hit.exchange.target.clone()));
            (scanned, rounds) = (scanned + page.scanned, rounds + 1);
            match order {
                Order::Ascending => asked.filter.after = page.next,
                Order::Descending => asked.filter.before = page.next,
            }
            if page.next.is_none() {
                break;
            }
        }
        if order == Order::Descending {
            found.reverse();
        }
        assert_eq!(found, ["/7", "/107", "/207", "/307", "/407"], "{order:?}");
        assert_eq!((scanned, rounds >= 4), (450, true));
    }
}

#[test]
fn bodies_that_cannot_be_looked_through_are_counted() {
    let test = TestStore::new();
    let recorder = test.scratch();
    for (id, coding) in ["gzip", "rot13", "identity"].into_iter().enumerate() {
        let mut head = response(200, "text/plain");
        head.headers.push("Content-Encoding", coding);
        Teller::begin(&recorder, id as u64, get("/"))
            .response(head)
            .response_body(noise(1000, 4))
            .end(Outcome::Response);
    }
    recorder.flush().unwrap();
    let page = test.store.search(&search("needle", |_| {})).unwrap();
    assert_eq!((page.scanned, page.skipped_bodies), (3, 2));
}

#[test]
fn messages_are_looked_through() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let teller = Teller::begin(&recorder, 1, get("/chat")).response(response(101, "a/b"));
    (0..20)
        .fold(teller, |teller, number| {
            let text = format!("message {number} here");
            let message = WebSocketMessage::new(Direction::ToClient, MessageKind::Text, text.into());
            teller.tell(EventKind::Message(message))
        })
        .end(Outcome::Upgrade);
    recorder.flush().unwrap();
    let page = test.store.search(&search("Message 17", |_| {})).unwrap();
    let place = &page.hits[0].places[0];
    assert_eq!((place.field.as_str(), place.position), ("message.17", 0));
    assert_eq!(page.hits[0].exchange.seq, Seq(1));
}
