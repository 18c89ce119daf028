//! Certificates: theirs, ours, and what comes of distrust.

use proxy_core::{CertificateAuthority, FailureKind, Proxy, ResponseSource};
use testkit::{Origin, ProxyClient, TestCa};

use crate::lab::Lab;

#[tokio::test]
async fn bad_upstream_certificates_answer_502_inside_the_tunnel_with_a_typed_cause() {
    for alpn in [&["http/1.1"][..], &["h2", "http/1.1"]] {
        let lab = Lab::new().await;
        for (leaf, expected) in [
            (lab.origin_ca.expired(&["localhost"]).unwrap(), FailureKind::CertificateExpired),
            (lab.origin_ca.wrong_name().unwrap(), FailureKind::CertificateWrongName),
            (TestCa::self_signed(&["localhost"]).unwrap(), FailureKind::CertificateUntrusted),
        ] {
            let origin = Origin::builder().leaf(leaf).start().await.unwrap();
            let before = lab.log.all().len();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            let answer = client.get("/").await.unwrap();
            assert_eq!(answer.status, 502);
            assert_eq!(answer.header("x-wirescope-error"), Some(expected.code()));
            let told = lab.log.ended(before + 1).await.remove(before);
            assert_eq!((told.failure(), told.source), (expected, Some(ResponseSource::Proxy)));
            assert!(told.url().starts_with("https://localhost:"));
        }
    }
}

#[tokio::test]
async fn an_insecure_host_is_not_verified() {
    let lab = Lab::with(|builder| builder.insecure_upstream("localhost".parse().unwrap())).await;
    let stranger = TestCa::new().unwrap();
    let origin = Origin::https(&stranger).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_ca_is_recorded_as_that() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let client = ProxyClient::new(lab.addr, lab.origin_ca.pem(), &["http/1.1"]).unwrap();
    assert!(client.tls(&origin.authority()).await.is_err());
    let told = lab.log.one().await;
    assert_eq!(told.failure(), FailureKind::ClientDistrustsCa);
    assert_eq!(told.request.unwrap().method, http::Method::CONNECT);
}

#[tokio::test]
async fn an_ip_address_gets_a_leaf_that_is_valid_for_it() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let authority = origin.addr().to_string();
    let mut client = lab.client(&["http/1.1"]).https(&authority).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_setup_page_and_the_certificate_are_served_through_the_proxy() {
    let lab = Lab::new().await;
    let mut client = lab.client(&[]).http("wirescope.test").await.unwrap();
    let page = client.get("/").await.unwrap();
    assert!(page.status == 200 && page.text().contains("certificate"));
    let pem = client.get("/cert/pem").await.unwrap();
    assert_eq!(pem.text(), lab.ca_pem);
    assert_eq!(client.get("/nothing").await.unwrap().status, 404);
    let told = lab.log.ended(3).await;
    assert!(told.iter().all(|told| told.source == Some(ResponseSource::Proxy) && told.upstream.is_empty()));
    let mut client = lab.client(&["h2"]).https("wirescope.test:443").await.unwrap();
    assert_eq!(client.get("/cert/pem").await.unwrap().text(), lab.ca_pem);
}

#[tokio::test]
async fn the_ca_is_created_once_and_reused() {
    let dir = tempfile::tempdir().unwrap();
    let first = CertificateAuthority::load_or_create(dir.path().join("ca")).unwrap();
    let second = CertificateAuthority::load_or_create(dir.path().join("ca")).unwrap();
    assert_eq!(first.certificate_pem(), second.certificate_pem());
    let proxy = Proxy::builder(second).bind("127.0.0.1:0").await.unwrap();
    assert_ne!(proxy.local_addr().port(), 0);
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("not-a-ca.pem");
    std::fs::write(&file, "hello").unwrap();
    let error =
        Proxy::builder(CertificateAuthority::in_memory().unwrap()).upstream_ca_file(&file).err().unwrap();
    assert!(error.to_string().contains("not-a-ca.pem"), "{error}");
}

#[tokio::test]
async fn a_failed_upstream_waits_to_be_asked() {
    use std::time::Duration;
    let mut timeouts = proxy_core::Timeouts::default();
    timeouts.peek = Duration::from_millis(20);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let stranger = TestCa::new().unwrap();
    let origin = Origin::https(&stranger).await.unwrap();
    // No ALPN, so that only the client's first word tells what it speaks; and that is late.
    let mut client = lab.client(&[]).raw_tls(&origin.authority()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 502"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::CertificateUntrusted);
}
