//! Tunnels that carry no HTTP, or are not looked into.

use std::time::Duration;

use proxy_core::{FailureKind, Outcome, Timeouts};
use testkit::{Origin, ProxyClient, RawOrigin, Step};

use crate::lab::Lab;

#[tokio::test]
async fn a_host_can_be_passed_through_undecrypted() {
    let lab = Lab::with(|builder| builder.passthrough("localhost".parse().unwrap())).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    // The client trusts the origin's own CA only: it would notice any other certificate.
    let client = ProxyClient::new(lab.addr, lab.origin_ca.pem(), &["h2"]).unwrap();
    let mut client = client.https(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    drop(client);
    let told = lab.log.one().await;
    assert_eq!(told.outcome(), &Outcome::Tunnel);
    assert_eq!(told.request.as_ref().unwrap().method, http::Method::CONNECT);
    assert!(told.tunnel_bytes.0 > 200 && told.tunnel_bytes.1 > 200);
    assert_eq!(told.client.unwrap().tls.clone().unwrap().sni.as_deref(), Some("localhost"));
    assert_eq!(told.upstream.len(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_first_is_relayed() {
    let mut timeouts = Timeouts::default();
    timeouts.peek = Duration::from_millis(20);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let script = vec![Step::send("220 ready\r\n"), Step::read_until("\r\n"), Step::send("221 bye\r\n")];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let mut client = testkit::RawClient::over(tunnel);
    assert_eq!(client.read_until(b"\r\n").await.unwrap(), "220 ready\r\n");
    client.send("QUIT\r\n").await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), "221 bye\r\n");
    drop(client);
    let told = lab.log.one().await;
    assert_eq!((told.outcome(), told.tunnel_bytes), (&Outcome::Tunnel, (6, 20)));
}

#[tokio::test]
async fn an_unknown_protocol_inside_tls_is_relayed() {
    let lab = Lab::new().await;
    let script = vec![Step::read_until("\x04"), Step::send("\x02ok")];
    let origin = RawOrigin::https(&lab.origin_ca, &[], vec![script]).await.unwrap();
    let mut client = lab.client(&[]).raw_tls(&origin.authority()).await.unwrap();
    client.send(b"\x00\x01\x02\x03\x04").await.unwrap();
    assert_eq!(client.read(3).await.unwrap(), "\x02ok");
    drop(client);
    let told = lab.log.one().await;
    assert_eq!((told.outcome(), told.tunnel_bytes), (&Outcome::Tunnel, (5, 3)));
}

#[tokio::test]
async fn plain_http_in_a_tunnel_is_seen() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let mut client = testkit::HttpClient::http1(tunnel, String::new(), &origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 200);
    let told = lab.log.one().await;
    assert_eq!(told.url(), format!("http://{}/json", origin.authority()));
}

#[tokio::test]
async fn connect_to_a_closed_port_answers_502_with_the_cause() {
    let lab = Lab::new().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send(format!("CONNECT {free} HTTP/1.1\r\nHost: {free}\r\n\r\n")).await.unwrap();
    let head = client.read_head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert!(head.to_ascii_lowercase().contains("x-wirescope-error: connection_refused"), "{head}");
    let page = String::from_utf8(client.read_to_end().await.unwrap().to_vec()).unwrap();
    assert!(page.contains("refused"), "{page}");
    let told = lab.log.one().await;
    assert_eq!((told.failure(), told.status()), (FailureKind::ConnectionRefused, Some(502)));
}

#[tokio::test]
async fn connect_to_an_unknown_host_answers_502() {
    let lab = Lab::new().await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    client
        .send("CONNECT no-such-host.invalid:443 HTTP/1.1\r\nHost: no-such-host.invalid:443\r\n\r\n")
        .await
        .unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 502"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::Dns);
}

#[tokio::test]
async fn the_proxy_does_not_dial_itself() {
    let lab = Lab::new().await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", lab.addr)).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 508"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::Loop);
}

#[tokio::test]
async fn a_tunnel_that_carries_nothing_is_no_exchange() {
    let mut timeouts = Timeouts::default();
    timeouts.peek = Duration::from_millis(20);
    timeouts.half_closed = Duration::from_millis(50);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    // One script waits for its client to leave, the other leaves first; neither says a word.
    let origin = RawOrigin::plain(vec![vec![Step::ReadToEnd], vec![]]).await.unwrap();
    drop(lab.client(&[]).tunnel(&origin.authority()).await.unwrap());
    let second = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let mut second = testkit::RawClient::over(second);
    assert_eq!(second.read_to_end().await.unwrap(), "");
    drop(second);
    origin.finished(2).await.unwrap();
    let seen = Origin::plain().await.unwrap();
    let mut client = lab.client(&[]).http(&seen.authority()).await.unwrap();
    client.get("/").await.unwrap();
    let mut proxy = lab;
    proxy.proxy.take().unwrap().shutdown(Duration::from_secs(20)).await;
    let told = proxy.log.all();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_by_a_client_that_sends_nothing() {
    // The client closes its sending half at once, as `nc` with no input does.
    let lab = Lab::new().await;
    let script = vec![Step::ReadToEnd, Step::send("220 ready\r\n")];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let mut client = testkit::RawClient::over(tunnel);
    client.half_close().await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), "220 ready\r\n");
    let told = lab.log.one().await;
    assert_eq!((told.outcome(), told.tunnel_bytes), (&Outcome::Tunnel, (0, 11)));
}

#[tokio::test]
async fn a_half_closed_client_of_a_raw_tunnel_gets_the_rest() {
    let lab = Lab::new().await;
    let script = vec![Step::ReadToEnd, Step::send("\x01all of it")];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let mut client = testkit::RawClient::over(tunnel);
    client.send(b"\x00ask").await.unwrap();
    client.half_close().await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), "\x01all of it");
    let told = lab.log.one().await;
    assert_eq!((told.outcome(), told.tunnel_bytes), (&Outcome::Tunnel, (4, 10)));
}

#[tokio::test]
async fn a_tunnel_that_upstream_resets_is_reset() {
    let lab = Lab::new().await;
    let script = vec![Step::Read(1), Step::send("\x01half"), Step::Wait, Step::Reset];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut client = testkit::RawClient::over(lab.client(&[]).tunnel(&origin.authority()).await.unwrap());
    client.send(b"\x00").await.unwrap();
    assert_eq!(client.read(5).await.unwrap(), "\x01half");
    origin.release();
    assert_eq!(client.read_to_end().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamReset);
}

#[tokio::test]
async fn a_connect_that_announces_a_body_is_refused() {
    let lab = Lab::new().await;
    let origin = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    for field in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
        let mut client = lab.client(&[]).raw().await.unwrap();
        client
            .send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n{field}\r\n\r\n", origin.authority()))
            .await
            .unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 400"), "{field}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_proxy_reached_over_tls_opens_tunnels_and_knows_what_is_in_them() {
    let lab = Lab::new().await;
    let (https, http) = (Origin::https(&lab.origin_ca).await.unwrap(), Origin::plain().await.unwrap());
    let config = testkit::client_config(&lab.ca_pem, &["http/1.1"]).unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let name = |name: &str| rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    for (authority, secured) in [(https.authority(), true), (http.authority(), false)] {
        let tcp = tokio::net::TcpStream::connect(lab.addr).await.unwrap();
        let mut tls = connector.connect(name("127.0.0.1"), tcp).await.unwrap();
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        tls.write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = [0; 39];
        tls.read_exact(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        let body = if secured {
            let inner = connector.connect(name("localhost"), tls).await.unwrap();
            testkit::HttpClient::http1(inner, String::new(), &authority).await.unwrap().get("/json").await
        } else {
            testkit::HttpClient::http1(tls, String::new(), &authority).await.unwrap().get("/json").await
        };
        assert_eq!(body.unwrap().status, 200);
    }
    let told = lab.log.ended(2).await;
    assert_eq!(told[0].url(), format!("https://{}/json", https.authority()));
    assert_eq!(told[1].url(), format!("http://{}/json", http.authority()));
}

#[tokio::test]
async fn a_client_that_is_silent_at_first_is_decrypted_all_the_same() {
    let mut timeouts = Timeouts::default();
    timeouts.peek = Duration::from_millis(20);
    for alpn in ["http/1.1", "h2"] {
        let lab = Lab::with(|builder| builder.timeouts(timeouts.clone())).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
        // Longer than the proxy waits for a first word.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let config = testkit::client_config(&lab.ca_pem, &[alpn]).unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = tokio_rustls::TlsConnector::from(config).connect(name, tunnel).await.unwrap();
        let mut client = testkit::HttpClient::over_tls(tls, &origin.authority()).await.unwrap();
        assert_eq!(client.get("/json").await.unwrap().status, 200);
        let told = lab.log.one().await;
        assert_eq!(told.url(), format!("https://{}/json", origin.authority()));
        let upstream = &told.upstream[0].0;
        assert_eq!(upstream.tls.as_ref().unwrap().alpn.as_deref(), Some(alpn));
        let timings = told.endings[0].timings;
        assert!(timings.connect.unwrap() >= timings.ssl.unwrap());
    }
}

#[tokio::test]
async fn an_upstream_that_failed_is_recorded_even_if_nothing_is_asked_of_it() {
    // With an interceptor, which may answer without upstream, the CONNECT is not refused.
    let edits = crate::edited::Edits::requests(|_| proxy_core::Verdict::Continue);
    let lab = Lab::with(|builder| builder.interceptor(edits)).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    drop(lab.client(&[]).tunnel(&free.to_string()).await.unwrap());
    let told = lab.log.one().await;
    assert_eq!(told.failure(), FailureKind::ConnectionRefused);
    assert_eq!(told.request.unwrap().method, http::Method::CONNECT);
}
