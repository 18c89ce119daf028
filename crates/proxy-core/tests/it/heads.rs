//! Heads: what passes, what stays, what is recorded.

use http::Version;
use proxy_core::Outcome;
use testkit::{Origin, RawOrigin, Step};

use crate::lab::{Lab, lines};

#[tokio::test]
async fn absolute_form_reaches_the_origin_in_origin_form_with_case_and_order_kept() {
    let lab = Lab::new().await;
    let response =
        "HTTP/1.1 203 Fine, Thanks\r\nX-One: 1\r\nserver: raw\r\nx-one: 2\r\nContent-Length: 2\r\n\r\nok";
    let origin =
        RawOrigin::plain(vec![vec![Step::ReadHead, Step::send(response), Step::ReadToEnd]]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let authority = origin.authority();
    client
        .send(format!(
            "GET http://{authority}/a//b?q=%41 HTTP/1.1\r\nHOST: {authority}\r\nX-B: 1\r\nx-a: 2\r\nX-b: 3\r\nProxy-Connection: keep-alive\r\n\r\n"
        ))
        .await
        .unwrap();
    assert_eq!(
        client.read_head().await.unwrap(),
        "HTTP/1.1 203 Fine, Thanks\r\nX-One: 1\r\nserver: raw\r\nx-one: 2\r\nContent-Length: 2\r\n\r\n"
    );
    assert_eq!(client.read(2).await.unwrap(), "ok");
    assert_eq!(
        String::from_utf8(origin.received(0)).unwrap(),
        format!("GET /a//b?q=%41 HTTP/1.1\r\nHOST: {authority}\r\nX-B: 1\r\nx-a: 2\r\nX-b: 3\r\n\r\n")
    );
    let told = lab.log.one().await;
    assert_eq!(told.outcome(), &Outcome::Response);
    assert_eq!(told.url(), format!("http://{authority}/a//b?q=%41"));
    let request = told.request.unwrap();
    assert_eq!(
        lines(&request.headers),
        [&format!("HOST: {authority}"), "X-B: 1", "x-a: 2", "X-b: 3", "Proxy-Connection: keep-alive"]
    );
    let response = told.response.unwrap();
    assert_eq!(response.reason.as_deref(), Some(&b"Fine, Thanks"[..]));
}

#[tokio::test]
async fn both_legs_speak_what_upstream_chose() {
    for (offered, served, expected) in [
        (&["h2", "http/1.1"][..], &["h2", "http/1.1"][..], Version::HTTP_2),
        (&["h2", "http/1.1"], &["http/1.1"], Version::HTTP_11),
        (&["http/1.1"], &["h2", "http/1.1"], Version::HTTP_11),
        (&[], &["h2", "http/1.1"], Version::HTTP_11),
    ] {
        let lab = Lab::new().await;
        let origin = Origin::builder().https(&lab.origin_ca).unwrap().alpn(served).start().await.unwrap();
        let mut client = lab.client(offered).https(&origin.authority()).await.unwrap();
        let answer = client.get("/json").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.version), (200, expected), "{offered:?} {served:?}");
        assert_eq!(origin.seen()[0].version, expected, "{offered:?} {served:?}");
        let told = lab.log.one().await;
        let tls = told.upstream[0].0.tls.clone().unwrap();
        assert_eq!(tls.alpn.as_deref() == Some("h2"), expected == Version::HTTP_2);
        assert!(!tls.certificates.is_empty() && tls.sni.as_deref() == Some("localhost"));
        let client_tls = told.client.unwrap().tls.clone().unwrap();
        assert_eq!(client_tls.alpn, tls.alpn);
        assert_eq!(told.request.unwrap().version, expected);
    }
}

#[tokio::test]
async fn upstream_connections_are_reused_within_one_client_and_never_between_two() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    for _ in 0..2 {
        let mut client = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
    }
    let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 1, 1]);
    let reused: Vec<_> = lab.log.ended(6).await.iter().map(|told| told.upstream[0].1).collect();
    assert_eq!(reused, [false, true, true, false, true, true]);
}

#[tokio::test]
async fn timings_and_sizes_are_told() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
    client.get("/bytes/5000").await.unwrap();
    let told = lab.log.one().await;
    let ending = &told.endings[0];
    assert_eq!(ending.sizes.response_body, 5000);
    assert!(ending.sizes.request_head > 20 && ending.sizes.response_head > 20);
    let timings = ending.timings;
    assert!(timings.connect.unwrap() >= timings.ssl.unwrap() && timings.dns.is_some());
    assert!(timings.total >= timings.wait + timings.receive);
}

#[tokio::test]
async fn interim_responses_pass_in_order_and_are_recorded() {
    let lab = Lab::new().await;
    let script = vec![
        Step::ReadHead,
        Step::send(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
        ),
        Step::Wait,
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Step::ReadToEnd,
    ];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(
        client.read_head().await.unwrap(),
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    );
    assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 102 Processing\r\n\r\n");
    origin.release();
    assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let told = lab.log.one().await;
    let statuses: Vec<_> = told.informational.iter().map(|head| head.status.as_u16()).collect();
    assert_eq!(statuses, [103, 102]);
    assert_eq!(told.status(), Some(200));
}

#[tokio::test]
async fn lengths_of_responses_without_content_are_kept() {
    for (method, response) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ] {
        let lab = Lab::new().await;
        let script =
            vec![Step::ReadHead, Step::send(response), Step::ReadHead, Step::send(response), Step::ReadToEnd];
        let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
        let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
        // Twice on one connection: nothing of a body was left on it.
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n")).await.unwrap();
            assert_eq!(client.read_head().await.unwrap(), response, "{method}");
        }
        assert_eq!(lab.log.ended(2).await[1].outcome(), &Outcome::Response, "{response}");
    }
}

#[tokio::test]
async fn expectations_are_the_origins_to_answer() {
    let lab = Lab::new().await;
    let agrees = vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 100 Continue\r\n\r\n"),
        Step::Read(5),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Step::ReadToEnd,
    ];
    let refuses = vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"),
        Step::ReadToEnd,
    ];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![agrees, refuses]).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send(request).await.unwrap();
    assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send(request).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 417"));
    client.read_to_end().await.unwrap();
    let told = lab.log.ended(2).await;
    assert_eq!(told[0].request_body, "hello");
    assert_eq!((told[1].status(), told[1].outcome()), (Some(417), &Outcome::Response));
}

#[tokio::test]
async fn sixty_kilobytes_of_fields_pass_in_either_version() {
    for alpn in ["h2", "http/1.1"] {
        let lab = Lab::new().await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let large = "x".repeat(6_000);
        let mut client = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
        let mut request = client.request(http::Method::GET, "/json", testkit::full("")).unwrap();
        for number in 0..10 {
            let name = http::HeaderName::try_from(format!("x-large-{number}")).unwrap();
            request.headers_mut().insert(name, http::HeaderValue::from_str(&large).unwrap());
        }
        // What the origin makes of it is its own: the testkit's takes 16 KiB over HTTP/2.
        let _ = client.fetch(request).await;
        let told = lab.log.one().await;
        assert_eq!(told.upstream.len(), 1, "{alpn}: it was passed on");
        let recorded = told.request.unwrap();
        assert_eq!(recorded.headers.iter().filter(|field| field.value == large).count(), 10, "{alpn}");
    }
}
