use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use proptest::prelude::*;
use proxy_core::{
    ClientFacts, ConnectionId, Direction, Ending, ExchangeId, Failure, FailureKind, Header, ListenerKind,
    Outcome, ResponseHead, ResponseSource, RuleHit, Scheme, Sizes, Timings, TlsFacts, UpstreamFacts,
};

use super::*;
use crate::{
    assemble::Assembly,
    db::Columns,
    id::{Seq, SessionId},
    record::ExchangeSummary,
    whole::Whole,
};

/// What came of an exchange: its row, its detail, and of each body the bytes, the hash, and whether it is plain.
type Record = (String, Vec<u8>, Vec<(Vec<u8>, [u8; 32], bool)>);

/// As the writer does with events that come one by one.
fn assembled(events: &[Event]) -> Record {
    let EventKind::Request { client, head, started_at } = events[0].kind.clone() else {
        panic!("no request")
    };
    let waiting = crate::held::Waiting::new(usize::MAX);
    let mut assembly = Assembly::new(SessionId(1), client, head, started_at, u64::MAX);
    for Event { at, kind, .. } in events[1..].iter().cloned() {
        match kind {
            EventKind::RequestBody(piece) => {
                assembly.bodies.request.wire_bytes += piece.len() as u64;
                assembly.bodies.request.keep(&piece, &waiting, Vec::new);
            }
            EventKind::ResponseBody(piece) => {
                assembly.bodies.response.wire_bytes += piece.len() as u64;
                assembly.bodies.response.keep(&piece, &waiting, Vec::new);
            }
            kind => assembly.apply(at, kind),
        }
    }
    let mut summary = ExchangeSummary::empty();
    assembly.summary(Seq(7), &mut summary);
    let mut detail = Vec::new();
    assembly.told().encode_apart(&mut detail);
    let sides = [BodySide::Request, BodySide::Response];
    let bodies = sides.into_iter().zip(assembly.bodies.each()).map(|(side, (_, body))| {
        (body.inline.to_vec(), body.hash(), !body.inline.is_empty() && assembly.is_plain(side))
    });
    (format!("{:?}", Columns::from(&summary)), detail, bodies.collect())
}

fn record(whole: &Whole) -> Record {
    let detail = whole.detail().to_vec();
    let bodies = [BodySide::Request, BodySide::Response].map(|side| {
        let body = whole.body(side);
        let hash = if body.is_empty() { content_hash(body) } else { whole.body_hash(side) };
        (body.to_vec(), hash, !body.is_empty() && whole.is_plain(side))
    });
    (format!("{:?}", whole.columns(Seq(7))), detail, bodies.to_vec())
}

fn headers() -> impl Strategy<Value = Headers> {
    let header = prop_oneof![
        Just(("Content-Type", "text/html; charset=utf-8")),
        Just(("content-type", "text/plain; charset=latin1")),
        Just(("Content-Encoding", "gzip")),
        Just(("Upgrade", "websocket")),
        Just(("X-Other", "\u{e9}")),
    ];
    proptest::collection::vec(header, 0..4)
        .prop_map(|fields| fields.into_iter().map(|(name, value)| Header::new(name, value)).collect())
}

fn tls() -> TlsFacts {
    let mut tls = TlsFacts::default();
    (tls.version, tls.cipher) = ("TLSv1.3".to_owned(), "TLS_AES_128_GCM_SHA256".to_owned());
    tls.certificates = vec![Bytes::from_static(b"leaf"), Bytes::from_static(b"CA")];
    tls
}

fn request() -> impl Strategy<Value = EventKind> {
    let target = prop_oneof![Just("/a?b=\u{e4}"), Just("*"), Just("Host.test:443")];
    (any::<bool>(), any::<bool>(), target, headers(), 0_u64..3).prop_map(
        |(connect, secure, target, headers, connection)| {
            let address = "127.0.0.1:4000".parse().unwrap();
            let mut client = ClientFacts::new(ConnectionId(connection), address, address);
            client.tls = secure.then(tls);
            client.user = (!secure).then(|| "someone".to_owned());
            client.listener = if connect { ListenerKind::Own } else { ListenerKind::Explicit };
            let head = RequestHead {
                method: if connect { Method::CONNECT } else { Method::GET },
                scheme: if secure { Scheme::Https } else { Scheme::Http },
                authority: "Host.TEST:443".to_owned(),
                target: target.to_owned(),
                version: if secure { Version::HTTP_2 } else { Version::HTTP_11 },
                headers,
            };
            EventKind::Request {
                client: Arc::new(client),
                head: Arc::new(head),
                started_at: SystemTime::UNIX_EPOCH,
            }
        },
    )
}

fn event() -> impl Strategy<Value = EventKind> {
    let piece = || proptest::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    let response = || {
        (prop_oneof![Just(101_u16), Just(200), Just(404)], headers()).prop_map(|(status, headers)| {
            let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
            head.headers = headers;
            Arc::new(head)
        })
    };
    let upstream = any::<bool>().prop_map(|secure| {
        let address = "10.0.0.1:443".parse().unwrap();
        let mut facts = UpstreamFacts::new(ConnectionId(9), address, address);
        facts.tls = secure.then(tls);
        EventKind::Upstream { upstream: Arc::new(facts), reused: secure }
    });
    prop_oneof![
        piece().prop_map(EventKind::RequestBody),
        piece().prop_map(EventKind::ResponseBody),
        headers().prop_map(EventKind::RequestTrailers),
        headers().prop_map(EventKind::ResponseTrailers),
        Just(EventKind::RequestEnd),
        upstream,
        response().prop_map(EventKind::Informational),
        response().prop_map(|head| EventKind::Response { head, source: ResponseSource::Upstream }),
        Just(EventKind::Rule(RuleHit::new("r1", vec!["set a header".to_owned()]))),
        any::<bool>().prop_map(|up| EventKind::TunnelBytes {
            direction: if up { Direction::ToUpstream } else { Direction::ToClient },
            bytes: 0,
        }),
    ]
}

fn ending() -> impl Strategy<Value = EventKind> {
    let outcome = prop_oneof![
        Just(Outcome::Response),
        Just(Outcome::Mock),
        Just(Outcome::Upgrade),
        Just(Outcome::Tunnel),
        Just(Outcome::Failed(Failure::new(FailureKind::Aborted, "late"))),
    ];
    (outcome, 0_u64..3).prop_map(|(outcome, nanos)| {
        let mut timings = Timings::default();
        timings.total = Duration::from_nanos(nanos);
        EventKind::Ended(Box::new(Ending::new(outcome, timings, Sizes::default())))
    })
}

fn exchange() -> impl Strategy<Value = Vec<Event>> {
    (request(), proptest::collection::vec(event(), 0..9), ending()).prop_map(|(first, between, last)| {
        let kinds = [first].into_iter().chain(between).chain([last]);
        let events = kinds.enumerate().map(|(at, kind)| Event {
            exchange: ExchangeId(5),
            at: Duration::from_micros(at as u64),
            kind,
        });
        events.collect()
    })
}

proptest! {
    #[test]
    fn what_is_packed_is_what_would_be_put_together_event_by_event(
        exchanges in proptest::collection::vec(exchange(), 1..5)
    ) {
        let mut batch = Batch::default();
        for events in &exchanges {
            prop_assert!(batch.pack(events, Instant::now()));
        }
        let wholes: Vec<_> = batch.exchanges(SessionId(1)).collect();
        prop_assert_eq!(wholes.len(), exchanges.len());
        for (whole, events) in wholes.iter().zip(&exchanges) {
            prop_assert_eq!(record(whole), assembled(events));
        }
    }
}

#[test]
fn a_body_that_is_cut_has_the_hash_of_what_is_left_and_is_not_plain() {
    let mut batch = Batch::default();
    let address = "127.0.0.1:1".parse().unwrap();
    let head = RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        authority: "a.test".to_owned(),
        target: "/".to_owned(),
        version: Version::HTTP_11,
        headers: Headers::new(),
    };
    let request = EventKind::Request {
        client: Arc::new(ClientFacts::new(ConnectionId(1), address, address)),
        head: Arc::new(head),
        started_at: SystemTime::UNIX_EPOCH,
    };
    let events = [request, EventKind::ResponseBody(Bytes::from_static(b"abcdef"))];
    let events = events.map(|kind| Event { exchange: ExchangeId(1), at: Duration::ZERO, kind });
    assert!(batch.pack(&events, Instant::now()));
    assert!(!batch.pack(&events[1..], Instant::now()));
    let mut whole = batch.exchanges(SessionId(1)).next().unwrap();
    assert_eq!(whole.body_hash(BodySide::Response), content_hash(b"abcdef"));
    assert!(whole.is_plain(BodySide::Response));
    whole.response.kept = 3;
    assert_eq!(whole.body_hash(BodySide::Response), content_hash(b"abc"));
    assert!(!whole.is_plain(BodySide::Response));
    assert_eq!(whole.content_bytes(), 3);
}
