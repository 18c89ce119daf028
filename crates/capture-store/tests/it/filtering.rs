//! The filter language, asked of a store: every example of docs/filter.md has here what it finds.

use std::time::Duration;

use bytes::Bytes;
use capture_store::{Condition, NumberField, Order, Seq, complete, parse};
use flate2::{Compression, write::GzEncoder};
use proxy_core::{
    ClientFacts, ClientProcess, ConnectionId, Direction, EventKind, Failure, FailureKind, MessageKind,
    Outcome, RuleHit, TlsFacts, UpstreamFacts, WebSocketMessage,
};

use crate::support::{Teller, TestStore, client, get, query, request, response};

fn gzip(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut out, text.as_bytes()).unwrap();
    out.finish().unwrap()
}

fn upstream() -> EventKind {
    let mut upstream = UpstreamFacts::new(
        ConnectionId(7),
        "203.0.113.5:443".parse().unwrap(),
        "10.0.0.2:40000".parse().unwrap(),
    );
    let mut tls = TlsFacts::default();
    (tls.version, tls.alpn) = ("TLSv1.3".to_owned(), Some("h2".to_owned()));
    upstream.tls = Some(tls);
    EventKind::Upstream { upstream: upstream.into(), reused: false }
}

/// Seven exchanges, seqs 1 to 7.
fn mixed() -> TestStore {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut head = request("GET", "https", "api.example.com", "/v1/items?q=red+caf%C3%A9&page=2");
    head.headers.push("Authorization", "Bearer abc123");
    head.headers.push("Cookie", "theme=dark; sid=42");
    let mut answer = response(200, "application/json; charset=utf-8");
    answer.headers.push("Content-Encoding", "gzip");
    answer.headers.push("Set-Cookie", "sid=43; Path=/");
    Teller::begin(&recorder, 1, head)
        .tell(upstream())
        .request_end()
        .response(answer)
        .response_body(gzip(r#"{"token":"s3cr3t","name":"Caf\u00e9"}"#))
        .end(Outcome::Response);
    Teller::begin(&recorder, 2, request("POST", "https", "app.example.com:8443", "/login"))
        .request_body(&b"user=ann&password=hunter2"[..])
        .request_end()
        .response(response(503, "text/html"))
        .response_body(&b"<h1>busy</h1>"[..])
        .end(Outcome::Response);
    Teller::begin(&recorder, 3, request("GET", "http", "static.test", "/img/logo_big.png"))
        .response(response(304, "image/png"))
        .end(Outcome::Response);
    Teller::begin(&recorder, 4, request("CONNECT", "https", "dead.test:443", "dead.test:443"))
        .end(Outcome::Failed(Failure::new(FailureKind::Dns, "no such host")));
    let chat = Teller::begin(&recorder, 5, request("GET", "https", "chat.example.com", "/ws"));
    let mut switch = response(101, "a/b");
    switch.headers.push("Upgrade", "websocket");
    let say = |way, text: &'static str| {
        EventKind::Message(WebSocketMessage::new(way, MessageKind::Text, Bytes::from(text)))
    };
    chat.response(switch)
        .tell(say(Direction::ToUpstream, "hello there"))
        .tell(say(Direction::ToClient, r#"{"say":"a\/b"}"#))
        .end(Outcome::Upgrade);
    Teller::begin(&recorder, 6, get("/latin"))
        .tell(EventKind::Rule(RuleHit::new("block-ads", vec!["answered 200".to_owned()])))
        .response(response(200, "text/plain; charset=iso-8859-1"))
        .response_body(&b"na\xefve r\xe9sum\xe9"[..])
        .end(Outcome::Mock);
    let curl = client().with_process(ClientProcess::new(4242, "curl"));
    Teller::begin_by(curl, &recorder, 7, request("DELETE", "https", "api.example.com", "/v1/items/5"))
        .request_end()
        .response(response(404, "application/problem+json"))
        .response_body(vec![b'x'; 140_000])
        .end(Outcome::Response);
    recorder.close().unwrap();
    test
}

fn found(test: &TestStore, filter: &str, order: Order) -> Vec<u64> {
    let condition = parse(filter).unwrap_or_else(|error| panic!("{error}\n{}", error.caret()));
    let asked = query(|query| (query.condition, query.order) = (Some(condition), order));
    let page = test.store.query(&asked).unwrap();
    assert_eq!(page.total, Some(page.items.len() as u64), "{filter}");
    page.items.iter().map(|item| item.seq.0).collect()
}

const CASES: &[(&str, &[u64])] = &[
    ("", &[1, 2, 3, 4, 5, 6, 7]),
    ("items", &[1, 7]),
    ("\"v1/items\" page", &[1]),
    ("https://api.example.com/v1", &[1, 7]),
    ("app.example.com:8443/login", &[2]),
    ("host:api.example.com", &[1, 7]),
    ("host:*.example.com", &[1, 2, 5, 7]),
    ("host:api.example.com,static.test", &[1, 3, 7]),
    ("host~^a[a-z]+\\.example", &[1, 2, 7]),
    ("-host:*.example.com", &[3, 4, 6]),
    ("url:v1/*/5", &[7]),
    ("path:/img", &[3]),
    ("path:/v1/*", &[1, 7]),
    ("path=/login", &[2]),
    ("path~\"^/(img|login)\"", &[2, 3]),
    ("param:q", &[1]),
    ("param.q:\"red caf\u{e9}\"", &[1]),
    ("param.page=2", &[1]),
    ("param.page=20", &[]),
    ("method:GET", &[1, 3, 5, 6]),
    ("method:get,post", &[1, 2, 3, 5, 6]),
    ("method!=GET", &[2, 4, 7]),
    ("status:404", &[7]),
    ("status:5xx", &[2]),
    ("status:>=400", &[2, 7]),
    ("status>=400 status<500", &[7]),
    ("status:200-399", &[1, 3, 6]),
    ("-status:200", &[2, 3, 4, 5, 7]),
    ("status:404,5xx", &[2, 7]),
    ("type:json", &[1, 7]),
    ("type=application/json", &[1]),
    ("type:image", &[3]),
    ("type:image/*", &[3]),
    ("port:8443", &[2]),
    ("scheme:http", &[3]),
    ("version:1.1", &[1, 2, 3, 4, 5, 6, 7]),
    ("version:h2", &[]),
    ("header:authorization", &[1]),
    ("header.authorization:\"bearer abc\"", &[1]),
    ("req.header.user-agent=test/1.0 method:DELETE", &[7]),
    ("resp.header:authorization", &[]),
    ("resp.header.set-cookie~\"^sid=\\d+\"", &[1]),
    ("cookie:sid", &[1]),
    ("cookie.sid=42", &[1]),
    ("cookie.sid=43", &[1]),
    ("cookie.theme:light", &[]),
    ("body:s3cr3t", &[1]),
    ("body:caf\u{e9}", &[1]),
    ("body:r\u{e9}sum\u{e9}", &[6]),
    ("body~\"pass\\w+=hunter\\d\"", &[2]),
    ("req.body:hunter2", &[2]),
    ("resp.body:hunter2", &[]),
    ("message:hello", &[5]),
    ("message:a/b", &[5]),
    ("resp.message:hello", &[]),
    ("req.message:hello", &[5]),
    ("text:hunter2", &[2]),
    ("text:\"authorization: bearer\"", &[1]),
    ("size:>10kb", &[7]),
    ("req.size:25", &[2]),
    ("ms:>=0", &[1, 2, 3, 4, 5, 6, 7]),
    ("ms:>1h", &[]),
    ("messages:>1", &[5]),
    ("since:1h", &[1, 2, 3, 4, 5, 6, 7]),
    ("before:1h", &[]),
    ("since:2020-01-01T00:00:00Z before:2020-01-02", &[]),
    ("since:e5", &[6, 7]),
    ("before:e3", &[1, 2]),
    ("seq:e2-e3", &[2, 3]),
    ("id:e7", &[7]),
    ("is:failed", &[4]),
    ("is:error", &[2, 4, 7]),
    ("is:websocket", &[5]),
    ("is:mock", &[6]),
    ("is:https -is:ok", &[2, 4, 5, 7]),
    ("has:messages", &[5]),
    ("has:request-body", &[2]),
    ("has:cookie", &[1]),
    ("kind:tunnel", &[4]),
    ("failure:dns", &[4]),
    ("failure:*", &[4]),
    ("session:s1 is:ok", &[1, 6]),
    ("session:s9", &[]),
    ("client:127.0.0.0/8 status:404", &[7]),
    ("client:10.0.0.0/8", &[]),
    ("upstream:203.0.113.5", &[1]),
    ("upstream.tls:TLSv1.3", &[1]),
    ("upstream.alpn:h2", &[1]),
    ("sni:*", &[]),
    ("rule:block-*", &[6]),
    ("-rule:* is:mock", &[]),
    ("user:ann", &[]),
    ("process:curl", &[7]),
    ("process:node,CU*", &[7]),
    ("process:4242 host:api.example.com", &[7]),
    ("process:424", &[]),
    ("-process:* host:api.example.com", &[1]),
    ("replay-of:e412", &[]),
    ("listener:explicit is:mock", &[6]),
    ("(status:404 or status:503) -path:/login", &[7]),
    ("status:404 or status:503 path:/login", &[2, 7]),
    ("not (is:ok or is:error)", &[3, 5]),
    ("method:GET and !type:json", &[3, 5, 6]),
    ("-(body:s3cr3t)", &[2, 3, 4, 5, 6, 7]),
    ("body:s3cr3t or status:404", &[1, 7]),
    ("host:api.example.com status:>=400 method:DELETE -path:/health since:10m", &[7]),
];

#[test]
fn every_filter_finds_what_it_says_in_both_orders() {
    let test = mixed();
    for (filter, expected) in CASES {
        assert_eq!(found(&test, filter, Order::Ascending), *expected, "{filter}");
        let mut reversed = found(&test, filter, Order::Descending);
        reversed.reverse();
        assert_eq!(reversed, *expected, "{filter}, newest first");
    }
}

#[test]
fn a_tail_tells_what_a_query_tells() {
    let test = mixed();
    for (filter, expected) in CASES {
        let asked = query(|query| (query.condition, query.limit) = (Some(parse(filter).unwrap()), 2));
        let (mut cursor, mut seen) = (Seq(0), Vec::new());
        loop {
            let tail = test.store.tail(cursor, &asked).unwrap();
            seen.extend(tail.items.iter().map(|item| item.seq.0));
            cursor = tail.next;
            if tail.remaining == 0 {
                break;
            }
        }
        assert_eq!(seen, *expected, "{filter}");
    }
}

#[test]
fn errors_point_at_the_column_and_name_the_way_out() {
    for (filter, column, said) in [
        ("status:abc", 8, "404"),
        ("hots:example.com", 1, "did you mean `host`?"),
        ("a (b", 3, "not closed"),
        ("a )", 3, "closes nothing"),
        ("caf\u{e9} is:green", 9, "is one of"),
        ("or x", 1, "has nothing before it"),
        ("a or", 5, "missing"),
        ("a and", 6, "missing"),
        ("body~\"a(\"", 6, "regular expression"),
        ("since:soon", 7, "10m"),
        ("size:big", 6, "100kb"),
        ("session:x", 9, "s3"),
        ("status:", 8, "needs a value"),
        ("body:\"x", 6, "not closed"),
        ("is>failed", 4, "is one of"),
        ("a=b", 1, "quote it"),
    ] {
        let error = parse(filter).unwrap_err();
        assert_eq!(error.column, column, "{filter}: {error}");
        assert!(error.to_string().contains(said), "{filter}: {error}");
        let caret = error.caret();
        let marks = caret.lines().nth(1).unwrap();
        assert_eq!(marks.find('^'), Some(column - 1), "{caret}");
    }
    assert!(parse(&"(".repeat(200)).unwrap_err().to_string().contains("nested deeper"));
    assert!(parse(&"x ".repeat(40_000)).is_err());
}

#[test]
fn conditions_are_built_by_programs_too() {
    let test = mixed();
    let slow = Condition::Number(NumberField::Duration, 0, u64::MAX);
    let asked = query(|query| {
        query.condition = Some(Condition::All(vec![slow, Condition::Not(Box::new(parse("is:ok").unwrap()))]));
        query.methods = vec!["GET".into()];
        query.from = Some(std::time::SystemTime::now() - Duration::from_secs(3_600));
    });
    let seqs: Vec<_> = test.store.query(&asked).unwrap().items.iter().map(|item| item.seq.0).collect();
    assert_eq!(seqs, [3, 5]);
}

#[test]
fn a_client_connection_tells_its_tls() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut client = ClientFacts::new(
        ConnectionId(1),
        "192.168.7.9:5000".parse().unwrap(),
        "127.0.0.1:8080".parse().unwrap(),
    );
    let mut tls = TlsFacts::default();
    (tls.version, tls.sni) = ("TLSv1.2".to_owned(), Some("api.test".to_owned()));
    client.tls = Some(tls);
    client.tunnel = Some("api.test:443".to_owned());
    let begin = EventKind::Request {
        client: client.into(),
        head: get("/").into(),
        started_at: std::time::SystemTime::now(),
    };
    proxy_core::Observer::observe(
        &recorder,
        &proxy_core::Event { exchange: proxy_core::ExchangeId(1), at: Duration::ZERO, kind: begin },
    );
    recorder.close().unwrap();
    for (filter, count) in [
        ("sni:api.test", 1),
        ("sni:*.test tls:TLSv1.2", 1),
        ("tls:TLSv1.3", 0),
        ("tunnel:api.test", 1),
        ("client:192.168.0.0/16", 1),
        ("client~:5000$", 1),
    ] {
        assert_eq!(found(&test, filter, Order::Ascending).len(), count, "{filter}");
    }
}

#[test]
fn completion_knows_the_values_of_the_store() {
    let test = mixed();
    let texts = |filter: &str| -> Vec<String> {
        let found = test.store.complete(filter, filter.len()).unwrap();
        found.into_iter().map(|candidate| candidate.text).collect()
    };
    assert_eq!(texts("host:a"), ["api.example.com", "app.example.com"]);
    assert_eq!(texts("status:404 type:application/p"), ["application/problem+json"]);
    assert_eq!(texts("failure:d"), ["dns"]);
    assert!(complete("host:a", 6).is_empty());
}

#[test]
fn the_documented_examples_are_those_tested_here() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/filter.md")).unwrap();
    let mut examples = 0;
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```filter";
            continue;
        }
        if inside {
            let tested = CASES.iter().any(|(filter, _)| *filter == line.trim());
            assert!(tested, "not tested: {line}");
            examples += 1;
        }
    }
    assert!(examples > 40, "{examples} examples");
}
