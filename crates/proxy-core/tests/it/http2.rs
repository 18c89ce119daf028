//! What is HTTP/2's own.

use http::Response;
use proxy_core::{FailureKind, Outcome};
use testkit::{H2Origin, Origin};

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
    let origin = H2Origin::start(&lab.origin_ca, |_request, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("half".into(), false).unwrap();
        // The code comes after the data: wait until that has left.
        std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        stream.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
    })
    .await
    .unwrap();
    let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let error = client.get("/").await.unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref::<hyper::Error>();
    let reason =
        inner.and_then(|error| std::error::Error::source(error)?.downcast_ref::<h2::Error>()?.reason());
    assert!(reason.is_none() || reason == Some(h2::Reason::ENHANCE_YOUR_CALM), "{error:?}");
    assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamReset);
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
            use http_body_util::BodyExt;
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
