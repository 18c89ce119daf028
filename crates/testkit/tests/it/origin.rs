//! The routes, in both versions.

use bytes::Bytes;
use http::{Method, Version};
use http_body_util::BodyExt;
use testkit::{Checksum, HttpClient, Origin, TestCa, full, pattern, pattern_bytes};

use crate::pair;

#[tokio::test]
async fn both_versions_answer_every_simple_route() {
    for (alpn, version) in [("h2", Version::HTTP_2), ("http/1.1", Version::HTTP_11)] {
        let (_origin, mut client) = pair(&[alpn]).await;
        assert_eq!(client.version(), version);
        for (path, status, contains) in [
            ("/", 200, "hello"),
            ("/json", 200, "greeting"),
            ("/headers", 200, "\"method\":\"GET\""),
            ("/status/418", 418, "status 418"),
            ("/br", 200, "hello"),
            ("/zstd", 200, "hello"),
            ("/cookies", 200, "two cookies"),
            ("/redirect", 302, "over there"),
            ("/html", 200, "<!doctype html>"),
            ("/html/script.js", 200, "WebSocket"),
            ("/ws-refuse", 403, "no WebSocket"),
            ("/nowhere", 404, "no such route"),
        ] {
            let answer = client.get(path).await.unwrap();
            assert_eq!(answer.status, status, "{path}");
            assert!(answer.text().contains(contains), "{path}: {}", answer.text());
        }
        assert_eq!(client.get("/status/204").await.unwrap().body, Bytes::new());
    }
}

#[tokio::test]
async fn bodies_come_whole_and_uploads_are_summed() {
    for alpn in ["h2", "http/1.1"] {
        let (_origin, mut client) = pair(&[alpn]).await;
        let length = 300_000;
        let expected = Checksum::of(&pattern_bytes(length));

        let sized = client.get("/bytes/300000").await.unwrap();
        assert_eq!(sized.header("content-length"), Some("300000"));
        assert_eq!(Checksum::of(&sized.body), expected);
        let chunked = client.get("/chunked/300000").await.unwrap();
        assert_eq!(chunked.header("content-length"), None);
        assert_eq!(Checksum::of(&chunked.body), expected);

        let echoed = client.post("/echo", pattern(length as u64)).await.unwrap();
        assert_eq!(Checksum::of(&echoed.body), expected);
        let summed = client.post("/upload", pattern(length as u64)).await.unwrap();
        assert_eq!(summed.text(), format!(r#"{{"bytes":300000,"crc32":{expected},"trailers":0}}"#));
    }
}

#[tokio::test]
async fn events_come_one_by_one_as_released() {
    let (origin, mut client) = pair(&["h2"]).await;
    let request = client.request(Method::GET, "/sse?events=2", full("")).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    for index in 1..=2 {
        origin.release();
        let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(event.starts_with(format!("id: {index}\n").as_bytes()), "{event:?}");
    }
    assert_eq!(body.collect().await.unwrap().to_bytes(), "");
}

#[tokio::test]
async fn trailers_follow_the_body() {
    for alpn in ["h2", "http/1.1"] {
        let (_origin, mut client) = pair(&[alpn]).await;
        let mut request = client.request(Method::GET, "/trailers", full("")).unwrap();
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let answer = client.fetch(request).await.unwrap();
        assert_eq!(answer.trailers.unwrap()["x-checksum"], "abc123");
    }
}

#[tokio::test]
async fn response_left_before_its_end_is_counted() {
    for alpn in ["h2", "http/1.1"] {
        let (origin, mut client) = pair(&[alpn]).await;
        let request = client.request(Method::GET, "/slow-body", full("")).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        assert!(body.frame().await.unwrap().is_ok());
        drop((body, client));
        let counts = origin.until(|counts| counts.abandoned == 1 && counts.closed == 1).await.unwrap();
        assert_eq!((counts.connections, counts.requests), (1, 1));
    }
}

#[tokio::test]
async fn bad_certificates_are_refused_by_a_client_that_verifies() {
    let ca = TestCa::new().unwrap();
    let names = ["localhost"];
    for leaf in [ca.expired(&names), ca.wrong_name(), TestCa::self_signed(&names)] {
        let origin = Origin::builder().leaf(leaf.unwrap()).start().await.unwrap();
        let tls = ca.client_config(&["h2"]).unwrap();
        let refused = HttpClient::direct(origin.addr(), &origin.authority(), tls).await;
        assert!(refused.unwrap_err().to_string().contains("certificate"));
        origin.until(|counts| counts.refused == 1).await.unwrap();
    }
}

#[tokio::test]
async fn shutdown_closes_what_is_open() {
    let (origin, mut client) = pair(&["http/1.1"]).await;
    client.get("/").await.unwrap();
    let seen = origin.seen();
    assert_eq!(seen[0].uri, "/");
    origin.shutdown().await;
    assert!(client.get("/").await.is_err());
}
