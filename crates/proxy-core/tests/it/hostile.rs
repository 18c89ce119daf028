//! Bytes that are no valid message, and peers that go too far.

use std::time::Duration;

use proxy_core::{FailureKind, Limits, Timeouts};
use testkit::{RawOrigin, Step};

use crate::lab::Lab;

#[tokio::test]
async fn ambiguous_requests_are_refused_with_400_and_recorded() {
    let lab = Lab::new().await;
    let origin = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    let host = origin.authority();
    for (index, rest) in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "Content-Length: +4\r\n\r\nabcd",
        "Transfer-Encoding: chun\u{212A}ed\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n b\r\n\r\n",
        "X: a\nY: b\r\n\r\n",
        "X: a\0b\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = lab.client(&[]).raw().await.unwrap();
        client.send(format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{rest}")).await.unwrap();
        let answer = client.read_to_end().await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{rest:?}: {answer:?}");
        let told = lab.log.ended(index + 1).await.remove(index);
        assert_eq!(told.failure(), FailureKind::ClientMalformed, "{rest:?}");
    }
    assert_eq!(origin.connections(), 0, "nothing of them reached the origin");
}

#[tokio::test]
async fn a_malformed_response_answers_502() {
    for response in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ] {
        let lab = Lab::new().await;
        let origin = RawOrigin::plain(vec![vec![Step::ReadHead, Step::send(response)]]).await.unwrap();
        let mut client = lab.client(&[]).raw().await.unwrap();
        client
            .send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority()))
            .await
            .unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 502"), "{response:?}");
        assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamMalformed, "{response:?}");
    }
}

#[tokio::test]
async fn an_endless_head_is_cut_at_the_limit() {
    let mut limits = Limits::default();
    limits.max_head_bytes = 8 * 1024;
    let lab = Lab::with(|builder| builder.limits(limits)).await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send("GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n").await.unwrap();
    client.send(format!("X: {}\r\n", "a".repeat(9 * 1024))).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 431"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::Limit);
}

#[tokio::test]
async fn an_endless_run_of_interim_responses_ends() {
    let lab = Lab::new().await;
    let flood = "HTTP/1.1 102 Processing\r\n\r\n".repeat(300);
    let origin =
        RawOrigin::plain(vec![vec![Step::ReadHead, Step::send(flood), Step::ReadToEnd]]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let request =
        format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n", origin.authority());
    client.send(request).await.unwrap();
    let all = client.read_to_end().await.unwrap();
    assert!(String::from_utf8_lossy(&all).contains("HTTP/1.1 502"));
    let told = lab.log.one().await;
    assert_eq!((told.failure(), told.informational.len()), (FailureKind::Limit, 100));
}

#[tokio::test]
async fn a_slow_head_times_out_with_408() {
    let mut timeouts = Timeouts::default();
    timeouts.request_head = Duration::from_millis(50);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send("GET http://127.0.0.1:1/ HTTP/1.1\r\nHos").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 408"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientTimeout);
}

#[tokio::test]
async fn a_silent_upstream_times_out_with_504() {
    let mut timeouts = Timeouts::default();
    timeouts.response_head = Duration::from_millis(50);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let origin = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority())).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 504"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamTimeout);
}

#[tokio::test]
async fn a_hello_byte_by_byte_does_not_slip_past_interception() {
    let lab = Lab::new().await;
    let origin = testkit::Origin::https(&lab.origin_ca).await.unwrap();
    let tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let config = testkit::client_config(&lab.ca_pem, &["http/1.1"]).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let drip = Drip(tunnel);
    // The handshake succeeds only against the proxy's own leaf.
    let tls = tokio_rustls::TlsConnector::from(config).connect(name, drip).await.unwrap();
    let mut client = testkit::HttpClient::http1(tls, String::new(), &origin.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

/// Writes one byte at a time.
struct Drip(tokio::net::TcpStream);

impl tokio::io::AsyncRead for Drip {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Drip {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, &buf[..buf.len().min(1)])
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
