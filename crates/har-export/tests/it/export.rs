//! What exchanges of every kind look like in a file.

use std::time::Duration;

use bytes::Bytes;
use capture_store::{ExchangeKind, ExchangeState, ImportedExchange, Peer, Query, StoredMessage};
use har_export::{BodyLevel, ExportOptions, ExportSummary, write};
use http::Version;
use proxy_core::{Failure, FailureKind, MessageKind, TlsFacts};
use serde_json::{Value, json};

use crate::{
    schema,
    seed::{Place, at, gzip, request, seed},
};

fn written(exchanges: impl IntoIterator<Item = ImportedExchange>) -> (Value, ExportSummary) {
    written_with(exchanges, &ExportOptions::default())
}

fn written_with(
    exchanges: impl IntoIterator<Item = ImportedExchange>,
    options: &ExportOptions,
) -> (Value, ExportSummary) {
    let place = Place::with(exchanges);
    let mut out = Vec::new();
    let summary = write(&place.store, &Query::default(), &mut out, options).unwrap();
    assert_eq!(summary.bytes, out.len() as u64);
    let file: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(schema::problems(&file), Vec::<String>::new());
    assert_eq!(file["log"]["entries"].as_array().unwrap().len() as u64, summary.entries);
    (file, summary)
}

fn entry(exchange: ImportedExchange) -> Value {
    written([exchange]).0["log"]["entries"][0].take()
}

#[test]
fn an_empty_answer_is_a_whole_file() {
    let (file, summary) = written([]);
    assert_eq!(file["log"]["creator"]["name"], "wirescope");
    assert_eq!(summary.entries, 0);
}

#[test]
fn a_request_has_its_cookies_query_and_headers() {
    let headers =
        [("Host", "example.com"), ("cookie", "a=1; b=2"), ("X-A", "1"), ("x-a", "2"), ("Cookie", "c=3")];
    let entry = entry(seed(request("GET", "/p?x=1&y=a+b%21", &headers)).answered(200, &[], "").done());
    let request = &entry["request"];
    assert_eq!(request["url"], "https://example.com/p?x=1&y=a+b%21");
    assert_eq!(request["httpVersion"], "HTTP/1.1");
    assert_eq!(request["queryString"], json!([{"name": "x", "value": "1"}, {"name": "y", "value": "a b!"}]));
    let names: Vec<_> = request["cookies"].as_array().unwrap().iter().map(|cookie| &cookie["name"]).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let names: Vec<_> = request["headers"].as_array().unwrap().iter().map(|header| &header["name"]).collect();
    assert_eq!(names, ["Host", "cookie", "X-A", "x-a", "Cookie"]);
    assert_eq!(request["bodySize"], 0);
    assert_eq!(request.get("postData"), None);
}

#[test]
fn posted_forms_have_their_parameters_and_other_bodies_their_text() {
    let post = |content_type: &str, body: &'static [u8]| {
        let headers = [("content-type", content_type)];
        let seed = seed(request("POST", "/", &headers)).posting(Bytes::from_static(body));
        entry(seed.answered(200, &[], "").done())["request"]["postData"].take()
    };
    assert_eq!(
        post("application/x-www-form-urlencoded", b"a=1&b=%C3%A4"),
        json!({"mimeType": "application/x-www-form-urlencoded", "text": "a=1&b=%C3%A4",
            "params": [{"name": "a", "value": "1"}, {"name": "b", "value": "ä"}]})
    );
    let multipart = post(
        "multipart/form-data; boundary=b",
        b"--b\r\ncontent-disposition: form-data; name=f; filename=a.bin\r\n\r\n\xff\r\n--b--",
    );
    assert_eq!(multipart["params"], json!([{"name": "f", "fileName": "a.bin"}]));
    assert_eq!(multipart["encoding"], "base64");
    assert_eq!(post("application/json", b"{}"), json!({"mimeType": "application/json", "text": "{}"}));
    assert_eq!(
        post("application/x-protobuf", b"\x08\xff"),
        json!({"mimeType": "application/x-protobuf", "text": "CP8=", "encoding": "base64"})
    );
}

#[test]
fn a_response_has_its_cookies_body_and_redirect() {
    let headers = [
        ("Content-Type", "text/plain"),
        ("Set-Cookie", "id=1; Path=/; Secure; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        ("set-cookie", "x=2; expires=never"),
        ("Location", "/next"),
    ];
    let entry = entry(seed(request("GET", "/", &[])).answered(302, &headers, "moved").done());
    let response = &entry["response"];
    assert_eq!((&response["status"], &response["statusText"]), (&json!(302), &json!("Found")));
    assert_eq!(response["redirectURL"], "/next");
    assert_eq!(response["cookies"][0]["expires"], "2026-10-21T07:28:00.000Z");
    assert_eq!(response["cookies"][1].get("expires"), None);
    assert_eq!(response["content"], json!({"size": 5, "mimeType": "text/plain", "text": "moved"}));
    assert_eq!(response["bodySize"], 5);
}

#[test]
fn coded_bodies_are_written_decoded() {
    let text = "wirescope ".repeat(100);
    let coded = gzip(text.as_bytes());
    let wire = coded.len();
    let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let entry = entry(seed(request("GET", "/", &[])).answered(200, &headers, coded).done());
    let content = &entry["response"]["content"];
    assert_eq!(content["text"], text);
    assert_eq!((&content["size"], &content["compression"]), (&json!(1000), &json!(1000 - wire)));
    assert_eq!(entry["response"]["bodySize"], wire);
}

#[test]
fn bodies_that_do_not_decode_are_written_as_they_were_with_the_reason() {
    let whole = gzip("wirescope ".repeat(100).as_bytes());
    let cut = whole[..whole.len() - 9].to_vec();
    for body in [cut, b"not gzip at all".to_vec()] {
        let headers = [("content-encoding", "gzip")];
        let (file, summary) =
            written([seed(request("GET", "/", &[])).answered(200, &headers, body.clone()).done()]);
        let content = &file["log"]["entries"][0]["response"]["content"];
        assert_eq!(content["encoding"], "base64");
        assert_eq!(content["size"], body.len());
        assert!(content["comment"].as_str().unwrap().contains("its content coding could not be taken off"));
        assert_eq!(file["log"]["entries"][0]["_wirescope"]["responseBody"]["coded"], true);
        assert_eq!(summary.undecodable, 1);
    }
}

#[test]
fn a_large_coded_body_is_streamed_into_the_file() {
    let text: String = (0..500_000).map(|line| format!("{line}ä\n")).collect();
    let headers = [("content-encoding", "gzip")];
    let entry = entry(seed(request("GET", "/", &[])).answered(200, &headers, gzip(text.as_bytes())).done());
    assert!(entry["response"]["content"]["text"].as_str().unwrap() == text);
    assert_eq!(entry["response"]["content"]["size"], text.len());
}

#[test]
fn timings_are_milliseconds_and_minus_one_where_a_part_did_not_take_place() {
    let exchange = seed(request("GET", "/", &[])).answered(200, &[], "").change(|exchange| {
        exchange.timings.connect = Some(Duration::from_micros(2500));
        exchange.timings.ssl = Some(Duration::from_micros(1500));
        exchange.timings.wait = Duration::from_millis(10);
        exchange.timings.total = Duration::from_millis(20);
    });
    let entry = entry(exchange.done());
    assert_eq!(
        entry["timings"],
        json!({"blocked": -1.0, "dns": -1.0, "connect": 2.5, "ssl": 1.5, "send": 0.0, "wait": 10.0, "receive": 0.0})
    );
    assert_eq!((&entry["time"], &entry["_wirescope"]["total"]), (&json!(12.5), &json!(20.0)));
    assert_eq!(entry["startedDateTime"], "2026-03-02T09:15:00.000Z");
}

#[test]
fn connections_are_named_and_a_certificate_chain_stands_once() {
    let exchange = |connection: u64| {
        let mut tls = TlsFacts::default();
        tls.version = "TLSv1.3".to_owned();
        tls.certificates = vec![Bytes::from_static(b"leaf"), Bytes::from_static(b"root")];
        let peer = Peer::new(connection, Some("203.0.113.7:443".parse().unwrap()), Some(tls));
        seed(request("GET", "/", &[]))
            .answered(200, &[], "")
            .change(|exchange| exchange.upstream = Some(peer))
            .done()
    };
    let (file, _) = written([exchange(7), exchange(8)]);
    let entries = &file["log"]["entries"];
    assert_eq!(
        (&entries[0]["serverIPAddress"], &entries[0]["connection"]),
        (&json!("203.0.113.7"), &json!("7"))
    );
    let tls = |index: usize| &entries[index]["_wirescope"]["upstream"]["tls"];
    assert_eq!(tls(0)["certificates"], json!(["bGVhZg==", "cm9vdA=="]));
    assert_eq!(tls(1).get("certificates"), None);
    assert_eq!(tls(1)["certificatesOf"], entries[0]["_wirescope"]["seq"]);
}

#[test]
fn a_failed_exchange_has_status_0_and_the_failures_text() {
    let failure = Failure::new(FailureKind::Dns, "no such host");
    let failed = seed(request("GET", "/", &[]))
        .change(|exchange| exchange.summary.state = ExchangeState::Failed(failure));
    let entry = entry(failed.done());
    assert_eq!(entry["response"]["status"], 0);
    assert_eq!(entry["response"]["_error"], "upstream name does not resolve: no such host");
    assert_eq!(
        entry["_wirescope"]["failure"],
        json!({"code": "dns", "side": "upstream", "detail": "no such host"})
    );
}

#[test]
fn tunnels_are_connect_entries_and_can_be_left_out() {
    let tunnel = || {
        let tunnel = request("CONNECT", "example.com", &[]);
        let kind = |exchange: &mut capture_store::Exchange| {
            exchange.summary.kind = ExchangeKind::Tunnel;
            exchange.summary.state = ExchangeState::Tunnel;
            exchange.tunnel_bytes = (10, 20);
        };
        seed(tunnel).answered(200, &[], "").change(kind).done()
    };
    let (file, _) = written([tunnel()]);
    let entry = &file["log"]["entries"][0];
    assert_eq!(entry["request"]["method"], "CONNECT");
    assert_eq!(
        (&entry["_wirescope"]["kind"], &entry["_wirescope"]["tunnelBytes"]),
        (&json!("tunnel"), &json!([10, 20]))
    );
    let mut options = ExportOptions::default();
    options.tunnels = false;
    let (_, summary) =
        written_with([tunnel(), seed(request("GET", "/", &[])).answered(200, &[], "").done()], &options);
    assert_eq!((summary.entries, summary.tunnels_left_out), (1, 1));
}

#[test]
fn an_open_exchange_is_written_as_it_stands() {
    let (file, summary) = written([seed(request("GET", "/", &[])).done()]);
    assert_eq!(summary.open, 1);
    assert_eq!(file["log"]["entries"][0]["_wirescope"]["state"], "open");
}

#[test]
fn http2_has_chromes_version_and_no_reason() {
    let exchange = seed(request("GET", "/", &[])).answered(200, &[], "").change(|exchange| {
        exchange.request.version = Version::HTTP_2;
        let head = exchange.response.as_mut().unwrap();
        (head.version, head.reason) = (Version::HTTP_2, None);
    });
    let entry = entry(exchange.done());
    assert_eq!(
        (&entry["request"]["httpVersion"], &entry["response"]["statusText"]),
        (&json!("http/2.0"), &json!(""))
    );
}

#[test]
fn websocket_messages_are_written_as_chrome_does_page_by_page() {
    let message = |index: u64| {
        let (kind, data) = match index % 3 {
            0 => (MessageKind::Text, Bytes::from(format!("m{index}"))),
            1 => (MessageKind::Binary, Bytes::from_static(b"\x00\xff")),
            _ => (MessageKind::Close, Bytes::from_static(b"\x03\xe8bye")),
        };
        StoredMessage::new(index, at(1500), index.is_multiple_of(2), kind, data)
    };
    let upgrade = |exchange: &mut capture_store::Exchange| {
        exchange.summary.kind = ExchangeKind::WebSocket;
        exchange.summary.state = ExchangeState::Upgrade;
    };
    let socket = |count| {
        seed(request("GET", "/ws", &[("Upgrade", "websocket")]))
            .answered(101, &[("Upgrade", "websocket")], "")
            .change(upgrade)
            .messages((0..count).map(message).collect())
            .done()
    };
    let entry = entry(socket(1300));
    assert_eq!(entry["_resourceType"], "websocket");
    let messages = entry["_webSocketMessages"].as_array().unwrap();
    assert_eq!(messages.len(), 1300);
    assert_eq!(messages[0], json!({"type": "send", "time": 1772442901.5, "opcode": 1, "data": "m0"}));
    assert_eq!(messages[1], json!({"type": "receive", "time": 1772442901.5, "opcode": 2, "data": "AP8="}));
    assert_eq!(
        messages[1298],
        json!({"type": "send", "time": 1772442901.5, "opcode": 8, "data": "A+hieWU="})
    );
    assert_eq!(messages[1299]["data"], "m1299");

    let mut options = ExportOptions::default();
    options.messages = false;
    let (file, _) = written_with([socket(2)], &options);
    assert_eq!(file["log"]["entries"][0].get("_webSocketMessages"), None);
}

#[test]
fn without_bodies_their_sizes_stay_and_the_file_says_so() {
    let mut options = ExportOptions::default();
    options.bodies = BodyLevel::None;
    options.comment = Some("slim".to_owned());
    let exchange = seed(request("POST", "/", &[])).posting("12345").answered(200, &[], "123");
    let (file, _) = written_with([exchange.done()], &options);
    let entry = &file["log"]["entries"][0];
    assert_eq!(
        entry["response"]["content"],
        json!({"size": 3, "mimeType": "x-unknown", "comment": "the body was left out of this file"})
    );
    assert_eq!((&entry["request"]["bodySize"], entry["request"]["postData"].get("text")), (&json!(5), None));
    assert_eq!(entry["_wirescope"]["requestBody"]["omitted"], true);
    assert_eq!(file["log"]["comment"], "slim");
}

#[test]
fn resource_types_are_chromes() {
    for (request_headers, response_headers, expected) in [
        (&[("Sec-Fetch-Dest", "document")][..], &[][..], "document"),
        (&[("Sec-Fetch-Dest", "empty")], &[("Content-Type", "application/json")], "fetch"),
        (&[("X-Requested-With", "XMLHttpRequest"), ("Sec-Fetch-Dest", "empty")], &[], "xhr"),
        (&[("Sec-Fetch-Dest", "empty")], &[("Content-Type", "text/event-stream")], "eventsource"),
        (&[], &[("Content-Type", "IMAGE/PNG")], "image"),
        (&[], &[], "other"),
    ] {
        let entry =
            entry(seed(request("GET", "/", request_headers)).answered(200, response_headers, "").done());
        assert_eq!(entry["_resourceType"], expected, "{request_headers:?} {response_headers:?}");
    }
}
