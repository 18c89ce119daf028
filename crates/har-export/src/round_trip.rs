//! An exchange written as an entry and read back is the same exchange; whatever is written is HAR 1.2; whatever is
//! read does not panic.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use capture_store::{
    Exchange, ExchangeKind, ExchangeState, ImportBody, ImportMessages, ImportedExchange, Peer, Recorded,
    StoredMessage,
};
use http::{Method, StatusCode, Version};
use proptest::{prelude::*, sample::Index};
use proxy_core::{
    Failure, FailureKind, Headers, MessageKind, RequestHead, ResponseHead, ResponseSource, Scheme, TlsFacts,
};
use serde_json::Value;

use crate::{
    body::{ErrorSlot, tests::Held},
    compose::Composer,
    export::ExportOptions,
    input::Gauge,
    log::{self, Memory, raw},
    parse::{Parsed, parse},
    schema,
};

fn written(exchange: &Exchange, held: &Held) -> Value {
    let (options, slot) = (ExportOptions::default(), ErrorSlot::default());
    let composed = Composer::new(&options, &slot, None).compose(exchange, held).unwrap();
    let json = serde_json::to_vec(&composed.entry).unwrap();
    assert!(slot.borrow().is_none());
    serde_json::from_slice(&json).unwrap()
}

fn problems(entry: Value) -> Vec<String> {
    let creator = serde_json::json!({"name": "", "version": ""});
    schema::problems(&serde_json::json!({"log": {"version": "1.2", "creator": creator, "entries": [entry]}}))
}

fn read_back(entry: Value) -> Parsed {
    parse(&mut raw(&entry), SystemTime::UNIX_EPOCH, &mut Memory::default()).unwrap()
}

fn bytes_of(body: &Option<ImportBody>) -> Option<Bytes> {
    body.as_ref().map(|body| Bytes::copy_from_slice(body.held().unwrap()))
}

fn messages_of(messages: ImportMessages) -> Vec<StoredMessage> {
    let ImportMessages::Spooled(mut spooled) = messages else { panic!() };
    let mut reader = std::io::Cursor::new(spooled.body.held().unwrap().to_vec());
    std::iter::from_fn(|| (spooled.next)(&mut reader).unwrap()).collect()
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec!["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "M-SEARCH"])
        .prop_map(|name| Method::from_bytes(name.as_bytes()).unwrap())
}

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2])
}

/// A byte that a head can hold.
fn no_break() -> impl Strategy<Value = u8> {
    any::<u8>().prop_filter("a line or a text ends there", |byte| !b"\r\n\0".contains(byte))
}

fn headers() -> impl Strategy<Value = Headers> {
    let value = prop_oneof![
        "[ -~]{0,20}".prop_map(String::into_bytes),
        "[äß€ a;=,]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(no_break(), 0..12),
    ];
    let name = prop_oneof![
        3 => "[A-Za-z][A-Za-z0-9-]{0,10}",
        1 => prop::sample::select(vec!["Cookie", "Set-Cookie", "set-cookie", "Content-Type", "Content-Encoding", "Location", "Upgrade"]).prop_map(str::to_owned),
    ];
    prop::collection::vec((name, value), 0..6).prop_map(|fields| {
        fields.into_iter().map(|(name, value)| proxy_core::Header::new(name, value)).collect()
    })
}

fn request() -> impl Strategy<Value = RequestHead> {
    let authority = prop::sample::select(vec![
        "example.com",
        "example.com:8443",
        "[::1]:443",
        "example.com:443",
        "EXAMPLE.com:80",
        "a_b.test",
    ]);
    let target = prop_oneof![
        "/[a-z0-9?&=%+.]{0,20}",
        "/[ -~äß€\t]{0,12}",
        Just("*".to_owned()),
        Just("?q".to_owned()),
        Just(String::new()),
    ];
    (method(), any::<bool>(), authority, target, version(), headers()).prop_map(
        |(method, secure, authority, target, version, headers)| {
            let target = if method == Method::CONNECT { authority.to_owned() } else { target };
            let scheme = if secure { Scheme::Https } else { Scheme::Http };
            RequestHead { method, scheme, authority: authority.to_owned(), target, version, headers }
        },
    )
}

fn response() -> impl Strategy<Value = ResponseHead> {
    let reason = prop_oneof![
        Just(None),
        "[ -~äß]{0,12}".prop_map(|text| Some(Bytes::from(text))),
        prop::collection::vec(no_break(), 0..6).prop_map(|bytes| Some(Bytes::from(bytes))),
    ];
    (100u16..=999, reason, version(), headers()).prop_map(|(status, reason, version, headers)| ResponseHead {
        status: StatusCode::from_u16(status).unwrap(),
        reason,
        version,
        headers,
    })
}

fn body() -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![
        Just(None),
        ".{1,40}".prop_map(|text| Some(Bytes::from(text))),
        prop::collection::vec(any::<u8>(), 1..40).prop_map(|bytes| Some(Bytes::from(bytes))),
    ]
}

fn peer() -> impl Strategy<Value = Option<Peer>> {
    let address = prop::sample::select(vec!["127.0.0.1:80", "[::1]:8443", "[2001:db8::7]:443"]);
    let address = prop::option::of(address.prop_map(|text| text.parse::<SocketAddr>().unwrap()));
    let tls = (
        "TLSv1\\.[23]",
        "[A-Z_0-9]{0,20}",
        prop::option::of("h2|http/1.1"),
        prop::option::of("[a-z.]{1,12}"),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..3),
    );
    let tls = tls.prop_map(|(version, cipher, alpn, sni, certificates)| {
        let mut facts = TlsFacts::default();
        (facts.version, facts.cipher, facts.alpn, facts.sni) = (version, cipher, alpn, sni);
        facts.certificates = certificates.into_iter().map(Bytes::from).collect();
        facts
    });
    prop::option::of(
        (0u64..1 << 60, address, prop::option::of(tls))
            .prop_map(|(id, address, tls)| Peer::new(id, address, tls)),
    )
}

fn state() -> impl Strategy<Value = ExchangeState> {
    let failed = (prop::sample::select(FailureKind::ALL.to_vec()), "[ -~]{0,20}")
        .prop_map(|(kind, detail)| ExchangeState::Failed(Failure::new(kind, detail)));
    prop_oneof![
        Just(ExchangeState::Open),
        Just(ExchangeState::Response),
        Just(ExchangeState::Mock),
        Just(ExchangeState::Upgrade),
        Just(ExchangeState::Tunnel),
        failed,
    ]
}

fn kind() -> impl Strategy<Value = ExchangeKind> {
    prop::sample::select(vec![
        ExchangeKind::Http,
        ExchangeKind::WebSocket,
        ExchangeKind::Upgrade,
        ExchangeKind::Tunnel,
    ])
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0u64..10_000_000).prop_map(Duration::from_micros),
        (0u64..1 << 51).prop_map(Duration::from_nanos)
    ]
}

fn instant() -> impl Strategy<Value = SystemTime> {
    (0u64..4_000_000_000, prop_oneof![Just(0u32), 0u32..1_000_000_000])
        .prop_map(|(secs, nanos)| SystemTime::UNIX_EPOCH + Duration::new(secs, nanos))
}

fn messages() -> impl Strategy<Value = Vec<StoredMessage>> {
    let kind = prop::sample::select(vec![
        MessageKind::Text,
        MessageKind::Binary,
        MessageKind::Close,
        MessageKind::Ping,
        MessageKind::Pong,
    ]);
    let data = prop_oneof![".{0,20}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..20)];
    let message = (instant(), any::<bool>(), kind, data, prop::option::of(200u64..999), any::<bool>());
    prop::collection::vec(message, 0..20).prop_map(|list| {
        let message = |(index, (at, from_client, kind, data, length, compressed)): (
            usize,
            (_, _, _, Vec<u8>, Option<u64>, _),
        )| {
            let mut message = StoredMessage::new(index as u64, at, from_client, kind, data.into());
            message.truncated = length.is_some();
            message.length = length.unwrap_or(message.length);
            message.compressed = compressed;
            message
        };
        list.into_iter().enumerate().map(message).collect()
    })
}

fn recorded(body: Option<&Bytes>, wire_bytes: u64, complete: bool) -> Recorded {
    let mut recorded = Recorded::default();
    recorded.wire_bytes = wire_bytes;
    recorded.stored_bytes = body.map_or(0, |body| body.len() as u64);
    recorded.complete = complete;
    recorded
}

prop_compose! {
    fn exchange()(
        request in request(),
        response in prop::option::of(response()),
        (request_trailers, response_trailers) in (headers(), headers()),
        informational in prop::collection::vec(response(), 0..3),
        (client, upstream) in (peer(), peer()),
        tunnel in prop::option::of("[a-z.]{1,10}:443"),
        (kind, state, source) in (kind(), state(), prop::sample::select(vec![ResponseSource::Upstream, ResponseSource::Mock, ResponseSource::Proxy])),
        spans in prop::collection::vec(span(), 8),
        missing in prop::collection::vec(any::<bool>(), 4),
        counts in prop::collection::vec(prop_oneof![Just(0u64), 1u64..1 << 40], 8),
        complete in any::<(bool, bool)>(),
        comment in prop::option::of(".{0,20}"),
        started_at in instant(),
        messages in messages(),
        (request_body, response_body) in (body(), body()),
        undecodable in any::<bool>(),
    ) -> (Exchange, Held) {
        let mut exchange = Exchange::new(request, started_at);
        exchange.response_source = response.is_some().then_some(source);
        exchange.response = response;
        exchange.request_trailers = request_trailers;
        exchange.response_trailers = response_trailers;
        exchange.informational = informational;
        exchange.client = client;
        exchange.upstream = upstream;
        exchange.tunnel = tunnel;
        exchange.summary.kind = if messages.is_empty() { kind } else { ExchangeKind::WebSocket };
        exchange.summary.state = state;
        let part = |at: usize| (!missing[at]).then_some(spans[at]);
        let timings = &mut exchange.timings;
        (timings.blocked, timings.dns, timings.connect, timings.ssl) = (part(0), part(1), part(2), part(3));
        (timings.send, timings.wait, timings.receive, timings.total) = (spans[4], spans[5], spans[6], spans[7]);
        let sizes = &mut exchange.sizes;
        (sizes.request_head, sizes.request_body) = (counts[0], counts[1]);
        (sizes.response_head, sizes.response_body) = (counts[2], counts[3]);
        exchange.tunnel_bytes = (counts[4], counts[5]);
        exchange.request_body = recorded(request_body.as_ref(), counts[6], complete.0);
        exchange.response_body = recorded(response_body.as_ref(), counts[7], complete.1);
        exchange.comment = comment;
        (exchange, Held { request: request_body, response: response_body, undecodable, messages })
    }
}

/// What comes back: bodies are stored decoded, and say so where the head names a coding.
fn assert_same(mut sent: Exchange, held: &Held, back: ImportedExchange) -> Result<(), TestCaseError> {
    let coded = |headers: &Headers, body: &Option<Bytes>| {
        !held.undecodable && body.is_some() && headers.contains("content-encoding")
    };
    sent.request_body.identity = coded(&sent.request.headers, &held.request);
    sent.response_body.identity =
        sent.response.as_ref().is_some_and(|head| coded(&head.headers, &held.response));
    let came = &back.exchange;
    prop_assert_eq!(&sent.request, &came.request);
    prop_assert_eq!(
        sent.request.headers.iter().map(|header| header.value.clone()).collect::<Vec<_>>(),
        came.request.headers.iter().map(|header| header.value.clone()).collect::<Vec<_>>()
    );
    prop_assert_eq!(&sent.request_trailers, &came.request_trailers);
    prop_assert_eq!(sent.request_body, came.request_body);
    prop_assert_eq!(&sent.informational, &came.informational);
    prop_assert_eq!(&sent.response, &came.response);
    prop_assert_eq!(sent.response_source, came.response_source);
    prop_assert_eq!(&sent.response_trailers, &came.response_trailers);
    prop_assert_eq!(sent.response_body, came.response_body);
    prop_assert_eq!(&sent.client, &came.client);
    prop_assert_eq!(&sent.upstream, &came.upstream);
    prop_assert_eq!(&sent.tunnel, &came.tunnel);
    prop_assert_eq!(sent.timings, came.timings);
    prop_assert_eq!(sent.sizes, came.sizes);
    prop_assert_eq!(sent.tunnel_bytes, came.tunnel_bytes);
    prop_assert_eq!(&sent.comment, &came.comment);
    prop_assert_eq!(sent.summary.kind, came.summary.kind);
    prop_assert_eq!(&sent.summary.state, &came.summary.state);
    prop_assert_eq!(sent.summary.started_at, came.summary.started_at);
    prop_assert_eq!(&held.request, &bytes_of(&back.request_body));
    prop_assert_eq!(&held.response, &bytes_of(&back.response_body));
    prop_assert_eq!(&held.messages, &messages_of(back.messages));
    Ok(())
}

/// Tells whether a part of a head ends its line, so that written to the wire it would be two.
fn breaks_out(exchange: &Exchange) -> bool {
    let breaks = |bytes: &[u8]| bytes.iter().any(|byte| b"\r\n\0".contains(byte));
    let field =
        |headers: &Headers| headers.iter().any(|header| breaks(&header.name) || breaks(&header.value));
    let response = |head: &ResponseHead| head.reason.as_deref().is_some_and(breaks) || field(&head.headers);
    let request = &exchange.request;
    breaks(request.target.as_bytes())
        || breaks(request.authority.as_bytes())
        || [&request.headers, &exchange.request_trailers, &exchange.response_trailers].into_iter().any(field)
        || exchange.informational.iter().chain(&exchange.response).any(response)
}

/// Replaces the value that comes `at`th in a walk through the tree.
fn replace(tree: &mut Value, at: &mut usize, by: &Value) -> bool {
    if *at == 0 {
        *tree = by.clone();
        return true;
    }
    *at -= 1;
    match tree {
        Value::Array(list) => list.iter_mut().any(|item| replace(item, at, by)),
        Value::Object(object) => object.values_mut().any(|item| replace(item, at, by)),
        _ => false,
    }
}

fn count(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(object) => object.values().map(count).sum(),
        _ => 0,
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop::sample::select(
        [
            "null",
            "true",
            "-1",
            "0",
            "1e300",
            "-0.5",
            "443",
            "18446744073709551615",
            "\"\"",
            "\"443\"",
            "\"\\u0000\\r\\n\"",
            "\"é\\ud83d\\ude00\"",
            "\"base64\"",
            "\"====\"",
            "[]",
            "{}",
            "[[{}]]",
            "{\"name\":1,\"value\":[]}",
            "\"9999-99-99T00:00:00Z\"",
            "\"-009999-01-01T00:00:00Z\"",
            "\"9999-12-31T23:59:59Z\"",
            "\"http://\"",
            "\"CONNECT\"",
            "\"[::1\"",
            "\"http/2.0\"",
        ]
        .map(|json| serde_json::from_str::<Value>(json).unwrap())
        .to_vec(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_exchange_comes_back_as_it_was((sent, held) in exchange()) {
        let entry = written(&sent, &held);
        prop_assert_eq!(problems(entry.clone()), Vec::<String>::new());
        let back = read_back(entry);
        prop_assert_eq!(&back.notes, &Vec::<String>::new());
        assert_same(sent, &held, back.exchange)?;
    }

    #[test]
    fn without_our_own_fields_an_entry_is_still_read((sent, held) in exchange()) {
        let mut entry = written(&sent, &held);
        entry.as_object_mut().unwrap().retain(|name, _| !name.starts_with('_'));
        let back = read_back(entry).exchange;
        prop_assert_eq!(&back.exchange.request.method, &sent.request.method);
        prop_assert_eq!(&back.exchange.request.headers, &sent.request.headers);
        prop_assert_eq!(back.exchange.response.map(|head| head.status), sent.response.map(|head| head.status));
        prop_assert_eq!(bytes_of(&back.response_body), held.response);
    }

    #[test]
    fn mutated_entries_do_not_panic((sent, held) in exchange(), changes in prop::collection::vec((any::<Index>(), odd_value()), 1..8)) {
        let mut entry = written(&sent, &held);
        for (at, by) in changes {
            let mut at = at.index(count(&entry));
            replace(&mut entry, &mut at, &by);
            if let Ok(parsed) = parse(&mut raw(&entry), SystemTime::UNIX_EPOCH, &mut Memory::default()) {
                let ImportedExchange { exchange, request_body, response_body, messages } = parsed.exchange;
                prop_assert!(!breaks_out(&exchange));
                let held = Held {
                    request: bytes_of(&request_body),
                    response: bytes_of(&response_body),
                    undecodable: false,
                    messages: messages_of(messages),
                };
                prop_assert_eq!(problems(written(&exchange, &held)), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn mutated_files_do_not_panic((sent, held) in exchange(), changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..6), end in any::<Index>()) {
        let entry = written(&sent, &held);
        let mut file = format!("{{\"log\":{{\"entries\":[{entry},{entry}]}}}}").into_bytes();
        for (at, by) in changes {
            let at = at.index(file.len());
            file[at] = by;
        }
        for file in [&file[..], &file[..end.index(file.len())]] {
            let mut memory = Memory::default();
            let _ = log::read(file, &Gauge::default(), &mut memory);
            for mut entry in memory.entries {
                let _ = parse(&mut entry, SystemTime::UNIX_EPOCH, &mut Memory::default());
            }
        }
    }
}
