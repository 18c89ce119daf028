//! Connections that carry more than one exchange, and those that must not.

use proxy_core::{FailureKind, Outcome};
use testkit::{Origin, RawOrigin, Step};

use crate::lab::{Lab, lines};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    let all: String = ["/status/201", "/bytes/10000", "/status/203"]
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect();
    client
        .send(format!("{all}POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nend"))
        .await
        .unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 201"));
    client.read(11).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    client.read(10_000).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 203"));
    client.read_until(b"end").await.unwrap();
    let told = lab.log.ended(4).await;
    assert!(told.iter().all(|told| told.outcome() == &Outcome::Response));
    assert_eq!(origin.counts().connections, 1);
}

#[tokio::test]
async fn bytes_after_a_response_make_the_connection_unfit() {
    let lab = Lab::new().await;
    let extra = vec![Step::ReadHead, Step::send(format!("{OK}HTTP/1.1 200 Evil\r\n\r\n")), Step::ReadToEnd];
    let fresh = vec![Step::ReadHead, Step::send(OK), Step::ReadToEnd];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![extra, fresh]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(client.read_head().await.unwrap(), OK);
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn what_either_side_says_of_its_connection_holds_inside_a_tunnel() {
    for (request, response) in [
        ("Connection: close", ""),
        ("", "Connection: close\r\n"),
        ("Connection: keep-alive", "connection: Close\r\n"),
        ("Connection: close", "Connection: close\r\n"),
    ] {
        let lab = Lab::new().await;
        let answer = format!("HTTP/1.1 200 OK\r\n{response}Content-Length: 2\r\n\r\nok");
        let script = vec![Step::ReadHead, Step::send(&answer), Step::ReadToEnd];
        let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
        let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
        let request = if request.is_empty() { String::new() } else { format!("{request}\r\n") };
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{request}\r\n");
        client.send(&request).await.unwrap();
        let all = String::from_utf8(client.read_to_end().await.unwrap().to_vec()).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.to_lowercase().matches("connection: close").count(), 1, "{head}");
        assert_eq!(body, "ok");
        assert_eq!(String::from_utf8(origin.received(0)).unwrap(), request);
    }
}

#[tokio::test]
async fn an_origin_that_closes_does_not_end_a_connection_to_the_proxy_itself() {
    let lab = Lab::new().await;
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let origin = RawOrigin::plain(vec![vec![Step::ReadHead, Step::send(answer)]]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    for _ in 0..2 {
        let request = format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority());
        client.send(request).await.unwrap();
        assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        client.read(2).await.unwrap();
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn an_http10_client_gets_what_it_asks_for() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let host = origin.authority();
    let mut client = lab.client(&[]).raw().await.unwrap();
    for path in ["/json", "/missing"] {
        let request = format!("GET http://{host}{path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        client.send(request).await.unwrap();
        let head = client.read_head().await.unwrap().to_lowercase();
        assert!(head.contains("connection: keep-alive") && head.contains("content-length: "), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        client.read(length.parse().unwrap()).await.unwrap();
    }
    // A body without a length ends with the connection, whatever the client asked for.
    let request = format!("GET http://{host}/chunked/50 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client.send(request).await.unwrap();
    let all = client.read_to_end().await.unwrap();
    assert!(all.ends_with(&testkit::pattern_bytes(50)), "{all:?}");
    let head = String::from_utf8_lossy(&all).to_lowercase();
    assert!(!head.contains("transfer-encoding") && !head.contains("keep-alive"), "{head}");
    // One that asks for nothing is closed.
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send(format!("GET http://{host}/json HTTP/1.0\r\n\r\n")).await.unwrap();
    client.read_to_end().await.unwrap();
}

#[tokio::test]
async fn a_local_answer_keeps_an_http10_connection_that_asks_for_it() {
    let lab = Lab::new().await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    for _ in 0..2 {
        let request = "HEAD http://wirescope.test/ HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
        client.send(request).await.unwrap();
        let head = client.read_head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("Connection: keep-alive\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_body_longer_than_its_length_is_no_request() {
    let lab = Lab::new().await;
    let script = vec![Step::read_until("abc"), Step::send(OK), Step::ReadToEnd];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcdef\r\n\r\n").await.unwrap();
    assert_eq!(client.read_head().await.unwrap(), OK);
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 400"));
    let told = lab.log.ended(2).await;
    assert_eq!((told[0].outcome(), told[1].failure()), (&Outcome::Response, FailureKind::ClientMalformed));
    assert!(origin.received(0).ends_with(b"\r\n\r\nabc"));
}

#[tokio::test]
async fn a_final_answer_to_an_expectation_says_that_the_connection_closes() {
    let lab = Lab::new().await;
    let script =
        vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Step::ReadToEnd];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.send(request).await.unwrap();
    let all = client.read_to_end().await.unwrap();
    assert_eq!(all, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
}

#[tokio::test]
async fn a_client_told_to_continue_keeps_its_connection() {
    let lab = Lab::new().await;
    // The origin answers before it has the body it asked for.
    let script = vec![
        Step::ReadHead,
        Step::send(format!("HTTP/1.1 100 Continue\r\n\r\n{OK}")),
        Step::Read(5),
        Step::ReadHead,
        Step::send(OK),
        Step::ReadToEnd,
    ];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.send(request).await.unwrap();
    assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.read_head().await.unwrap(), OK);
    client.send("helloGET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(client.read_head().await.unwrap(), OK);
    assert_eq!(lab.log.ended(2).await[0].request_body, "hello");
}

#[tokio::test]
async fn an_expectation_over_http2_is_the_origins_to_answer() {
    let lab = Lab::new().await;
    let origin = testkit::H2Origin::start(&lab.origin_ca, |mut request, mut respond| async move {
        if request.uri().path() == "/refuse" {
            let refusal = http::Response::builder().status(417).body(()).unwrap();
            respond.send_response(refusal, true).unwrap();
            return;
        }
        respond.send_informational(http::Response::builder().status(100).body(()).unwrap()).unwrap();
        while request.body_mut().data().await.is_some() {}
        respond.send_response(http::Response::new(()), true).unwrap();
    })
    .await
    .unwrap();
    let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    for (path, status) in [("/refuse", 417), ("/", 200)] {
        let mut request = client.request(http::Method::POST, path, testkit::full("hello")).unwrap();
        request.headers_mut().insert("expect", http::HeaderValue::from_static("100-continue"));
        assert_eq!(client.fetch(request).await.unwrap().status, status);
    }
    let told = lab.log.ended(2).await;
    assert_eq!((told[0].status(), told[0].outcome()), (Some(417), &Outcome::Response));
    assert_eq!(told[1].informational[0].status, 100);
}

#[tokio::test]
async fn targets_and_authorities_reach_the_origin_as_they_are() {
    let lab = Lab::new().await;
    let long = format!("/{}?q={}", "p".repeat(8 * 1024), "%41".repeat(3 * 1024));
    let script: Vec<_> =
        (0..6).flat_map(|_| [Step::ReadHead, Step::send(OK)]).chain([Step::ReadToEnd]).collect();
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let host = origin.authority();
    let mut client = lab.client(&[]).raw().await.unwrap();
    for (line, expected) in [
        (format!("GET http://{host}?x=1"), "GET /?x=1".to_owned()),
        (format!("GET http://user:secret@{host}/a"), "GET /a".to_owned()),
        (format!("OPTIONS http://{host}"), "OPTIONS *".to_owned()),
        (format!("get http://{host}/"), "get /".to_owned()),
        (format!("M-SEARCH http://{host}/..//%2e"), "M-SEARCH /..//%2e".to_owned()),
        (format!("GET http://{host}{long}"), format!("GET {long}")),
    ] {
        let before = origin.received(0).len();
        client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
        assert_eq!(client.read_head().await.unwrap(), OK, "{line}");
        let received = String::from_utf8(origin.received(0)).unwrap();
        assert_eq!(received[before..], format!("{expected} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    let told = lab.log.ended(6).await;
    assert!(told.iter().all(|told| !told.url().contains("secret")));
}

#[tokio::test]
async fn an_ipv6_authority_is_dialled_and_kept() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else { return };
    let host = format!("[::1]:{}", listener.local_addr().unwrap().port());
    let origin = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let length = tcp.read(&mut head).await.unwrap();
        tcp.write_all(OK.as_bytes()).await.unwrap();
        String::from_utf8(head[..length].to_vec()).unwrap()
    });
    let lab = Lab::new().await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
    assert_eq!(client.read_head().await.unwrap(), OK);
    assert_eq!(origin.await.unwrap(), format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let told = lab.log.one().await;
    assert_eq!(lines(&told.request.as_ref().unwrap().headers), [format!("Host: {host}")]);
    assert_eq!(told.url(), format!("http://{host}/"));
}
