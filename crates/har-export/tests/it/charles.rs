//! Sessions of Charles, as JSON and as XML.

use capture_store::{BodySide, ExchangeKind, ExchangeState};
use har_export::{ImportOptions, read};
use http::Version;

use crate::seed::Place;

const JSON: &str = r#"[
  {"status":"COMPLETE","method":"POST","protocolVersion":"HTTP/1.1","scheme":"https","host":"api.example.com","port":null,
   "actualPort":8443,"path":"/v1/items","query":"page=2","tunnel":false,"keptAlive":true,"webSocket":false,
   "remoteAddress":"api.example.com/93.184.216.34","clientAddress":"127.0.0.1","clientPort":50000,
   "times":{"start":"2026-09-01T10:00:00.250+07:00","requestBegin":"2026-09-01T10:00:00.260+07:00"},
   "durations":{"total":120,"dns":5,"connect":10,"ssl":20,"request":1,"response":25,"latency":60},
   "totalSize":500,"ssl":{"protocol":"TLSv1.3"},"alpn":{"protocol":"h2"},"notes":"the one",
   "request":{"sizes":{"headers":120,"body":12},"mimeType":"application/json","charset":null,"contentEncoding":null,
     "header":{"firstLine":"POST /v1/items?page=2 HTTP/1.1","headers":[{"name":"Host","value":"api.example.com"},
       {"name":"Content-Type","value":"application/json"}]},
     "body":{"text":"{\"id\": 12}","charset":null}},
   "response":{"status":201,"sizes":{"headers":90,"body":33},"mimeType":"text/plain","contentEncoding":"gzip",
     "header":{"firstLine":"HTTP/1.1 201 Created","headers":[{"name":"Set-Cookie","value":"a=1"},
       {"name":"Set-Cookie","value":"b=2"},{"name":"Content-Encoding","value":"gzip"}]},
     "body":{"text":"made","charset":"UTF-8","decoded":true}}},
  {"status":"FAILED","method":"GET","scheme":"http","host":"gone.test","actualPort":80,"path":"/","query":null,
   "errorMessage":"Connection refused","times":{"start":"2026-09-01T10:00:01Z"},"durations":{"total":1},
   "request":{"header":{"firstLine":"GET / HTTP/1.1","headers":[]}},"response":null},
  {"status":"COMPLETE","method":"GET","scheme":"https","host":"img.test","actualPort":443,"path":"/a.png",
   "times":{"start":"2026-09-01T10:00:02Z"},
   "request":{"header":{"headers":[]}},
   "response":{"status":200,"header":{"firstLine":"HTTP/2 200","headers":[]},"body":{"encoding":"base64","encoded":"iVBORw0KGgo="}}},
  {"status":"COMPLETE","method":"CONNECT","scheme":"https","host":"pinned.test","actualPort":443,"path":null,"tunnel":true,
   "times":{"start":"2026-09-01T10:00:03Z"},"request":{"header":{"headers":[]}},
   "response":{"status":200,"header":{"headers":[]}}},
  17, {"log": {}}
]"#;

const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE charles-session SYSTEM "http://www.charlesproxy.com/dtd/charles-session-1_0.dtd" [<!ENTITY big "aaaa">]>
<charles-session>
  <transaction method="POST" protocolVersion="HTTP/1.1" protocol="https" host="api.example.com" port="8443" actualPort="8443"
    path="/v1/items" query="page=2&amp;q=%22" remoteAddress="93.184.216.34" clientAddress="127.0.0.1" status="COMPLETE"
    startTime="ignored" startTimeMillis="1713000000250" endTimeMillis="1713000000370" duration="120" dnsDuration="5"
    connectDuration="10" sslDuration="20" latency="60" responseDuration="25">
    <request headers="true" body="true" mime-type="application/json" charset="">
      <headers><first-line>POST /v1/items?page=2 HTTP/1.1</first-line>
        <header><name>Content-Type</name><value>application/json</value></header>
        <header><name>X-Escaped</name><value>a &amp; b &#x3c;&#60; &big;</value></header></headers>
      <body><![CDATA[{"id": "<12>"}]]></body>
    </request>
    <response status="201" headers="true" body="true" mime-type="text/plain">
      <headers><first-line>HTTP/1.1 201 Created</first-line>
        <header><name>Set-Cookie</name><value>a=1</value></header><header><name>Set-Cookie</name><value>b=2</value></header></headers>
      <body encoding="base64">bWFk
        ZQ==</body>
    </response>
  </transaction>
  <transaction method="GET" protocol="http" host="gone.test" actualPort="80" path="/" startTimeMillis="1713000001000"
    status="FAILED" errorMessage="Connection refused"><request/></transaction>
</charles-session>
"#;

fn text(place: &Place, at: usize, side: BodySide) -> Option<String> {
    let exchange = place.exchanges(None).swap_remove(at);
    place.body(&exchange, side).map(|body| String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn json_sessions_are_told_by_their_content_and_read() {
    let place = Place::new();
    let summary = read(&place.store, JSON.as_bytes(), &ImportOptions::default()).unwrap();
    let warnings: Vec<String> = summary.warnings.iter().map(ToString::to_string).collect();
    assert_eq!((summary.total_entries, summary.imported, summary.skipped), (6, 4, 2), "{warnings:?}");
    assert!(warnings.iter().all(|it| it.contains("skipped")), "{warnings:?}");

    let exchanges = place.exchanges(None);
    let first = &exchanges[0];
    assert_eq!(first.summary.url, "https://api.example.com:8443/v1/items?page=2");
    assert_eq!((first.summary.method.as_str(), first.summary.status), ("POST", Some(201)));
    assert_eq!(first.comment.as_deref(), Some("the one"));
    let response = first.response.as_ref().unwrap();
    assert_eq!(response.headers.get_all("set-cookie").count(), 2, "duplicates stay apart");
    assert!(first.response_body.identity, "decoded, though the head names a coding");
    let upstream = first.upstream.as_ref().unwrap().address.unwrap();
    assert_eq!(upstream.to_string(), "93.184.216.34:8443");
    let timings = first.timings;
    assert_eq!(timings.connect.unwrap().as_millis(), 30, "TLS counts to connecting");
    assert_eq!((timings.wait.as_millis(), timings.total.as_millis()), (60, 120));
    assert_eq!(text(&place, 0, BodySide::Request).as_deref(), Some("{\"id\": 12}"));
    assert_eq!(text(&place, 0, BodySide::Response).as_deref(), Some("made"));
    assert!(
        matches!(&exchanges[1].summary.state, ExchangeState::Failed(_)),
        "{:?}",
        exchanges[1].summary.state
    );
    assert_eq!(exchanges[2].response.as_ref().unwrap().version, Version::HTTP_2);
    assert_eq!(exchanges[2].response_body.stored_bytes, 8);
    assert_eq!(exchanges[3].summary.kind, ExchangeKind::Tunnel);
}

#[test]
fn xml_sessions_are_told_by_their_content_and_read() {
    let place = Place::new();
    let summary = read(&place.store, XML.as_bytes(), &ImportOptions::default()).unwrap();
    assert_eq!((summary.total_entries, summary.imported), (2, 2), "{:?}", summary.warnings);
    let exchanges = place.exchanges(None);
    let first = &exchanges[0];
    assert_eq!(first.summary.url, "https://api.example.com:8443/v1/items?page=2&q=%22");
    assert_eq!(first.request.headers.get_str("x-escaped"), Some("a & b << "));
    assert!(summary.warnings[0].to_string().contains("&big;"), "{:?}", summary.warnings);
    assert_eq!(first.timings.connect.unwrap().as_millis(), 30);
    assert_eq!(text(&place, 0, BodySide::Request).as_deref(), Some("{\"id\": \"<12>\"}"));
    assert_eq!(text(&place, 0, BodySide::Response).as_deref(), Some("made"));
    assert!(matches!(exchanges[1].summary.state, ExchangeState::Failed(_)));
}

#[test]
fn bytes_that_are_still_coded_are_decoded_when_they_are_read() {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"the text").unwrap();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, gzip.finish().unwrap());
    let file = format!(
        r#"[{{"method":"GET","scheme":"http","host":"a.test","path":"/","request":{{}},"response":{{"status":200,
        "header":{{"headers":[{{"name":"content-encoding","value":"gzip"}}]}},"body":{{"encoding":"base64","encoded":"{encoded}"}}}}}}]"#
    );
    let place = Place::new();
    read(&place.store, file.as_bytes(), &ImportOptions::default()).unwrap();
    let exchange = &place.exchanges(None)[0];
    assert!(!exchange.response_body.identity);
    let body = place.store.body(exchange.summary.seq, BodySide::Response).unwrap().unwrap();
    assert_eq!(body.decode(100).bytes, "the text");
}

#[test]
fn what_is_no_session_is_refused_and_leaves_nothing() {
    let deep = format!("<charles-session>{}", "<a>".repeat(200));
    for (file, kind) in [
        (&b"<a/><!-- charles-session -->"[..], "its root is"),
        (b"<charles-session><transaction>", "middle of an element"),
        (b"<charles-session></transaction>", "session of Charles"),
        (deep.as_bytes(), "nested too deep"),
        (b"[{\"method\":\"GET\",\"host\":", "at line 1"),
    ] {
        let place = Place::new();
        let error = read(&place.store, file, &ImportOptions::default()).unwrap_err();
        assert!(error.to_string().contains(kind), "{error}");
        assert!(place.store.sessions().unwrap().is_empty());
    }
}
