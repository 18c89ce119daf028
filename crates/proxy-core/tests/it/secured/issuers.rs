//! Intermediate certificates that upstream leaves out.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use proxy_core::{FailureKind, TlsOptions, UpstreamTrust};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{get, serve, server};
use crate::lab::Lab;

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// The extension that says where a certificate's issuer is (RFC 5280 section 4.2.2.1).
fn issued_by(url: &str) -> CustomExtension {
    let wrap = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let access = [wrap(0x06, b"\x2b\x06\x01\x05\x05\x07\x30\x02"), wrap(0x86, url.as_bytes())].concat();
    let content = wrap(0x30, &wrap(0x30, &access));
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

/// Answers every request with this body; counts them.
async fn publish(body: Arc<std::sync::Mutex<Vec<u8>>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") && tcp.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {}
            assert!(seen.starts_with(b"GET /issuer.crt HTTP/1.1\r\nHost: 127.0.0.1:"));
            count.fetch_add(1, SeqCst);
            let body = body.lock().unwrap().clone();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = tcp.write_all(&[head.as_bytes(), &body].concat()).await;
        }
    });
    (address, asked)
}

/// An upstream that shows its own certificate only, whose issuer and root stand somewhere else.
struct Incomplete {
    authority: String,
    root_pem: String,
    asked: Arc<AtomicUsize>,
}

/// What is published is the intermediate, unless another answer is given.
async fn incomplete(answer: Option<&[u8]>) -> Incomplete {
    let root = CertifiedIssuer::self_signed(authority_params("Root"), KeyPair::generate().unwrap()).unwrap();
    let middle =
        CertifiedIssuer::signed_by(authority_params("Middle"), KeyPair::generate().unwrap(), &root).unwrap();
    let published = answer.map_or_else(|| middle.der().to_vec(), <[u8]>::to_vec);
    let (publisher, asked) = publish(Arc::new(std::sync::Mutex::new(published))).await;
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.custom_extensions = vec![issued_by(&format!("http://{publisher}/issuer.crt"))];
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &middle).unwrap();
    let address = serve(server(vec![leaf.der().clone()], &key)).await;
    Incomplete { authority: format!("localhost:{}", address.port()), root_pem: root.pem(), asked }
}

async fn lab(upstream: &Incomplete, options: TlsOptions) -> Lab {
    let trust = UpstreamTrust::nobody().with_ca(upstream.root_pem.as_bytes()).unwrap();
    Lab::with(|builder| builder.upstream_trust(trust).tls(options)).await
}

#[tokio::test]
async fn a_missing_intermediate_is_fetched_once_when_asked() {
    let upstream = incomplete(None).await;
    let lab = lab(&upstream, TlsOptions::new().with_fetched_intermediates()).await;
    for _ in 0..2 {
        assert_eq!(get(&lab.client(&["http/1.1"]), &upstream.authority).await, 200);
    }
    assert_eq!(upstream.asked.load(SeqCst), 1);
    assert_eq!(lab.log.ended(2).await.len(), 2, "fetching is no exchange of a client");
}

#[tokio::test]
async fn nothing_is_fetched_unasked() {
    let upstream = incomplete(None).await;
    let lab = lab(&upstream, TlsOptions::new()).await;
    assert_eq!(get(&lab.client(&["http/1.1"]), &upstream.authority).await, 502);
    assert_eq!(lab.log.one().await.failure(), FailureKind::CertificateUntrusted);
    assert_eq!(upstream.asked.load(SeqCst), 0);
}

#[tokio::test]
async fn an_answer_that_is_no_issuer_helps_nobody_and_is_not_asked_for_again_at_once() {
    let other =
        CertifiedIssuer::self_signed(authority_params("Middle"), KeyPair::generate().unwrap()).unwrap();
    let long = vec![b'x'; 1024 * 1024];
    for (answer, what) in [(&b"<html>"[..], "text"), (&long, "without end"), (other.der(), "of another key")]
    {
        let upstream = incomplete(Some(answer)).await;
        let lab = lab(&upstream, TlsOptions::new().with_fetched_intermediates()).await;
        for _ in 0..2 {
            assert_eq!(get(&lab.client(&["http/1.1"]), &upstream.authority).await, 502, "{what}");
        }
        let told = lab.log.ended(2).await;
        assert!(told.iter().all(|told| told.failure() == FailureKind::CertificateUntrusted), "{what}");
        assert_eq!(upstream.asked.load(SeqCst), 1, "{what}");
    }
}
