//! The client's side.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
    version::TLS13,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{LIMIT, VERSIONS, names, provider};
use crate::{
    ca::{CertificateAuthority, Leafs},
    failure::{Failure, FailureKind},
    tls::{Acceptor, Handshake, acceptor::Accepted, alert::distrust, verify::Verifier},
};

fn acceptor() -> (Acceptor, CertificateAuthority) {
    let ca = CertificateAuthority::in_memory().unwrap();
    (Acceptor::new(Leafs::new(ca.clone(), 10).unwrap(), None).unwrap(), ca)
}

fn roots(ca: &CertificateAuthority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.certificate_der().to_vec())).unwrap();
    roots
}

/// A client that trusts only this CA.
fn client(ca: &CertificateAuthority, version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_no_client_auth()
}

struct Outcome {
    client: io::Result<TlsStream<DuplexStream>>,
    proxy: Result<Accepted, Failure>,
}

impl Outcome {
    fn failure(self) -> Failure {
        self.proxy.err().expect("the handshake fails")
    }
}

/// What a handshake is to be whose client may name no host.
fn fallback(host_fallback: &str) -> Handshake<'_> {
    Handshake { host_fallback, ..Handshake::default() }
}

async fn shake(acceptor: &Acceptor, client: ClientConfig, server_name: &str, alpn: Option<&str>) -> Outcome {
    let (near, far) = duplex(64 * 1024);
    let name = ServerName::try_from(server_name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let alpn = alpn.map(|name| name.as_bytes().to_vec());
    let wanted = Handshake { alpn, ..fallback("fallback.example") };
    let (client, proxy) = tokio::join!(connector.connect(name, near), acceptor.accept(far, wanted, LIMIT));
    Outcome { client, proxy: proxy.map_err(|error| error.failure) }
}

#[tokio::test]
async fn client_that_trusts_the_ca_is_served_and_described() {
    let (acceptor, ca) = acceptor();
    for (version, name) in VERSIONS {
        let mut config = client(&ca, version);
        config.alpn_protocols = names(&["h2", "http/1.1"]);
        let outcome = shake(&acceptor, config, "example.com", Some("h2")).await;
        let (mut client, mut proxy) = (outcome.client.unwrap(), outcome.proxy.unwrap());
        assert_eq!(proxy.facts.version, name);
        assert!(proxy.facts.cipher.starts_with("TLS_"), "{}", proxy.facts.cipher);
        assert_eq!(proxy.facts.alpn.as_deref(), Some("h2"));
        assert_eq!(proxy.facts.sni.as_deref(), Some("example.com"));
        assert!(proxy.facts.certificates.is_empty());

        client.write_all(b"ping").await.unwrap();
        client.flush().await.unwrap();
        let mut heard = [0; 4];
        proxy.io.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ping");
        drop(client);
        assert_eq!(proxy.io.read(&mut heard).await.unwrap(), 0, "an end without close_notify is an end");
        assert!(proxy.refusal.get().is_none());
    }
}

#[tokio::test]
async fn client_that_does_not_know_the_ca_is_recorded_as_distrusting() {
    let (acceptor, _) = acceptor();
    let other = CertificateAuthority::in_memory().unwrap();
    for (version, _) in VERSIONS {
        let outcome = shake(&acceptor, client(&other, version), "example.com", None).await;
        assert!(outcome.client.is_err());
        let failure = outcome.failure();
        assert_eq!(failure.kind, FailureKind::ClientDistrustsCa, "{failure}");
        assert!(failure.detail.contains("unknown_ca (48)"), "{failure}");
        assert!(failure.detail.contains("http://wirescope.test/"), "{failure}");
    }
}

#[tokio::test]
async fn alpn_is_the_one_given_and_only_when_the_client_offers_it() {
    let (acceptor, ca) = acceptor();
    for (offered, given, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2"), Some("h2")),
        (&["h2", "http/1.1"], Some("http/1.1"), Some("http/1.1")),
        (&["http/1.1", "h2"], Some("h2"), Some("h2")),
        (&["h2", "http/1.1"], None, None),
        (&["http/1.0"], Some("http/1.1"), None),
        (&["http/1.0"], None, None),
        (&["mqtt"], Some("mqtt"), Some("mqtt")),
        (&[], Some("h2"), None),
    ] {
        let mut config = client(&ca, &TLS13);
        config.alpn_protocols = names(offered);
        let outcome = shake(&acceptor, config, "example.com", given).await;
        let client = outcome.client.unwrap();
        let seen = client.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        assert_eq!(seen.as_deref(), agreed, "{offered:?} {given:?}");
        assert_eq!(outcome.proxy.unwrap().facts.alpn, seen);
    }
}

#[tokio::test]
async fn leaf_is_for_the_fallback_host_when_the_client_names_none() {
    let (acceptor, ca) = acceptor();
    let mut config = client(&ca, &TLS13);
    config.enable_sni = false;
    let outcome = shake(&acceptor, config.clone(), "fallback.example", None).await;
    assert!(outcome.client.is_ok());
    assert_eq!(outcome.proxy.unwrap().facts.sni, None);
    assert!(shake(&acceptor, config, "another.example", None).await.client.is_err());
}

#[tokio::test]
async fn leaf_for_an_address_satisfies_a_client_that_dials_the_address() {
    let (acceptor, ca) = acceptor();
    for host in ["127.0.0.1", "::1"] {
        let (near, far) = duplex(64 * 1024);
        let connector = TlsConnector::from(Arc::new(client(&ca, &TLS13)));
        let ip: IpAddr = host.parse().unwrap();
        let (client, proxy) = tokio::join!(
            connector.connect(ServerName::from(ip), near),
            acceptor.accept(far, fallback(host), LIMIT)
        );
        client.unwrap();
        proxy.unwrap();
    }
}

#[tokio::test]
async fn sessions_are_resumed_across_connections() {
    let (acceptor, ca) = acceptor();
    for (version, name) in VERSIONS {
        let config = client(&ca, version);
        let (mut kinds, mut suspected) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let outcome = shake(&acceptor, config.clone(), "example.com", None).await;
            let (mut client, mut proxy) = (outcome.client.unwrap(), outcome.proxy.unwrap());
            // TLS 1.3 tickets come after the handshake.
            proxy.io.write_all(b"x").await.unwrap();
            proxy.io.flush().await.unwrap();
            client.read_u8().await.unwrap();
            kinds.push(client.get_ref().1.handshake_kind());
            drop(client);
            assert_eq!(proxy.io.read(&mut [0; 1]).await.unwrap(), 0);
            suspected.push(proxy.refusal.get().is_some());
        }
        assert_eq!(kinds[1], Some(rustls::HandshakeKind::Resumed), "{name}");
        assert_eq!(suspected, [true, false], "who resumes has accepted our certificate before");
    }
}

#[tokio::test]
async fn client_that_leaves_silently_after_the_certificate_is_suspected_only() {
    let (acceptor, ca) = acceptor();
    for (version, _) in VERSIONS {
        // In the handshake: the client takes our flight and goes.
        let (mut near, far) = duplex(64 * 1024);
        let mut config = client(&ca, version);
        config.alpn_protocols = names(&["h2"]);
        let name = ServerName::try_from("example.com").unwrap();
        let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        tls.write_tls(&mut hello).unwrap();
        let leave = async move {
            near.write_all(&hello).await.unwrap();
            near.read_u8().await.unwrap();
        };
        let ((), proxy) = tokio::join!(leave, acceptor.accept(far, fallback(""), LIMIT));
        let failure = proxy.err().unwrap().failure;
        assert_eq!(failure.kind, FailureKind::ClientTls);
        assert!(failure.detail.contains("if it does not trust the CA"), "{failure}");
    }
}

/// A client that judges the certificate after the handshake only.
fn late_judge(version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::any(provider())))
        .with_no_client_auth()
}

#[tokio::test(start_paused = true)]
async fn client_that_leaves_at_once_after_the_handshake_is_suspected() {
    let (acceptor, _) = acceptor();
    for (version, _) in VERSIONS {
        for (says_goodbye, after, suspected) in [
            (false, Duration::ZERO, true),
            (true, Duration::ZERO, true),
            // A browser that needs its spare connection no more.
            (false, Duration::from_secs(10), false),
            (true, Duration::from_secs(10), false),
        ] {
            let outcome = shake(&acceptor, late_judge(version), "example.com", None).await;
            let (mut client, mut proxy) = (outcome.client.unwrap(), outcome.proxy.unwrap());
            tokio::time::advance(after).await;
            if says_goodbye {
                client.shutdown().await.unwrap();
            }
            drop(client);
            assert_eq!(proxy.io.read(&mut [0; 8]).await.unwrap(), 0);
            let kind = proxy.refusal.get().map(|failure| failure.kind);
            assert_eq!(kind, suspected.then_some(FailureKind::ClientTls), "{says_goodbye} {after:?}");
        }
    }
}

#[test]
fn alerts_about_the_certificate_are_distrust_and_others_are_not() {
    use rustls::AlertDescription as A;
    for (alert, expected) in [
        (A::UnknownCA, Some("unknown_ca (48)")),
        (A::BadCertificate, Some("bad_certificate (42)")),
        (A::CertificateUnknown, Some("certificate_unknown (46)")),
        (A::CertificateExpired, Some("certificate_expired (45)")),
        (A::AccessDenied, Some("access_denied (49)")),
        (A::HandshakeFailure, None),
        (A::CloseNotify, None),
    ] {
        let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        let failure = distrust(&error);
        assert_eq!(failure.is_some(), expected.is_some(), "{alert:?}");
        if let (Some(failure), Some(text)) = (failure, expected) {
            assert_eq!(failure.kind, FailureKind::ClientDistrustsCa);
            assert!(failure.detail.contains(text), "{failure}");
        }
    }
    assert!(distrust(&io::Error::from(io::ErrorKind::ConnectionReset)).is_none());
}

#[tokio::test]
async fn bytes_that_are_no_hello_fail_at_once() {
    let (acceptor, _) = acceptor();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x00\x05nonsense", b""] {
        let (mut near, far) = duplex(1024);
        near.write_all(garbage).await.unwrap();
        near.shutdown().await.unwrap();
        let failure = acceptor.accept(far, fallback("example.com"), LIMIT).await.err().unwrap().failure;
        assert_eq!(failure.kind, FailureKind::ClientTls, "{failure}");
        assert!(!failure.detail.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn silent_client_is_given_up() {
    let (acceptor, _) = acceptor();
    let (_near, far) = duplex(1024);
    let failure = acceptor.accept(far, fallback("example.com"), LIMIT).await.err().unwrap().failure;
    assert_eq!(failure.kind, FailureKind::ClientTimeout);
    assert!(failure.detail.contains("30s"), "{failure}");
}

#[tokio::test]
async fn host_no_certificate_can_name_is_a_failure() {
    let (acceptor, ca) = acceptor();
    let mut config = client(&ca, &TLS13);
    config.enable_sni = false;
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("example.com").unwrap();
    let (client, proxy) =
        tokio::join!(connector.connect(name, near), acceptor.accept(far, fallback("no host"), LIMIT));
    assert!(client.is_err());
    let failure = proxy.err().unwrap().failure;
    assert!(failure.detail.contains("no host"), "{failure}");
}
