//! Out of one store, into another, and out again.

use capture_store::{ExchangeKind, ExchangeState, Peer, Query, StoredMessage};
use har_export::{ExportOptions, ImportOptions, export, import};
use http::{StatusCode, Version};
use proxy_core::{Failure, FailureKind, MessageKind, ResponseHead, ResponseSource, TlsFacts};
use serde_json::Value;

use crate::{
    schema,
    seed::{Place, at, fields, gzip, json, request, seed},
};

/// An exchange of every kind.
fn place() -> Place {
    let mut tls = TlsFacts::default();
    (tls.version, tls.cipher) = ("TLSv1.3".to_owned(), "TLS_AES_128_GCM_SHA256".to_owned());
    tls.certificates = vec![b"leaf"[..].into()];
    let peer = Peer::new(9, Some("203.0.113.7:443".parse().unwrap()), Some(tls));
    let rich = seed(request("POST", "/a b\u{e4}?x", &[("Content-Type", "text/plain"), ("X", "\u{e4}")]))
        .posting(&b"\xff\x00"[..])
        .answered(200, &[("Content-Encoding", "gzip"), ("Trailer", "X-Sum")], gzip(b"hello hello hello"))
        .change(|exchange| {
            exchange.upstream = Some(peer.clone());
            exchange.client = Some(Peer::new(3, Some("127.0.0.1:5000".parse().unwrap()), None));
            exchange.tunnel = Some("example.com:443".to_owned());
            exchange.request.headers.push("X-Bytes", &b"\xe9"[..]);
            exchange.response_trailers = fields(&[("X-Sum", "1")]);
            exchange.request_trailers = fields(&[("X-T", "2")]);
            exchange.informational = vec![ResponseHead::new(StatusCode::EARLY_HINTS)];
            exchange.comment = Some("look".to_owned());
            exchange.timings.dns = Some(std::time::Duration::from_micros(1234));
            exchange.timings.total = std::time::Duration::from_micros(5678);
            exchange.sizes.request_head = 77;
        });
    let second = seed(request("GET", "/2", &[]))
        .answered(200, &[("Content-Encoding", "gzip")], "no gzip")
        .change(|exchange| exchange.upstream = Some(peer));
    let failed = seed(request("OPTIONS", "*", &[])).change(|exchange| {
        exchange.request.version = Version::HTTP_2;
        exchange.summary.state = ExchangeState::Failed(Failure::new(FailureKind::ConnectTimeout, "30 s"));
    });
    let mock = seed(request("GET", "/mock", &[])).answered(418, &[], "short").change(|exchange| {
        exchange.response_source = Some(ResponseSource::Mock);
        exchange.summary.state = ExchangeState::Mock;
        exchange.response.as_mut().unwrap().reason = Some("Teapot".into());
        exchange.response_body.complete = false;
    });
    let socket = seed(request("GET", "/ws", &[("Upgrade", "websocket")]))
        .answered(101, &[("Upgrade", "websocket")], "")
        .change(|exchange| {
            exchange.summary.kind = ExchangeKind::WebSocket;
            exchange.summary.state = ExchangeState::Upgrade;
        })
        .messages(vec![
            StoredMessage::new(0, at(1), true, MessageKind::Text, "hi \u{1f600}".into()),
            StoredMessage::new(1, at(2), false, MessageKind::Ping, (&b"\x00"[..]).into()),
        ]);
    Place::with([rich, second, failed, mock, socket].map(crate::seed::Seed::done))
}

/// A log without what a new store gives anew, and without how bodies are stored.
fn comparable(mut file: Value) -> Value {
    for entry in file["log"]["entries"].as_array_mut().unwrap() {
        let ours = entry["_wirescope"].as_object_mut().unwrap();
        ours.remove("seq");
        for body in ["requestBody", "responseBody"] {
            ours[body].as_object_mut().unwrap().remove("storedBytes");
        }
        if let Some(tls) = ours.get_mut("upstream").and_then(|peer| peer["tls"].as_object_mut()) {
            tls.remove("certificatesOf");
        }
    }
    file
}

#[test]
fn what_was_exported_imports_and_exports_as_the_same_file() {
    let first = place();
    let (one, two) = (first.path("one.har"), first.path("two.har"));
    let options = ExportOptions::default();
    export(&first.store, &Query::default(), &one, &options, |_| {}).unwrap();
    assert_eq!(schema::problems(&json(&one)), Vec::<String>::new());

    let second = Place::new();
    let mut strict = ImportOptions::default();
    strict.strict = true;
    let summary = import(&second.store, &one, &strict, |_| {}).unwrap();
    assert_eq!((summary.imported, summary.warning_count), (5, 0));
    export(&second.store, &Query::default(), &two, &options, |_| {}).unwrap();
    assert_eq!(comparable(json(&one)), comparable(json(&two)));

    let certificates = |place: &Place| {
        let exchanges = place.exchanges(None);
        exchanges
            .into_iter()
            .map(|exchange| exchange.upstream.map(|peer| peer.tls.unwrap().certificates))
            .collect::<Vec<_>>()
    };
    assert_eq!(certificates(&first), certificates(&second), "a chain written once is there for all");
}
