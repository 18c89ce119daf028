//! The client's side: leafs, tickets, lists, and clients that pin.

use std::{num::NonZeroU32, time::Duration};

use proxy_core::{AutoPassthrough, FailureKind, Outcome, TlsOptions};
use rustls::HandshakeKind;
use testkit::{Origin, ProxyClient, TestCa};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{client_with, get, get_on};
use crate::lab::Lab;

#[tokio::test]
async fn a_leaf_has_the_names_of_upstreams_certificate() {
    let lab = Lab::new().await;
    let leaf = lab.origin_ca.leaf(&["Main.example", "localhost", "*.sub.example", "127.0.0.1"]).unwrap();
    let origin = Origin::builder().leaf(leaf).start().await.unwrap();
    let tls = lab.client(&["http/1.1"]).tls(&origin.authority()).await.unwrap();
    let der = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, parsed) = parse_x509_certificate(&der).unwrap();
    let names: Vec<_> = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    let address = [127, 0, 0, 1];
    assert_eq!(
        names,
        [
            GeneralName::DNSName("localhost"),
            GeneralName::DNSName("main.example"),
            GeneralName::DNSName("*.sub.example"),
            GeneralName::IPAddress(&address),
        ]
    );
    let common_name = parsed.subject().iter_common_name().next().unwrap().as_str().unwrap();
    assert_eq!(common_name, "Main.example");
    let validity = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
    assert!(validity < 98 * 24 * 60 * 60, "the validity is the proxy's own");
    assert_eq!(get_on(tls, &origin.authority()).await, 200);
}

#[tokio::test]
async fn a_certificate_that_nobody_verified_is_not_mirrored() {
    let lab = Lab::with(|builder| builder.insecure_upstream("localhost".parse().unwrap())).await;
    let stranger = TestCa::new().unwrap();
    let leaf = stranger.leaf(&["localhost", "bank.example"]).unwrap();
    let origin = Origin::builder().leaf(leaf).start().await.unwrap();
    let tls = lab.client(&["http/1.1"]).tls(&origin.authority()).await.unwrap();
    let der = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, parsed) = parse_x509_certificate(&der).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::DNSName("localhost")]);
}

#[tokio::test]
async fn sessions_are_resumed_and_early_data_is_not_taken() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let client = client_with(&lab, |config| config.enable_early_data = true);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let tls = client.tls(&origin.authority()).await.unwrap();
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(expected));
        assert!(!tls.get_ref().1.is_early_data_accepted());
        assert_eq!(get_on(tls, &origin.authority()).await, 200);
    }
}

#[tokio::test]
async fn both_hellos_are_fingerprinted() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    for alpn in [&["h2", "http/1.1"][..], &["http/1.1"], &["http/1.1"]] {
        let before = lab.log.all().len();
        assert_eq!(get(&lab.client(alpn), &origin.authority()).await, 200);
        let told = lab.log.ended(before + 1).await.remove(before);
        let client = told.client.unwrap().tls.clone().unwrap();
        let fingerprint = client.fingerprint.unwrap();
        let short = if alpn[0] == "h2" { "h2" } else { "h1" };
        assert!(
            fingerprint.ja4.starts_with("t13d") && fingerprint.ja4[8..].starts_with(short),
            "{fingerprint:?}"
        );
        assert!(
            fingerprint.ja3.starts_with("771,4866-") && fingerprint.ja3_hash.len() == 32,
            "{fingerprint:?}"
        );
        assert_eq!(client.offered_alpn, alpn);
        let upstream = told.upstream[0].0.tls.clone().unwrap().fingerprint.unwrap();
        assert!(upstream.ja3.starts_with("771,4865,"), "{upstream:?}");
        assert!(upstream.ja4.starts_with("t13") && upstream.ja4.contains("_1301_"), "{upstream:?}");
    }
}

#[tokio::test]
async fn only_the_hosts_named_are_decrypted() {
    let options = TlsOptions::new().with_only("127.0.0.1".parse().unwrap());
    let lab = Lab::with(|builder| builder.tls(options)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let authority = origin.authority();
    // Undecrypted, the client sees the origin's own certificate.
    let direct = ProxyClient::new(lab.addr, lab.origin_ca.pem(), &["http/1.1"]).unwrap();
    assert_eq!(get(&direct, &authority).await, 200);
    let told = lab.log.one().await;
    assert_eq!(told.outcome(), &Outcome::Tunnel);
    let tls = told.client.unwrap().tls.clone().unwrap();
    assert_eq!(tls.sni.as_deref(), Some("localhost"));
    assert!(tls.fingerprint.unwrap().ja4.starts_with("t13d"), "also of what is not decrypted");
    assert!(told.rules.is_empty());
    // Named, here by its address, it sees the proxy's.
    let by_address = format!("127.0.0.1:{}", origin.addr().port());
    assert_eq!(get(&lab.client(&["http/1.1"]), &by_address).await, 200);
    assert_eq!(lab.log.ended(2).await[1].outcome(), &Outcome::Response);
}

#[tokio::test]
async fn a_host_whose_client_keeps_refusing_is_passed_through_when_asked() {
    let mut when = AutoPassthrough::default();
    when.refusals = NonZeroU32::new(2).unwrap();
    let lab = Lab::with(|builder| builder.tls(TlsOptions::new().with_auto_passthrough(when))).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let pinning = ProxyClient::new(lab.addr, lab.origin_ca.pem(), &["http/1.1"]).unwrap();
    for refused in 1..=2 {
        assert!(pinning.tls(&origin.authority()).await.is_err());
        assert_eq!(lab.log.ended(refused).await[refused - 1].failure(), FailureKind::ClientDistrustsCa);
    }
    assert_eq!(get(&pinning, &origin.authority()).await, 200);
    let told = lab.log.ended(3).await.remove(2);
    assert_eq!(told.outcome(), &Outcome::Tunnel);
    assert_eq!(told.rules[0].rule, "auto-passthrough");
    assert!(told.rules[0].changes[0].contains("2 times"), "{:?}", told.rules);
}

#[tokio::test]
async fn a_client_that_refuses_is_never_passed_through_unasked() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let pinning = ProxyClient::new(lab.addr, lab.origin_ca.pem(), &["http/1.1"]).unwrap();
    for _ in 0..5 {
        assert!(pinning.tls(&origin.authority()).await.is_err());
    }
}

#[tokio::test]
async fn a_protocol_that_is_not_http_is_agreed_on_and_relayed() {
    let mut timeouts = proxy_core::Timeouts::default();
    timeouts.peek = Duration::from_millis(50);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let config = lab.origin_ca.leaf(&["localhost"]).unwrap().server_config(&["mqtt"]).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("localhost:{}", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = tokio_rustls::TlsAcceptor::from(config).accept(tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
        tls.write_all(b"server first").await.unwrap();
        let mut heard = [0; 4];
        tls.read_exact(&mut heard).await.unwrap();
        heard
    });
    let mut tls = lab.client(&["mqtt"]).tls(&authority).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
    let mut heard = [0; 12];
    tls.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"server first");
    tls.write_all(b"ping").await.unwrap();
    assert_eq!(&serving.await.unwrap(), b"ping");
}

#[tokio::test]
async fn a_hello_of_16_megabytes_is_not_waited_for() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let mut first = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    first.resize(5 + 0x4000, 3);
    // It is refused by what it says of its length, or long before its end: writing on fails.
    let sent = async {
        tunnel.write_all(&first).await?;
        for _ in 0..1_024 {
            tunnel.write_all(b"\x16\x03\x01\x40\x00").await?;
            tunnel.write_all(&[3; 0x4000]).await?;
        }
        std::io::Result::Ok(())
    };
    assert!(sent.await.is_err(), "the proxy read 16 MB of a hello");
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientTls);
    assert_eq!(get(&lab.client(&["http/1.1"]), &origin.authority()).await, 200);
}
