//! Starting, stopping, and what interceptors decide.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use proxy_core::{
    CertificateAuthority, ErrorKind, ExchangeId, Failure, FailureKind, Interceptor, Outcome, Proxy,
    RequestHead, ResponseHead, ResponseSource, Timeouts, UpstreamSharing, Verdict,
};
use testkit::{Origin, full};
use tokio::io::AsyncWriteExt;

use crate::lab::Lab;

type Decision<'a> = std::pin::Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Answers `/mocked`, aborts `/aborted`, marks everything else on both sides.
struct Rules;

impl Interceptor for Rules {
    fn request<'a>(&'a self, _: ExchangeId, head: &'a mut RequestHead) -> Decision<'a> {
        Box::pin(async move {
            match head.target.as_str() {
                "/mocked" => Verdict::Respond {
                    head: ResponseHead::new(StatusCode::IM_A_TEAPOT),
                    body: Bytes::from_static(b"short and stout"),
                },
                "/aborted" => Verdict::Abort(Failure::new(FailureKind::Aborted, "by the test")),
                _ => {
                    head.headers.push("X-Added", "to-request");
                    Verdict::Continue
                }
            }
        })
    }

    fn response<'a>(&'a self, _: ExchangeId, _: &'a RequestHead, head: &'a mut ResponseHead) -> Decision<'a> {
        Box::pin(async move {
            head.headers.set("X-Added", "to-response");
            Verdict::Continue
        })
    }
}

#[tokio::test]
async fn interceptors_answer_abort_and_change() {
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let lab = Lab::with(|builder| builder.interceptor(Rules)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let mocked = client.post("/mocked", full("ignored by the mock")).await.unwrap();
        assert_eq!((mocked.status.as_u16(), mocked.text().as_str()), (418, "short and stout"));
        let changed = client.get("/").await.unwrap();
        assert_eq!(changed.header("x-added"), Some("to-response"));
        assert_eq!(origin.seen()[0].headers["x-added"], "to-request");
        assert!(client.get("/aborted").await.is_err());
        let told = lab.log.ended(3).await;
        assert_eq!((told[0].outcome(), told[0].source), (&Outcome::Mock, Some(ResponseSource::Mock)));
        assert_eq!(told[0].request_body, "ignored by the mock");
        assert!(!told[1].response.as_ref().unwrap().headers.contains("x-added"), "recorded as received");
        assert_eq!(told[2].failure(), FailureKind::Aborted);
    }
}

#[tokio::test]
async fn a_rule_may_answer_for_an_origin_that_is_not_there() {
    let lab = Lab::with(|builder| builder.interceptor(Rules)).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut client = lab.client(&["h2"]).https(&free.to_string()).await.unwrap();
    assert_eq!(client.get("/mocked").await.unwrap().status, 418);
    assert_eq!(client.get("/other").await.unwrap().status, 502);
    assert_eq!(lab.log.ended(2).await[1].failure(), FailureKind::ConnectionRefused);
}

#[tokio::test]
async fn timeouts_may_be_without_end() {
    let mut timeouts = Timeouts::default();
    for timeout in [
        &mut timeouts.dns,
        &mut timeouts.connect,
        &mut timeouts.parent,
        &mut timeouts.handshake,
        &mut timeouts.request_head,
        &mut timeouts.response_head,
        &mut timeouts.idle_body,
        &mut timeouts.keep_alive,
        &mut timeouts.upstream_idle,
        &mut timeouts.half_closed,
        &mut timeouts.hold_body,
        &mut timeouts.drain,
    ] {
        *timeout = Duration::MAX;
    }
    for sharing in [UpstreamSharing::PerClient, UpstreamSharing::Shared] {
        let timeouts = timeouts.clone();
        let mut lab = Lab::with(|builder| builder.timeouts(timeouts).upstream_sharing(sharing)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        for alpn in ["h2", "http/1.1"] {
            let mut client = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
            for _ in 0..2 {
                assert_eq!(client.get("/bytes/3000000").await.unwrap().body.len(), 3_000_000);
            }
        }
        let mut tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
        tunnel.shutdown().await.unwrap();
        lab.log.ended(4).await;
        lab.proxy.take().unwrap().shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let error = Proxy::builder(CertificateAuthority::in_memory().unwrap()).bind(addr).await.err().unwrap();
    assert_eq!(error.kind(), &ErrorKind::Bind { addr });
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[tokio::test]
async fn a_shutdown_lets_exchanges_finish_and_closes_idle_connections() {
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let mut lab = Lab::new().await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut idle = lab.client(alpn).https(&origin.authority()).await.unwrap();
        idle.get("/").await.unwrap();
        let mut busy = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let request = busy.request(Method::GET, "/slow-headers", full("")).unwrap();
        let answer = tokio::spawn(async move { busy.fetch(request).await });
        origin.until(|counts| counts.requests == 2).await.unwrap();
        let proxy = lab.proxy.take().unwrap();
        let stopping = tokio::spawn(proxy.shutdown(Duration::from_secs(20)));
        // From here on the proxy knows that it is to stop.
        while tokio::net::TcpStream::connect(lab.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(idle.get("/").await.is_err(), "an idle connection is closed");
        origin.release();
        assert_eq!(answer.await.unwrap().unwrap().status, 200);
        assert_eq!(stopping.await.unwrap().cut_connections, 0);
        assert_eq!(lab.log.ended(2).await[1].outcome(), &Outcome::Response);
        assert!(tokio::net::TcpStream::connect(lab.addr).await.is_err(), "nothing is left listening");
    }
}

#[tokio::test]
async fn what_is_left_at_the_drain_deadline_is_cut_and_told() {
    let mut lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut busy = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
    let request = busy.request(Method::GET, "/slow-headers", full("")).unwrap();
    let answer = tokio::spawn(async move { busy.fetch(request).await });
    origin.until(|counts| counts.requests == 1).await.unwrap();
    let drained = lab.proxy.take().unwrap().shutdown(Duration::from_millis(20)).await;
    assert_eq!(drained.cut_connections, 1);
    assert!(answer.await.unwrap().is_err());
    assert_eq!(lab.log.one().await.failure(), FailureKind::Shutdown);
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_its_response() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    client
        .send(format!("GET http://{0}/slow-headers HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority()))
        .await
        .unwrap();
    client.half_close().await.unwrap();
    origin.until(|counts| counts.requests == 1).await.unwrap();
    origin.release();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_reused_connection_that_upstream_closed_is_replaced() {
    use testkit::{RawOrigin, Step};
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let lab = Lab::new().await;
    // The first connection answers once, then closes when the second request is already there.
    let first = vec![Step::ReadHead, Step::send(ok), Step::ReadHead, Step::Cut];
    let second = vec![Step::ReadHead, Step::send(ok), Step::ReadToEnd];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![first, second]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    }
    assert_eq!(origin.connections(), 2);
    assert_eq!(lab.log.ended(2).await[1].upstream.len(), 2);
}

#[tokio::test]
async fn a_client_that_closes_its_half_of_tls_still_gets_its_response() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("GET /slow-headers HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    client.half_close().await.unwrap();
    origin.until(|counts| counts.requests == 1).await.unwrap();
    origin.release();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
}
