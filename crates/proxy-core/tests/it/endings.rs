//! Every exchange ends exactly once, whatever happens to it.

use std::{sync::Arc, time::Duration};

use http::Request;
use proxy_core::{
    Event, EventKind, ExchangeId, FailureKind, Interceptor, Observer, Outcome, RequestHead, Timeouts, Verdict,
};
use testkit::{H2Origin, Origin, RawOrigin, Step, full};
use tokio::{net::TcpStream, sync::Notify};

use crate::lab::{Lab, Told};

/// Never decides.
struct Ponders;

impl Interceptor for Ponders {
    fn request<'a>(
        &'a self,
        _: ExchangeId,
        _: &'a mut RequestHead,
    ) -> std::pin::Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

/// Asks the proxy something over HTTP/1.1 and resets the connection once enough was told of it.
async fn ask_and_reset(lab: &Lab, url: &str, enough: fn(&Told) -> bool) {
    use tokio::io::AsyncWriteExt;
    let mut tcp = TcpStream::connect(lab.addr).await.unwrap();
    tcp.write_all(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    lab.log.until("the request", |told| told.iter().any(enough)).await;
    tcp.set_zero_linger().unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_while_an_interceptor_ponders() {
    let lab = Lab::with(|builder| builder.interceptor(Ponders)).await;
    ask_and_reset(&lab, "http://a/", |_| true).await;
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientLeft);
}

#[tokio::test]
async fn a_stream_that_is_reset_and_a_connection_that_goes_while_an_interceptor_ponders() {
    let lab = Lab::with(|builder| builder.interceptor(Ponders)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let tls = lab.client(&["h2"]).tls(&origin.authority()).await.unwrap();
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut streams = Vec::new();
    let mut sender = sender.ready().await.unwrap();
    for _ in 0..50 {
        let request = Request::get(format!("https://{}/", origin.authority())).body(()).unwrap();
        streams.push(sender.send_request(request, true).unwrap());
        sender = sender.ready().await.unwrap();
    }
    lab.log.until("50 requests", |told| told.len() == 50).await;
    streams.pop().unwrap().1.send_reset(h2::Reason::CANCEL);
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientLeft);
    driver.abort();
    let told = lab.log.ended(50).await;
    assert!(told.iter().all(|told| told.failure() == FailureKind::ClientLeft));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_leaves_while_upstream_is_dialled() {
    let lab = Lab::new().await;
    // An address that neither accepts nor refuses: its queue of one is full.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let _listener = socket.listen(0).unwrap();
    let _filler = TcpStream::connect(addr).await.unwrap();
    ask_and_reset(&lab, &format!("http://{addr}/"), |_| true).await;
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientLeft);
}

#[tokio::test]
async fn fifty_streams_on_a_connection_that_breaks() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let tls = lab.client(&["h2"]).tls(&origin.authority()).await.unwrap();
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..50 {
        let request =
            Request::get(format!("https://{}/bytes/100000000", origin.authority())).body(()).unwrap();
        streams.push(sender.send_request(request, true).unwrap());
        sender = sender.ready().await.unwrap();
    }
    lab.log
        .until("50 responses", |told| told.iter().filter(|told| told.response.is_some()).count() == 50)
        .await;
    driver.abort();
    let told = lab.log.ended(50).await;
    assert!(told.iter().all(|told| told.failure() == FailureKind::ClientLeft));
}

#[tokio::test]
async fn fifty_streams_whose_upstream_connection_breaks() {
    let lab = Lab::new().await;
    let (all_here, go) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), Arc::new(Notify::new()));
    let counted = all_here.clone();
    let origin = H2Origin::start(&lab.origin_ca, move |_request, mut respond| {
        let counted = counted.clone();
        async move {
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            stream.send_data("half".into(), false).unwrap();
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    })
    .await
    .unwrap();
    let client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let sender = client.h2_sender().unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (mut sender, uri) = (sender.clone(), format!("https://{}/", origin.authority()));
        requests.spawn(async move {
            let request = Request::get(uri).body(full("")).unwrap();
            http_body_util::BodyExt::collect(sender.send_request(request).await.unwrap().into_body())
                .await
                .is_err()
        });
    }
    lab.log
        .until("50 halves", |told| told.iter().filter(|told| told.response_body == "half").count() == 50)
        .await;
    drop(origin);
    go.notify_one();
    let told = lab.log.ended(50).await;
    assert!(told.iter().all(|told| told.failure().side() == proxy_core::Side::Upstream));
    assert!(requests.join_all().await.into_iter().all(|failed| failed));
}

#[tokio::test]
async fn an_observer_that_panics_takes_nothing_with_it() {
    struct Clumsy;
    impl Observer for Clumsy {
        fn observe(&self, event: &Event) {
            if !matches!(event.kind, EventKind::ResponseBody(_)) {
                panic!("by the test");
            }
        }
    }
    // It is asked before the log is, and the log still hears everything.
    let lab = Lab::with(|builder| builder.observer(Clumsy).observer(Clumsy)).await;
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/json").await.unwrap().status, 200);
    }
    assert!(lab.log.ended(2).await.iter().all(|told| told.outcome() == &Outcome::Response));
}

#[tokio::test]
async fn a_malformed_chunk_in_a_request_is_answered_400() {
    let lab = Lab::new().await;
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![vec![Step::ReadToEnd]]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n")
        .await
        .unwrap();
    let answer = client.read_to_end().await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    let told = lab.log.one().await;
    assert_eq!((told.failure(), told.status()), (FailureKind::ClientMalformed, Some(400)));
    assert!(!told.request_ended);
}

#[tokio::test]
async fn a_body_shorter_than_its_length_is_a_client_that_left() {
    let lab = Lab::new().await;
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![vec![Step::ReadToEnd]]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    client.half_close().await.unwrap();
    let told = lab.log.one().await;
    assert_eq!((told.failure(), told.request_ended), (FailureKind::ClientLeft, false));
    assert_eq!(told.request_body, "half");
}

#[tokio::test]
async fn a_long_talk_of_one_side_is_not_cut_as_idle() {
    // The client says nothing after its request's first piece, the origin goes on and on.
    let mut timeouts = Timeouts::default();
    timeouts.idle_body = Duration::from_millis(300);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let origin = H2Origin::start(&lab.origin_ca, |_request, mut respond| async move {
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.send_data("tick".into(), false).unwrap();
        }
        stream.send_data("last".into(), true).unwrap();
    })
    .await
    .unwrap();
    let tls = lab.client(&["h2"]).tls(&origin.authority()).await.unwrap();
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("https://{}/", origin.authority())).body(()).unwrap();
    let (response, _body) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    let mut stream = response.await.unwrap().into_body();
    let mut all = Vec::new();
    while let Some(data) = stream.data().await {
        all.extend_from_slice(&data.unwrap());
    }
    assert!(all.ends_with(b"last"));
    driver.abort();
}

#[tokio::test]
async fn a_client_that_leaves_while_upstream_is_silent() {
    let lab = Lab::new().await;
    let origin = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    ask_and_reset(&lab, &format!("http://{}/", origin.authority()), |told| !told.upstream.is_empty()).await;
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientLeft);
    origin.finished(1).await.unwrap();
}

#[tokio::test]
async fn what_a_shutdown_cuts_is_told_once_each() {
    let mut lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let tls = lab.client(&["h2"]).tls(&origin.authority()).await.unwrap();
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut streams = Vec::new();
    let mut sender = sender.ready().await.unwrap();
    for path in ["slow-headers", "bytes/100000000", "slow-headers"] {
        let request = Request::get(format!("https://{}/{path}", origin.authority())).body(()).unwrap();
        streams.push(sender.send_request(request, true).unwrap());
        sender = sender.ready().await.unwrap();
    }
    let raw = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    let mut tunnel = testkit::RawClient::over(lab.client(&[]).tunnel(&raw.authority()).await.unwrap());
    tunnel.send(b"\x00").await.unwrap();
    let mut socket = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    socket
        .send(
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .await
        .unwrap();
    socket.read_head().await.unwrap();
    lab.log.until("five exchanges", |told| told.len() == 5).await;
    let drained = lab.proxy.take().unwrap().shutdown(Duration::from_millis(50)).await;
    assert_eq!(drained.cut_connections, 3);
    assert!(lab.log.ended(5).await.iter().all(|told| told.failure() == FailureKind::Shutdown));
    driver.abort();
}
