//! What is HTTP/2's own.

use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use proxy_core::{FailureKind, Outcome};
use testkit::{H2Origin, Origin};
use tokio::sync::Notify;

use crate::lab::Lab;

#[tokio::test]
async fn interim_responses_pass_over_http2() {
    let lab = Lab::new().await;
    let origin = H2Origin::start(&lab.origin_ca, |_request, mut respond| async move {
        let hints = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
        respond.send_informational(hints).unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("ok".into(), true).unwrap();
    })
    .await
    .unwrap();
    let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().text(), "ok");
    let told = lab.log.one().await;
    assert_eq!(told.informational[0].status, 103);
}

#[tokio::test]
async fn a_reset_from_upstream_keeps_its_code() {
    let lab = Lab::new().await;
    let half_was_read = Arc::new(Notify::new());
    let told_to_reset = half_was_read.clone();
    let origin = H2Origin::start(&lab.origin_ca, move |_request, mut respond| {
        let told_to_reset = told_to_reset.clone();
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data("half".into(), false).unwrap();
            told_to_reset.notified().await;
            stream.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
        }
    })
    .await
    .unwrap();
    let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let request = client.request(http::Method::GET, "/", testkit::full("")).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    half_was_read.notify_one();
    let error = body.frame().await.unwrap().unwrap_err();
    let reason =
        std::error::Error::source(&error).and_then(|error| error.downcast_ref::<h2::Error>()?.reason());
    assert_eq!(reason, Some(h2::Reason::ENHANCE_YOUR_CALM), "{error:?}");
    assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamReset);
}

#[tokio::test]
async fn a_reset_from_the_client_keeps_its_code() {
    let lab = Lab::new().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = Arc::new(std::sync::Mutex::new(Some(tell)));
    let origin = H2Origin::start(&lab.origin_ca, move |_request, mut respond| {
        let tell = tell.lock().unwrap().take();
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data("half".into(), false).unwrap();
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
            tell.unwrap().send(reason).unwrap();
        }
    })
    .await
    .unwrap();
    let tls = lab.client(&["h2"]).tls(&origin.authority()).await.unwrap();
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::get(format!("https://{}/", origin.authority())).body(()).unwrap();
    let (response, mut stream) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    response.await.unwrap();
    stream.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
    assert_eq!(told.await.unwrap(), h2::Reason::ENHANCE_YOUR_CALM);
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientLeft);
    driver.abort();
}

#[tokio::test]
async fn a_hundred_streams_share_one_upstream_connection() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let sender = client.h2_sender().unwrap();
    let authority = origin.authority();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut sender = sender.clone();
        let uri = format!("https://{authority}/bytes/20000");
        requests.spawn(async move {
            let request = http::Request::get(uri).body(testkit::full("")).unwrap();
            let response = sender.send_request(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes().len()
        });
    }
    for length in requests.join_all().await {
        assert_eq!(length, 20_000);
    }
    assert_eq!(origin.counts().connections, 1);
    assert!(lab.log.ended(100).await.iter().all(|told| told.outcome() == &Outcome::Response));
}

#[tokio::test]
async fn a_posted_body_without_length_is_whole() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let answer = client.post("/echo", testkit::pattern(100_000)).await.unwrap();
    assert_eq!(answer.body, testkit::pattern_bytes(100_000));
}

#[tokio::test]
async fn a_burst_of_streams_to_an_upstream_that_fails_fails_at_once() {
    let mut timeouts = proxy_core::Timeouts::default();
    timeouts.handshake = std::time::Duration::from_millis(200);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    // It accepts, and never says a word of TLS.
    let origin = testkit::RawOrigin::plain(vec![vec![testkit::Step::ReadToEnd]]).await.unwrap();
    let client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let sender = client.h2_sender().unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (mut sender, uri) = (sender.clone(), format!("https://{}/", origin.authority()));
        requests.spawn(async move {
            let request = http::Request::get(uri).body(testkit::full("")).unwrap();
            sender.send_request(request).await.unwrap().status().as_u16()
        });
    }
    assert!(requests.join_all().await.iter().all(|status| *status == 504));
    // One for the CONNECT, whose failure the first stream is told, and a few for the rest.
    assert!(origin.connections() <= 5, "{}", origin.connections());
    assert!(lab.log.ended(20).await.iter().all(|told| told.failure() == FailureKind::UpstreamTimeout));
}
