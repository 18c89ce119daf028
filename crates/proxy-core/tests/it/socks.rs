//! Clients that speak SOCKS.

use std::time::Duration;

use proxy_core::{FailureKind, ListenerKind, Outcome, Timeouts};
use testkit::{HttpClient, Origin, RawClient, RawOrigin, SocksClient, Step};
use tokio::net::TcpStream;

use crate::lab::Lab;

/// A proxy with a SOCKS listener beside its explicit one.
async fn lab() -> (Lab, SocksClient) {
    lab_with(Timeouts::default()).await
}

async fn lab_with(timeouts: Timeouts) -> (Lab, SocksClient) {
    let socks = "socks5://127.0.0.1:0".parse().unwrap();
    let lab = Lab::with(|builder| builder.listen(socks).timeouts(timeouts)).await;
    let client = SocksClient::new(lab.proxy.as_ref().unwrap().local_addrs()[1]);
    (lab, client)
}

async fn https(lab: &Lab, tunnel: TcpStream, authority: &str, alpn: &[&str]) -> HttpClient {
    let config = testkit::client_config(&lab.ca_pem, alpn).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(config).connect(name, tunnel).await.unwrap();
    HttpClient::over_tls(tls, authority).await.unwrap()
}

#[tokio::test]
async fn tunnels_of_every_version_and_address_type_are_decrypted() {
    let (lab, client) = lab().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let named = origin.authority();
    let port = named.rsplit_once(':').unwrap().1;
    let numeric = format!("127.0.0.1:{port}");
    let tunnels = [
        (client.tunnel(&named).await, &named, "http/1.1"),
        (client.tunnel(&numeric).await, &numeric, "h2"),
        (client.tunnel4(&named).await, &named, "h2"),
        (client.tunnel4(&numeric).await, &numeric, "http/1.1"),
    ];
    for (tunnel, asked, alpn) in tunnels {
        let mut https = https(&lab, tunnel.unwrap(), &named, &[alpn]).await;
        assert_eq!(https.get("/json").await.unwrap().status, 200);
        drop(https);
        let told = lab.log.all().pop().unwrap();
        let facts = told.client.as_ref().unwrap();
        assert_eq!(told.url(), format!("https://{named}/json"));
        assert_eq!((facts.listener, facts.tunnel.as_deref()), (ListenerKind::Socks, Some(asked.as_str())));
        assert_eq!((facts.user.as_deref(), told.upstream.len()), (None, 1));
        assert_eq!(told.upstream[0].0.tls.as_ref().unwrap().alpn.as_deref(), Some(alpn));
    }
}

#[tokio::test]
async fn an_explicit_listener_serves_socks_as_well() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    for tunnel in [
        SocksClient::new(lab.addr).tunnel(&origin.authority()).await,
        SocksClient::new(lab.addr).tunnel4(&origin.authority()).await,
    ] {
        let mut http = HttpClient::http1(tunnel.unwrap(), String::new(), &origin.authority()).await.unwrap();
        assert_eq!(http.get("/json").await.unwrap().status, 200);
        let told = lab.log.all().pop().unwrap();
        assert_eq!(told.url(), format!("http://{}/json", origin.authority()));
        assert_eq!(told.client.unwrap().listener, ListenerKind::Socks);
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_is_relayed_over_socks() {
    let mut timeouts = Timeouts::default();
    timeouts.peek = Duration::from_millis(20);
    let (lab, client) = lab_with(timeouts).await;
    let script = vec![Step::send("220 ready\r\n"), Step::read_until("\r\n"), Step::send("221 bye\r\n")];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut tunnel = RawClient::over(client.tunnel(&origin.authority()).await.unwrap());
    assert_eq!(tunnel.read_until(b"\r\n").await.unwrap(), "220 ready\r\n");
    tunnel.send("QUIT\r\n").await.unwrap();
    assert_eq!(tunnel.read_to_end().await.unwrap(), "221 bye\r\n");
    drop(tunnel);
    let told = lab.log.one().await;
    assert_eq!((told.outcome(), told.tunnel_bytes), (&Outcome::Tunnel, (6, 20)));
    let request = told.request.unwrap();
    assert_eq!((&request.method, &request.authority), (&http::Method::CONNECT, &origin.authority()));
}

#[tokio::test]
async fn a_half_close_after_a_request_over_socks_gets_the_response() {
    let (lab, client) = lab().await;
    let origin = Origin::plain().await.unwrap();
    let mut tunnel = RawClient::over(client.tunnel(&origin.authority()).await.unwrap());
    tunnel
        .send(format!("GET /json HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", origin.authority()))
        .await
        .unwrap();
    tunnel.half_close().await.unwrap();
    let answer = tunnel.read_to_end().await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
}

#[tokio::test]
async fn a_request_sent_before_the_reply_is_not_lost() {
    let (lab, client) = lab().await;
    let origin = Origin::plain().await.unwrap();
    let authority = origin.authority();
    let port: u16 = authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut raw = RawClient::connect(lab.proxy.as_ref().unwrap().local_addrs()[1]).await.unwrap();
    let mut all = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01".to_vec();
    all.extend(port.to_be_bytes());
    all.extend(format!("GET /json HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes());
    // One byte at a time, and all of it before anything is read.
    for byte in all {
        raw.send([byte]).await.unwrap();
    }
    assert_eq!(raw.read(2 + 10).await.unwrap()[..4], [5, 0, 5, 0]);
    assert!(raw.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    drop(client);
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
}

#[tokio::test]
async fn a_tunnel_that_cannot_be_opened_is_refused_with_the_reason() {
    let (lab, client) = lab().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let own = lab.addr.to_string();
    let own_socks = lab.proxy.as_ref().unwrap().local_addrs()[1].to_string();
    for (authority, reply, kind) in [
        (free.as_str(), "reply 5", FailureKind::ConnectionRefused),
        ("no-such-host.invalid:80", "reply 4", FailureKind::Dns),
        (&own, "reply 2", FailureKind::Loop),
        (&own_socks, "reply 2", FailureKind::Loop),
    ] {
        let before = lab.log.all().len();
        assert_eq!(client.tunnel(authority).await.unwrap_err().to_string(), reply, "{authority}");
        let told = lab.log.ended(before + 1).await.pop().unwrap();
        assert_eq!((told.failure(), told.request.unwrap().authority.as_str()), (kind, authority));
        assert_eq!(client.tunnel4(authority).await.unwrap_err().to_string(), "reply 91", "{authority}");
        lab.log.ended(before + 2).await;
    }
}

#[tokio::test]
async fn commands_other_than_connect_are_refused_and_recorded() {
    let (lab, client) = lab().await;
    for (count, command) in [2, 3, 9].into_iter().enumerate() {
        let refused = client.command(command, "127.0.0.1:53").await.unwrap_err();
        assert_eq!(refused.to_string(), "reply 7", "command {command}");
        let told = lab.log.ended(count + 1).await.pop().unwrap();
        assert_eq!(told.failure(), FailureKind::ClientMalformed);
    }
}

#[tokio::test]
async fn bytes_that_are_no_socks_are_refused_where_socks_is_listened_for() {
    let (lab, _) = lab().await;
    let socks = lab.proxy.as_ref().unwrap().local_addrs()[1];
    let mut http = RawClient::connect(socks).await.unwrap();
    http.send("GET http://a.invalid/ HTTP/1.1\r\nHost: a.invalid\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = String::from_utf8(http.read_to_end().await.unwrap().to_vec()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("socks5://"), "{answer}");
    let mut broken = RawClient::connect(socks).await.unwrap();
    broken.send(b"\x05\x01\x00\x05\x01\x00\x02").await.unwrap();
    assert_eq!(broken.read_to_end().await.unwrap()[..4], [5, 0, 5, 8]);
    let told = lab.log.ended(2).await;
    assert!(told.iter().all(|told| told.failure() == FailureKind::ClientMalformed));
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_is_given_up() {
    let mut timeouts = Timeouts::default();
    timeouts.handshake = Duration::from_millis(50);
    let (lab, _) = lab_with(timeouts).await;
    let socks = lab.proxy.as_ref().unwrap().local_addrs()[1];
    for begun in [&b""[..], b"\x05", b"\x05\x01\x00", b"\x05\x01\x00\x05\x01\x00\x03\xff", b"\x04\x01"] {
        let mut client = RawClient::connect(socks).await.unwrap();
        if !begun.is_empty() {
            client.send(begun).await.unwrap();
        }
        let left = client.read_to_end().await.unwrap();
        assert!(left.is_empty() || left == [5, 0][..], "{left:?}");
    }
    assert!(lab.log.all().is_empty());
}

#[tokio::test]
async fn socks_inside_tls_to_the_proxy_is_served() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (lab, _) = lab().await;
    let origin = Origin::plain().await.unwrap();
    let socks = lab.proxy.as_ref().unwrap().local_addrs()[1];
    let config = testkit::client_config(&lab.ca_pem, &[]).unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let tcp = TcpStream::connect(socks).await.unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
    let port: u16 = origin.authority().rsplit_once(':').unwrap().1.parse().unwrap();
    let request = [&b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"[..], &port.to_be_bytes()].concat();
    tls.write_all(&request).await.unwrap();
    let mut reply = [0; 12];
    tls.read_exact(&mut reply).await.unwrap();
    let mut http = HttpClient::http1(tls, String::new(), &origin.authority()).await.unwrap();
    assert_eq!(http.get("/json").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_rule_answers_in_a_tunnel_whose_upstream_cannot_be_reached() {
    let mock = serde_json::json!({ "mock": { "status": 418 } });
    let rules = serde_json::json!([{ "id": "r", "when": { "path": "/" }, "then": [mock] }]);
    let (lab, _rules) = Lab::with_rules(rules).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let authority = format!("localhost:{}", free.port());
    let over_socks = SocksClient::new(lab.addr).tunnel(&authority).await.unwrap();
    let over_connect = lab.client(&[]).tunnel(&authority).await.unwrap();
    for tunnel in [over_socks, over_connect] {
        let mut client = https(&lab, tunnel, &authority, &["http/1.1"]).await;
        assert_eq!(client.get("/").await.unwrap().status, 418);
    }
}
