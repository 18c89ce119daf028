//! Bodies: streamed, whole, and cut.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use proxy_core::{FailureKind, Outcome};
use testkit::{Checksum, Origin, RawOrigin, Step, full, pattern, pattern_bytes};

use crate::lab::Lab;

const VERSIONS: [&[&str]; 2] = [&["http/1.1"], &["h2"]];

#[tokio::test]
async fn bodies_arrive_whole_in_both_directions_and_versions() {
    for alpn in VERSIONS {
        let lab = Lab::new().await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let size = 3_000_000;
        for path in ["/bytes/3000000", "/chunked/3000000"] {
            let answer = client.get(path).await.unwrap();
            assert_eq!(Checksum::of(&answer.body), Checksum::of(&pattern_bytes(size)), "{alpn:?} {path}");
        }
        let answer = client.post("/upload", pattern(size as u64)).await.unwrap();
        assert!(answer.text().contains("3000000"), "{alpn:?} {}", answer.text());
        let told = lab.log.ended(3).await;
        assert_eq!(told[0].response_body(), pattern_bytes(size));
        assert_eq!(told[1].response_body(), pattern_bytes(size));
        assert_eq!(told[2].request_body.len(), size);
        assert!(told[2].request_ended);
    }
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    for alpn in VERSIONS {
        let lab = Lab::new().await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let request = client.request(Method::GET, "/sse?events=3", full(Bytes::new())).unwrap();
        let mut events = client.send(request).await.unwrap().into_body();
        for _ in 0..3 {
            // The next event is not sent before this one was read here.
            origin.release();
            let frame = events.frame().await.unwrap().unwrap();
            assert!(frame.into_data().unwrap().starts_with(b"data:") || alpn.len() == 1);
        }
        while events.frame().await.is_some() {}
        assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    for alpn in VERSIONS {
        let lab = Lab::new().await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let mut request = client.request(Method::GET, "/trailers", full(Bytes::new())).unwrap();
        request.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
        let answer = client.fetch(request).await.unwrap();
        let trailers = answer.trailers.expect("trailers");
        let told = lab.log.one().await;
        let recorded = told.response_trailers.expect("recorded trailers");
        assert_eq!(recorded.len(), trailers.len());
        for header in &recorded {
            assert_eq!(trailers[&*header.name_text()].as_bytes(), &header.value[..]);
        }
    }
}

#[tokio::test]
async fn request_trailers_reach_the_origin() {
    let lab = Lab::new().await;
    let script = vec![
        Step::read_until("\r\n\r\nX-Sum: 1\r\n\r\n"),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Step::ReadToEnd,
    ];
    let script = {
        let mut script = script;
        script[0] = Step::read_until("X-Sum: 1\r\n\r\n");
        script
    };
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    client.send(format!("{request}3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    let received = String::from_utf8(origin.received(0)).unwrap();
    assert_eq!(received, format!("{request}3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"));
    assert_eq!(lab.log.one().await.request_trailers.unwrap().len(), 1);
}

#[tokio::test]
async fn a_response_until_close_stays_one() {
    let lab = Lab::new().await;
    let script = vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\n\r\nall of it")];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority())).await.unwrap();
    let all = client.read_to_end().await.unwrap();
    assert_eq!(all, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
}

#[tokio::test]
async fn a_cut_response_is_seen_as_cut_and_recorded_so() {
    for (response, last) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Step::Cut),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", Step::Cut),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Step::Reset),
    ] {
        let lab = Lab::new().await;
        let script = vec![Step::ReadHead, Step::send(response), Step::Wait, last.clone()];
        let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
        let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        client.read_until(b"half").await.unwrap();
        origin.release();
        let rest = client.read_to_end().await.unwrap_or_default();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut body must not end properly: {rest:?}");
        let told = lab.log.one().await;
        let expected = if matches!(last, Step::Reset) {
            FailureKind::UpstreamReset
        } else {
            FailureKind::UpstreamClosed
        };
        assert_eq!(told.failure(), expected, "{response} {last:?}");
        assert_eq!(told.response_body, "half");
    }
}

#[tokio::test]
async fn a_client_that_leaves_stops_upstream() {
    for alpn in VERSIONS {
        let lab = Lab::new().await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let request = client.request(Method::GET, "/bytes/1000000000", full(Bytes::new())).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        drop(client);
        origin.until(|counts| counts.abandoned == 1).await.unwrap();
        let told = lab.log.one().await;
        assert_eq!(told.failure(), FailureKind::ClientLeft, "{alpn:?}");
    }
}

#[tokio::test]
async fn a_stream_reset_does_not_disturb_its_siblings() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let endless = client.request(Method::GET, "/bytes/1000000000", full(Bytes::new())).unwrap();
    let mut body = client.send(endless).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(client.get("/json").await.unwrap().status, 200);
    origin.until(|counts| counts.abandoned == 1).await.unwrap();
    let told = lab.log.ended(2).await;
    assert_eq!(told[0].failure(), FailureKind::ClientLeft);
    assert_eq!(told[1].outcome(), &Outcome::Response);
    assert_eq!(origin.counts().connections, 1);
}

#[tokio::test]
async fn an_early_refusal_of_an_upload_reaches_the_client() {
    let lab = Lab::new().await;
    let script = vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!"),
        Step::HalfClose,
        Step::Read(100_000),
    ];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n").await.unwrap();
    client.send(vec![b'x'; 100_000]).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 413"));
    assert_eq!(client.read(3).await.unwrap(), "no!");
    drop(client);
    let told = lab.log.one().await;
    assert_eq!((told.status(), told.outcome()), (Some(413), &Outcome::Response));
    assert!(!told.request_ended);
}

#[tokio::test]
async fn a_slow_observer_slows_the_wire_instead_of_losing_bytes() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    };
    use tokio::sync::Notify;

    #[derive(Clone, Default)]
    struct Gate(Arc<(AtomicBool, Notify)>);
    impl proxy_core::Observer for Gate {
        fn observe(&self, _: &proxy_core::Event) {}
        fn ready(&self) -> Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'static>>> {
            let gate = self.0.clone();
            (!gate.0.load(SeqCst)).then(|| Box::pin(async move { gate.1.notified().await }) as _)
        }
    }

    let gate = Gate::default();
    let lab = Lab::with(|builder| builder.observer(gate.clone())).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
    let request = client.request(Method::GET, "/bytes/50000000", full(Bytes::new())).unwrap();
    let fetch = tokio::spawn(async move { client.fetch(request).await });
    // Nothing passes while the gate is shut, not even after the origin has long sent what the sockets take.
    lab.log.until("a request", |told| told.iter().any(|told| told.request.is_some())).await;
    assert_eq!(lab.log.all()[0].response_body.len(), 0);
    gate.0.0.store(true, SeqCst);
    gate.0.1.notify_waiters();
    gate.0.1.notify_one();
    assert_eq!(fetch.await.unwrap().unwrap().body.len(), 50_000_000);
}

#[tokio::test]
async fn a_body_until_close_that_breaks_off_does_not_end_properly() {
    let lab = Lab::new().await;
    let half = |last| vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\n\r\nhalf"), Step::Wait, last];
    // In cleartext a reset tells it, under TLS the missing closing alert does.
    let plain = RawOrigin::plain(vec![half(Step::Reset)]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", plain.authority())).await.unwrap();
    client.read_until(b"half").await.unwrap();
    plain.release();
    assert_eq!(client.read_to_end().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let tls = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![half(Step::Cut)]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&tls.authority()).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    client.read_until(b"half").await.unwrap();
    tls.release();
    assert_eq!(client.read_to_end().await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    let told = lab.log.ended(2).await;
    assert_eq!(
        (told[0].failure(), told[1].failure()),
        (FailureKind::UpstreamReset, FailureKind::UpstreamClosed)
    );
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_seen_by_upstream_as_broken_off() {
    let lab = Lab::new().await;
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![vec![Step::ReadToEnd]]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        .await
        .unwrap();
    lab.log.until("the half", |told| told.iter().any(|told| told.request_body == "half")).await;
    drop(client);
    origin.finished(1).await.unwrap();
    let received = origin.received(0);
    assert!(received.ends_with(b"4\r\nhalf\r\n"), "{}", String::from_utf8_lossy(&received));
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientLeft);
}
