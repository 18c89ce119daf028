//! Peers that take nothing, and waits that must end: what is held for them is bounded, and so is how long.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use proxy_core::{FailureKind, Outcome, ProxyBuilder, Timeouts};
use testkit::{H2Origin, Origin, RawOrigin, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::Lab;

/// What the proxy may hold for one stalled exchange, the kernel's buffers on both sides included.
const MAX_HELD_BYTES: usize = 24 << 20;

fn hasty(builder: ProxyBuilder) -> ProxyBuilder {
    let mut timeouts = Timeouts::default();
    timeouts.idle_body = Duration::from_millis(400);
    builder.timeouts(timeouts)
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let lab = Lab::with(hasty).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("GET /bytes/1000000000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let told = lab.log.one().await;
    assert_eq!(told.failure(), FailureKind::ClientTimeout);
    assert!(told.response_body.len() < MAX_HELD_BYTES, "{}", told.response_body.len());
    origin.until(|counts| counts.abandoned == 1).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_never_read_is_given_up_and_its_siblings_are_not() {
    let lab = Lab::with(hasty).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let tls = lab.client(&["h2"]).tls(&origin.authority()).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 20);
    let (sender, connection) = builder.handshake::<_, Bytes>(tls).await.unwrap();
    let driver = tokio::spawn(connection);
    let get = |path: &str| Request::get(format!("https://{}{path}", origin.authority())).body(()).unwrap();
    let mut sender = sender.ready().await.unwrap();
    // Its window stays shut, as nothing of it is released; the connection's has room for the sibling.
    let (stalled, _) = sender.send_request(get("/bytes/1000000000"), true).unwrap();
    let mut stalled = stalled.await.unwrap().into_body();
    let held = stalled.data().await.unwrap().unwrap().len();
    stalled.flow_control().release_capacity(held).unwrap();
    let mut sender = sender.ready().await.unwrap();
    let (sibling, _) = sender.send_request(get("/json"), true).unwrap();
    let mut sibling = sibling.await.unwrap().into_body();
    while sibling.data().await.is_some() {}
    let told = lab.log.ended(2).await;
    assert_eq!(told[0].failure(), FailureKind::ClientTimeout, "{:?}", told[0].endings);
    assert!(told[0].response_body.len() < MAX_HELD_BYTES, "{}", told[0].response_body.len());
    assert_eq!(told[1].outcome(), &Outcome::Response);
    driver.abort();
}

#[tokio::test]
async fn an_upstream_that_never_reads_is_a_504() {
    let lab = Lab::with(hasty).await;
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![vec![Step::ReadHead, Step::Wait]])
        .await
        .unwrap();
    let tls = lab.client(&["http/1.1"]).tls(&origin.authority()).await.unwrap();
    let (mut read, mut write) = tokio::io::split(tls);
    let sending = tokio::spawn(async move {
        write.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
        let piece = vec![b'x'; 64 * 1024];
        while write.write_all(&piece).await.is_ok() {}
    });
    let mut head = [0; 12];
    read.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 504");
    let told = lab.log.one().await;
    assert_eq!(told.failure(), FailureKind::UpstreamTimeout);
    assert!(told.request_body.len() < MAX_HELD_BYTES, "{}", told.request_body.len());
    drop(read);
    sending.abort();
}

#[tokio::test]
async fn an_upstream_stream_that_is_never_read_is_a_504() {
    let lab = Lab::with(hasty).await;
    let origin = H2Origin::start(&lab.origin_ca, |request, respond| async move {
        let _held = (request, respond);
        std::future::pending::<()>().await;
    })
    .await
    .unwrap();
    let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let request = client.request(http::Method::POST, "/", testkit::pattern(1_000_000_000)).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 504);
    let told = lab.log.one().await;
    assert_eq!(told.failure(), FailureKind::UpstreamTimeout);
    assert!(told.request_body.len() < MAX_HELD_BYTES, "{}", told.request_body.len());
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_passes_ends() {
    let mut timeouts = Timeouts::default();
    timeouts.peek = Duration::from_millis(20);
    timeouts.idle_body = Duration::from_millis(100);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let origin = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    // One that never carried anything, and one that stopped.
    let silent = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let mut stopped = testkit::RawClient::over(lab.client(&[]).tunnel(&origin.authority()).await.unwrap());
    stopped.send(b"\x00").await.unwrap();
    assert_eq!(testkit::RawClient::over(silent).read_to_end().await.unwrap(), Bytes::new());
    let _ = stopped.read_to_end().await;
    // Both were silent: whichever is noticed first.
    let failure = lab.log.one().await.failure();
    assert!(matches!(failure, FailureKind::ClientTimeout | FailureKind::UpstreamTimeout), "{failure:?}");
}

#[tokio::test]
async fn an_idle_http2_client_is_told_goodbye_and_not_waited_for() {
    let mut timeouts = Timeouts::default();
    timeouts.keep_alive = Duration::from_millis(50);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut tls = lab.client(&["h2"]).tls(&origin.authority()).await.unwrap();
    // A preface and empty settings, and not another word: not even an answer to the goodbye's ping.
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut all = Vec::new();
    let _ = tls.read_to_end(&mut all).await;
    assert!(all.windows(9).any(|frame| frame[3] == 7 && frame[5..] == [0; 4]), "no GOAWAY: {all:?}");
}

#[tokio::test]
async fn a_silent_tls_client_and_a_silent_tls_upstream_are_given_up() {
    let mut timeouts = Timeouts::default();
    timeouts.handshake = Duration::from_millis(100);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let silent = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).https(&silent.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 504);
    assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamTimeout);
    // A hello that stops in the middle.
    let mut tunnel = lab.client(&[]).tunnel(&silent.authority()).await.unwrap();
    tunnel.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut all = Vec::new();
    let _ = tunnel.read_to_end(&mut all).await;
    assert_eq!(lab.log.ended(2).await[1].failure(), FailureKind::ClientTls);
}
